"""HTTP/1.1 on the event loop: bytes become requests, responses become bytes.

httptools parses; this module keeps what surrounds the parser right: one request at a time on a connection, keep-alive,
`Expect: 100-continue`, limits on header and body, and an orderly end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from contextlib import aclosing
from email.utils import formatdate
from functools import partial
from typing import Any, Final, cast

import httptools

from penstock.api import ChunkedResponse, Headers, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.gateway.answering import Answerer, Durability, TakesStream, resumed, with_rest
from penstock.gateway.incoming import IncomingBody
from penstock.gateway.text import (
    BAD,
    BODILESS,
    CONTINUE,
    FAULT,
    HEADER_TOO_LARGE,
    ORIGIN,
    TOO_LARGE,
    fields_of,
    head_of,
    is_ambiguous,
)

_log: Final = logging.getLogger("penstock.gateway")

MAX_HEADER: Final = 64 * 1024
"""Bytes of request line and header fields, as most servers allow."""
LARGE: Final = 1024 * 1024
"""Bytes from which on a body is handed on while it comes in, if whoever answers takes it so."""
_IDLE_MS: Final = 75_000
_SWEEPS: Final = 3
"""How often within that time connections are looked at."""
_PIPELINED: Final = 16


class HttpServer:
    """Listens, and hands each request to `answer`."""

    def __init__(
        self,
        answer: Answerer,
        durability: Durability,
        clock: Clock,
        max_body: int,
        takes_stream: TakesStream = lambda _: False,
    ) -> None:
        self.answer = answer
        self.takes_stream = takes_stream
        self.held_body = min(max_body, LARGE)
        self.durability = durability
        self.max_body = max_body
        self.clock = clock
        self.connections: set[HttpConnection] = set()
        self.stopping = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._date_at = -1
        self._date = b""

    async def start(self, host: str, port: int) -> None:
        """Open the port. Raises OSError when it is in use."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpConnection(self), host, port, backlog=4096
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Accept nothing more, and return when what is in flight is answered."""
        self.stopping = True
        assert self._server is not None
        assert self._sweeper is not None
        self._server.close()
        self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close_if_idle()
        while self.connections:
            self._drained.clear()
            await self._drained.wait()

    def forget(self, connection: "HttpConnection") -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._drained.set()

    def date(self) -> bytes:
        """The `date` field of the present second; clients correct their clocks by it."""
        now = self.clock.now() // 1000
        if now != self._date_at:
            self._date_at = now
            self._date = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        return self._date

    async def _sweep(self) -> None:
        """Close connections that have been silent for long, in the middle of a request or between two."""
        while True:
            await self.clock.sleep_until(self.clock.now() + _IDLE_MS // _SWEEPS)
            for connection in list(self.connections):
                connection.silent += 1
                if connection.silent > _SWEEPS:
                    connection.expire()


class HttpConnection(asyncio.Protocol):
    """One client's connection: an asyncio protocol, and the callbacks of the parser."""

    __slots__ = (
        "_body",
        "_busy",
        "_closing",
        "_fields",
        "_going",
        "_header_size",
        "_in_header",
        "_lines",
        "_parser",
        "_pending",
        "_pieces",
        "_refusal",
        "_server",
        "_size",
        "_stream",
        "_task",
        "_transport",
        "_url",
        "_writable",
        "silent",
    )  # fmt: skip

    _transport: asyncio.Transport
    _parser: Any

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._pending: deque[tuple[HttpRequest | HttpResponse, bool]] = deque()
        self._busy = False
        self._going = False
        self.silent = 0
        """For how many sweeps nothing has been heard."""
        self._task: asyncio.Task[None] | None = None
        self._refusal: HttpResponse | None = None
        self._closing = False
        self._writable: asyncio.Future[None] | None = None
        """Not None while the client takes less than it is sent."""
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._lines: list[bytes] = []
        self._fields: dict[str, str] = {}
        self._header_size = 0
        self._in_header = False
        self._body = b""
        self._pieces: list[bytes] | None = None
        self._size = 0
        self._stream: IncomingBody | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. What it asked for in full is carried out all the same, as AWS does."""
        self._server.forget(self)
        if self._stream is not None:
            self._stream.break_off()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The client has caught up, or is gone."""
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; answer what cannot be parsed."""
        if self._closing and self._stream is None:
            return
        self.silent = 0
        in_header = self._in_header
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._enqueue(self._refusal or BAD, keep_alive=False)
        else:
            if in_header and self._in_header:
                # One more packet, and still no whole header.
                self._header_size += len(data)
                if self._header_size > MAX_HEADER:
                    self._enqueue(HEADER_TOO_LARGE, keep_alive=False)
        self._go_on()

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        self._in_header = True

    def on_url(self, url: bytes) -> None:
        """Parser: a piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field, or one behind a chunked body."""
        if self._in_header:
            self._lines += (name, value)
            return
        # What comes last must not change what was asked, and is not kept.
        self._header_size += len(name) + len(value)
        if self._header_size > MAX_HEADER:
            self._refuse(HEADER_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Parser: the body follows, if there is one."""
        self._in_header = False
        self._header_size = 0
        fields = self._fields = fields_of(self._lines)
        if "host" not in fields and self._parser.get_http_version() == "1.1":
            self._refuse(BAD)
        # Nearly no header repeats a field or codes its body: those that do are looked at.
        if (fields.__class__ is not dict or "transfer-encoding" in fields) and is_ambiguous(fields):
            self._refuse(BAD)
        length = fields.get("content-length")
        if length is not None and int(length) > self._server.held_body:
            self._announce(int(length))
        if "expect" in fields and fields["expect"].lower() == "100-continue" and not self._busy:
            self._transport.write(CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Parser: a piece of the body."""
        self._size += len(piece)
        if self._size > self._server.held_body and self._outgrows(piece):
            return
        if not self._body:
            self._body = piece
        elif self._pieces is None:
            self._pieces = [self._body, piece]
        else:
            self._pieces.append(piece)

    def _announce(self, length: int) -> None:
        """Hand on a request whose body will be large, or refuse it."""
        if self._parser.should_upgrade():
            return  # It is read once more.
        request = self._request(b"")
        if self._server.takes_stream(request):
            self._begin(request, length)
        elif length > self._server.max_body:
            self._refuse(TOO_LARGE)

    def _outgrows(self, piece: bytes) -> bool:
        """Whether a piece of a large body belongs to a stream. Refuses a body that is larger than may be."""
        if self._stream is None and "content-length" not in self._fields:
            request = self._request(b"")
            if self._server.takes_stream(request):
                self._begin(request, None).feed(self._joined())
        if self._stream is not None:
            self._stream.feed(piece)
            return True
        if self._size > self._server.max_body:
            self._refuse(TOO_LARGE)
        return False

    def _begin(self, request: HttpRequest, length: int | None) -> IncomingBody:
        self._stream = IncomingBody(self._transport, length)
        request.stream = self._stream
        # From now on every piece is one too many to be held.
        self._size = self._server.held_body
        self._enqueue(request, keep_alive=self._parser.should_keep_alive())
        return self._stream

    def _refuse(self, answer: HttpResponse) -> None:
        """Stop to read: an error raised in a callback ends the parser's run."""
        self._refusal = answer
        raise ValueError

    def _decline(self, rest: bytes) -> None:
        """Read a request that would rather have another protocol as if it had not said so.

        The parser stops behind its header, so a parser of its own gets the header once more, without the wish.
        """
        if self._parser.get_method() == b"CONNECT":
            self._enqueue(BAD, keep_alive=False)
            self._go_on()
            return
        lines = [b"%s %s HTTP/1.1" % (self._parser.get_method(), self._url)]
        for name, value in self._fields.items():
            if name != "upgrade":
                lines.append(f"{name}: {value}".encode("latin-1"))
        self._reset()
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def on_message_complete(self) -> None:
        """Parser: a request is whole."""
        if self._parser.should_upgrade():
            return
        if self._stream is not None:
            self._stream.finish()
            self._reset()
            return
        request = self._request(self._body if self._pieces is None else self._joined())
        self._reset()
        self._enqueue(request, keep_alive=self._parser.should_keep_alive())

    def _request(self, body: bytes) -> HttpRequest:
        path, _, query = self._url.decode("latin-1").partition("?")
        if path[:4] == "http":
            path = ORIGIN.sub("", path)
        return HttpRequest(
            self._parser.get_method().decode(),
            path or "/",
            query,
            cast(Headers, self._fields),
            body,
            "http",
            self,
        )

    def _joined(self) -> bytes:
        """What of the body was held so far."""
        return self._body if self._pieces is None else b"".join(self._pieces)

    @property
    def closed(self) -> bool:
        """Whether the client is gone."""
        return self._transport.is_closing()

    @property
    def client(self) -> str:
        """`address:port` of the client."""
        peer = self._transport.get_extra_info("peername")
        return f"{peer[0]}:{peer[1]}" if peer else "127.0.0.1:0"

    @property
    def http_version(self) -> str:
        """As in `HTTP/1.1`."""
        return str(self._parser.get_http_version())

    def _enqueue(self, request: HttpRequest | HttpResponse, *, keep_alive: bool) -> None:
        """Keep a request, or an answer to what is none, until its predecessors on the connection are answered."""
        if not keep_alive:
            self._closing = True
        self._pending.append((request, keep_alive))
        if len(self._pending) >= _PIPELINED:
            self._transport.pause_reading()

    def _go_on(self) -> None:
        """Serve what is pending, one request after another, until one has to be waited for."""
        if self._going:
            return
        self._going = True
        while self._pending and not self._busy:
            request, keep_alive = self._pending.popleft()
            if len(self._pending) == _PIPELINED - 1:
                self._transport.resume_reading()
            self._busy = True
            if isinstance(request, HttpResponse):
                self._reply(request, "GET", keep_alive)
            else:
                self._serve(request, keep_alive)
        self._going = False

    def _serve(self, request: HttpRequest, keep_alive: bool) -> None:
        """Begin to answer. Most answers are there at once; for the others a task goes on from where they first wait."""
        since = self._server.durability.store.epoch
        try:
            work = self._server.answer(request)
            if request.stream is not None:
                work = with_rest(work, cast(IncomingBody, request.stream))
            waiting = work.send(None)
        except StopIteration as done:
            self._deliver(done.value, request, keep_alive, since)
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            self._deliver(FAULT, request, keep_alive, since)
        else:
            rest = self._finish(resumed(work, waiting), request, keep_alive, since)
            self._task = asyncio.get_running_loop().create_task(rest)

    async def _finish(
        self, work: Awaitable[HttpResponse], request: HttpRequest, keep_alive: bool, since: int
    ) -> None:
        try:
            response = await work
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            response = FAULT
        self._deliver(response, request, keep_alive, since)

    def _deliver(
        self, response: HttpResponse, request: HttpRequest, keep_alive: bool, since: int
    ) -> None:
        """Answer once everything that the response may speak of is on disk."""
        told = partial(self._told, response, request, keep_alive)
        self._server.durability.store.when_durable(since, told, response.rests_on)

    def _told(
        self,
        response: HttpResponse,
        request: HttpRequest,
        keep_alive: bool,
        error: Exception | None,
    ) -> None:
        """Answer, with the response or with what has become of it."""
        if error is not None:
            response = self._server.durability.unavailable(request, error)
        if response.__class__ is ChunkedResponse:
            sent = self._send(response, request.method, keep_alive)
            self._task = asyncio.get_running_loop().create_task(sent)
            return
        self._reply(response, request.method, keep_alive)
        if self._pending:
            self._go_on()

    def _reply(self, response: HttpResponse, method: str, keep_alive: bool) -> None:
        self._write(response, method, keep_alive)
        self._busy = False
        if not self._pending and (self._closing or self._server.stopping):
            self._transport.close()

    async def _send(self, response: ChunkedResponse, method: str, keep_alive: bool) -> None:
        """Answer with a body that is read as fast as the client takes it."""
        self._write(response, method, keep_alive)
        left = response.chunks.size
        async with aclosing(response.chunks.chunks) as chunks:  # type: ignore[type-var]
            try:
                async for chunk in chunks:
                    if self._transport.is_closing():
                        break
                    self._transport.write(chunk)
                    self.silent = 0
                    left -= len(chunk)
                    if self._writable is not None:
                        await self._writable
            except Exception:  # noqa: BLE001 -- the boundary to the outside: the client sees that the body ends early
                _log.exception("the body of an answer could not be read")
        if left:
            self._transport.abort()
        self._busy = False
        if not self._pending and (self._closing or self._server.stopping):
            self._transport.close()
        self._go_on()

    def _write(self, response: HttpResponse, method: str, keep_alive: bool) -> None:
        body = response.body
        closes = not keep_alive or self._server.stopping
        head = head_of(response.status, response.headers, len(body), closes=closes)
        if method == "HEAD" or response.status in BODILESS:
            body = b""
        # uvloop raises for a client that has gone for good, and whoever waits for the same flush comes after this.
        if not self._transport.is_closing():
            self._transport.write(b"".join((head, self._server.date(), b"\r\n", body)))

    def close_if_idle(self) -> None:
        """Close a connection that has no request in flight; another one closes after its answer."""
        if not self._busy:
            self._transport.close()

    def expire(self) -> None:
        """Close a connection that has been silent for too long, also in the middle of a body."""
        if self._stream is not None:
            self._transport.abort()
        else:
            self.close_if_idle()
