"""Multipart uploads. Parts are blobs; completing an upload names them as the object's pieces."""

import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.s3 import checksum
from penstock.services.s3.bucket import OBJECTS, UPLOADS, Bucket, Buckets
from penstock.services.s3.change import Changes
from penstock.services.s3.content import Contents, Kept
from penstock.services.s3.object import UNBUILT, described, expiration
from penstock.services.s3.record import Document, load
from penstock.services.s3.uploads import LONGEST_PAGE, initiator
from penstock.storage.primitives import Primitives, Store

PARTS: Final = "s3/parts"
_UNBUILT: Final = ("SSECustomerAlgorithm", "SSECustomerKey")
# AWS: every part but the last has at least 5 MiB; parts are numbered 1 to 10,000 (S3 user guide, "Multipart upload limits").
_MIN_PART: Final = 5 * 1024**2
_MAX_PART_NUMBER: Final = 10_000
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d+)")
FindSource = Callable[[Context, Request], Awaitable[tuple[Document, Request]]]
"""Finds the object that a copy's request names."""


class Multipart:
    """Operations on multipart uploads."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        buckets: Buckets,
        changes: Changes,
        contents: Contents,
        source: FindSource,
    ) -> None:
        self._store = store
        self._ids = ids
        self._buckets = buckets
        self._changes = changes
        self._contents = contents
        self._source = source

    @operation(
        "CreateMultipartUpload",
        refuses=UNBUILT,
        in_part=["ACL for others", "ServerSideEncryption: other than AES256"],
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Begin an upload."""
        checksum.require_algorithm(request)
        upload_id = self._ids.token(64)
        document = {**described(request, ctx.now), "key": request["Key"]}
        algorithm: dict[str, Any] = {
            name: request[name] for name in ("ChecksumAlgorithm", "ChecksumType") if name in request
        }
        if "ChecksumAlgorithm" in algorithm:
            name = f"Checksum{algorithm['ChecksumAlgorithm']}"
            algorithm.setdefault("ChecksumType", checksum.usual_type(name))
            checksum.require_combination(algorithm["ChecksumAlgorithm"], algorithm["ChecksumType"])
        document["algorithm"] = algorithm
        sort = upload_id.encode()
        async with self._store.transaction() as tx:
            bucket = await self._buckets.look(ctx, request, tx)
            await tx.table.put(
                UPLOADS, bucket["name"].encode(), sort, orjson.dumps(document), expect=0
            )
        answer: Result = {"Bucket": bucket["name"], "Key": request["Key"], "UploadId": upload_id}
        return {**answer, **algorithm, "ServerSideEncryption": "AES256"}

    @operation("UploadPart", refuses=_UNBUILT)
    async def upload(self, ctx: Context, request: Request) -> Result:
        """Keep a part; a second one of the same number replaces it."""
        upload = await self._find(ctx, request)
        number = request["PartNumber"]
        if not 1 <= number <= _MAX_PART_NUMBER:
            raise AwsError(
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive",
                status=400,
                fields={"ArgumentName": "partNumber", "ArgumentValue": str(number)},
            )
        checksum.require_kind(request, upload["algorithm"])
        part = {"number": number, "modified_at": ctx.now}
        async with self._contents.keep({**upload["algorithm"], **request}) as kept:
            part.update(kept.described())
            part["checksums"].pop("ChecksumType")
            part["crc64"] = kept.crc64
            if not upload["algorithm"] and not checksum.asked(request):
                # AWS: nobody asked for the one that is computed in any case (recorded by LocalStack).
                part["checksums"] = {}
            await self._store_part(ctx, request, part, kept)
        return {"ETag": part["etag"], **part["checksums"], "ServerSideEncryption": "AES256"}

    @operation("UploadPartCopy", refuses=[*_UNBUILT, "CopySourceSSECustomerKey"])
    async def upload_copy(self, ctx: Context, request: Request) -> Result:
        """Keep a part that is made of another object's bytes."""
        upload = await self._find(ctx, request)
        source, _ = await self._source(ctx, request)
        start, end = _copied_range(request.get("CopySourceRange"), source["size"])
        body = self._contents.stream(source, start, end)
        part = {"number": request["PartNumber"], "modified_at": ctx.now}
        taken = {"PartNumber": request["PartNumber"], "Body": body, **upload["algorithm"]}
        async with self._contents.keep(taken) as kept:
            part.update(kept.described())
            part["checksums"].pop("ChecksumType")
            part["crc64"] = kept.crc64
            if not upload["algorithm"]:
                part["checksums"] = {}
            await self._store_part(ctx, request, part, kept)
        checksums = part["checksums"]
        result: Result = {
            "CopyPartResult": {"ETag": part["etag"], "LastModified": ctx.now, **checksums},
            "ServerSideEncryption": "AES256",
        }
        if source["version_id"] != "null":
            result["CopySourceVersionId"] = source["version_id"]
        return result

    async def _store_part(self, ctx: Context, request: Request, part: Document, kept: Kept) -> None:
        upload, sort = request["UploadId"].encode(), part["number"].to_bytes(2, "big")
        async with self._store.transaction() as tx:
            # The upload may have ended while the bytes were written.
            await self._find(ctx, request, tx)
            await self._contents.attach(tx, part, kept)
            row = await tx.table.get(PARTS, upload, sort)
            if row is not None:
                await self._contents.detach(tx, orjson.loads(row.document), ctx.now)
            await tx.table.put(PARTS, upload, sort, orjson.dumps(part))

    @operation("CompleteMultipartUpload", refuses=_UNBUILT)
    async def complete(self, ctx: Context, request: Request) -> Result:
        """Make the object."""
        if (done := await self._completed(request)) is not None:
            return _completion(ctx, await self._buckets.look(ctx, request), request, done)
        upload = await self._find(ctx, request)
        parts = await parts_of(self._store, request["UploadId"])
        document = _assembled(upload, {part["number"]: part for part in parts}, request, ctx.now)

        async def assemble(tx: Primitives) -> None:
            await self._find(ctx, request, tx)
            await self._require_unchanged(tx, request, upload["modified_at"])
            if await parts_of(tx, request["UploadId"]) != parts:
                raise Conflict("a part was uploaded while the upload was completed")
            await self._contents.share(tx, document, document)
            await forget(tx, self._contents, request["Bucket"], request["UploadId"], ctx.now)

        kind = "ObjectCreated:CompleteMultipartUpload"
        seen = await self._buckets.look(ctx, request)
        bucket = await self._changes.put(ctx, request, kind, document, assemble, seen)
        return _completion(ctx, bucket, request, document)

    async def _completed(self, request: Request) -> Document | None:
        """The current object, if this very upload made it of these very parts: whoever did not hear so asks again."""
        document = await self._current(self._store, request)
        if document.get("upload_id") != request["UploadId"]:
            return None
        listed = request.get("MultipartUpload", {}).get("Parts", [])
        try:
            etag = checksum.joined_etag([part.get("ETag", "") for part in listed])
        except ValueError:
            return None
        return document if etag == document["etag"] else None

    async def _current(self, given: Primitives, request: Request) -> Document:
        row = await given.table.get(OBJECTS, request["Bucket"].encode(), request["Key"].encode())
        return {} if row is None else load(row.document)

    async def _require_unchanged(self, tx: Primitives, request: Request, since: int) -> None:
        """Raise ConditionalRequestConflict where an If-Match is about an object that was put while the upload went on."""
        if "IfMatch" not in request:
            return
        current = await self._current(tx, request)
        # An object that does not match is told before one that came too late.
        matches = current.get("etag", "").strip('"') == request["IfMatch"].strip('"')
        if matches and current["modified_at"] > since:
            raise AwsError(
                "ConditionalRequestConflict",
                "The conditional request cannot succeed due to a conflicting operation against this resource.",
                status=409,
                fields={"Condition": "If-Match", "Key": request["Key"]},
            )

    @operation("AbortMultipartUpload", refuses=["IfMatchInitiatedTime"])
    async def abort(self, ctx: Context, request: Request) -> None:
        """Forget an upload and its parts."""
        async with self._store.transaction() as tx:
            await self._find(ctx, request, tx)
            await forget(tx, self._contents, request["Bucket"], request["UploadId"], ctx.now)

    @operation("ListParts", refuses=_UNBUILT)
    async def list_parts(self, ctx: Context, request: Request) -> Result:
        """A page of an upload's parts by number."""
        upload = await self._find(ctx, request)
        after = request.get("PartNumberMarker", 0)
        limit = min(request.get("MaxParts", LONGEST_PAGE), LONGEST_PAGE)
        kept = await parts_of(self._store, request["UploadId"])
        parts = [part for part in kept if part["number"] > after]
        page = parts[:limit]
        return {
            "Bucket": request["Bucket"],
            "Key": request["Key"],
            "UploadId": request["UploadId"],
            "PartNumberMarker": after,
            "NextPartNumberMarker": page[-1]["number"] if page else 0,
            "MaxParts": limit,
            "IsTruncated": 0 < limit < len(parts),
            "Parts": [_part(part, upload["algorithm"]) for part in page],
            "StorageClass": upload["storage_class"],
            "Initiator": initiator(ctx),
            "Owner": {"ID": ctx.account.zfill(64)},
            **upload["algorithm"],
        }

    async def _find(self, ctx: Context, request: Request, tx: Primitives | None = None) -> Document:
        bucket = await self._buckets.look(ctx, request, tx)
        sort = request["UploadId"].encode()
        row = await (tx or self._store).table.get(UPLOADS, bucket["name"].encode(), sort)
        upload: Document = {} if row is None else orjson.loads(row.document)
        if upload.get("key") != request["Key"]:
            raise AwsError(
                "NoSuchUpload",
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been "
                "aborted or completed.",
                status=404,
                fields={"UploadId": request["UploadId"]},
            )
        return upload


async def parts_of(primitives: Primitives, upload_id: str) -> list[dict[str, Any]]:
    """The parts of an upload by number."""
    rows = await primitives.table.range(PARTS, upload_id.encode(), limit=_MAX_PART_NUMBER)
    return [orjson.loads(row.document) for row in rows]


def _assembled(
    upload: Document, kept: dict[int, dict[str, Any]], request: Request, now: int
) -> Document:
    """The object that a completion makes. Raises as `_chosen` does, and for checksums or a size that differ."""
    parts = _chosen(upload["algorithm"], request, kept)
    document: Document = {name: upload[name] for name in upload if name not in ("key", "algorithm")}
    document["upload_id"] = request["UploadId"]
    document["modified_at"] = now
    document["etag"] = checksum.joined_etag([part["etag"] for part in parts])
    document["size"] = sum(part["size"] for part in parts)
    document["pieces"] = [piece for part in parts for piece in part["pieces"]]
    told = bool(upload["algorithm"])
    document["parts"] = [
        {"size": part["size"], "checksums": part["checksums"] if told else {}} for part in parts
    ]
    document["checksums"] = checksum.joined(parts, upload["algorithm"], request)
    if request.get("MpuObjectSize", document["size"]) != document["size"]:
        raise AwsError(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {request['MpuObjectSize']} does not match what was "
            f"computed: {document['size']}",
            status=400,
        )
    return document


def _completion(ctx: Context, bucket: Bucket, request: Request, document: Document) -> Result:
    """What a completion answers."""
    result: Result = {
        "Bucket": bucket["name"],
        "Key": request["Key"],
        "Location": f"{ctx.endpoint}/{bucket['name']}/{quote(request['Key'])}",
        "ETag": document["etag"],
        "ServerSideEncryption": "AES256",
        **document["checksums"],
        **expiration(bucket, request["Key"], document),
    }
    if bucket.get("versioning") == "Enabled":
        result["VersionId"] = document["version_id"]
    return result


def _copied_range(header: str | None, size: int) -> tuple[int, int]:
    """First byte, and the one after the last, of what a part is copied from. Raises InvalidArgument, InvalidRange."""
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        raise AwsError(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            status=400,
            fields={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": header},
        )
    if int(match[1]) >= size:
        text = "The specified copy range is invalid for the source object size"
        raise AwsError("InvalidRequest", text, status=400)
    if int(match[2]) >= size:
        raise AwsError(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            status=400,
            fields={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": header},
        )
    return int(match[1]), int(match[2]) + 1


def _chosen(
    algorithm: dict[str, str], request: Request, kept: dict[int, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The parts that a completion lists. Raises for none, a wrong one, a wrong order, a small one."""
    if "MultipartUpload" not in request:
        raise AwsError("InvalidRequest", "You must specify at least one part", status=400)
    wanted: Sequence[dict[str, Any]] = request["MultipartUpload"].get("Parts", [])
    if not wanted:
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            status=400,
        )
    numbers = [part["PartNumber"] for part in wanted]
    if any(number >= following for number, following in itertools.pairwise(numbers)):
        raise AwsError(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
            status=400,
            fields={"UploadId": request["UploadId"]},
        )
    for want in wanted:
        part, etag = kept.get(want["PartNumber"]), want.get("ETag", "").strip('"')
        known = part is not None and part["etag"].strip('"') == etag
        if part is None or not known or not checksum.is_own(want, part, algorithm):
            raise AwsError(
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
                "specified entity tag may not match the part's entity tag.",
                status=400,
                fields={
                    "UploadId": request["UploadId"],
                    "PartNumber": str(want["PartNumber"]),
                    "ETag": etag,
                },
            )
    checksum.require_type(request, algorithm)
    checksum.require_listed(wanted, algorithm)
    parts = [kept[number] for number in numbers]
    for part in parts[:-1]:
        if part["size"] < _MIN_PART:
            raise AwsError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                status=400,
                fields={
                    "ProposedSize": str(part["size"]),
                    "MinSizeAllowed": str(_MIN_PART),
                    "PartNumber": str(part["number"]),
                    "ETag": part["etag"].strip('"'),
                },
            )
    return parts


def _part(part: dict[str, Any], algorithm: dict[str, Any]) -> dict[str, Any]:
    return {
        "PartNumber": part["number"],
        "LastModified": part["modified_at"],
        "ETag": part["etag"],
        "Size": part["size"],
        **(part["checksums"] if algorithm else {}),
    }


async def forget(tx: Primitives, contents: Contents, bucket: str, upload_id: str, now: int) -> None:
    """Remove an upload and its parts."""
    await tx.table.delete(UPLOADS, bucket.encode(), upload_id.encode())
    for part in await parts_of(tx, upload_id):
        await contents.detach(tx, part, now)
        await tx.table.delete(PARTS, upload_id.encode(), part["number"].to_bytes(2, "big"))
