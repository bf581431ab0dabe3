"""The front door: sorts requests among those who answer them, and serves until it is told to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.gateway.answering import Durability, TakesStream
from penstock.gateway.http1 import HttpServer

Door: TypeAlias = Callable[[HttpRequest], Answering | None]
"""Answers a request, or None to leave it to the next door."""

_KNOWN_HOSTS: Final = 1000
_NOBODY: Final = HttpResponse(
    404, [("content-type", "application/json")], b'{"message":"Not Found"}'
)


@dataclass(frozen=True, slots=True)
class Entrance:
    """A door, and which requests it is there for: by the first component of the path, or by a part of the host's name.

    Without either it is there for every request of `methods`, or for every request at all.
    """

    door: Door
    segments: Sequence[str] = ()
    hosts: Sequence[str] = ()
    methods: Sequence[str] = ()

    def is_for(self, method: str, segment: str | None, host: str) -> bool:
        """Whether requests of this kind are shown to the door."""
        if self.methods and method not in self.methods:
            return False
        placed = segment in self.segments or any(part in host for part in self.hosts)
        return placed or not (self.segments or self.hosts)


async def _nobody() -> HttpResponse:
    return _NOBODY


class Gateway:
    """A list of entrances, and the server that leads to them.

    Which doors there are for a host, a method and a path's first component is found out once.
    """

    def __init__(
        self,
        entrances: Sequence[Entrance],
        durability: Durability,
        clock: Clock,
        max_body: int,
        takes_stream: TakesStream = lambda _: False,
    ) -> None:
        """`takes_stream` speaks for the last door."""
        self._entrances = entrances
        self._segments = {segment for each in entrances for segment in each.segments}
        self._by_host: dict[str, dict[tuple[str, str | None], list[Door]]] = {}
        self._takes_stream = takes_stream
        self._server = HttpServer(self.answer, durability, clock, max_body, self.takes_stream)

    def takes_stream(self, request: HttpRequest) -> bool:
        """Whether a request, of which only the header is there, is answered while its body comes in."""
        for door in self._doors(request)[:-1]:
            answer = door(request)
            if answer is not None:
                answer.close()
                return False
        return self._takes_stream(request)

    def answer(self, request: HttpRequest) -> Answering:
        """Hand the request to the first door that takes it."""
        for door in self._doors(request):
            answer = door(request)
            if answer is not None:
                return answer
        return _nobody()

    def _doors(self, request: HttpRequest) -> list[Door]:
        """The doors that there are for a request, in order."""
        host = request.headers.get("host") or ""
        known = self._by_host.get(host)
        if known is None:
            if len(self._by_host) >= _KNOWN_HOSTS:
                self._by_host.clear()
            known = self._by_host[host] = {}
        segment = request.path[1:].partition("/")[0] or None
        if segment not in self._segments:
            segment = None
        kind = (request.method, segment)
        doors = known.get(kind)
        if doors is None:
            doors = [each.door for each in self._entrances if each.is_for(*kind, host)]
            known[kind] = doors
        return doors

    async def serve(
        self,
        host: str,
        port: int,
        listening: Callable[[], Awaitable[None]],
        release: Callable[[], None],
    ) -> None:
        """Serve until SIGTERM or SIGINT; what is in flight is finished.

        `listening` is awaited once the port is open; `release` ends the requests that only wait. Raises OSError for a
        port that is in use.
        """
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._server.start(host, port)
            await listening()
            await stop.wait()
            release()
            await self._server.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
