"""The front door: sorts requests among those who answer them, and serves until it is told to stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.gateway.answering import Durability, TakesStream
from penstock.gateway.http1 import HttpServer

Door = Callable[[HttpRequest], Answering | None]
"""Answers a request, or None to leave it to the next door."""

_NOBODY: Final = HttpResponse(
    404, [("content-type", "application/json")], b'{"message":"Not Found"}'
)


async def _nobody() -> HttpResponse:
    return _NOBODY


class Gateway:
    """A list of doors, tried in order, and the server that leads to them."""

    def __init__(
        self,
        doors: Sequence[Door],
        durability: Durability,
        clock: Clock,
        max_body: int,
        takes_stream: TakesStream = lambda _: False,
    ) -> None:
        """`takes_stream` speaks for the last door."""
        self.doors = doors
        self._takes_stream = takes_stream
        self._server = HttpServer(self.answer, durability, clock, max_body, self.takes_stream)

    def takes_stream(self, request: HttpRequest) -> bool:
        """Whether a request, of which only the header is there, is answered while its body comes in."""
        for door in self.doors[:-1]:
            answer = door(request)
            if answer is not None:
                answer.close()
                return False
        return self._takes_stream(request)

    def answer(self, request: HttpRequest) -> Answering:
        """Hand the request to the first door that takes it."""
        for door in self.doors:
            answer = door(request)
            if answer is not None:
                return answer
        return _nobody()

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
