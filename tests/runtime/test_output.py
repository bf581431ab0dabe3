"""A function's output, cut into lines."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from penstock.runtime.model import LogLine
from penstock.runtime.output import OutputReader, in_order

PIECE = 256 * 1024


@pytest.fixture
def pipe() -> Iterator[tuple[OutputReader, int]]:
    """A reader, and the descriptor that a function would write to."""
    ours, theirs = os.pipe()
    for fd in (ours, theirs):
        os.set_blocking(fd, False)
    yield OutputReader(ours), theirs
    os.close(ours)
    os.close(theirs)


def frame(size: int, micros: int) -> bytes:
    return b"\xa5\x5a\x00\x03" + size.to_bytes(4, "big") + micros.to_bytes(8, "big")


def test_frame_that_arrives_in_pieces(pipe: tuple[OutputReader, int]) -> None:
    """A message of several lines stays one event, however the pipe cuts it, and has its own time."""
    reader, fd = pipe
    whole = b"before\n" + frame(9, 5_000) + b"one\ntwo\r\n" + b"after\n"
    lines: list[LogLine] = []
    for at in range(len(whole)):
        os.write(fd, whole[at : at + 1])
        lines += reader.drain(7)[0]
    assert [LogLine(7, "before\n"), LogLine(5, "one\ntwo\r\n"), LogLine(7, "after\n")] == lines


def test_frame_of_any_length_is_handed_on_in_pieces(pipe: tuple[OutputReader, int]) -> None:
    """A function that announces 4 GB must not make the server keep 4 GB."""
    reader, fd = pipe
    os.write(fd, frame(2**32 - 1, 1_000))
    lines: list[LogLine] = []
    for _ in range(32):
        os.write(fd, b"x" * 32_768)
        lines += reader.drain(7)[0]
    assert [PIECE] * 4 == [len(line.message) for line in lines]


def test_one_turn_reads_a_bounded_amount(pipe: tuple[OutputReader, int]) -> None:
    """A function that never stops to print must not keep the server from everything else."""
    reader, fd = pipe
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4 * PIECE)
    os.write(fd, b"x\n" * PIECE)
    lines, ended = reader.drain(7)
    assert (PIECE // 2, False) == (len(lines), ended)


def test_text_with_the_bytes_of_a_mark(pipe: tuple[OutputReader, int]) -> None:
    """A character that ends with A5 and a Z behind it are text."""
    reader, fd = pipe
    os.write(fd, "¥Zero and then\nmore\nåZ\n".encode() + frame(4, 5_000) + b"told")
    lines, _ = reader.drain(7)
    assert [
        LogLine(7, "¥Zero and then\n"),
        LogLine(7, "more\n"),
        LogLine(7, "åZ\n"),
        LogLine(5, "told"),
    ] == lines


@pytest.mark.parametrize("begun", [frame(500_000, 5_000) + b"so far", frame(9, 5_000)[:11]])
def test_frame_that_is_never_finished(pipe: tuple[OutputReader, int], begun: bytes) -> None:
    """What was stopped in the middle of a frame does not take along what the next process prints."""
    reader, fd = pipe
    os.write(fd, begun)
    reader.drain(7, flush=True)
    os.write(fd, b"next\n")
    assert ([LogLine(8, "next\n")], False) == reader.drain(8)


def test_lines_keep_their_order_in_time() -> None:
    """Prints have the instant of a look, records one of their own: sorted by it, a log must read as it was written."""
    read = [
        LogLine(9, "print\n"),
        LogLine(5, "record\n"),
        LogLine(9, "print\n"),
        LogLine(7, "late\n"),
    ]
    in_order(read, 6, 8)
    assert [6, 6, 7, 7] == [line.at for line in read]
    assert ["print\n", "record\n", "print\n", "late\n"] == [line.message for line in read]
