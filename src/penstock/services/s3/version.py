"""Versions of objects.

`s3/objects` holds the current version by key (which may be a delete marker), `s3/versions` the older ones, newest first.
Whatever removes the current version promotes the next, so an object with versions always has a current one.
"""

import re
import string
from collections.abc import AsyncIterator, Awaitable
from typing import Final

from penstock.core.ids import Ids
from penstock.services.s3.bucket import OBJECTS, Bucket
from penstock.services.s3.content import Contents
from penstock.services.s3.record import Document, dump, load
from penstock.storage.primitives import Primitives, Store

VERSIONS: Final = "s3/versions"
_NEWEST: Final = (1 << 63) - 1
_CHUNK: Final = 100
_ID: Final = 32
_INSTANT: Final = 9
_DIGITS: Final = string.digits + string.ascii_lowercase
_GIVEN: Final = re.compile(f"[a-z0-9]{{{_ID}}}")


def was_given(version_id: str) -> bool:
    """Whether an id can be that of a version: one that is gone, if it is not there."""
    # AWS: to delete it once more succeeds, to delete one that never was does not (recorded by LocalStack).
    return version_id == "null" or _GIVEN.fullmatch(version_id) is not None


def put_at(version_id: str) -> int | None:
    """When (ms) the version of an id was put, if the id tells."""
    return int(version_id[:_INSTANT], 36) if _GIVEN.fullmatch(version_id) else None


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


class Versions:
    """Reads and writes the versions of a key. Documents carry `version_id` and `order`."""

    def __init__(self, store: Store, ids: Ids, contents: Contents) -> None:
        self._store = store
        self._ids = ids
        self._contents = contents

    def current(
        self, bucket: str, key: str, tx: Primitives | None = None
    ) -> Awaitable[Document | None]:
        """The current version, a delete marker included."""
        return _load(tx or self._store, bucket, key)

    async def find(
        self, bucket: str, key: str, version_id: str | None, tx: Primitives | None = None
    ) -> Document | None:
        """A version by its id, or the current one."""
        primitives = tx or self._store
        current = await _load(primitives, bucket, key)
        if current is None or version_id in (None, current["version_id"]):
            return current
        return await _older_version(primitives, bucket, key, str(version_id))

    def new_id(self, bucket: Bucket, now: int) -> str:
        """The id of the version that is put next. It tells when, so that its place is known when it is gone."""
        if bucket.get("versioning") != "Enabled":
            return "null"
        return _base36(now).rjust(_INSTANT, "0") + self._ids.token(_ID - _INSTANT)

    async def amend(self, tx: Primitives, bucket: str, key: str, document: Document) -> None:
        """Replace a version's document, as a change of its tags does."""
        current = await _load(tx, bucket, key)
        if current is not None and current["order"] == document["order"]:
            await _save(tx, bucket, key, document)
        else:
            await _keep(tx, bucket, key, document)

    async def put(
        self,
        tx: Primitives,
        bucket: Bucket,
        key: str,
        document: Document,
        previous: Document | None,
        now: int,
    ) -> Document:
        """Make `document`, which has a `version_id`, current in place of `previous`, which is kept unless it has the same id."""
        name = bucket["name"]
        document["order"] = 0
        if previous is not None:
            document["order"] = previous["order"] + 1
            # AWS: a write to a suspended bucket replaces the version "null" only (S3 user guide, "Suspended").
            if previous["version_id"] != document["version_id"]:
                await _keep(tx, name, key, previous)
            else:
                await self._contents.detach(tx, previous, now)
        if bucket.get("versioning") == "Suspended":
            await self._drop_null(tx, name, key, now)
        await _save(tx, name, key, document)
        return document

    async def remove(
        self,
        tx: Primitives,
        bucket: Bucket,
        key: str,
        version_id: str | None,
        new_id: str,
        now: int,
    ) -> Document | None:
        """Delete for good, or cover by a delete marker `new_id`. Returns what was removed or made, None for nothing."""
        name = bucket["name"]
        current = await _load(tx, name, key)
        if version_id is None and bucket.get("versioning"):
            marker = {"delete_marker": True, "modified_at": now, "version_id": new_id}
            return await self.put(tx, bucket, key, marker, current, now)
        if current is None:
            return None
        if version_id in (None, current["version_id"]):
            await _promote(tx, name, key)
            await self._contents.detach(tx, current, now)
            return current
        document = await _older_version(tx, name, key, str(version_id))
        if document is not None:
            await tx.table.delete(VERSIONS, name.encode(), _sort(key, document["order"]))
            await self._contents.detach(tx, document, now)
        return document

    async def _drop_null(self, tx: Primitives, bucket: str, key: str, now: int) -> None:
        document = await _older_version(tx, bucket, key, "null")
        if document is not None:
            await tx.table.delete(VERSIONS, bucket.encode(), _sort(key, document["order"]))
            await self._contents.detach(tx, document, now)


async def older(primitives: Primitives, bucket: str, key: str) -> AsyncIterator[Document]:
    """The versions before the current one, newest first, read as far as they are asked for."""
    prefix = key.encode() + b"\0"
    low, high = prefix, key.encode() + b"\1"
    while True:
        rows = await primitives.table.range(
            VERSIONS, bucket.encode(), low=low, high=high, limit=_CHUNK
        )
        for row in rows:
            # A longer key that contains NUL would share the prefix.
            if len(row.sort) == len(prefix) + 8:
                yield load(row.document)
        if len(rows) < _CHUNK:
            return
        low = rows[-1].sort + b"\0"


def _sort(key: str, order: int) -> bytes:
    return key.encode() + b"\0" + (_NEWEST - order).to_bytes(8, "big")


async def _load(primitives: Primitives, bucket: str, key: str) -> Document | None:
    row = await primitives.table.get(OBJECTS, bucket.encode(), key.encode())
    return None if row is None else load(row.document)


def _save(tx: Primitives, bucket: str, key: str, document: Document) -> Awaitable[int]:
    return tx.table.put(OBJECTS, bucket.encode(), key.encode(), dump(document))


async def _keep(tx: Primitives, bucket: str, key: str, document: Document) -> None:
    sort = _sort(key, document["order"])
    await tx.table.put(VERSIONS, bucket.encode(), sort, dump(document))


async def _older_version(
    primitives: Primitives, bucket: str, key: str, version_id: str
) -> Document | None:
    async for document in older(primitives, bucket, key):
        if document["version_id"] == version_id:
            return document
    return None


async def _promote(tx: Primitives, bucket: str, key: str) -> None:
    async for following in older(tx, bucket, key):
        await _save(tx, bucket, key, following)
        await tx.table.delete(VERSIONS, bucket.encode(), _sort(key, following["order"]))
        return
    await tx.table.delete(OBJECTS, bucket.encode(), key.encode())
