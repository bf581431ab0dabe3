"""What blobs leave on the disk."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from penstock.core.errors import StoreFull, Unavailable
from penstock.storage.blob import FileBlob

OPEN = Path("/proc/self/fd")


def open_files() -> int:
    """How many descriptors this process has, where the system tells."""
    return len(list(OPEN.iterdir())) if OPEN.exists() else 0


def test_failed_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-written files would fill the disk further, and nobody would ever look for them."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = open_files()
    blob = FileBlob(tmp_path / "blobs")
    for _ in range(3):
        with pytest.raises(StoreFull):
            blob._put(b"data")
    assert [] == [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert before == open_files()


def test_new_folders_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob whose folder's name is not on disk is lost with the power."""
    flushed: list[str] = []
    flush = os.fsync

    def record(descriptor: int) -> None:
        flushed.append(str((OPEN / str(descriptor)).readlink()))
        flush(descriptor)

    if not OPEN.exists():
        pytest.skip("needs to see which file a descriptor is of")
    monkeypatch.setattr(os, "fsync", record)
    blob = FileBlob(tmp_path / "blobs")
    digest = asyncio.run(blob.put(b"data"))
    folder = blob.path(digest).parent
    assert {str(folder), str(tmp_path / "blobs"), str(tmp_path)} <= set(flushed)


def test_put_where_nothing_can_be(tmp_path: Path) -> None:
    """A data folder that is a file is an error that storage knows."""
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(Unavailable):
        asyncio.run(FileBlob(tmp_path / "blobs").put(b"data"))
