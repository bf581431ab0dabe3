"""The only place where time comes from.

Everything below the loops takes `now` (int milliseconds since the epoch) as an argument. Loops hold a `Clock`, so
a `VirtualClock` moves the whole system.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Clock(Protocol):
    """Tells the time and waits for it. Instants are int milliseconds since the epoch."""

    def now(self) -> int:
        """The present instant."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return at `at` or, when it has passed, after giving other tasks a turn."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """The present instant, by the machine's wall clock."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, at: int) -> None:
        """Sleep by the event loop's timer."""
        await asyncio.sleep(max(0, at - self.now()) / 1000)


class VirtualClock:
    """A clock that stands still until `advance` moves it from deadline to deadline."""

    def __init__(self, start: int = 1_700_000_000_000) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now(self) -> int:
        """The instant that `advance` has reached."""
        return self._now

    async def sleep_until(self, at: int) -> None:
        """Wait until `advance` reaches `at`."""
        if at <= self._now:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._order), future))
        await future

    async def advance(self, milliseconds: int, settle: Callable[[], Awaitable[None]]) -> None:
        """Move time forward, waking sleepers in order; `settle` returns when all work they began is done."""
        end = self._now + milliseconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not future.done():
                future.set_result(None)
                await settle()
        self._now = end
        await settle()


async def finished_by(clock: Clock, task: "asyncio.Future[Any]", at: int) -> bool:
    """Wait for `task` until `at` at the latest. Returns whether it is done; it is left running when not."""
    timer: asyncio.Future[Any] = asyncio.ensure_future(clock.sleep_until(at))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return task.done()
