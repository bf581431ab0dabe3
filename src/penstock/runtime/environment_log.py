"""The log of one environment: what its processes print, between the lines that Lambda writes itself."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

from penstock.clock import SystemClock
from penstock.runtime.model import LOG_TAIL, LogLine
from penstock.runtime.output import OutputReader, in_order

_MOST_RECENT: Final = 65_536


class EnvironmentLog:
    """`output` is the descriptor that processes print to; `on_output` is called when something is there to collect."""

    def __init__(self, on_output: Callable[[], None]) -> None:
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._clock = SystemClock()
        self._lines: list[LogLine] = []
        self._latest = 0
        """The instant of the last line."""
        self._recent: list[str] = []
        self._recent_size = 0
        read_end, self.output = os.pipe()
        os.set_blocking(read_end, False)
        self._reader: OutputReader | None = OutputReader(read_end)
        self.resume()

    def say(self, *messages: str) -> None:
        """Write lines of Lambda's own, after what was collected so far."""
        now = max(self._clock.now(), self._latest)
        self._take([LogLine(now, f"{message}\n") for message in messages])

    def collect(self, *, flush: bool = False) -> None:
        """Take what was printed; with `flush` also a last line that has no end yet."""
        if self._reader is not None and self._reader.holds:
            now = max(self._clock.now(), self._latest)
            lines, _ = self._reader.drain(now, flush=flush)
            in_order(lines, self._latest, now)
            self._take(lines)

    def take_lines(self) -> list[LogLine]:
        """What was said and collected since the last call."""
        lines, self._lines = self._lines, []
        return lines

    @property
    def recent(self) -> Sequence[str]:
        """The messages since `begin`, or the last ones of many."""
        return tuple(self._recent)

    def begin(self) -> None:
        """An event begins, and what is `recent` with it."""
        self._recent = []
        self._recent_size = 0

    def pause(self) -> None:
        """Let what is printed wait in its pipe; whoever prints waits with it when that is full."""
        if self._reader is not None:
            self._loop.remove_reader(self._reader.fd)

    def resume(self) -> None:
        """Listen to what is printed."""
        if self._reader is not None:
            self._loop.add_reader(self._reader.fd, self._on_output)

    def close(self) -> None:
        """Take what is left, and listen no more."""
        self.collect(flush=True)
        if self._reader is not None:
            self._loop.remove_reader(self._reader.fd)
            os.close(self._reader.fd)
            os.close(self.output)
            self._reader = None

    def _take(self, lines: Sequence[LogLine]) -> None:
        if lines:
            self._latest = lines[-1].at
        self._lines += lines
        for line in lines:
            message = line.message
            self._recent.append(message if len(message) <= LOG_TAIL else message[-LOG_TAIL:])
            self._recent_size += len(message)
        if self._recent_size > _MOST_RECENT:
            self._drop_old()

    def _drop_old(self) -> None:
        """Keep of the recent messages what may be asked for."""
        size = 0
        for number, message in enumerate(reversed(self._recent), 1):
            size += len(message)
            if size >= LOG_TAIL:
                self._recent = self._recent[-number:]
                break
        self._recent_size = size
