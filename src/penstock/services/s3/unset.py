"""What nobody can have set on a bucket here: tools ask for it all the same, and are told as of any new bucket."""

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import Buckets


class Unset:
    """Reads of configurations whose writes are refused by name."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    async def _missing(self, ctx: Context, request: Request, code: str, text: str) -> AwsError:
        bucket = await self._buckets.look(ctx, request)
        return AwsError(code, text, status=404, fields={"BucketName": bucket["name"]})

    @operation("GetBucketWebsite")
    async def website(self, ctx: Context, request: Request) -> Result:
        """There is no website."""
        text = "The specified bucket does not have a website configuration"
        raise await self._missing(ctx, request, "NoSuchWebsiteConfiguration", text)

    @operation("GetBucketReplication")
    async def replication(self, ctx: Context, request: Request) -> Result:
        """There is no replication."""
        text = "The replication configuration was not found"
        raise await self._missing(ctx, request, "ReplicationConfigurationNotFoundError", text)

    @operation("GetObjectLockConfiguration")
    async def lock(self, ctx: Context, request: Request) -> Result:
        """There is no lock."""
        text = "Object Lock configuration does not exist for this bucket"
        raise await self._missing(ctx, request, "ObjectLockConfigurationNotFoundError", text)

    @operation("GetBucketLogging")
    async def logging(self, ctx: Context, request: Request) -> Result:
        """Nothing is logged."""
        await self._buckets.look(ctx, request)
        return {}

    @operation("GetBucketAccelerateConfiguration")
    async def acceleration(self, ctx: Context, request: Request) -> Result:
        """It was never set."""
        await self._buckets.look(ctx, request)
        return {}

    @operation("GetBucketRequestPayment")
    async def payment(self, ctx: Context, request: Request) -> Result:
        """The owner pays."""
        await self._buckets.look(ctx, request)
        return {"Payer": "BucketOwner"}

    @operation("GetBucketPolicyStatus")
    async def policy_status(self, ctx: Context, request: Request) -> Result:
        """Whether the policy lets anybody in."""
        bucket = await self._buckets.look(ctx, request)
        if "policy" not in bucket:
            text = "The bucket policy does not exist"
            raise await self._missing(ctx, request, "NoSuchBucketPolicy", text)
        public = '"Principal":"*"' in bucket["policy"].replace(" ", "")
        return {"PolicyStatus": {"IsPublic": public}}
