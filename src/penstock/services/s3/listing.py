"""Listings: keys in order of their UTF-8 bytes, folded at a delimiter, in pages."""

import base64
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import OBJECTS, Bucket, Buckets
from penstock.services.s3.record import Document, load
from penstock.services.s3.version import older, put_at
from penstock.storage.primitives import Row, Store

_FIRST: Final = 16
_PAGE: Final = 1000
_MAX_KEYS: Final = 1000


@dataclass(slots=True)
class _Page:
    """What fits a listing: documents by key, folded prefixes, and where to go on (empty at the end)."""

    contents: list[tuple[str, Document]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    last: str = ""
    truncated: bool = False


class Listings:
    """Operations that list objects and versions."""

    def __init__(self, store: Store, buckets: Buckets) -> None:
        self._store = store
        self._buckets = buckets

    @operation("ListObjectsV2", refuses=["OptionalObjectAttributes"])
    async def list_v2(self, ctx: Context, request: Request) -> Result:
        """A page of current objects, continued by token."""
        bucket = await self._buckets.look(ctx, request)
        after = request.get("StartAfter", "")
        if "ContinuationToken" in request:
            after = _decode_token(request["ContinuationToken"])
        page = await self._page(bucket["name"], request, after)
        owner = _owner(bucket) if request.get("FetchOwner") else None
        result = _result(request, page, owner)
        result["KeyCount"] = len(page.contents) + len(page.prefixes)
        if "ContinuationToken" in request:
            result["ContinuationToken"] = request["ContinuationToken"]
        elif "StartAfter" in request:
            result["StartAfter"] = encoded(request["StartAfter"], request)
        if page.truncated:
            token = base64.urlsafe_b64encode(page.last.encode()).decode()
            result["NextContinuationToken"] = token
        return result

    @operation("ListObjects", refuses=["OptionalObjectAttributes"])
    async def list_v1(self, ctx: Context, request: Request) -> Result:
        """A page of current objects, continued by marker."""
        bucket = await self._buckets.look(ctx, request)
        marker = request.get("Marker", "")
        # AWS: a marker within a folded prefix passes all of it (recorded by LocalStack).
        folded = fold(marker, request.get("Prefix", ""), request.get("Delimiter", ""))
        page = await self._page(bucket["name"], request, folded or marker)
        result = _result(request, page, _owner(bucket))
        result["Marker"] = encoded(marker, request)
        # AWS: without a delimiter clients go on from the last key (API reference, ListObjects, NextMarker).
        if page.truncated and request.get("Delimiter"):
            result["NextMarker"] = encoded(page.last, request)
        return result

    @operation("ListObjectVersions", refuses=["OptionalObjectAttributes"])
    async def list_versions(self, ctx: Context, request: Request) -> Result:
        """A page of versions and delete markers: by key, the newest first."""
        bucket = await self._buckets.look(ctx, request)
        require_encoding(request)
        limit = min(request.get("MaxKeys", _MAX_KEYS), _MAX_KEYS)
        page, last_id = _Page(), None
        versions: list[dict[str, Any]] = []
        deletions: list[dict[str, Any]] = []
        async for key, document, latest in self._versions(bucket["name"], request):
            if len(page.prefixes) + len(versions) + len(deletions) == limit:
                page.truncated = limit > 0
                break
            page.last, last_id = key, None
            if document is None:
                page.prefixes.append(key)
            else:
                last_id = document["version_id"]
                target = deletions if document.get("delete_marker") else versions
                target.append(_version(key, document, request, bucket, latest=latest))
        result = _result(request, page, None)
        del result["Contents"]
        result.update(
            {
                "KeyMarker": encoded(request.get("KeyMarker", ""), request),
                "VersionIdMarker": request.get("VersionIdMarker", ""),
                "Versions": versions,
                "DeleteMarkers": deletions,
            }
        )
        if page.truncated:
            result["NextKeyMarker"] = encoded(page.last, request)
            if last_id is not None:
                result["NextVersionIdMarker"] = last_id
        return result

    async def _versions(
        self, bucket: str, request: Request
    ) -> AsyncIterator[tuple[str, Document | None, bool]]:
        """Versions beyond the markers, each with its key and whether it is the latest; folded prefixes without one."""
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        marker = request.get("KeyMarker", "")
        passed = fold(marker, prefix, delimiter)
        if "VersionIdMarker" in request:
            version_id = _require_marker(request)
            if marker.startswith(prefix) and passed is None:
                async for document, latest in self._rest(bucket, marker, version_id):
                    yield marker, document, latest
        keys = _Keys(self._store, bucket, prefix, marker)
        # AWS: a marker within a folded prefix passes all of it (recorded by LocalStack).
        if passed is not None and marker.startswith(prefix):
            keys.skip(passed)
        while (entry := await keys.next()) is not None:
            key, current = entry
            folded = fold(key, prefix, delimiter)
            if folded is not None:
                keys.skip(folded)
                yield folded, None, False
                continue
            async for document, latest in self._history(bucket, key, current):
                yield key, document, latest

    async def _history(
        self, bucket: str, key: str, current: Document
    ) -> AsyncIterator[tuple[Document, bool]]:
        yield current, True
        async for document in older(self._store, bucket, key):
            yield document, False

    async def _rest(
        self, bucket: str, key: str, version_id: str
    ) -> AsyncIterator[tuple[Document, bool]]:
        """A key's versions after one of them. Where that one is gone, those that are not newer than it was."""
        row = await self._store.table.get(OBJECTS, bucket.encode(), key.encode())
        if row is None:
            return
        current = load(row.document)
        met = False
        async for document, latest in self._history(bucket, key, current):
            if met:
                yield document, latest
            met = met or document["version_id"] == version_id
        if not met:
            since = put_at(version_id)
            async for document, latest in self._history(bucket, key, current):
                if since is None or document["modified_at"] <= since:
                    yield document, latest

    async def _page(self, bucket: str, request: Request, after: str) -> _Page:
        require_encoding(request)
        limit = min(request.get("MaxKeys", _MAX_KEYS), _MAX_KEYS)
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        page = _Page()
        keys = _Keys(self._store, bucket, prefix, after)
        if after and delimiter and after.endswith(delimiter) and after.startswith(prefix):
            keys.skip(after)
        while (entry := await keys.next()) is not None:
            key, document = entry
            if document.get("delete_marker"):
                continue
            folded = fold(key, prefix, delimiter)
            if len(page.contents) + len(page.prefixes) == limit:
                page.truncated = limit > 0
                break
            if folded is None:
                page.contents.append((key, document))
            else:
                page.prefixes.append(folded)
                keys.skip(folded)
            page.last = folded or key
        return page


class _Keys:
    """Walks the keys of a bucket that begin with a prefix, and can jump over those of a folded one."""

    def __init__(self, store: Store, bucket: str, prefix: str, after: str) -> None:
        self._store = store
        self._bucket = bucket.encode()
        self._low = max(prefix.encode(), after.encode() + b"\0" if after else b"")
        self._high = _beyond(prefix.encode()) if prefix else None
        self._rows: deque[Row] = deque()
        self._limit = _FIRST

    async def next(self) -> tuple[str, Document] | None:
        """The next key and its current version; None at the end."""
        if not self._rows:
            self._rows.extend(
                await self._store.table.range(
                    OBJECTS, self._bucket, low=self._low, high=self._high, limit=self._limit
                )
            )
            # A walk that jumps needs few rows a step, one that does not needs many.
            self._limit = min(self._limit * 2, _PAGE)
        if not self._rows:
            return None
        row = self._rows.popleft()
        self._low = row.sort + b"\0"
        return row.sort.decode(), load(row.document)

    def skip(self, prefix: str) -> None:
        """Go on beyond every key that begins with `prefix`."""
        self._low = max(self._low, _beyond(prefix.encode()))
        while self._rows and self._rows[0].sort < self._low:
            self._rows.popleft()
        if not self._rows:
            self._limit = _FIRST


def _require_marker(request: Request) -> str:
    """The version after which a page begins. Raises InvalidArgument for one without a key, or an empty one."""
    version_id: str = request["VersionIdMarker"]
    problem = "" if request.get("KeyMarker") else "specified without a key marker"
    if problem or not version_id:
        raise AwsError(
            "InvalidArgument",
            f"A version-id marker cannot be {problem or 'empty'}.",
            status=400,
            fields={"ArgumentName": "version-id-marker", "ArgumentValue": version_id},
        )
    return version_id


def require_encoding(request: Request) -> None:
    """Raise InvalidArgument for an encoding that is none."""
    encoding = request.get("EncodingType", "url")
    if encoding != "url":
        raise AwsError(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            status=400,
            fields={"ArgumentName": "encoding-type", "ArgumentValue": encoding},
        )


def fold(key: str, prefix: str, delimiter: str) -> str | None:
    """The prefix that stands for a key in a listing with a delimiter; None where the key itself is listed."""
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return None if end < 0 else key[: end + len(delimiter)]


def _beyond(prefix: bytes) -> bytes:
    """The first byte string after all that begin with `prefix`. UTF-8 never holds 0xFF, so there is one."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def _decode_token(token: str) -> str:
    try:
        if not token:
            raise ValueError
        return base64.urlsafe_b64decode(token).decode()
    except ValueError as error:
        message = "The continuation token provided is incorrect"
        fields = {"ArgumentName": "continuation-token"}
        raise AwsError("InvalidArgument", message, status=400, fields=fields) from error


def encoded(text: str, request: Request) -> str:
    """A key or a part of one, in the encoding that a listing was asked for."""
    return quote(text, safe="/") if request.get("EncodingType") == "url" else text


def _result(request: Request, page: _Page, owner: dict[str, str] | None) -> Result:
    contents = [_content(key, document, request, owner) for key, document in page.contents]
    result: Result = {
        "Name": request["Bucket"],
        "Prefix": encoded(request.get("Prefix", ""), request),
        "MaxKeys": min(request.get("MaxKeys", _MAX_KEYS), _MAX_KEYS),
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": encoded(prefix, request)} for prefix in page.prefixes],
    }
    if request.get("Delimiter"):
        result["Delimiter"] = encoded(request["Delimiter"], request)
    if "EncodingType" in request:
        result["EncodingType"] = request["EncodingType"]
    return result


def _content(
    key: str, document: Document, request: Request, owner: dict[str, str] | None
) -> dict[str, Any]:
    if document.get("delete_marker"):
        return {"Key": key}
    content = {
        "Key": encoded(key, request),
        "LastModified": document["modified_at"],
        "ETag": document["etag"],
        "Size": document["size"],
        "StorageClass": document["storage_class"],
    }
    checksums = document["checksums"]
    if "ChecksumType" in checksums:
        names = [name.removeprefix("Checksum") for name in checksums if name != "ChecksumType"]
        content.update({"ChecksumAlgorithm": names, "ChecksumType": checksums["ChecksumType"]})
    return content if owner is None else {**content, "Owner": owner}


def _version(
    key: str, document: Document, request: Request, bucket: Bucket, *, latest: bool
) -> dict[str, Any]:
    return {
        **_content(key, document, request, _owner(bucket)),
        "Key": encoded(key, request),
        "VersionId": document["version_id"],
        "IsLatest": latest,
        "LastModified": document["modified_at"],
        "Owner": _owner(bucket),
    }


def _owner(bucket: Bucket) -> dict[str, str]:
    # AWS: owners have no display names any more (S3 API reference, Owner, since November 2025).
    return {"ID": bucket["account"].zfill(64)}
