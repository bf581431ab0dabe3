"""Log lines on their way to the sink: at once when it is quiet, gathered when it is busy.

No answer waits for its log. One write takes all that came while the write before it rested.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, TypeAlias

from penstock.clock import SystemClock
from penstock.core.errors import PenstockError
from penstock.runtime.model import FunctionSpec, LogLine, LogSink

_log: Final = logging.getLogger("penstock.runtime")
_REST_MS: Final = 20

_Stream: TypeAlias = tuple[str, str, str, str]


class LogBuffer:
    """See the module."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink
        self._clock = SystemClock()
        self._pending: dict[_Stream, list[LogLine]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, spec: FunctionSpec, stream: str, lines: Sequence[LogLine]) -> None:
        """Take lines of a function's log stream."""
        if not lines:
            return
        key = (spec.account, spec.region, spec.log_group, stream)
        self._pending.setdefault(key, []).extend(lines)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

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
