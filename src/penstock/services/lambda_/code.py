"""Deployment packages: checked when they arrive, kept as blobs, unpacked once on each machine.

The folder of a package is named by its digest and appears whole or not at all.
"""

import asyncio
import base64
import io
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from penstock.api import Context, Dispatcher, refuse
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.lambda_.configuration import invalid
from penstock.storage.primitives import Store

# AWS: Lambda quotas, "deployment package (.zip file archive) size".
MAX_ZIPPED: Final = 52_428_800
MAX_UNZIPPED: Final = 262_144_000
_UNREADABLE: Final = (
    "Could not unzip uploaded file. Please check your file, then try to upload again."
)
# What zipfile raises for bytes that are no archive, that are damaged, encrypted, or packed in a way it does not know.
_DAMAGES: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    ValueError,
)


class CodeStore:
    """`folder` holds the unpacked packages."""

    def __init__(self, store: Store, dispatcher: Dispatcher, ids: Ids, folder: Path) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._ids = ids
        self._folder = folder
        self._unpacking: dict[str, asyncio.Future[Path]] = {}

    async def accept(self, ctx: Context, code: dict[str, Any]) -> tuple[str, int]:
        """Take the package that a request brings or points to. Returns its digest (hex SHA-256) and size in bytes."""
        for name in ("ImageUri", "S3ObjectVersion", "SourceKMSKeyArn"):
            if code.get(name):
                raise refuse(f"Lambda's {name}")
        if code.get("S3ObjectStorageMode", "COPY") != "COPY":
            raise refuse("Lambda's S3ObjectStorageMode REFERENCE")
        package = code.get("ZipFile")
        if package is not None:
            if len(package) > MAX_ZIPPED:
                raise AwsError(
                    "RequestTooLargeException",
                    f"Zipped size must be smaller than {MAX_ZIPPED} bytes",
                    status=413,
                )
        elif code.get("S3Bucket") and code.get("S3Key"):
            package = await self._from_s3(ctx, code["S3Bucket"], code["S3Key"])
        else:
            raise invalid("Please provide a source for function code.")
        await asyncio.get_running_loop().run_in_executor(None, _check, package)
        return await self._store.blob.put(package), len(package)

    async def unpacked(self, digest: str) -> Path:
        """The folder with the package's files."""
        folder = self._folder / digest
        if folder.is_dir():
            return folder
        pending = self._unpacking.get(digest)
        if pending is None:
            pending = self._unpacking[digest] = asyncio.ensure_future(self._unpack(digest, folder))
            pending.add_done_callback(lambda _: self._unpacking.pop(digest, None))
        return await asyncio.shield(pending)

    async def _unpack(self, digest: str, folder: Path) -> Path:
        package = await self._store.blob.open(digest)
        if package is None:
            raise AwsError(
                "ServiceException", "The function's code is not in the store.", status=500
            )
        scratch = self._folder / f".{digest}.{self._ids.hex(8)}"
        await asyncio.get_running_loop().run_in_executor(None, _extract, package, scratch, folder)
        return folder

    async def _from_s3(self, ctx: Context, bucket: str, key: str) -> bytes:
        request = {"Bucket": bucket, "Key": key}
        try:
            answer = await self._dispatcher.call(ctx, "s3", "GetObject", request)
        except AwsError as error:
            raise invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
            ) from error
        return bytes(answer["Body"])


def code_sha256(digest: str) -> str:
    """The digest as CodeSha256 has it."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _check(package: bytes) -> None:
    """Refuse what is no archive, names files outside its folder, grows too large, or cannot be read to the end."""
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            _check_entries(archive.infolist())
            damaged = archive.testzip()
    except (*_DAMAGES, OSError) as error:
        raise invalid(_UNREADABLE) from error
    if damaged is not None:
        raise invalid(_UNREADABLE)


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts:
            raise invalid(_UNREADABLE)
    if sum(entry.file_size for entry in entries) >= MAX_UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")


def _extract(package: bytes, scratch: Path, folder: Path) -> None:
    """Unpack into `scratch`, then rename. Sizes in the archive's index were checked, and zipfile holds to them.

    The folder's name is a promise that outlives a crash of the machine, so the files are on disk before it.
    """
    scratch.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            for entry in archive.infolist():
                path = Path(archive.extract(entry, scratch))
                mode = entry.external_attr >> 16
                if not entry.is_dir() and not stat.S_ISLNK(mode):
                    path.chmod(0o644 | (mode & 0o111))
        for path in (scratch, *scratch.rglob("*")):
            _sync(path)
        scratch.rename(folder)
        _sync(folder.parent)
    except _DAMAGES as error:
        raise invalid(_UNREADABLE) from error
    except OSError as error:
        # Another process may have been quicker: its folder has the same files.
        if not folder.is_dir():
            message = f"The function's code could not be unpacked: {error.strerror}."
            raise AwsError("ServiceException", message, status=500) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sync(path: Path) -> None:
    """Return when a file or the names in a folder are on disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
