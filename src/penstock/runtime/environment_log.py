"""The log of one environment: what its processes print, between the lines that Lambda writes itself."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final

from penstock.clock import SystemClock
from penstock.runtime.model import LogLine
from penstock.runtime.output import OutputReader

_TAIL: Final = 4096
_TAIL_SLACK: Final = 65_536


class EnvironmentLog:
    """`output` is the descriptor that processes print to; `on_output` is called when something is there to take."""

    def __init__(self, on_output: Callable[[], None]) -> None:
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._clock = SystemClock()
        self._lines: list[LogLine] = []
        self._tail = bytearray()
        read_end, self.output = os.pipe()
        os.set_blocking(read_end, False)
        self._reader: OutputReader | None = OutputReader(read_end)
        self.resume()

    def say(self, message: str) -> None:
        """Write a line of Lambda's own, after what was printed so far."""
        self._take([LogLine(self._clock.now(), message)])

    def collect(self, *, flush: bool = False) -> None:
        """Take what was printed; with `flush` also a last line that has no end yet."""
        if self._reader is not None:
            lines, _ = self._reader.drain(self._clock.now(), flush=flush)
            self._take(lines)

    def take_lines(self) -> list[LogLine]:
        """The log since the last call."""
        self.collect()
        lines, self._lines = self._lines, []
        return lines

    @property
    def tail(self) -> bytes:
        """The last 4 KB since `cut_tail`."""
        return bytes(self._tail[-_TAIL:])

    def cut_tail(self) -> None:
        """The tail begins here."""
        self._tail.clear()

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
        self._lines += lines
        for line in lines:
            self._tail += line.message[-_TAIL:].encode() + b"\n"
        if len(self._tail) > _TAIL_SLACK:
            del self._tail[:-_TAIL]
