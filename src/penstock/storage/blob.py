"""Blobs as files named by their digest, shared by the engines of one machine."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from penstock.core.errors import StoreFull, Unavailable


class FileBlob:
    """The Blob primitive on a folder: written beside, flushed, renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Folders whose own names are known to be on disk: at most 256.
        self._flushed: set[Path] = set()

    def path(self, digest: str) -> Path:
        """The file that holds the bytes."""
        return self._folder / digest[:2] / digest[2:]

    async def put(self, data: bytes) -> str:
        """Keep `data`, durable on return; see `primitives.Blob`."""
        return await asyncio.to_thread(self._put, data)

    async def open(self, digest: str) -> bytes | None:
        """The bytes, or None; see `primitives.Blob`."""
        return await asyncio.to_thread(self._open, digest)

    async def delete(self, digest: str) -> None:
        """Forget the bytes; see `primitives.Blob`."""
        await asyncio.to_thread(self.path(digest).unlink, missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        self._flushed.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, digest: str) -> bytes | None:
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def _put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _write(path, data)
            # Also for a file that is there already: whoever renamed it may not have come this far.
            _flush(path.parent)
            if path.parent not in self._flushed:
                _flush(self._folder)
                _flush(self._folder.parent)
                self._flushed.add(path.parent)
        except OSError as error:
            if error.errno == 28:  # ENOSPC
                raise StoreFull(
                    "the disk that holds the data folder is full; nothing was written"
                ) from error
            raise Unavailable(f"the data folder cannot be written: {error}") from error
        return digest


def _write(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it, and move it there. Leaves nothing behind when that fails."""
    # Each put has a name of its own: the same bytes may be put twice at once.
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _flush(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
