"""Listings: keys in order of their UTF-8 bytes, folded at a delimiter, in pages."""

import base64
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import OBJECTS, Buckets
from penstock.services.s3.version import Document, older
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
        bucket = await self._buckets.find(ctx, request)
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
            result["StartAfter"] = _encoded(request["StartAfter"], request)
        if page.truncated:
            token = base64.urlsafe_b64encode(page.last.encode()).decode()
            result["NextContinuationToken"] = token
        return result

    @operation("ListObjects", refuses=["OptionalObjectAttributes"])
    async def list_v1(self, ctx: Context, request: Request) -> Result:
        """A page of current objects, continued by marker."""
        bucket = await self._buckets.find(ctx, request)
        marker = request.get("Marker", "")
        # AWS: a marker within a folded prefix passes all of it (recorded by LocalStack).
        folded = _fold(marker, request.get("Prefix", ""), request.get("Delimiter", ""))
        page = await self._page(bucket["name"], request, folded or marker)
        result = _result(request, page, _owner(bucket))
        result["Marker"] = _encoded(marker, request)
        # AWS: without a delimiter clients go on from the last key (API reference, ListObjects, NextMarker).
        if page.truncated and request.get("Delimiter"):
            result["NextMarker"] = _encoded(page.last, request)
        return result

    @operation("ListObjectVersions", refuses=["OptionalObjectAttributes", "VersionIdMarker"])
    async def list_versions(self, ctx: Context, request: Request) -> Result:
        """A page of keys with every version; a page never splits a key's versions."""
        bucket = await self._buckets.find(ctx, request)
        marker = request.get("KeyMarker", "")
        page = await self._page(bucket["name"], request, marker, markers=True)
        versions: list[dict[str, Any]] = []
        deletions: list[dict[str, Any]] = []
        for key, current in page.contents:
            history = [current, *[v async for v in older(self._store, bucket["name"], key)]]
            for index, document in enumerate(history):
                target = deletions if document.get("delete_marker") else versions
                target.append(_version(key, document, request, bucket, latest=index == 0))
        result = _result(request, page, None)
        del result["Contents"]
        result.update(
            {
                "KeyMarker": _encoded(marker, request),
                "VersionIdMarker": "",
                "Versions": versions,
                "DeleteMarkers": deletions,
            }
        )
        if page.truncated:
            result["NextKeyMarker"] = _encoded(page.last, request)
        return result

    async def _page(
        self, bucket: str, request: Request, after: str, *, markers: bool = False
    ) -> _Page:
        require_encoding(request)
        limit = min(request.get("MaxKeys", _MAX_KEYS), _MAX_KEYS)
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        page = _Page()
        keys = _Keys(self._store, bucket, prefix, after)
        if after and delimiter and after.endswith(delimiter) and after.startswith(prefix):
            keys.skip(after)
        while (entry := await keys.next()) is not None:
            key, document = entry
            if document.get("delete_marker") and not markers:
                continue
            folded = _fold(key, prefix, delimiter)
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
        return row.sort.decode(), orjson.loads(row.document)

    def skip(self, prefix: str) -> None:
        """Go on beyond every key that begins with `prefix`."""
        self._low = max(self._low, _beyond(prefix.encode()))
        while self._rows and self._rows[0].sort < self._low:
            self._rows.popleft()
        if not self._rows:
            self._limit = _FIRST


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


def _fold(key: str, prefix: str, delimiter: str) -> str | None:
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


def _encoded(text: str, request: Request) -> str:
    return quote(text, safe="/") if request.get("EncodingType") == "url" else text


def _result(request: Request, page: _Page, owner: dict[str, str] | None) -> Result:
    contents = [_content(key, document, request, owner) for key, document in page.contents]
    result: Result = {
        "Name": request["Bucket"],
        "Prefix": _encoded(request.get("Prefix", ""), request),
        "MaxKeys": min(request.get("MaxKeys", _MAX_KEYS), _MAX_KEYS),
        "IsTruncated": page.truncated,
        "Contents": contents,
        "CommonPrefixes": [{"Prefix": _encoded(prefix, request)} for prefix in page.prefixes],
    }
    if request.get("Delimiter"):
        result["Delimiter"] = _encoded(request["Delimiter"], request)
    if "EncodingType" in request:
        result["EncodingType"] = request["EncodingType"]
    return result


def _content(
    key: str, document: Document, request: Request, owner: dict[str, str] | None
) -> dict[str, Any]:
    if document.get("delete_marker"):
        return {"Key": key}
    content = {
        "Key": _encoded(key, request),
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
    key: str, document: Document, request: Request, bucket: Document, *, latest: bool
) -> dict[str, Any]:
    return {
        **_content(key, document, request, _owner(bucket)),
        "Key": _encoded(key, request),
        "VersionId": document["version_id"],
        "IsLatest": latest,
        "LastModified": document["modified_at"],
        "Owner": _owner(bucket),
    }


def _owner(bucket: Document) -> dict[str, str]:
    # AWS: owners have no display names any more (S3 API reference, Owner, since November 2025).
    return {"ID": bucket["account"].zfill(64)}
