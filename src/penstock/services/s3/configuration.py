"""What can be set on a bucket: versioning, tags, policy, public access, encryption, ownership."""

from typing import Any

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import OWNERSHIPS, PUBLIC_ACCESS, Buckets
from penstock.services.s3.tag import require_tags
from penstock.storage.primitives import Store


def malformed() -> AwsError:
    """What S3 answers to a document that makes no sense."""
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
        status=400,
    )


class Configurations:
    """Operations on the configuration members of a bucket's document."""

    def __init__(self, store: Store, buckets: Buckets) -> None:
        self._store = store
        self._buckets = buckets

    async def _set(self, ctx: Context, request: Request, member: str, value: Any) -> None:
        bucket = await self._buckets.find(ctx, request)
        if value is None:
            bucket.pop(member, None)
        else:
            bucket[member] = value
        await self._buckets.save(bucket)

    async def _get(
        self, ctx: Context, request: Request, member: str, missing: tuple[str, str]
    ) -> Any:
        bucket = await self._buckets.find(ctx, request)
        if member not in bucket:
            fields = {"BucketName": bucket["name"]}
            raise AwsError(missing[0], missing[1], status=404, fields=fields)
        return bucket[member]

    @operation(
        "PutBucketVersioning", refuses=["MFA"], in_part=["VersioningConfiguration.MFADelete"]
    )
    async def put_versioning(self, ctx: Context, request: Request) -> None:
        """Keep every version from now on, or stop."""
        await self._buckets.look(ctx, request)
        configuration = request["VersioningConfiguration"]
        if configuration.get("MFADelete", "Disabled") != "Disabled":
            raise refuse("MFADelete")
        if "Status" not in configuration:
            raise AwsError(
                "IllegalVersioningConfigurationException",
                "The Versioning element must be specified",
                status=400,
            )
        if configuration["Status"] not in ("Enabled", "Suspended"):
            raise malformed()
        await self._set(ctx, request, "versioning", configuration["Status"])

    @operation("GetBucketVersioning")
    async def get_versioning(self, ctx: Context, request: Request) -> Result:
        """The state; nothing when it was never set."""
        bucket = await self._buckets.look(ctx, request)
        return {"Status": bucket["versioning"]} if "versioning" in bucket else {}

    @operation("PutBucketTagging")
    async def put_tags(self, ctx: Context, request: Request) -> None:
        """Replace the tags."""
        await self._buckets.look(ctx, request)
        tags = require_tags(request["Tagging"]["TagSet"], "bucket")
        await self._set(ctx, request, "tags", tags or None)

    @operation("GetBucketTagging")
    async def get_tags(self, ctx: Context, request: Request) -> Result:
        """The tags. Raises NoSuchTagSet."""
        missing = ("NoSuchTagSet", "The TagSet does not exist")
        return {"TagSet": await self._get(ctx, request, "tags", missing)}

    @operation("DeleteBucketTagging")
    async def delete_tags(self, ctx: Context, request: Request) -> None:
        """Remove the tags."""
        await self._set(ctx, request, "tags", None)

    @operation("PutBucketPolicy")
    async def put_policy(self, ctx: Context, request: Request) -> None:
        """Replace the policy."""
        try:
            policy = orjson.loads(request.get("Policy", ""))
            if not isinstance(policy, dict):
                raise ValueError
        except ValueError as error:
            raise AwsError(
                "MalformedPolicy",
                "Policies must be valid JSON and the first byte must be '{'",
                status=400,
            ) from error
        if "Statement" not in policy:
            text = "Missing required field Statement"
            raise AwsError("MalformedPolicy", text, status=400)
        await self._set(ctx, request, "policy", request["Policy"])

    @operation("GetBucketPolicy")
    async def get_policy(self, ctx: Context, request: Request) -> Result:
        """The policy. Raises NoSuchBucketPolicy."""
        missing = ("NoSuchBucketPolicy", "The bucket policy does not exist")
        return {"Policy": await self._get(ctx, request, "policy", missing)}

    @operation("DeleteBucketPolicy")
    async def delete_policy(self, ctx: Context, request: Request) -> None:
        """Remove the policy."""
        await self._set(ctx, request, "policy", None)

    @operation("PutPublicAccessBlock")
    async def put_public_access(self, ctx: Context, request: Request) -> None:
        """Replace the public access block."""
        given = request["PublicAccessBlockConfiguration"]
        value = {name: bool(given.get(name)) for name in PUBLIC_ACCESS}
        await self._set(ctx, request, "public_access", value)

    @operation("GetPublicAccessBlock")
    async def get_public_access(self, ctx: Context, request: Request) -> Result:
        """The public access block. Raises NoSuchPublicAccessBlockConfiguration."""
        missing = (
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
        value = await self._get(ctx, request, "public_access", missing)
        return {"PublicAccessBlockConfiguration": value}

    @operation("DeletePublicAccessBlock")
    async def delete_public_access(self, ctx: Context, request: Request) -> None:
        """Remove the public access block."""
        await self._set(ctx, request, "public_access", None)

    @operation("PutBucketEncryption", in_part=["KMSMasterKeyID", "SSEAlgorithm: aws:kms:dsse"])
    async def put_encryption(self, ctx: Context, request: Request) -> None:
        """Replace the default encryption; only with keys that AWS manages, which no client can tell apart.

        SAM asks for `aws:kms` for the bucket that it deploys from.
        """
        await self._buckets.look(ctx, request)
        rules = request["ServerSideEncryptionConfiguration"].get("Rules", [])
        if len(rules) != 1:
            raise malformed()
        for rule in rules:
            default = rule.get("ApplyServerSideEncryptionByDefault", {})
            if default.get("KMSMasterKeyID") and default.get("SSEAlgorithm") == "AES256":
                raise AwsError(
                    "InvalidArgument",
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
                    status=400,
                    fields={"ArgumentName": "ApplyServerSideEncryptionByDefault"},
                )
            if default.get("SSEAlgorithm", "AES256") not in ("AES256", "aws:kms"):
                raise refuse(f"SSEAlgorithm {default['SSEAlgorithm']}")
            if default.get("KMSMasterKeyID"):
                raise refuse("KMSMasterKeyID")
        await self._set(ctx, request, "encryption", rules)

    @operation("GetBucketEncryption")
    async def get_encryption(self, ctx: Context, request: Request) -> Result:
        """The default encryption."""
        bucket = await self._buckets.find(ctx, request)
        # AWS: every bucket has SSE-S3 since January 2023 (S3 user guide, "default encryption").
        default = {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"},
            "BucketKeyEnabled": False,
        }
        return {"ServerSideEncryptionConfiguration": {"Rules": bucket.get("encryption", [default])}}

    @operation("DeleteBucketEncryption")
    async def delete_encryption(self, ctx: Context, request: Request) -> None:
        """Return to the default."""
        await self._set(ctx, request, "encryption", None)

    @operation("PutBucketOwnershipControls")
    async def put_ownership(self, ctx: Context, request: Request) -> None:
        """Whether ACLs count; objects have one owner here in any case, the bucket's."""
        rules = request["OwnershipControls"]["Rules"]
        modes = [rule.get("ObjectOwnership") for rule in rules]
        if len(modes) != 1 or modes[0] not in OWNERSHIPS:
            raise malformed()
        await self._set(ctx, request, "ownership", modes[0])

    @operation("DeleteBucketOwnershipControls")
    async def delete_ownership(self, ctx: Context, request: Request) -> None:
        """Say nothing of ownership any more."""
        await self._set(ctx, request, "ownership", None)

    @operation("GetBucketOwnershipControls")
    async def get_ownership(self, ctx: Context, request: Request) -> Result:
        """The ownership mode."""
        missing = (
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
        )
        mode = await self._get(ctx, request, "ownership", missing)
        return {"OwnershipControls": {"Rules": [{"ObjectOwnership": mode}]}}
