"""A time limit that is set and lifted for every event, and hardly ever reached."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

# What the loop's timers, which count milliseconds, may ring too early.
_EARLY_S: Final = 0.001


class Deadline:
    """Calls `on_over` when the time is over.

    The loop's timer is left as it is when the limit is lifted, and where it rings early enough for the next one: nearly
    every event ends long before its time.
    """

    def __init__(self, on_over: Callable[[], None]) -> None:
        self._on_over = on_over
        self._loop = asyncio.get_running_loop()
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether time is running."""
        return self._due is not None

    def set(self, milliseconds: int) -> None:
        """Allow so long from now on."""
        self._due = perf_counter() + milliseconds / 1000
        if self._timer is None or self._rings_at > self._due:
            self._ring_at(self._due, milliseconds / 1000)

    def lift(self) -> None:
        """Allow any time."""
        self._due = None

    def close(self) -> None:
        """Let go of the timer."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring_at(self, at: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left = self._due - perf_counter()
        if left > _EARLY_S:
            self._ring_at(self._due, left)
        else:
            self._due = None
            self._on_over()
