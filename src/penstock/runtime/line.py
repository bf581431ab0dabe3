"""Who waits for a warm environment instead of starting one more.

Short events of a burst are done sooner by a few environments that take turns than by a new process for each, which costs
the machine tens of milliseconds. So when a function has as many environments as keep the machine busy, whoever comes
then stands in line. When the environments do not take turns within moments, because events last longer, there will be
twice as many of them, again and again until nobody waits.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

AT_ONCE: Final = max(4, 2 * (os.cpu_count() or 1))
"""So many environments of a function start without waiting."""
PATIENCE_S: Final = 0.1
"""How long they may take for a turn. Functions live in the machine's time, whatever clock the rest follows."""


class Line(Generic[T]):
    """The line of one kind of environment. `count` says how many of them there are, on their way or busy."""

    def __init__(self, count: Callable[[], int], patience_s: float = PATIENCE_S) -> None:
        self._count = count
        self._patience_s = patience_s
        self._waiting: deque[asyncio.Future[T | None]] = deque()
        self._given = 0
        """Environments that were handed on since the last look."""
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> "asyncio.Future[T | None]":
        """An environment, or None for whoever shall start one."""
        place: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        if self._timer is None:
            self._look_later()
        return place

    def hand_on(self, environment: T) -> bool:
        """Give an environment to the first in line; False if nobody waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(environment)
                self._given += 1
                return True
        return False

    def dissolve(self) -> None:
        """Let everybody start an environment, or hear why they cannot."""
        self._start(len(self._waiting))

    def _look_later(self) -> None:
        self._given = 0
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._look)

    def _look(self) -> None:
        self._timer = None
        there = self._count()
        if self._given < there or not there:
            self._start(max(there, 1))
        if self._waiting:
            self._look_later()

    def _start(self, most: int) -> None:
        while self._waiting and most:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                most -= 1
