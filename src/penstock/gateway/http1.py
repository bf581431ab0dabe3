"""HTTP/1.1 on the event loop: bytes become requests, responses become bytes.

httptools parses; this module keeps what surrounds the parser right: one request at a time on a connection, keep-alive,
`Expect: 100-continue`, limits on header and body, and an orderly end.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from types import coroutine
from typing import Any, Final, cast

import httptools

from penstock.api import Answering, Headers, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.storage.primitives import Store

_log: Final = logging.getLogger("penstock.gateway")

Answerer = Callable[[HttpRequest], Answering]


@dataclass(frozen=True, slots=True)
class Durability:
    """What every answer waits for, and the answer to a request whose effects were lost on the way there."""

    store: Store
    unavailable: Callable[[HttpRequest, Exception], HttpResponse]


MAX_HEADER: Final = 64 * 1024
"""Bytes of request line and header fields, as most servers allow."""
_IDLE_MS: Final = 75_000
_SWEEPS: Final = 3
"""How often within that time connections are looked at."""
_PIPELINED: Final = 16
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
_ORIGIN: Final = re.compile("https?://[^/]*", re.IGNORECASE)
"""What stands before the path when a client takes us for a proxy."""
_LENGTH_NAMES: Final = frozenset({"content-length", "Content-Length"})
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON: Final = ("content-type", "application/json")
_BAD: Final = HttpResponse(400, [_JSON], b'{"message":"Bad Request"}')
_TOO_LARGE: Final = HttpResponse(
    413,
    [_JSON],
    b'{"__type":"RequestEntityTooLargeException","message":"Request body is too large."}',
)
_HEADER_TOO_LARGE: Final = HttpResponse(431, [_JSON], b'{"message":"Request header is too large."}')
_FAULT: Final = HttpResponse(500, [_JSON], b'{"message":"Internal server error"}')


class Fields(dict[str, str]):
    """Header fields by lower-case name; `items` also tells the fields that came more than once."""

    __slots__ = ("repeated",)

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[tuple[str, str]] = []

    def items(self) -> Any:
        """Every field, in the order of first appearance."""
        return [*super().items(), *self.repeated] if self.repeated else super().items()


@lru_cache(maxsize=1024)
def _lower(name: bytes) -> str:
    """A field's name as text: clients use the same few over and over."""
    return name.decode("latin-1").lower()


@lru_cache(maxsize=100)
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"


def _on_one_line(field: tuple[str, str]) -> str:
    """A field whose value must not become a field of its own by a line break."""
    name, value = field
    return f"{name}: {value.replace(chr(13), ' ').replace(chr(10), ' ')}\r\n"


def _is_ambiguous(fields: Fields) -> bool:
    """Whether two readers could see different requests in this header."""
    coding = fields.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        return True
    return bool(fields.repeated) and any(name == "host" for name, _ in fields.repeated)


@coroutine
def _resumed(work: Answering, waiting: Any) -> Generator[Any, Any, HttpResponse]:
    """The rest of a coroutine that has run until it waits for `waiting`."""
    try:
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # noqa: BLE001 -- whatever is thrown in belongs to the coroutine
                waiting = work.throw(error)
            else:
                waiting = work.send(value)
    except StopIteration as done:
        response: HttpResponse = done.value
        return response


class HttpServer:
    """Listens, and hands each request to `answer`."""

    def __init__(
        self, answer: Answerer, durability: Durability, clock: Clock, max_body: int
    ) -> None:
        self.answer = answer
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
                    connection.close_if_idle()


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
        "_parser",
        "_pending",
        "_pieces",
        "_refusal",
        "_server",
        "_size",
        "_task",
        "_transport",
        "_url",
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
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._fields = Fields()
        self._header_size = 0
        self._in_header = False
        self._body = b""
        self._pieces: list[bytes] | None = None
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen to a client."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone. What it asked for is carried out all the same, as AWS does."""
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; answer what cannot be parsed."""
        if self._closing:
            return
        self.silent = 0
        in_header = self._in_header
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._enqueue(self._refusal or _BAD, keep_alive=False)
        else:
            if in_header and self._in_header:
                # One more packet, and still no whole header.
                self._header_size += len(data)
                if self._header_size > MAX_HEADER:
                    self._enqueue(_HEADER_TOO_LARGE, keep_alive=False)
        self._go_on()

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        self._in_header = True

    def on_url(self, url: bytes) -> None:
        """Parser: a piece of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field, or one behind a chunked body."""
        if not self._in_header:
            # What comes last must not change what was asked, and is not kept.
            self._header_size += len(name) + len(value)
            if self._header_size > MAX_HEADER:
                self._refuse(_HEADER_TOO_LARGE)
            return
        key = _lower(name)
        fields = self._fields
        if key in fields:
            fields.repeated.append((key, value.decode("latin-1")))
        else:
            fields[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Parser: the body follows, if there is one."""
        self._in_header = False
        self._header_size = 0
        fields = self._fields
        if _is_ambiguous(fields) or (
            "host" not in fields and self._parser.get_http_version() == "1.1"
        ):
            self._refuse(_BAD)
        length = fields.get("content-length")
        if length is not None and int(length) > self._server.max_body:
            self._refuse(_TOO_LARGE)
        if "expect" in fields and fields["expect"].lower() == "100-continue" and not self._busy:
            self._transport.write(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Parser: a piece of the body."""
        self._size += len(piece)
        if self._size > self._server.max_body:
            self._refuse(_TOO_LARGE)
        if not self._body:
            self._body = piece
        elif self._pieces is None:
            self._pieces = [self._body, piece]
        else:
            self._pieces.append(piece)

    def _refuse(self, answer: HttpResponse) -> None:
        """Stop to read: an error raised in a callback ends the parser's run."""
        self._refusal = answer
        raise ValueError

    def _decline(self, rest: bytes) -> None:
        """Read a request that would rather have another protocol as if it had not said so.

        The parser stops behind its header, so a parser of its own gets the header once more, without the wish.
        """
        if self._parser.get_method() == b"CONNECT":
            self._enqueue(_BAD, keep_alive=False)
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
        path, _, query = self._url.decode("latin-1").partition("?")
        if path[:4] == "http":
            path = _ORIGIN.sub("", path)
        request = HttpRequest(
            self._parser.get_method().decode(),
            path or "/",
            query,
            cast(Headers, self._fields),
            self._body if self._pieces is None else b"".join(self._pieces),
            "http",
            self,
        )
        keep_alive = self._parser.should_keep_alive()
        self._reset()
        self._enqueue(request, keep_alive=keep_alive)

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
            waiting = work.send(None)
        except StopIteration as done:
            self._deliver(done.value, request, keep_alive, since)
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            self._deliver(_FAULT, request, keep_alive, since)
        else:
            rest = self._finish(_resumed(work, waiting), request, keep_alive, since)
            self._task = asyncio.get_running_loop().create_task(rest)

    async def _finish(
        self, work: Awaitable[HttpResponse], request: HttpRequest, keep_alive: bool, since: int
    ) -> None:
        try:
            response = await work
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            response = _FAULT
        self._deliver(response, request, keep_alive, since)

    def _deliver(
        self, response: HttpResponse, request: HttpRequest, keep_alive: bool, since: int
    ) -> None:
        """Answer once everything that the response may speak of is on disk."""
        durability = self._server.durability

        def told(error: Exception | None) -> None:
            answer = response if error is None else durability.unavailable(request, error)
            self._reply(answer, request.method, keep_alive)
            self._go_on()

        durability.store.when_durable(since, told)

    def _reply(self, response: HttpResponse, method: str, keep_alive: bool) -> None:
        self._write(response, method, keep_alive)
        self._busy = False
        if not self._pending and (self._closing or self._server.stopping):
            self._transport.close()

    def _write(self, response: HttpResponse, method: str, keep_alive: bool) -> None:
        status, body = response.status, response.body
        head = _status_line(status)
        sized = status in _BODILESS
        for name, value in response.headers:
            if name in _LENGTH_NAMES:
                sized = True
            head += f"{name}: {value}\r\n"
        if head.count("\n") > len(response.headers) + 1 or head.count("\r") > head.count("\n"):
            head = _status_line(status) + "".join(map(_on_one_line, response.headers))
        if not sized:
            head += f"content-length: {len(body)}\r\n"
        if not keep_alive or self._server.stopping:
            head += "connection: close\r\n"
        try:
            data = head.encode("latin-1")
        except UnicodeEncodeError:
            data = head.encode()
        if method == "HEAD" or status in _BODILESS:
            body = b""
        # Writing to a client that has gone is a no-op.
        self._transport.write(b"".join((data, self._server.date(), b"\r\n", body)))

    def close_if_idle(self) -> None:
        """Close a connection that has no request in flight; another one closes after its answer."""
        if not self._busy:
            self._transport.close()
