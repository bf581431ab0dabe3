"""What a function prints: a stream of lines, mixed with the records that AWS's Python client frames."""

import contextlib
import os
from typing import Final

from penstock.runtime.model import LogLine

_FRAME: Final = b"\xa5\x5a"
_HEADER: Final = 16
_CHUNK: Final = 65_536
_LONGEST_LINE: Final = 256 * 1024


class OutputReader:
    """Cuts the bytes of a log pipe into lines.

    A frame is a type whose first bytes are A5 5A (no UTF-8 text has them at the start of a character), a length, a
    time in microseconds, and one message that may span lines.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = b""

    def drain(self, now: int) -> tuple[list[LogLine], bool]:
        """Everything that is in the pipe, as lines of the instant `now`; and whether the pipe has ended."""
        ended = False
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self.fd, _CHUNK)
                if not data:
                    ended = True
                    break
                self._buffer += data
                if len(data) < _CHUNK:
                    break
        if not self._buffer:
            return [], ended
        return self._cut(now, flush=ended), ended

    def _cut(self, now: int, *, flush: bool) -> list[LogLine]:
        lines: list[LogLine] = []
        data = self._buffer
        at = 0
        while at < len(data):
            if data.startswith(_FRAME, at):
                end = at + _HEADER + int.from_bytes(data[at + 4 : at + 8], "big")
                if len(data) < min(at + _HEADER, end) or len(data) < end:
                    break
                micros = int.from_bytes(data[at + 8 : at + 16], "big")
                _add(lines, micros // 1000, data[at + _HEADER : end])
                at = end
                continue
            end = data.find(b"\n", at)
            frame = data.find(_FRAME, at, end if end >= 0 else len(data))
            if frame >= 0:
                _add(lines, now, data[at:frame])
                at = frame
            elif end >= 0:
                _add(lines, now, data[at:end])
                at = end + 1
            elif flush or len(data) - at > _LONGEST_LINE:
                _add(lines, now, data[at:])
                at = len(data)
            else:
                break
        self._buffer = data[at:]
        return lines


def _add(lines: list[LogLine], at: int, text: bytes) -> None:
    # AWS: an event has at least one character; the Python client joins the lines of a traceback by CR
    # where it does not frame.
    message = text.decode("utf-8", "replace").rstrip("\n").replace("\r", "\n")
    if message:
        lines.append(LogLine(at, message))
