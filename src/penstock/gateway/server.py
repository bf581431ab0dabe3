"""The front door: sorts requests among those who answer them, and serves until it is told to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.gateway.answering import Durability, TakesStream
from penstock.gateway.http1 import HttpServer

Door: TypeAlias = Callable[[HttpRequest], Answering | None]
"""Answers a request, or None to leave it to the next door."""

_KNOWN_KINDS: Final = 1000
_NOBODY: Final = HttpResponse(
    404, [("content-type", "application/json")], b'{"message":"Not Found"}'
)


class Kind(NamedTuple):
    """What of a request decides which doors there are for it."""

    method: str
    segment: str | None
    """The first component of the path, if there are doors that ask for it."""
    host: str | None
    crosses: bool
    """Whether a page of another origin sends it."""
    is_form: bool
    """Whether it is an HTML form with files."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """A door, and which requests it is there for: by the first component of the path, or by a part of the host's name.

    Without either it is there for every request of `methods`, or for every request at all.
    """

    door: Door
    segments: Sequence[str] = ()
    hosts: Sequence[str] = ()
    methods: Sequence[str] = ()
    forms: bool = False
    """Only HTML forms with files."""
    crossing: bool = False
    """Only requests that pages of other origins send; all of these, so that there is no door behind it for them."""

    def is_for(self, kind: Kind) -> bool:
        """Whether requests of this kind are shown to the door."""
        if self.methods and kind.method not in self.methods:
            return False
        if (self.forms and not kind.is_form) or (self.crossing and not kind.crosses):
            return False
        host = kind.host or ""
        placed = kind.segment in self.segments or any(part in host for part in self.hosts)
        return placed or not (self.segments or self.hosts)


async def _nobody() -> HttpResponse:
    return _NOBODY


class Gateway:
    """A list of entrances, and the server that leads to them.

    Which doors there are for a kind of request is found out once.
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
        self._by_kind: dict[tuple[str, str | None, str | None, bool, bool], list[Door]] = {}
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
        headers = request.headers
        segment = None
        if request.path != "/":
            segment = request.path[1:].partition("/")[0]
            if segment not in self._segments:
                segment = None
        kind = (
            request.method,
            segment,
            headers.get("host"),
            headers.get("origin") is not None,
            (headers.get("content-type") or "").startswith("multipart/form-data"),
        )
        doors = self._by_kind.get(kind)
        if doors is None:
            if len(self._by_kind) >= _KNOWN_KINDS:
                self._by_kind.clear()
            doors = self._by_kind[kind] = self._find(Kind(*kind))
        return doors

    def _find(self, kind: Kind) -> list[Door]:
        doors = []
        for entrance in self._entrances:
            if entrance.is_for(kind):
                doors.append(entrance.door)
                if entrance.crossing:
                    break
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
