"""The listing of a bucket's multipart uploads: by key, then as they were begun, folded at a delimiter, in pages."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import UPLOADS, Buckets
from penstock.services.s3.listing import encoded, fold, require_encoding
from penstock.services.s3.record import Document
from penstock.storage.primitives import Store

# AWS: a page has 1,000 entries at most, whatever was asked for (API reference, ListParts, ListMultipartUploads).
LONGEST_PAGE: Final = 1000
_MOST: Final = 100_000


class Uploads:
    """The operation that lists what was begun and neither completed nor aborted."""

    def __init__(self, store: Store, buckets: Buckets) -> None:
        self._store = store
        self._buckets = buckets

    @operation("ListMultipartUploads")
    async def list_uploads(self, ctx: Context, request: Request) -> Result:
        """A page of uploads and folded prefixes."""
        bucket = await self._buckets.look(ctx, request)
        rows = await self._store.table.range(UPLOADS, bucket["name"].encode(), limit=_MOST)
        require_encoding(request)
        documents = [(orjson.loads(row.document), row.sort.decode()) for row in rows]
        # AWS: uploads of a key are in the order in which they were begun (recorded by LocalStack).
        documents.sort(key=lambda pair: (pair[0]["key"].encode(), pair[0]["modified_at"], pair[1]))
        limit = min(request.get("MaxUploads", LONGEST_PAGE), LONGEST_PAGE)
        uploads: list[dict[str, Any]] = []
        prefixes: list[str] = []
        truncated = False
        for found in _entries(documents, request):
            if len(uploads) + len(prefixes) == limit:
                truncated = limit > 0
                break
            if isinstance(found, str):
                prefixes.append(found)
            else:
                uploads.append(_upload(ctx, request, *found))
        # AWS: prefixes are no markers: a page that has nothing else cannot be gone on from (recorded by LocalStack).
        last = uploads[-1] if uploads else {"Key": "", "UploadId": ""}
        after = request.get("KeyMarker", "")
        result: Result = {
            "Bucket": bucket["name"],
            "Prefix": encoded(request.get("Prefix", ""), request) or None,
            "KeyMarker": encoded(after, request),
            "UploadIdMarker": request.get("UploadIdMarker", "") if after else "",
            "NextKeyMarker": last["Key"],
            "NextUploadIdMarker": last["UploadId"],
            "MaxUploads": limit,
            "IsTruncated": truncated,
            "Uploads": uploads,
            "CommonPrefixes": [{"Prefix": encoded(prefix, request)} for prefix in prefixes],
        }
        if request.get("Delimiter"):
            result["Delimiter"] = encoded(request["Delimiter"], request)
        if "EncodingType" in request:
            result["EncodingType"] = request["EncodingType"]
        return result


def _entries(
    uploads: Sequence[tuple[Document, str]], request: Request
) -> Iterator[tuple[Document, str] | str]:
    """Uploads beyond the markers, and each folded prefix once. Raises as `_beyond` does."""
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    after = request.get("KeyMarker", "")
    # AWS: a marker within a folded prefix passes all of it (recorded by LocalStack).
    passed = fold(after, prefix, delimiter) if after.startswith(prefix) else None
    for document, upload_id in _beyond(
        uploads, after, request.get("UploadIdMarker", "") if after else ""
    ):
        key = document["key"]
        if not key.startswith(prefix):
            continue
        folded = fold(key, prefix, delimiter)
        if folded is None:
            yield document, upload_id
        elif folded != passed:
            passed = folded
            yield folded


def _beyond(
    uploads: Sequence[tuple[Document, str]], key: str, upload_id: str
) -> Sequence[tuple[Document, str]]:
    """The uploads that come after the markers of a page. Raises InvalidArgument for an upload that is not the key's."""
    if upload_id:
        for index, (document, found) in enumerate(uploads):
            if document["key"] == key and found == upload_id:
                return uploads[index + 1 :]
        raise AwsError(
            "InvalidArgument",
            "Invalid uploadId marker",
            status=400,
            fields={"ArgumentName": "upload-id-marker", "ArgumentValue": upload_id},
        )
    # AWS: without an upload's marker the whole key of the marker is passed (API reference, ListMultipartUploads).
    return [pair for pair in uploads if pair[0]["key"].encode() > key.encode()]


def _upload(ctx: Context, request: Request, document: Document, upload_id: str) -> dict[str, Any]:
    return {
        "Key": encoded(document["key"], request),
        "UploadId": upload_id,
        "Initiated": document["modified_at"],
        "StorageClass": document["storage_class"],
        "Owner": {"ID": ctx.account.zfill(64)},
        "Initiator": initiator(ctx),
        **document["algorithm"],
    }


def initiator(ctx: Context) -> dict[str, str]:
    """Who began an upload, as listings tell it."""
    # AWS: unlike owners, initiators still have display names (recorded by LocalStack).
    arn = ctx.principal or ctx.account
    return {"ID": arn, "DisplayName": arn.rpartition("/")[2].rpartition(":")[2]}
