"""What hangs on a table beside its items: tags, backups, limits."""

from dataclasses import replace
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.dynamo_value import invalid
from penstock.services.dynamodb.tables import Tables
from penstock.storage.primitives import Store

# AWS: tags of a resource (tagging reference).
_MAX_TAGS: Final = 50
_RESERVED: Final = "aws:"


class Settings:
    """Settings of tables."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store = store
        self._tables = tables

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> None:
        """Add tags or replace their values."""
        table = await self._tables.require(ctx, request["ResourceArn"])
        tags = {**table.tags, **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
        if any(key.lower().startswith(_RESERVED) for key in tags):
            raise invalid(f"One or more tag keys have the reserved prefix {_RESERVED}")
        if len(tags) > _MAX_TAGS:
            raise invalid(f"Tag count exceeds the limit of {_MAX_TAGS}")
        await self._tables.save(self._store, replace(table, tags=tags))

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> None:
        """Remove tags; unknown ones are passed over."""
        table = await self._tables.require(ctx, request["ResourceArn"])
        tags = {k: value for k, value in table.tags.items() if k not in request["TagKeys"]}
        await self._tables.save(self._store, replace(table, tags=tags))

    @operation("ListTagsOfResource")
    async def list_tags_of_resource(self, ctx: Context, request: Request) -> Result:
        """Every tag, in one page."""
        table = await self._tables.require(ctx, request["ResourceArn"])
        return {"Tags": [{"Key": key, "Value": value} for key, value in table.tags.items()]}

    @operation("DescribeContinuousBackups")
    async def describe_continuous_backups(self, ctx: Context, request: Request) -> Result:
        """Point-in-time recovery is disabled."""
        await self._tables.require(ctx, request["TableName"])
        return {
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "DISABLED",
                "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
            }
        }

    @operation("DescribeLimits")
    async def describe_limits(self, ctx: Context, request: Request) -> Result:
        """The quotas of a new account; throughput is counted here, not limited."""
        # AWS: default quotas of a region (DynamoDB quotas).
        account, table = 80_000, 40_000
        return {
            "AccountMaxReadCapacityUnits": account,
            "AccountMaxWriteCapacityUnits": account,
            "TableMaxReadCapacityUnits": table,
            "TableMaxWriteCapacityUnits": table,
        }
