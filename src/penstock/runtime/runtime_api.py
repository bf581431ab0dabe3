"""The Lambda Runtime and Extensions APIs over HTTP/1.1, one listener for each execution environment.

The protocol knows bytes and routes; what a call means in the environment's present state is `Calls`' to say.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, Protocol

import httptools

from penstock.runtime.model import Invocation

PREFIX: Final = "/2018-06-01/runtime/"
EXTENSION_PREFIX: Final = "/2020-01-01/extension/"
# AWS: what the Runtime Interface Emulator answers where there is no telemetry; extensions then go on without.
_WITHOUT: Final = {"/2020-08-15/logs": "Logs", "/2022-07-01/telemetry": "Telemetry"}
# AWS: what a function may answer, 6 MB and 100 bytes.
MAX_RESPONSE: Final = 6_291_556
_MAX_BUFFERED: Final = MAX_RESPONSE + 65_536
_INITIALS: Final = b"LlEe"
"""What the names of the fields begin with that mean something here."""
_ACCEPTED: Final = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
    b'Content-Length: 15\r\n\r\n{"status":"OK"}'
)
_REASONS: Final = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Payload Too Large",
    501: "Not Implemented",
}


def event_headers(event: Invocation, deadline_at: int) -> str:
    """What an event brings beside its payload, as header lines."""
    headers = (
        f"Lambda-Runtime-Aws-Request-Id: {event.request_id}\r\n"
        f"Lambda-Runtime-Deadline-Ms: {deadline_at}\r\n"
        f"Lambda-Runtime-Invoked-Function-Arn: {event.invoked_arn}\r\n"
    )
    # A sender may say anything (PutEvents, "TraceHeader"); a header cannot.
    if event.trace and event.trace.isascii() and event.trace.isprintable():
        headers += f"Lambda-Runtime-Trace-Id: {event.trace}\r\n"
    if event.client_context:
        headers += f"Lambda-Runtime-Client-Context: {event.client_context}\r\n"
    return headers


class Calls(Protocol):
    """What an environment does with each call. The answers are written to the connection that is given."""

    def on_next(self, connection: "Connection") -> None:
        """The runtime asks for an event; the answer may come much later."""
        ...

    def on_response(self, connection: "Connection", request_id: str, body: bytes) -> None:
        """The runtime has an event's result."""
        ...

    def on_error(self, connection: "Connection", request_id: str, body: bytes) -> None:
        """The runtime has an event's error document."""
        ...

    def on_init_error(self, connection: "Connection", body: bytes) -> None:
        """The runtime could not start the function."""
        ...

    def on_extension(self, connection: "Connection", action: str, body: bytes) -> None:
        """An extension calls: `register`, `event/next`, `init/error` or `exit/error`."""
        ...


class Endpoint:
    """Where an environment's processes reach the Runtime API: a port of TCP, and beside it a Unix socket on Linux."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []

    async def open(self, connect: Callable[[], "Connection"], secret: str) -> dict[str, str]:
        """Listen. Returns the variables that tell the processes where."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(connect, "127.0.0.1", 0)
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        variables = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"}
        if sys.platform == "linux":
            # It costs the kernel a third of what TCP does, for clients that know it. It is no file, so it is there in
            # the sandbox too; its name cannot be guessed.
            name = f"penstock/{port}/{secret}"
            self._servers.append(await loop.create_unix_server(connect, f"\0{name}"))
            variables["_PENSTOCK_RUNTIME_API"] = name
        return variables

    def close(self) -> None:
        """Take no more connections."""
        for server in self._servers:
            server.close()


class Connection(asyncio.Protocol):
    """One keep-alive connection of a runtime client."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self.headers: dict[bytes, str] = {}
        """Those of Lambda's own, by lower-case name."""
        self.body_size = 0
        self._accepted = b""
        """What is still to be said of a post."""
        self._waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._transport = None

    def data_received(self, data: bytes) -> None:  # noqa: D102
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            return
        # Who has asked for the next event already hears of the last one with it.
        if self._accepted and not self._waits and self._transport is not None:
            self._transport.write(self._accepted)
            self._accepted = b""

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        self._url = b""
        self._body = []
        self.headers = {}
        self.body_size = 0

    def on_url(self, url: bytes) -> None:
        """Parser: (a piece of) the path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field."""
        if name[:1] not in _INITIALS:
            return
        lower = name.lower()
        if lower.startswith(b"lambda-"):
            self.headers[lower] = value.decode("latin-1")
        elif lower == b"expect" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Parser: a piece of the body. More than any answer may have is counted, not kept."""
        self.body_size += len(body)
        if self.body_size <= _MAX_BUFFERED:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Parser: the request is whole."""
        method = self._parser.get_method()
        path = self._url.decode("latin-1")
        action = path[len(PREFIX) :] if path.startswith(PREFIX) else ""
        if method == b"GET" and action == "invocation/next":
            self._waits = True
            self._calls.on_next(self)
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if path.startswith(EXTENSION_PREFIX):
            self._calls.on_extension(self, path[len(EXTENSION_PREFIX) :], body)
        elif method == b"POST" and action:
            self._post(action, body)
        elif path in _WITHOUT:
            self._say_without(_WITHOUT[path])
        else:
            self._not_found()

    def _post(self, action: str, body: bytes) -> None:
        parts = action.split("/")
        if action == "init/error":
            self._calls.on_init_error(self, body)
        elif len(parts) == 3 and parts[0] == "invocation" and parts[2] == "response":
            self._calls.on_response(self, parts[1], body)
        elif len(parts) == 3 and parts[0] == "invocation" and parts[2] == "error":
            self._calls.on_error(self, parts[1], body)
        else:
            self._not_found()

    def _say_without(self, what: str) -> None:
        document = (
            f'{{"errorMessage":"{what} API is not supported","errorType":"{what}.NotSupported"}}'
        )
        self.answer(202, document.encode())

    def _not_found(self) -> None:
        self.refuse(404, "NotFound", "No such path in the Runtime API.")

    @property
    def is_open(self) -> bool:
        """Whether an answer can still be written."""
        return self._transport is not None and not self._transport.is_closing()

    def answer(self, status: int, body: bytes, headers: str = "") -> None:
        """Write a response. `headers` are whole lines, each with its CRLF."""
        if self._transport is None:
            return
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n"
        )
        self._transport.write(self._accepted + head.encode("latin-1") + body)
        self._accepted = b""
        self._waits = False

    def accept(self) -> None:
        """Say that a post was taken: at once, or with the next event if that was asked for in the same breath."""
        self._accepted = _ACCEPTED

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Say why not, as the Runtime API does."""
        self.answer(
            status, f'{{"errorMessage":"{message}","errorType":"{kind}"}}'.encode("latin-1")
        )

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
