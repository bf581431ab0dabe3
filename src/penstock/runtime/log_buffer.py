"""Log lines on their way to the sink: at once when it is quiet, gathered when it is busy.

No answer waits for its log. One write takes all that came while the write before it rested. When functions print
faster than the sink writes, the buffer is `full`: whoever fills it stops to read, and the functions wait at their pipes.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from penstock.clock import SystemClock
from penstock.core.errors import PenstockError
from penstock.runtime.model import FunctionSpec, LogLine, LogSink

_log: Final = logging.getLogger("penstock.runtime")
_REST_MS: Final = 20
_MOST_HELD: Final = 8 * 1024 * 1024

_Stream: TypeAlias = tuple[str, str, str, str]


class LogBuffer:
    """See the module. `on_room` is called when the buffer was full and no longer is."""

    def __init__(self, sink: LogSink, on_room: Callable[[], None]) -> None:
        self._sink = sink
        self._on_room = on_room
        self._held = 0
        self._clock = SystemClock()
        self._pending: dict[_Stream, list[LogLine]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, spec: FunctionSpec, stream: str, lines: Sequence[LogLine]) -> None:
        """Take lines of a function's log stream."""
        if not lines:
            return
        key = (spec.account, spec.region, spec.log_group, stream)
        self._pending.setdefault(key, []).extend(lines)
        self._held += _size(lines)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    @property
    def full(self) -> bool:
        """Whether as much is held as should be."""
        return self._held >= _MOST_HELD

    async def flush(self) -> None:
        """Return when every line so far is with the sink."""
        while self._pending:
            await self._write()

    async def close(self) -> None:
        """Write what is left."""
        if self._task is not None:
            self._task.cancel()
        await self.flush()

    async def _run(self) -> None:
        while self._pending:
            await self._write()
            await self._clock.sleep_until(self._clock.now() + _REST_MS)

    async def _write(self) -> None:
        pending, self._pending = self._pending, {}
        for key, lines in pending.items():
            try:
                await self._sink.write(*key, lines)
            except PenstockError:
                _log.exception("log lines of %s were lost", key[2])
            was_full = self.full
            self._held -= _size(lines)
            if was_full and not self.full:
                self._on_room()


def _size(lines: Sequence[LogLine]) -> int:
    return sum(len(line.message) for line in lines)
