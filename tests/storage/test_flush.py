"""Flushing in the background: by the kernel where it can, else by a thread."""

import asyncio
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.storage.sqlite import flush
from penstock.storage.sqlite.flush import Flusher


@pytest.fixture(params=["the best", "thread"])
def flusher(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Flusher]:
    """Opens a flusher of one kind."""
    if request.param == "thread":
        monkeypatch.setattr(flush.platform, "machine", lambda: "a machine of another kind")
    return Flusher


async def flushed(flusher: Flusher, descriptor: int) -> OSError | None:
    told: asyncio.Future[OSError | None] = asyncio.get_running_loop().create_future()
    flusher.flush(descriptor, told.set_result)
    return await asyncio.wait_for(told, 10)


async def test_tells_when_a_file_is_flushed(flusher: Callable[[], Flusher], tmp_path: Path) -> None:
    """Each flush is told of once, and leaves the next to the same flusher."""
    one = flusher()
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(b"x" * 10_000)
            assert await flushed(one, file.fileno()) is None
    one.close()


async def test_tells_why_a_file_is_not_flushed(
    flusher: Callable[[], Flusher], tmp_path: Path
) -> None:
    """A descriptor that is not open, and a file that cannot be flushed; then one that can."""
    one = flusher()
    error = await flushed(one, 10_000)
    assert error is not None
    assert error.errno == errno.EBADF
    reader, writer = os.pipe()
    error = await flushed(one, writer)
    assert error is not None
    assert error.errno == errno.EINVAL
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"x")
        assert await flushed(one, file.fileno()) is None
    one.close()
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux flushes by itself")
async def test_the_kernel_flushes_here(tmp_path: Path) -> None:
    """Where Linux can, no thread is started."""
    one = Flusher()
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"x")
        assert await flushed(one, file.fileno()) is None
    assert one._kernel is not None
    assert one._thread is None
    one.close()
