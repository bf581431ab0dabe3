"""The only place where time comes from.

Everything below the loops takes `now` (int milliseconds since the epoch) as an argument. Loops hold a `Clock`, so
a `VirtualClock` moves the whole system.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol


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


_CALM_TURNS: Final = 16
_LOOK_AGAIN_S: Final = 0.0005
Settle = Callable[[], Awaitable[None]]
"""Returns when all work that the last wake-up began is done."""


class SteeredClock:
    """The machine's clock until it is frozen. Then time stands still, moves by `advance`, and flows again at `resume`."""

    def __init__(self, ahead: int = 0) -> None:
        self._machine = SystemClock()
        self._ahead = ahead
        """What was advanced, less what stood still (ms)."""
        self._frozen_at: int | None = None
        self._order = itertools.count()
        self._sleepers: set[_Sleeper] = set()

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._frozen_at is not None

    @property
    def ahead(self) -> int:
        """How far this clock is before the machine's (ms); negative behind it."""
        return self.now() - self._machine.now()

    def now(self) -> int:
        """The present instant."""
        if self._frozen_at is not None:
            return self._frozen_at
        # The machine's clock, without a call: every request asks.
        return time.time_ns() // 1_000_000 + self._ahead

    async def sleep_until(self, at: int) -> None:
        """Wait until this clock reaches `at`."""
        if at <= self.now():
            await asyncio.sleep(0)
            return
        sleeper = _Sleeper(at, next(self._order))
        self._sleepers.add(sleeper)
        try:
            if self._frozen_at is None:
                sleeper.set_timer(at - self.now())
            await sleeper.woken
        finally:
            sleeper.stop_timer()
            self._sleepers.discard(sleeper)

    def freeze(self) -> None:
        """Let time stand still."""
        if self._frozen_at is None:
            self._frozen_at = self.now()
            for sleeper in self._sleepers:
                sleeper.stop_timer()

    def resume(self) -> None:
        """Let time flow again, from where it stands."""
        if self._frozen_at is not None:
            self._ahead = self._frozen_at - self._machine.now()
            self._frozen_at = None
            for sleeper in self._sleepers:
                sleeper.set_timer(sleeper.at - self.now())

    async def advance(self, milliseconds: int, settle: Settle) -> None:
        """Move frozen time forward, waking sleepers in order, one instant's work done before the next begins."""
        assert self._frozen_at is not None
        end = self._frozen_at + milliseconds
        await settle()
        while self._frozen_at is not None:
            due = min(self._sleepers, key=_Sleeper.place, default=None)
            if due is None or due.at > end:
                self._frozen_at = end
                break
            self._frozen_at = max(self._frozen_at, due.at)
            self._sleepers.discard(due)
            due.wake()
            await settle()
        await settle()


class _Sleeper:
    """Who waits for an instant."""

    def __init__(self, at: int, order: int) -> None:
        self.at = at
        self._order = order
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    def place(self) -> tuple[int, int]:
        """Who is woken first: the earlier, and of two the one that came first."""
        return self.at, self._order

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    def set_timer(self, milliseconds: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0, milliseconds) / 1000, self.wake)

    def stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class VirtualClock(SteeredClock):
    """A clock that is frozen from the beginning."""

    def __init__(self, start: int = 1_700_000_000_000) -> None:
        super().__init__()
        self._frozen_at = start


async def finished_by(clock: Clock, task: "asyncio.Future[Any]", at: int) -> bool:
    """Wait for `task` until `at` at the latest. Returns whether it is done; it is left running when not."""
    timer: asyncio.Future[Any] = asyncio.ensure_future(clock.sleep_until(at))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return task.done()


async def quiet(idle: Callable[[], bool]) -> None:
    """Return when `idle()` has held for some turns of the event loop: a wake-up takes a few to reach who it is for."""
    calm = 0
    while calm < _CALM_TURNS:
        calm = calm + 1 if idle() else 0
        await asyncio.sleep(0 if calm else _LOOK_AGAIN_S)
