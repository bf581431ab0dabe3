"""HTTP itself: granian hands over requests, the front door sorts them."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from granian.constants import Interfaces
from granian.server.embed import Server

from penstock.api import HttpRequest, HttpResponse

_log: Final = logging.getLogger("penstock.gateway")

Door = Callable[[HttpRequest], Awaitable[HttpResponse] | None]
"""Answers a request, or None to leave it to the next door."""

_JSON: Final = ("content-type", "application/json")
_TOO_LARGE: Final = HttpResponse(
    413,
    [_JSON],
    b'{"__type":"RequestEntityTooLargeException","message":"Request body is too large."}',
)


class Gateway:
    """The RSGI application: a list of doors, tried in order."""

    def __init__(self, doors: Sequence[Door], max_body: int) -> None:
        self._doors = doors
        self._max_body = max_body
        self._in_flight = 0
        self._drained = asyncio.Event()
        self._drained.set()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Serve one request."""
        if scope.proto != "http":
            protocol.close(403)
            return
        self._in_flight += 1
        self._drained.clear()
        try:
            request = await self._read(scope, protocol)
            response = _TOO_LARGE if request is None else await self.answer(request)
            protocol.response_bytes(response.status, response.headers, response.body)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._drained.set()

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Hand the request to the first door that takes it."""
        for door in self._doors:
            answer = door(request)
            if answer is not None:
                return await answer
        return HttpResponse(404, [_JSON], b'{"message":"Not Found"}')

    async def drained(self) -> None:
        """Return when no request is in flight."""
        await self._drained.wait()

    async def _read(self, scope: Any, protocol: Any) -> HttpRequest | None:
        headers = scope.headers
        length = headers.get("content-length")
        if length is not None:
            if int(length) > self._max_body:
                return None
            body = await protocol() if length != "0" else b""
        elif headers.get("transfer-encoding") is None and scope.http_version.startswith("1"):
            body = b""
        else:
            pieces = []
            size = 0
            async for piece in protocol:
                size += len(piece)
                if size > self._max_body:
                    return None
                pieces.append(piece)
            body = b"".join(pieces)
        path = scope.path
        # granian hands over the path decoded; an encoded slash cannot be told from a plain one.
        if path != "/":
            path = quote(path, safe="/-_.~")
        return HttpRequest(
            scope.method, path, scope.query_string, headers, body, scope.scheme, scope
        )


async def serve(
    gateway: Gateway,
    host: str,
    port: int,
    listening: Callable[[], Awaitable[None]],
    release: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; what is in flight is finished.

    `listening` is awaited once the port is open; `release` ends the requests that only wait. Raises OSError for a
    port that is in use.
    """
    _check_free(host, port)
    server = Server(
        gateway,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        log_enabled=False,
        backlog=4096,
        runtime_threads=1,
    )
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    started = asyncio.Event()
    server.on_startup(started.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(server.serve())
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait(
            {serving, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        if not serving.done():
            await listening()
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        release()
        server.stop()  # type: ignore[no-untyped-call]
        await serving
        await gateway.drained()
    finally:
        stop.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _check_free(host: str, port: int) -> None:
    """Granian shares its port with whoever else does: two servers would take turns."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f"{host} port {port}: {error.strerror}") from error
