"""Blobs as files named by their digest, shared by the engines of one machine."""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from penstock.core.errors import StoreFull, Unavailable

_INCOMING: Final = "incoming"


class FileBlob:
    """The Blob primitive on a folder: written beside, flushed, renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Folders whose own names are known to be on disk: at most 256.
        self._flushed: set[Path] = set()
        # What a crash left half written.
        shutil.rmtree(folder / _INCOMING, ignore_errors=True)

    def path(self, digest: str) -> Path:
        """The file that holds the bytes."""
        return self._folder / digest[:2] / digest[2:]

    async def put(self, data: bytes) -> str:
        """Keep `data`, durable on return; see `primitives.Blob`."""
        return await asyncio.to_thread(self._put, data)

    async def open(self, digest: str) -> bytes | None:
        """The bytes, or None; see `primitives.Blob`."""
        return await asyncio.to_thread(self._open, digest)

    async def read(self, digest: str, start: int, size: int) -> bytes | None:
        """Some of the bytes; see `primitives.Blob`."""
        return await asyncio.to_thread(self._read, digest, start, size)

    def write(self) -> "FileWriter":
        """A blob that comes in pieces; see `primitives.Blob`."""
        return FileWriter(self)

    async def delete(self, digest: str) -> None:
        """Forget the bytes; see `primitives.Blob`."""
        await asyncio.to_thread(self.path(digest).unlink, missing_ok=True)

    def discard(self, digest: str) -> None:
        """Forget the bytes before anything else happens; see `primitives.Blob`."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[list[str]]:
        """The names of all blobs, folder by folder; see `primitives.Blob`."""
        for number in range(256):
            prefix = f"{number:02x}"
            try:
                names = [path.name for path in (self._folder / prefix).iterdir()]
            except FileNotFoundError:
                continue
            yield [prefix + name for name in names if len(name) == 62]

    def clear(self) -> None:
        """Forget everything."""
        self._flushed.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def incoming(self) -> Path:
        """A folder on the same disk for what is not complete."""
        folder = self._folder / _INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def settle(self, beside: Path, digest: str) -> None:
        """Move a flushed file to its name, and bring that to disk."""
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            beside.unlink()
        else:
            beside.replace(path)
        # Also for a file that is there already: whoever renamed it may not have come this far.
        _flush(path.parent)
        if path.parent not in self._flushed:
            _flush(self._folder)
            _flush(self._folder.parent)
            self._flushed.add(path.parent)

    def _open(self, digest: str) -> bytes | None:
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def _read(self, digest: str, start: int, size: int) -> bytes | None:
        try:
            with self.path(digest).open("rb", buffering=0) as file:
                return os.pread(file.fileno(), size, start)
        except FileNotFoundError:
            return None

    def _put(self, data: bytes) -> str:
        writer = self.write()
        try:
            writer.take(data)
            writer.finish()
        finally:
            writer.drop()
        return writer.digest


class FileWriter:
    """A blob on its way to the disk. Its verbs block: call them from a thread, one after the other."""

    def __init__(self, blob: FileBlob) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._beside: Path | None = None

    @property
    def digest(self) -> str:
        """The digest of what was taken so far."""
        return self._hash.hexdigest()

    def take(self, data: bytes) -> None:
        """Append `data`. Raises StoreFull, Unavailable."""
        self._hash.update(data)
        try:
            if self._beside is None:
                # Each has a name of its own: the same bytes may be written twice at once.
                self._descriptor, name = tempfile.mkstemp(dir=self._blob.incoming())
                self._beside = Path(name)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _told(error) from error

    def finish(self) -> None:
        """Make the blob durable under its digest. Raises StoreFull, Unavailable."""
        if self._beside is None:
            self.take(b"")
        assert self._beside is not None
        try:
            os.fsync(self._descriptor)
            self._blob.settle(self._beside, self.digest)
        except OSError as error:
            raise _told(error) from error
        self._beside = None

    def drop(self) -> None:
        """Let go of the file; what was not finished is forgotten."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._beside is not None:
            self._beside.unlink(missing_ok=True)
            self._beside = None


def _told(error: OSError) -> StoreFull | Unavailable:
    if error.errno == 28:  # ENOSPC
        return StoreFull("the disk that holds the data folder is full; nothing was written")
    return Unavailable(f"the data folder cannot be written: {error}")


def _flush(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
