"""Buckets: create, find, list, delete. Names are unique across accounts and regions."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.tag import require_tags
from penstock.storage.primitives import Primitives, Store

BUCKETS: Final = "s3/buckets"
OBJECTS: Final = "s3/objects"
UPLOADS: Final = "s3/uploads"
OWNERSHIPS: Final = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
PUBLIC_ACCESS: Final = (
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
)
# AWS: bucket names form one namespace (S3 user guide, "Bucket naming rules").
NAMESPACE: Final = b"aws"
_MOST_SEEN: Final = 1000
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ACCOUNT: Final = re.compile(r"\d{12}")
_NAME: Final = re.compile(r"(?!xn--)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

Bucket = Mapping[str, Any]
"""A bucket's document, which others look at too: it is not to be changed."""
_UNSEEN: Final[tuple[int, Bucket]] = (-1, {})
ForgetUpload = Callable[[Primitives, str, str, int], Awaitable[None]]
"""Removes an upload of a bucket by its id, at an instant."""


def no_such_bucket(name: str) -> AwsError:
    """What S3 answers when a bucket is missing."""
    return AwsError(
        "NoSuchBucket",
        "The specified bucket does not exist",
        status=404,
        fields={"BucketName": name},
    )


class Buckets:
    """The bucket documents: `name`, `account`, `region`, `created_at`, and one member a configuration."""

    def __init__(self, store: Store, forget_upload: ForgetUpload) -> None:
        self._store = store
        self.forget_upload: Final = forget_upload
        self._seen: dict[bytes, tuple[int, Bucket]] = {}
        """By name, with the version of the document."""

    async def find(
        self, ctx: Context, request: Request, tx: Primitives | None = None
    ) -> dict[str, Any]:
        """As `look`, but a copy, which may be changed and saved."""
        bucket: dict[str, Any] = orjson.loads(orjson.dumps(await self.look(ctx, request, tx)))
        return bucket

    async def look(self, ctx: Context, request: Request, tx: Primitives | None = None) -> Bucket:
        """The bucket that a request names. Raises NoSuchBucket, or AccessDenied when another account owns it."""
        expected = request.get("ExpectedBucketOwner")
        if expected is not None and _ACCOUNT.fullmatch(expected) is None:
            text = "The value of the expected bucket owner parameter must be an AWS Account ID..."
            raise AwsError("InvalidBucketOwnerAWSAccountID", f"{text} [{expected}]", status=400)
        name = request["Bucket"].encode()
        row = await (tx or self._store).table.get(BUCKETS, NAMESPACE, name)
        if row is None:
            raise no_such_bucket(request["Bucket"])
        version, bucket = self._seen.get(name, _UNSEEN)
        if version != row.version:
            bucket = orjson.loads(row.document)
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[name] = row.version, bucket
        if bucket["account"] != ctx.account or expected not in (None, bucket["account"]):
            raise AwsError("AccessDenied", "Access Denied", status=403)
        return bucket

    async def is_current(self, bucket: Bucket, tx: Primitives) -> bool:
        """Whether what `look` gave is still the bucket."""
        name = bucket["name"].encode()
        row = await tx.table.get(BUCKETS, NAMESPACE, name)
        return row is not None and self._seen.get(name) == (row.version, bucket)

    async def save(self, bucket: dict[str, Any], tx: Primitives | None = None) -> None:
        """Replace a bucket's document."""
        name = bucket["name"].encode()
        await (tx or self._store).table.put(BUCKETS, NAMESPACE, name, orjson.dumps(bucket))

    @operation(
        "CreateBucket",
        refuses=[
            "GrantFullControl",
            "GrantRead",
            "GrantReadACP",
            "GrantWrite",
            "GrantWriteACP",
            "BucketNamespace",
        ],
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a bucket in the request's region."""
        name: str = request["Bucket"]
        _require_creatable(request)
        region = _location(ctx, request)
        row = await self._store.table.get(BUCKETS, NAMESPACE, name.encode())
        if row is not None:
            _require_repeatable(ctx, request, orjson.loads(row.document))
        else:
            document = {
                "name": name,
                "account": ctx.account,
                "region": region,
                "created_at": ctx.now,
                "ownership": request.get("ObjectOwnership", "BucketOwnerEnforced"),
                # AWS: new buckets block all public access since April 2023 (S3 user guide, "Blocking public access").
                "public_access": dict.fromkeys(PUBLIC_ACCESS, True),
            }
            if request.get("CreateBucketConfiguration", {}).get("LocationConstraint") == "EU":
                document["constraint"] = "EU"
            tags = request.get("CreateBucketConfiguration", {}).get("Tags")
            if tags:
                document["tags"] = require_tags(tags, "bucket")
            await self.save(document)
        location = f"/{name}" if region == "us-east-1" else f"http://{name}.s3.amazonaws.com/"
        return {"Location": location, "BucketArn": f"arn:aws:s3:::{name}"}

    @operation("HeadBucket")
    async def head(self, ctx: Context, request: Request) -> Result:
        """Say where a bucket is."""
        bucket = await self.find(ctx, request)
        return {"BucketRegion": bucket["region"], "BucketArn": f"arn:aws:s3:::{bucket['name']}"}

    @operation("GetBucketLocation")
    async def location(self, ctx: Context, request: Request) -> Result:
        """The region, null for us-east-1."""
        bucket = await self.find(ctx, request)
        region = bucket["region"]
        # AWS: the first region's constraint is null (API reference, GetBucketLocation).
        told = None if region == "us-east-1" else bucket.get("constraint", region)
        return {"LocationConstraint": told}

    @operation("ListBuckets")
    async def list(self, ctx: Context, request: Request) -> Result:
        """The caller's buckets by name."""
        prefix = request.get("Prefix", "")
        limit = request.get("MaxBuckets", 10_000)
        low = max(prefix, request.get("ContinuationToken", "")).encode()
        found: list[dict[str, Any]] = []
        for row in await self._store.table.range(BUCKETS, NAMESPACE, low=low, limit=100_000):
            bucket = orjson.loads(row.document)
            region = request.get("BucketRegion", bucket["region"])
            wanted = bucket["name"].startswith(prefix) and region == bucket["region"]
            if wanted and bucket["account"] == ctx.account:
                found.append(bucket)
        owner = {"ID": ctx.account.zfill(64)}
        result: Result = {"Buckets": [_summary(bucket) for bucket in found[:limit]], "Owner": owner}
        if "Prefix" in request:
            result["Prefix"] = prefix
        if len(found) > limit:
            result["ContinuationToken"] = found[limit]["name"]
        return result

    @operation("DeleteBucket")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Delete an empty bucket."""
        bucket = await self.find(ctx, request)
        name = bucket["name"].encode()
        async with self._store.transaction() as tx:
            # Versions that are not current never outlive the current one, so this sees every object.
            if await tx.table.range(OBJECTS, name, limit=1):
                message = "The bucket you tried to delete is not empty"
                if bucket.get("versioning"):
                    message += ". You must delete all versions in the bucket."
                fields = {"BucketName": bucket["name"]}
                raise AwsError("BucketNotEmpty", message, status=409, fields=fields)
            await tx.table.delete(BUCKETS, NAMESPACE, name)
            # A later bucket of this name shall not find uploads that were begun in this one.
            while uploads := await tx.table.range(UPLOADS, name):
                for upload in uploads:
                    await self.forget_upload(tx, bucket["name"], upload.sort.decode(), ctx.now)


def _require_creatable(request: Request) -> None:
    if _NAME.fullmatch(request["Bucket"]) is None:
        fields = {"BucketName": request["Bucket"]}
        raise AwsError(
            "InvalidBucketName", "The specified bucket is not valid.", status=400, fields=fields
        )
    ownership = request.get("ObjectOwnership", "BucketOwnerEnforced")
    if ownership not in OWNERSHIPS:
        raise AwsError(
            "InvalidArgument",
            f"Invalid x-amz-object-ownership header: {ownership}",
            status=400,
            fields={"ArgumentName": "x-amz-object-ownership"},
        )
    if request.get("ACL", "private") != "private":
        raise AwsError("NotImplemented", "Penstock does not implement bucket ACLs yet.", status=501)
    if request.get("ObjectLockEnabledForBucket"):
        raise AwsError("NotImplemented", "Penstock does not implement object lock yet.", status=501)


def _location(ctx: Context, request: Request) -> str:
    given = request.get("CreateBucketConfiguration", {}).get("LocationConstraint")
    constraint = given
    # AWS: the oldest name of Ireland still counts (API reference, CreateBucket).
    if constraint == "EU":
        constraint = "eu-west-1"
    if constraint == ctx.region != "us-east-1" or (not constraint and ctx.region == "us-east-1"):
        return ctx.region
    if ctx.region == "us-east-1" and constraint != "us-east-1" and _REGION.fullmatch(constraint):
        return str(constraint)
    if constraint and ctx.region == "us-east-1":
        raise AwsError(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            status=400,
            fields={"LocationConstraint": constraint},
        )
    raise AwsError(
        "IllegalLocationConstraintException",
        f"The {given or 'unspecified'} location constraint is incompatible "
        "for the region specific endpoint this request was sent to.",
        status=400,
    )


def _require_repeatable(ctx: Context, request: Request, bucket: dict[str, Any]) -> None:
    fields = {"BucketName": bucket["name"]}
    if bucket["account"] != ctx.account:
        raise AwsError(
            "BucketAlreadyExists",
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again.",
            status=409,
            fields=fields,
        )
    # AWS: us-east-1 answers 200 to the owner's second CreateBucket (API reference, BucketAlreadyOwnedByYou).
    tagged = request.get("CreateBucketConfiguration", {}).get("Tags")
    if ctx.region != "us-east-1" or bucket["region"] != "us-east-1" or tagged:
        raise AwsError(
            "BucketAlreadyOwnedByYou",
            "Your previous request to create the named bucket succeeded and you already own it.",
            status=409,
            fields=fields,
        )


def _summary(bucket: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": bucket["name"],
        "CreationDate": bucket["created_at"],
        "BucketRegion": bucket["region"],
        "BucketArn": f"arn:aws:s3:::{bucket['name']}",
    }
