"""The bytes of objects: small ones in the store with or beside their documents, large ones in files by digest.

A document names its bytes by `pieces`: (name, size) in order. The empty name stands for the document's own `data`. A name
that begins with `=` is that of a row, which has one owner. Any other is the digest of a file: for each owner there is a
row that says so, written and removed in the transaction of the document itself. When the last is removed, the digest goes
to a queue, and a while later the collector removes the file, unless it has found an owner by then.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from penstock.api import BodyStream, Chunks, Request
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.s3.checksum import Examination
from penstock.services.s3.record import Document
from penstock.storage.primitives import BlobWriter, NewMessage, Primitives, Store

GARBAGE: Final = "s3/garbage"
OWNERS: Final = "s3/owners"
_ROWS: Final = "s3/bytes"
# Bytes up to which a body is part of its object's document. Listings read documents whole, so they are few.
_TINY: Final = 4 * 1024
# Bytes up to which a body is a row: it costs no file and no flush of its own.
_SMALL: Final = 64 * 1024
_CHUNK: Final = 512 * 1024
# Bytes up to which a body is read before the answer.
_AT_ONCE: Final = 256 * 1024
_GRACE_MS: Final = 60_000
_MAX_OBJECT: Final = 5 * 1024**3


@dataclass(frozen=True, slots=True)
class Kept:
    """A body that came in, and is safe until it has an owner."""

    etag: str
    """Quoted."""
    checksums: dict[str, str]
    """By member name; with their type."""
    size: int
    digest: str = ""
    """Of the file that has the bytes."""
    data: bytes = b""
    """The bytes themselves, if there are few."""
    crc64: str = ""
    """Of a part."""

    def described(self) -> Document:
        """The part of a document that tells of the body; `attach` adds `pieces`."""
        return {"etag": self.etag, "checksums": self.checksums, "size": self.size}


class Contents:
    """Takes bodies in, gives them out, and knows who owns which file."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids
        self._pinned: Counter[str] = Counter()
        self._collected: set[str] = set()
        """Digests that the collector is about to remove."""

    @staticmethod
    def take_in(document: Document, request: Request) -> bool:
        """Make a request's Body, checked, part of an object's `document`. False if it is not small enough for that.

        Raises AwsError.
        """
        body = request.get("Body", b"")
        if not isinstance(body, bytes) or len(body) > _TINY:
            return False
        examination = Examination(request)
        examination.take(body)
        document["etag"], document["checksums"] = examination.finish()
        size = document["size"] = len(body)
        document["pieces"] = [["", size]] if size else []
        if size:
            document["data"] = body
        return True

    @asynccontextmanager
    async def keep(self, request: Request) -> AsyncIterator[Kept]:
        """Take in a request's Body and check it; until the block ends its file is not collected. Raises AwsError."""
        body = request.get("Body", b"")
        if isinstance(body, bytes) and len(body) <= _SMALL:
            examination = Examination(request, part="PartNumber" in request)
            examination.take(body)
            found = examination.finish()
            yield Kept(*found, len(body), data=body, crc64=examination.crc64)
            return
        writer = self._store.objects.write()
        try:
            kept = await self._write(writer, request, body)
            self.pin(kept.digest)
            try:
                await asyncio.to_thread(writer.finish)
                yield kept
            finally:
                self.unpin(kept.digest)
        finally:
            await asyncio.to_thread(writer.drop)

    async def _write(self, writer: BlobWriter, request: Request, body: bytes | BodyStream) -> Kept:
        examination = Examination(
            request,
            [] if isinstance(body, bytes) else body.announced,
            part="PartNumber" in request,
        )

        def take(data: bytes) -> None:
            examination.take(data)
            writer.take(data)

        if isinstance(body, bytes):
            await asyncio.to_thread(take, body)
            found = examination.finish()
            return Kept(*found, len(body), digest=writer.digest, crc64=examination.crc64)
        _require_size(body.length or 0)
        size = 0
        while data := await body.read():
            size += len(data)
            _require_size(size)
            await asyncio.to_thread(take, data)
        digest = writer.digest
        if body.sha256 not in (None, digest):
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                status=400,
                fields={
                    "ClientComputedContentSHA256": body.sha256,
                    "S3ComputedContentSHA256": digest,
                },
            )
        found = examination.finish(body.trailers)
        return Kept(*found, size, digest=digest, crc64=examination.crc64)

    def pin(self, digest: str) -> None:
        """Keep a file from being collected."""
        self._pinned[digest] += 1
        self._collected.discard(digest)

    def unpin(self, digest: str) -> None:
        """Let a file be collected again."""
        self._pinned[digest] -= 1
        if not self._pinned[digest]:
            del self._pinned[digest]

    async def attach(self, tx: Primitives, document: Document, kept: Kept) -> None:
        """Make `document` the owner of a body."""
        document["owner"] = self._ids.uuid()
        if kept.digest:
            document["pieces"] = [[kept.digest, kept.size]]
            await self._own(tx, document)
        elif kept.data:
            name = f"={document['owner']}"
            document["pieces"] = [[name, kept.size]]
            await tx.table.put(_ROWS, name.encode(), b"", kept.data)
        else:
            document["pieces"] = []

    async def share(self, tx: Primitives, document: Document, source: Mapping[str, Any]) -> None:
        """Make `document` an owner of the pieces of another: what is in the store is copied, files are not."""
        document["owner"] = self._ids.uuid()
        pieces = source["pieces"]
        document["pieces"] = shared = []
        for name, size in pieces:
            if not name:
                document["data"] = source["data"]
                shared.append([name, size])
            elif name.startswith("="):
                row = await tx.table.get(_ROWS, name.encode(), b"")
                if row is None:
                    raise Conflict("the source was removed meanwhile")
                copied = f"={self._ids.uuid()}"
                await tx.table.put(_ROWS, copied.encode(), b"", row.document)
                shared.append([copied, size])
            else:
                self._collected.discard(name)
                shared.append([name, size])
        await self._own(tx, document)

    async def _own(self, tx: Primitives, document: Document) -> None:
        owner = document["owner"].encode()
        for name, _ in document["pieces"]:
            if _is_file(name):
                await tx.table.put(OWNERS, name.encode(), owner, b"")

    async def detach(self, tx: Primitives, document: Mapping[str, Any] | None, now: int) -> None:
        """Take the bytes of a document that goes; files that nobody else owns are collected."""
        if document is None:
            return
        lonely = []
        for name, _ in document.get("pieces", ()):
            if name.startswith("="):
                await tx.table.delete(_ROWS, name.encode(), b"")
            if not _is_file(name):
                continue
            await tx.table.delete(OWNERS, name.encode(), document["owner"].encode())
            if not await tx.table.range(OWNERS, name.encode(), limit=1):
                lonely.append(name)
        if lonely:
            await tx.queue.put(GARBAGE, [self._garbage(name, now) for name in lonely], now)

    def _garbage(self, digest: str, now: int) -> NewMessage:
        return NewMessage(id=self._ids.uuid(), body=digest.encode(), visible_at=now + _GRACE_MS)

    async def collect(self, digest: str) -> bool:
        """Remove a file that has no owner. False when that cannot be said now."""
        if digest in self._pinned:
            return False
        if await self._store.table.range(OWNERS, digest.encode(), limit=1):
            return True
        self._collected.add(digest)
        try:
            # What says that nobody owns it must not be lost when the file is.
            await self._store.durable()
            if digest not in self._collected or digest in self._pinned:
                return False
            if not await self._store.table.range(OWNERS, digest.encode(), limit=1):
                self._store.objects.discard(digest)
        finally:
            self._collected.discard(digest)
        return True

    async def sweep(self, now: int) -> None:
        """Send the files that a crash has left without an owner to the collector."""
        folders = self._store.objects.digests()
        while digests := await asyncio.to_thread(next, folders, None):
            lonely = [
                digest
                for digest in digests
                if not await self._store.table.range(OWNERS, digest.encode(), limit=1)
            ]
            messages = [self._garbage(digest, now) for digest in lonely]
            if messages:
                await self._store.queue.put(GARBAGE, messages, now)

    async def read(self, document: Mapping[str, Any], start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`."""
        if "data" in document:
            data: bytes = document["data"]
            return data[start:end]
        found = [data async for data in self._chunks(document, start, end)]
        return found[0] if len(found) == 1 else b"".join(found)

    async def examined(
        self, document: Mapping[str, Any], algorithm: str
    ) -> tuple[str, dict[str, str]]:
        """The quoted ETag of an object's bytes taken as one, and a checksum of them by member name."""
        examination = Examination({"ChecksumAlgorithm": algorithm})
        async for data in self._chunks(document, 0, document["size"]):
            await asyncio.to_thread(examination.take, data)
        return examination.finish()

    def stream(self, document: Mapping[str, Any], start: int, end: int) -> "Copied":
        """The bytes from `start` to before `end`, to be taken in as a new body."""
        return Copied(end - start, self._chunks(document, start, end))

    async def give(
        self, document: Mapping[str, Any], start: int, end: int, *, streams: bool
    ) -> bytes | Chunks:
        """The bytes from `start` to before `end`; in chunks if they are many and whoever asks takes them so."""
        if not streams or end - start <= _AT_ONCE:
            return await self.read(document, start, end)
        return Chunks(end - start, self._chunks(document, start, end))

    async def _chunks(
        self, document: Mapping[str, Any], start: int, end: int
    ) -> AsyncIterator[bytes]:
        pieces: Sequence[tuple[str, int]] = document["pieces"]
        pinned = [name for name, _ in pieces if _is_file(name)]
        for name in pinned:
            self.pin(name)
        try:
            offset = 0
            for name, size in pieces:
                low, high = max(start - offset, 0), min(end - offset, size)
                while low < high:
                    data = await self._some(document, name, low, min(_CHUNK, high - low))
                    yield data
                    low += len(data)
                offset += size
        finally:
            for name in pinned:
                self.unpin(name)

    async def _some(self, document: Mapping[str, Any], name: str, start: int, size: int) -> bytes:
        data: bytes | None
        if not name:
            data = document["data"][start : start + size]
        elif name.startswith("="):
            row = await self._store.table.get(_ROWS, name.encode(), b"")
            data = None if row is None else row.document[start : start + size]
        else:
            data = await self._store.objects.read(name, start, size)
        if not data:
            raise _missing()
        return data


class Copied:
    """Bytes of objects as a body that comes in."""

    sha256: str | None = None
    announced: Sequence[str] = ()

    def __init__(self, length: int, chunks: AsyncIterator[bytes]) -> None:
        self.length = length
        self.trailers: Mapping[str, str] = {}
        self._chunks = chunks

    async def read(self) -> bytes:
        """The next chunk; nothing at the end."""
        return await anext(self._chunks, b"")


def _is_file(name: str) -> bool:
    """Whether a piece's name is the digest of a file."""
    return bool(name) and not name.startswith("=")


def _missing() -> AwsError:
    return AwsError("InternalError", "The object's bytes are missing.", status=500)


def _require_size(size: int) -> None:
    # AWS: one PutObject carries at most 5 GB (API reference, PutObject).
    if size > _MAX_OBJECT:
        raise AwsError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            status=400,
            fields={"ProposedSize": str(size), "MaxSizeAllowed": str(_MAX_OBJECT)},
        )
