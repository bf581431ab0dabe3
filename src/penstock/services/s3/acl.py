"""Access control lists: everything belongs to the bucket's owner, and only that can be said."""

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import Bucket, Buckets
from penstock.services.s3.refusal import marked, no_key
from penstock.services.s3.version import Versions

_OWNERS = ("private", "bucket-owner-full-control")


class Acls:
    """Operations on the lists of buckets and objects."""

    def __init__(self, buckets: Buckets, versions: Versions) -> None:
        self._buckets = buckets
        self._versions = versions

    @operation("GetBucketAcl")
    async def get_bucket(self, ctx: Context, request: Request) -> Result:
        """The owner may do everything."""
        return _owned(await self._buckets.look(ctx, request))

    @operation("GetObjectAcl")
    async def get_object(self, ctx: Context, request: Request) -> Result:
        """The owner may do everything."""
        bucket = await self._buckets.look(ctx, request)
        await self._require_object(ctx, bucket, request)
        return _owned(bucket)

    @operation("PutBucketAcl", in_part=["grants to others"])
    async def put_bucket(self, ctx: Context, request: Request) -> None:
        """Say once more that only the owner may do anything."""
        _require_private(await self._buckets.look(ctx, request), request)

    @operation("PutObjectAcl", in_part=["grants to others"])
    async def put_object(self, ctx: Context, request: Request) -> Result:
        """Say once more that only the owner may do anything."""
        bucket = await self._buckets.look(ctx, request)
        await self._require_object(ctx, bucket, request)
        _require_private(bucket, request)
        return {}

    async def _require_object(self, ctx: Context, bucket: Bucket, request: Request) -> None:
        key, version_id = request["Key"], request.get("VersionId")
        document = await self._versions.find(bucket["name"], key, version_id)
        put = ctx.operation.startswith("Put")
        if document is not None and document.get("delete_marker") and (put or version_id):
            raise marked(ctx, document["version_id"])
        if document is None or document.get("delete_marker"):
            raise no_key(key, document)


def _owned(bucket: Bucket) -> Result:
    owner = {"ID": bucket["account"].zfill(64)}
    grantee = {**owner, "Type": "CanonicalUser"}
    return {"Owner": owner, "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}]}


def _require_private(bucket: Bucket, request: Request) -> None:
    """Raise unless a request leaves everything to the owner."""
    grants = [name for name in request if name.startswith("Grant")]
    given = request.get("AccessControlPolicy", {}).get("Grants")
    canned = request.get("ACL", "private")
    owned = given is None or given == _owned(bucket)["Grants"]
    if not grants and owned and canned in _OWNERS:
        return
    # AWS: without ownership controls a bucket has ACLs, as before there were any (S3 user guide, "Object Ownership").
    if bucket.get("ownership") == "BucketOwnerEnforced":
        raise AwsError(
            "AccessControlListNotSupported", "The bucket does not allow ACLs", status=400
        )
    raise refuse("ACLs that let others in")
