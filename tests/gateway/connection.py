"""One HTTP connection without a socket: what goes in, which requests are seen, what comes out."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from penstock.api import HttpRequest, HttpResponse
from penstock.clock import VirtualClock
from penstock.gateway.answering import Durability
from penstock.gateway.http1 import HttpConnection, HttpServer
from penstock.storage.sqlite import SqliteStore

MAX_BODY = 1000
Seen = tuple[str, str, str, tuple[tuple[str, str], ...], bytes]


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def statuses(written: bytes) -> list[int]:
    """The status of every response, which must be nothing but responses, one behind the other."""
    found = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]*(\r\n|$)", head)
        assert match is not None
        found.append(int(match[1]))
        length = re.search(rb"content-length: (\d+)", head)
        written = written[int(length[1]) if length else 0 :]
    return found


async def exchange(pieces: Sequence[bytes]) -> tuple[list[Seen], list[int], bool]:
    """(the requests seen, the statuses answered, whether the connection was closed)"""
    seen: list[Seen] = []

    async def answer(request: HttpRequest) -> HttpResponse:
        fields = tuple(sorted(request.headers.items()))
        seen.append((request.method, request.path, request.query, fields, request.body))
        return HttpResponse(200, [], b"" if request.method == "HEAD" else b"ok")

    store = await SqliteStore.open(":memory:")
    durability = Durability(store, lambda _, error: HttpResponse(503, [], str(error).encode()))
    connection = HttpConnection(HttpServer(answer, durability, VirtualClock(), MAX_BODY))
    pipe = Pipe()
    connection.connection_made(pipe)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
        if pipe.closed:
            break
    for _ in range(200):
        await asyncio.sleep(0)
    await store.close()
    return seen, statuses(pipe.written), pipe.closed
