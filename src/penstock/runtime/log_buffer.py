"""Log lines on their way to the sink: at once when it is quiet, gathered when it is busy.

No answer waits for its log. One write takes all that came while the write before it rested; a stream that was not in
that write does not wait for the end of the rest, so that whoever calls a function finds its log. When functions print
faster than the sink writes, the buffer is `full`: whoever fills it stops to read, and the functions wait at their pipes.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeAlias

from penstock.clock import SystemClock, finished_by
from penstock.core.errors import PenstockError
from penstock.runtime.model import LogLine, LogSink

_log: Final = logging.getLogger("penstock.runtime")
# A rest is so many times as long as the write before it took, within these limits.
_REST_SHARE: Final = 20
_SHORTEST_REST_MS: Final = 20
_LONGEST_REST_MS: Final = 100
_MOST_HELD: Final = 8 * 1024 * 1024

Stream: TypeAlias = tuple[str, str, str, str]
"""Account, region, log group and log stream."""


@dataclass(slots=True)
class _Held:
    lines: list[LogLine]
    size: int
    """Characters of their messages."""


class LogBuffer:
    """See the module. `on_room` is called when the buffer was full and no longer is."""

    def __init__(self, sink: LogSink, on_room: Callable[[], None]) -> None:
        self._sink = sink
        self._on_room = on_room
        self._held = 0
        self._clock = SystemClock()
        self._pending: dict[Stream, _Held] = {}
        self._task: asyncio.Task[None] | None = None
        self._written: set[Stream] = set()
        """The streams that the last write was of."""
        self._rest: asyncio.Future[None] | None = None
        self._writing = asyncio.Lock()
        self._closing = False

    def add(self, stream: Stream, lines: Sequence[LogLine]) -> None:
        """Take lines of a function's log stream."""
        if not lines:
            return
        held = self._pending.get(stream)
        if held is None:
            held = self._pending[stream] = _Held([], 0)
        size = sum([len(line.message) for line in lines])
        held.lines += lines
        held.size += size
        self._held += size
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        elif self._rest is not None and stream not in self._written and not self._rest.done():
            self._rest.set_result(None)

    @property
    def full(self) -> bool:
        """Whether as much is held as should be."""
        return self._held >= _MOST_HELD

    async def flush(self) -> None:
        """Return when every line so far is with the sink."""
        await self._write()

    async def close(self) -> None:
        """Write what is left."""
        self._closing = True
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._pending:
            began = perf_counter()
            self._written = set(self._pending)
            await self._write()
            if self._closing:
                continue
            took = int((perf_counter() - began) * 1000 * _REST_SHARE)
            rest_ms = min(max(_SHORTEST_REST_MS, took), _LONGEST_REST_MS)
            self._rest = asyncio.get_running_loop().create_future()
            await finished_by(self._clock, self._rest, self._clock.now() + rest_ms)
            self._rest = None

    async def _write(self) -> None:
        async with self._writing:
            pending, self._pending = self._pending, {}
            for stream, held in pending.items():
                try:
                    await self._sink.write(*stream, held.lines)
                except PenstockError:
                    _log.exception("log lines of %s were lost", stream[2])
                was_full = self.full
                self._held -= held.size
                if was_full and not self.full:
                    self._on_room()
