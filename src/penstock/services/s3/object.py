"""Objects: put, get, head, copy, delete, tag.

A document has `size`, `etag`, `pieces` (see `content`), `modified_at`, `headers` and `metadata`, `checksums`, `tags`.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.services.s3.attributes import attributes_of
from penstock.services.s3.bucket import Bucket, Buckets
from penstock.services.s3.change import Changes
from penstock.services.s3.condition import copy_failed, require_readable
from penstock.services.s3.content import Contents
from penstock.services.s3.expiry import expiration_header
from penstock.services.s3.extent import extent_of
from penstock.services.s3.form import put_of, require_allowed, tags_of
from penstock.services.s3.metadata import fields_of, require_latin, told
from penstock.services.s3.metadata import kept as kept_metadata
from penstock.services.s3.record import Document
from penstock.services.s3.refusal import marked, no_key, no_version_id, require_no_bypass
from penstock.services.s3.tag import parse_tags, require_tags
from penstock.services.s3.version import Versions, was_given
from penstock.storage.primitives import Primitives

HEADERS: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "WebsiteRedirectLocation",
)
_HEADER_NAMES: Final = frozenset(HEADERS)
_UNTYPED: Final = "binary/octet-stream"
UNBUILT: Final = (
    "GrantFullControl",
    "GrantRead",
    "GrantReadACP",
    "GrantWriteACP",
    "WriteOffsetBytes",
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSEKMSKeyId",
    "SSEKMSEncryptionContext",
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockLegalHoldStatus",
)
_MAX_METADATA: Final = 2048
_ARCHIVED: Final = ("GLACIER", "DEEP_ARCHIVE")
_STORAGE_CLASSES: Final = (
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
    *_ARCHIVED,
)


class Objects:
    """Operations on one object, and the deletion of several."""

    def __init__(
        self, buckets: Buckets, versions: Versions, changes: Changes, contents: Contents
    ) -> None:
        self._buckets = buckets
        self._versions = versions
        self._changes = changes
        self._contents = contents

    @operation(
        "PutObject",
        refuses=UNBUILT,
        in_part=["ACL for others", "ServerSideEncryption: other than AES256"],
    )
    def put(self, ctx: Context, request: Request) -> Awaitable[Result]:
        """Store an object; visible at once, durable when answered."""
        return self._store(ctx, request, "ObjectCreated:Put")

    async def post(
        self, ctx: Context, bucket: str, fields: Mapping[str, str], body: bytes
    ) -> Result:
        """Store the file of an HTML form, whose fields are named in lower case. Raises as PutObject and the policy do."""
        await self._buckets.look(ctx, {"Bucket": bucket})
        if "policy" in fields:
            require_allowed(fields, bucket, len(body), ctx.now)
        request = put_of(bucket, fields, body)
        tags = require_tags(tags_of(fields), "object")
        result = await self._store(ctx, request, "ObjectCreated:Post", tags)
        return {**result, "Key": request["Key"]}

    async def _store(
        self,
        ctx: Context,
        request: Request,
        kind: str,
        tags: Sequence[Mapping[str, str]] = (),
    ) -> Result:
        document = described(request, ctx.now)
        document["tags"] += tags
        seen = await self._buckets.look(ctx, request)
        if self._contents.take_in(document, request):
            bucket = await self._changes.put(ctx, request, kind, document, None, seen)
        else:
            async with self._contents.keep(request) as kept:
                document.update(kept.described())

                async def attach(tx: Primitives) -> None:
                    await self._contents.attach(tx, document, kept)

                # The bucket may have gone while the bytes were written.
                bucket = await self._changes.put(ctx, request, kind, document, attach, seen)
        result = {
            "ETag": document["etag"],
            **document["checksums"],
            "ServerSideEncryption": "AES256",
        }
        if "lifecycle" in bucket:
            result |= expiration(bucket, request["Key"], document)
        if bucket.get("versioning") == "Enabled":
            result["VersionId"] = document["version_id"]
        return result

    @operation("GetObject", refuses=["SSECustomerAlgorithm", "SSECustomerKey"])
    async def get(self, ctx: Context, request: Request) -> Result:
        """An object's bytes, or a range of them, with its description."""
        document, bucket = await self._find(ctx, request)
        if document["storage_class"] in _ARCHIVED:
            raise AwsError(
                "InvalidObjectState",
                "The operation is not valid for the object's storage class",
                status=403,
                fields={"StorageClass": document["storage_class"]},
            )
        result = _description(document, request, bucket)
        start, end = extent_of(document, request, result)
        if end is None:
            end = document["size"]
        else:
            result["ContentRange"] = f"bytes {start}-{end - 1}/{document['size']}"
        result["Body"] = await self._contents.give(document, start, end, streams=ctx.streams)
        result["ContentLength"] = end - start
        for name, value in request.items():
            if name.startswith("Response"):
                require_latin(name, value)
                result[name.removeprefix("Response")] = value
        return result

    @operation("HeadObject", refuses=["SSECustomerAlgorithm", "SSECustomerKey"])
    async def head(self, ctx: Context, request: Request) -> Result:
        """An object's description."""
        document, bucket = await self._find(ctx, request)
        result = _description(document, request, bucket)
        start, end = extent_of(document, request, result)
        if end is not None:
            result["ContentRange"] = f"bytes {start}-{end - 1}/{document['size']}"
        result["ContentLength"] = (document["size"] if end is None else end) - start
        return result

    @operation(
        "CopyObject",
        refuses=[*UNBUILT, "CopySourceSSECustomerKey"],
        in_part=["ACL for others", "ServerSideEncryption: other than AES256"],
    )
    async def copy(self, ctx: Context, request: Request) -> Result:
        """Make an object of another one's bytes; no byte is copied."""
        seen = await self._buckets.look(ctx, request)
        source, source_request = await self.source(ctx, request)
        _require_change(request, source_request)
        document = _copied(source, request, ctx.now)
        document["etag"], document["checksums"] = await self._sums(source, request)

        async def share(tx: Primitives) -> None:
            await self._contents.share(tx, document, source)

        bucket = await self._changes.put(ctx, request, "ObjectCreated:Copy", document, share, seen)
        outcome = {"ETag": document["etag"], "LastModified": ctx.now, **document["checksums"]}
        result: Result = {"CopyObjectResult": outcome, "ServerSideEncryption": "AES256"}
        result |= expiration(bucket, request["Key"], document)
        if source["version_id"] != "null":
            result["CopySourceVersionId"] = source["version_id"]
        if bucket.get("versioning"):
            result["VersionId"] = document["version_id"]
        return result

    @operation("DeleteObject", refuses=["MFA", "IfMatchLastModifiedTime", "IfMatchSize"])
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Remove an object or cover it by a delete marker; no error if there is none."""
        bucket = await self._buckets.look(ctx, request)
        require_no_bypass(request)
        version_id = request.get("VersionId", "null")
        if not was_given(version_id) or ("versioning" not in bucket and version_id != "null"):
            raise no_version_id(request)
        bucket, (removed,) = await self._changes.remove(ctx, request, [request])
        if isinstance(removed, AwsError):
            raise removed
        result: Result = {}
        if removed is not None and bucket.get("versioning"):
            result["VersionId"] = removed["version_id"]
            if removed.get("delete_marker"):
                result["DeleteMarker"] = True
        return result

    @operation("DeleteObjects", refuses=["MFA"])
    async def delete_many(self, ctx: Context, request: Request) -> Result:
        """Remove up to 1,000 objects; says what became of each."""
        await self._buckets.look(ctx, request)
        require_no_bypass(request)
        entries = request["Delete"].get("Objects", [])
        # AWS: at most 1,000 keys (API reference, DeleteObjects).
        if not 0 < len(entries) <= 1000:
            raise AwsError(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
                status=400,
            )
        for entry in entries:
            # AWS: these two conditions are for directory buckets alone (API reference, ObjectIdentifier).
            for member in ("LastModifiedTime", "Size"):
                if member in entry:
                    raise refuse(f"{member} of an object of s3:DeleteObjects")
        conditions = [
            {**entry, **({"IfMatch": entry["ETag"]} if "ETag" in entry else {})}
            for entry in entries
        ]
        _, outcomes = await self._changes.remove(ctx, request, conditions, absent=True)
        deleted, failures = [], []
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is None and not was_given(entry.get("VersionId", "null")):
                missing = AwsError("NoSuchVersion", "The specified version does not exist.")
                failures.append(_failure(entry, missing))
            elif isinstance(outcome, AwsError):
                failures.append(_failure(entry, outcome))
            else:
                deleted.append(_deletion(entry, outcome))
        result: Result = {} if request["Delete"].get("Quiet") else {"Deleted": deleted}
        return {**result, "Errors": failures} if failures else result

    @operation("PutObjectTagging")
    async def put_tags(self, ctx: Context, request: Request) -> Result:
        """Replace an object's tags."""
        return await self._tag(
            ctx, request, "ObjectTagging:Put", require_tags(request["Tagging"]["TagSet"], "object")
        )

    @operation("DeleteObjectTagging")
    async def delete_tags(self, ctx: Context, request: Request) -> Result:
        """Remove an object's tags."""
        return await self._tag(ctx, request, "ObjectTagging:Delete", [])

    @operation("GetObjectTagging")
    async def get_tags(self, ctx: Context, request: Request) -> Result:
        """An object's tags."""
        document, bucket = await self._find(ctx, request)
        version = {"VersionId": document["version_id"]} if bucket.get("versioning") else {}
        return {"TagSet": document["tags"], **version}

    @operation("GetObjectAttributes", refuses=["SSECustomerAlgorithm", "SSECustomerKey"])
    async def attributes(self, ctx: Context, request: Request) -> Result:
        """What is asked for of an object's description."""
        document, bucket = await self._find(ctx, request)
        return attributes_of(document, request, versioned=bool(bucket.get("versioning")))

    async def _tag(
        self, ctx: Context, request: Request, kind: str, tags: list[dict[str, str]]
    ) -> Result:
        async def find(primitives: Primitives) -> Document:
            return (await self._find(ctx, request, primitives))[0]

        def amend(document: Document) -> None:
            document["tags"] = tags

        document = await self._changes.amend(ctx, request, kind, find, amend)
        bucket = await self._buckets.look(ctx, request)
        return {"VersionId": document["version_id"]} if bucket.get("versioning") else {}

    async def _sums(self, source: Document, request: Request) -> tuple[str, dict[str, str]]:
        """The ETag and the checksums of a copy: the source's, or what a copy asks for or needs."""
        found: dict[str, str] = source["checksums"]
        kept = next((name[8:] for name in found if name != "ChecksumType"), "CRC64NVME")
        algorithm = request.get("ChecksumAlgorithm", kept)
        # AWS: a copy is an object of one piece, also of one that was uploaded in parts (recorded by LocalStack).
        if "parts" not in source and (not found or f"Checksum{algorithm}" in found):
            return source["etag"], found
        etag, checksums = await self._contents.examined(source, algorithm)
        return (etag if "parts" in source else source["etag"]), checksums

    async def source(self, ctx: Context, request: Request) -> tuple[Document, Request]:
        """The object that a copy's request names, and the request that would read it. Raises as reading does."""
        source_request = parse_copy_source(request["CopySource"])
        for name in ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince"):
            if f"CopySource{name}" in request:
                source_request[name] = request[f"CopySource{name}"]
        try:
            source, _ = await self._find(ctx, source_request)
        except AwsError as error:
            if error.code in ("PreconditionFailed", "NotModified"):
                raise copy_failed(error, request) from None
            raise
        return source, source_request

    async def _find(
        self, ctx: Context, request: Request, tx: Primitives | None = None
    ) -> tuple[Document, Bucket]:
        bucket = await self._buckets.look(ctx, request, tx)
        key, version_id = request["Key"], request.get("VersionId")
        if "versioning" not in bucket and request.get("VersionId", "null") != "null":
            raise no_version_id(request)
        document = await self._versions.find(bucket["name"], key, version_id, tx)
        if document is None and version_id is not None:
            raise AwsError(
                "NoSuchVersion",
                "The specified version does not exist.",
                status=404,
                fields={"Key": key, "VersionId": version_id},
            )
        hidden = version_id is None and not ctx.operation.endswith("Tagging")
        if document is None or (document.get("delete_marker") and hidden):
            raise no_key(key, document)
        if document.get("delete_marker"):
            raise marked(ctx, document["version_id"])
        require_readable(request, document, ctx.now)
        return document, bucket


def described(request: Request, now: int) -> Document:
    """The part of a document that a put, a copy or an upload describes. Refuses encryption by other than S3's keys."""
    if request.get("ServerSideEncryption", "AES256") != "AES256":
        raise refuse(f"ServerSideEncryption {request['ServerSideEncryption']}")
    # AWS: this canned ACL changes nothing where the owner owns every object (S3 user guide, "Object Ownership").
    if request.get("ACL", "private") not in ("private", "bucket-owner-full-control"):
        raise refuse(f"ACL {request['ACL']}")
    storage_class = request.get("StorageClass", "STANDARD")
    if storage_class not in _STORAGE_CLASSES:
        raise AwsError(
            "InvalidStorageClass",
            "The storage class you specified is not valid",
            status=400,
            fields={"StorageClassRequested": storage_class},
        )
    given = request.get("Metadata")
    return {
        "modified_at": now,
        "metadata": _metadata(given) if given else {},
        "headers": _headers(request),
        "tags": parse_tags(request["Tagging"]) if "Tagging" in request else [],
        "storage_class": storage_class,
    }


def _metadata(given: Mapping[str, str]) -> dict[str, str]:
    """User metadata as it is kept. Raises MetadataTooLarge."""
    metadata = {name.lower(): kept_metadata(value) for name, value in given.items()}
    # AWS: user metadata is limited to 2 KB (S3 user guide, "Object metadata").
    if sum(len(name) + len(value.encode()) for name, value in metadata.items()) > _MAX_METADATA:
        raise AwsError(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            status=400,
        )
    return metadata


def _headers(request: Request) -> dict[str, Any]:
    """The header fields that an object keeps."""
    if _HEADER_NAMES.isdisjoint(request):
        return {"ContentType": _UNTYPED}
    headers: dict[str, Any] = {name: request[name] for name in HEADERS if name in request}
    # AWS: how a request was framed is no part of the object (S3 API reference, "Signature calculations", aws-chunked).
    codings = headers.pop("ContentEncoding", "").split(",")
    kept = ",".join(coding for coding in codings if coding.strip() not in ("", "aws-chunked"))
    if kept:
        headers["ContentEncoding"] = kept.strip()
    headers.setdefault("ContentType", _UNTYPED)
    return headers


def parse_copy_source(source: str | Mapping[str, str]) -> Request:
    """`Bucket`, `Key` and perhaps `VersionId` of a `x-amz-copy-source` header, `bucket/key?versionId=...`."""
    if not isinstance(source, str):
        return dict(source)
    path, _, query = source.partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    if not bucket or not key:
        raise AwsError(
            "InvalidArgument",
            "Invalid copy source object key",
            status=400,
            fields={"ArgumentName": "x-amz-copy-source", "ArgumentValue": "x-amz-copy-source"},
        )
    return {"Bucket": bucket, "Key": key, **({"VersionId": query} if query else {})}


def _require_change(request: Request, source: Request) -> None:
    """Raise InvalidRequest for a copy of an object's current version to itself that changes nothing."""
    same = (source["Bucket"], source["Key"]) == (request["Bucket"], request["Key"])
    changes = request.get("MetadataDirective", "COPY") == "REPLACE" or any(
        member in request
        for member in ("StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption")
    )
    if same and not changes and "VersionId" not in source:
        raise AwsError(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
            status=400,
        )


def _copied(source: Document, request: Request, now: int) -> Document:
    """The document of a copy: the storage class is the request's, the rest as the directives say."""
    document = described(request, now)
    if request.get("MetadataDirective", "COPY") == "COPY":
        # AWS: the redirect and the storage class are never copied (API reference, CopyObject).
        headers = {**source["headers"]}
        headers.pop("WebsiteRedirectLocation", None)
        if "WebsiteRedirectLocation" in request:
            headers["WebsiteRedirectLocation"] = request["WebsiteRedirectLocation"]
        document["headers"], document["metadata"] = headers, source["metadata"]
    if request.get("TaggingDirective", "COPY") == "COPY":
        document["tags"] = source["tags"]
    document["size"] = source["size"]
    return document


def _description(document: Document, request: Request, bucket: Bucket) -> Result:
    result: Result = {
        **fields_of(document["headers"]),
        "AcceptRanges": "bytes",
        "LastModified": document["modified_at"],
        "ETag": document["etag"],
        "Metadata": {name: told(value) for name, value in document["metadata"].items()},
        "ServerSideEncryption": "AES256",
    }
    if document["storage_class"] != "STANDARD":
        result["StorageClass"] = document["storage_class"]
    if bucket.get("versioning"):
        result["VersionId"] = document["version_id"]
    # AWS: a version that is asked for by its id does not tell (recorded by LocalStack).
    if "VersionId" not in request:
        result |= expiration(bucket, request["Key"], document)
    if document["tags"]:
        result["TagCount"] = len(document["tags"])
    # AWS: in any case of letters (recorded by LocalStack).
    if request.get("ChecksumMode", "").upper() == "ENABLED":
        result.update(document["checksums"])
    return result


def expiration(bucket: Bucket, key: str, document: Document) -> Result:
    """When a lifecycle rule ends a current version, as answers tell it."""
    if "lifecycle" not in bucket:
        return {}
    found = expiration_header(bucket["lifecycle"]["rules"], key, document)
    return {} if found is None else {"Expiration": found}


def _deletion(entry: Mapping[str, str], removed: Document | None) -> dict[str, Any]:
    result: dict[str, Any] = {"Key": entry["Key"]}
    if "VersionId" in entry:
        result["VersionId"] = entry["VersionId"]
    if removed is not None and removed.get("delete_marker"):
        result["DeleteMarker"] = True
        result["DeleteMarkerVersionId"] = removed["version_id"]
    return result


def _failure(entry: Mapping[str, str], error: AwsError) -> dict[str, str]:
    version = {"VersionId": entry["VersionId"]} if "VersionId" in entry else {}
    return {"Key": entry["Key"], **version, "Code": error.code, "Message": error.message}
