"""What a function prints: a stream of lines, mixed with the records that AWS's Python client frames."""

import contextlib
import os
import select
from collections.abc import Sequence
from typing import Final

from penstock.runtime.model import LogLine

_FRAME: Final = b"\xa5\x5a\x00"
_HEADER: Final = 16
_CHUNK: Final = 65_536
_LONGEST: Final = 256 * 1024
# More than a pipe holds: what was printed before a drain began is read by it.
_READS: Final = 4


def in_order(lines: Sequence[LogLine], earliest: int, latest: int) -> None:
    """Correct the instants of lines that were read together: within these two, and none before one that it follows.

    What is printed has the instant of the look, which comes after all of it; a record has that of its making.
    """
    for line in reversed(lines):
        line.at = latest = max(min(line.at, latest), earliest)


class OutputReader:
    """Cuts the bytes of a log pipe into lines.

    A frame is a type of four bytes whose first are A5 5A 00 (A5 5A alone may be the end of one character and a `Z`), a
    length, a time in microseconds, and one message that may span lines. A line or message that is longer than 256 KB
    comes in pieces, so that little is held whatever a function prints.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._buffer = b""
        self._left = 0
        self._framed_at = 0

    @property
    def holds(self) -> bool:
        """Whether there is anything to drain. Most looks find nothing, and this is the cheapest one."""
        return bool(self._buffer) or bool(self._poll.poll(0))

    def drain(self, now: int, *, flush: bool = False) -> tuple[list[LogLine], bool]:
        """What is in the pipe, 256 KB at most, as lines of the instant `now`; and whether the pipe has ended.

        With `flush` also a last line that has no end yet, and what there is of a frame: its rest is not waited for.
        """
        ended = self._read()
        if not self._buffer:
            return [], ended
        return self._cut(now, flush=flush or ended), ended

    def _read(self) -> bool:
        """Take up what is in the pipe. Returns whether it has ended."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_READS):
                data = os.read(self.fd, _CHUNK)
                if not data:
                    return True
                self._buffer += data
                if len(data) < _CHUNK:
                    break
        return False

    def _cut(self, now: int, *, flush: bool) -> list[LogLine]:
        lines: list[LogLine] = []
        data = self._buffer
        at = 0
        while at < len(data):
            if self._left:
                size = min(self._left, _LONGEST)
                if len(data) - at < size and not flush:
                    break
                _add(lines, self._framed_at, data[at : at + size])
                at += size
                self._left -= size
                continue
            if data.startswith(_FRAME, at):
                if len(data) - at < _HEADER:
                    at = len(data) if flush else at
                    break
                self._left = int.from_bytes(data[at + 4 : at + 8], "big")
                self._framed_at = int.from_bytes(data[at + 8 : at + 16], "big") // 1000
                at += _HEADER
                continue
            end = data.find(b"\n", at)
            frame = data.find(_FRAME, at, end if end >= 0 else len(data))
            if frame >= 0:
                _add(lines, now, data[at:frame])
                at = frame
            elif end >= 0:
                _add(lines, now, data[at : end + 1])
                at = end + 1
            elif flush or len(data) - at > _LONGEST:
                _add(lines, now, data[at:])
                at = len(data)
            else:
                break
        self._buffer = data[at:]
        if flush:
            # Whoever was in the middle of a frame was stopped there: what follows is somebody else's.
            self._left = 0
        return lines


def _add(lines: list[LogLine], at: int, text: bytes) -> None:
    # AWS: an event keeps the line break at its end (recorded by LocalStack), and is never that alone.
    message = text.decode("utf-8", "replace")
    if message.strip("\n"):
        lines.append(LogLine(at, message))
