"""Deployment packages and layers: checked when they arrive, kept as blobs, unpacked once on each machine.

The folder of a package, and that of layers merged into one, is named by its digests and appears whole or not at all.
"""

import asyncio
import base64
import hashlib
import io
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
_MAX_REQUEST: Final = 70_167_211
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


@dataclass(frozen=True, slots=True)
class Package:
    """An archive that has been accepted: hex SHA-256, and its size in bytes as it is and unpacked."""

    digest: str
    size: int
    unpacked: int

    @property
    def sha256(self) -> str:
        """The digest as CodeSha256 has it."""
        return base64.b64encode(bytes.fromhex(self.digest)).decode()


class CodeStore:
    """`folder` holds the unpacked packages."""

    def __init__(self, store: Store, dispatcher: Dispatcher, ids: Ids, folder: Path) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._ids = ids
        self._folder = folder
        self._unpacking: dict[str, asyncio.Future[Path]] = {}

    async def accept(self, ctx: Context, code: dict[str, Any]) -> Package:
        """Take the package that a request brings or points to."""
        for name in ("ImageUri", "SourceKMSKeyArn"):
            if code.get(name):
                raise refuse(f"Lambda's {name}")
        if code.get("S3ObjectStorageMode", "COPY") != "COPY":
            raise refuse("Lambda's S3ObjectStorageMode REFERENCE")
        package = code.get("ZipFile")
        if package is not None:
            if len(package) > MAX_ZIPPED:
                raise too_large(f"Zipped size must be smaller than {MAX_ZIPPED} bytes")
        elif code.get("S3Bucket") and code.get("S3Key"):
            package = await self._from_s3(ctx, code)
        else:
            raise invalid("Please provide a source for function code.")
        unpacked = await asyncio.get_running_loop().run_in_executor(None, _check, package)
        return Package(await self._store.blob.put(package), len(package), unpacked)

    async def packed(self, digest: str) -> bytes | None:
        """The package as it was accepted."""
        return await self._store.blob.open(digest)

    async def unpacked(self, digest: str) -> Path:
        """The folder with the package's files."""
        return await self._folder_of(digest, (digest,))

    async def merged(self, digests: Sequence[str]) -> Path:
        """The folder with the files of layers; what a later one holds lies over what an earlier one does."""
        name = hashlib.sha256("/".join(digests).encode()).hexdigest()
        return await self._folder_of(f"opt-{name}", digests)

    async def _folder_of(self, name: str, digests: Sequence[str]) -> Path:
        folder = self._folder / name
        if folder.is_dir():
            return folder
        pending = self._unpacking.get(name)
        if pending is None:
            pending = self._unpacking[name] = asyncio.ensure_future(self._unpack(folder, digests))
            pending.add_done_callback(lambda _: self._unpacking.pop(name, None))
        return await asyncio.shield(pending)

    async def _unpack(self, folder: Path, digests: Sequence[str]) -> Path:
        packages = []
        for digest in digests:
            package = await self._store.blob.open(digest)
            if package is None:
                raise AwsError(
                    "ServiceException", "The function's code is not in the store.", status=500
                )
            packages.append(package)
        scratch = self._folder / f".{folder.name}.{self._ids.hex(8)}"
        await asyncio.get_running_loop().run_in_executor(None, _extract, packages, scratch, folder)
        return folder

    async def _from_s3(self, ctx: Context, code: dict[str, Any]) -> bytes:
        request = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
        if code.get("S3ObjectVersion"):
            request["VersionId"] = code["S3ObjectVersion"]
        try:
            answer = await self._dispatcher.call(ctx, "s3", "GetObject", request)
        except AwsError as error:
            if error.code == "NotImplemented":
                raise
            raise invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {error.message}"
            ) from error
        return bytes(answer["Body"])


def too_large(message: str) -> AwsError:
    """The error for a request that is too large as a whole; the model does not know it."""
    return AwsError("RequestEntityTooLargeException", message, status=413)


def check_request_size(request: dict[str, Any]) -> None:
    """Refuse a CreateFunction request that AWS's front end would not take. Raises AwsError."""
    package = (request.get("Code") or {}).get("ZipFile") or b""
    variables = (request.get("Environment") or {}).get("Variables") or {}
    if len(package) > MAX_ZIPPED:
        return  # told first, by the package's own check
    size = len(package) * 4 // 3 + sum(len(key) + len(text) for key, text in variables.items())
    if size > _MAX_REQUEST:
        raise too_large(
            f"Request must be smaller than {_MAX_REQUEST} bytes for the CreateFunction operation"
        )


def check_unpacked(sizes: Sequence[int]) -> None:
    """Refuse code and layers that are too large together, unpacked."""
    total = sum(sizes)
    if total > MAX_UNZIPPED:
        raise invalid(
            "Function code combined with layers exceeds the maximum allowed size of "
            f"{MAX_UNZIPPED} bytes. The actual size is {total} bytes."
        )


def _check(package: bytes) -> int:
    """The size of the files. Refuses what is no archive, grows too large, names files outside, or cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            size = _check_entries(archive.infolist())
            damaged = archive.testzip()
    except (*_DAMAGES, OSError) as error:
        raise invalid(_UNREADABLE) from error
    if damaged is not None:
        raise invalid(_UNREADABLE)
    return size


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> int:
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts:
            raise invalid(_UNREADABLE)
    size = sum(entry.file_size for entry in entries)
    if size >= MAX_UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")
    return size


def _extract(packages: Sequence[bytes], scratch: Path, folder: Path) -> None:
    """Unpack into `scratch`, then rename. Sizes in the archives' indexes were checked, and zipfile holds to them.

    The folder's name is a promise that outlives a crash of the machine, so the files are on disk before it.
    """
    with _appearing(scratch, folder):
        for package in packages:
            with zipfile.ZipFile(io.BytesIO(package)) as archive:
                for entry in archive.infolist():
                    path = Path(archive.extract(entry, scratch))
                    mode = entry.external_attr >> 16
                    if not entry.is_dir() and not stat.S_ISLNK(mode):
                        path.chmod(0o644 | (mode & 0o111))


@contextmanager
def _appearing(scratch: Path, folder: Path) -> Iterator[None]:
    """Make `folder` of what the block puts into `scratch`. Raises AwsError."""
    scratch.mkdir(parents=True)
    try:
        yield
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
