"""Schedule groups and their tags."""

import re
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.services.scheduler.record import DEFAULT_GROUP, GROUPS, SCHEDULES, partition
from penstock.storage.primitives import Store

_MOST: Final = 1_000_000
_GROUP_ARN: Final = re.compile(r"arn:aws[a-z-]*:scheduler:[a-z0-9-]+:\d{12}:schedule-group/(.+)")
_MOST_TAGS: Final = 50


def bad_token() -> AwsError:
    """The error for a NextToken that no page gave."""
    return AwsError("ValidationException", "Invalid NextToken.")


def group_arn(ctx: Context, name: str) -> str:
    """The ARN of a group."""
    return make_arn("scheduler", ctx.region, ctx.account, f"schedule-group/{name}")


def no_group(name: str) -> AwsError:
    """The error for a group that is not there."""
    return AwsError("ResourceNotFoundException", f"Schedule group {name} does not exist.")


class Groups:
    """Operations on groups. The group `default` is always there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def require(self, ctx: Context, name: str) -> None:
        """Raise AwsError unless there is such a group."""
        await self._find(ctx, name)

    async def _find(self, ctx: Context, name: str) -> dict[str, Any]:
        row = await self._store.table.get(GROUPS, partition(ctx.account, ctx.region), name.encode())
        if row is not None:
            found: dict[str, Any] = orjson.loads(row.document)
            return found
        if name == DEFAULT_GROUP:
            return {"created_at": 0, "modified_at": 0, "tags": {}}
        raise no_group(name)

    @operation("CreateScheduleGroup")
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a group."""
        name, where = request["Name"], partition(ctx.account, ctx.region)
        document = {
            "created_at": ctx.now,
            "modified_at": ctx.now,
            "tags": {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()},
            "client_token": request.get("ClientToken"),
        }
        async with self._store.transaction() as tx:
            row = await tx.table.get(GROUPS, where, name.encode())
            token = orjson.loads(row.document).get("client_token") if row is not None else None
            if (
                row is not None and token != request.get("ClientToken", "")
            ) or name == DEFAULT_GROUP:
                raise AwsError("ConflictException", f"Schedule group {name} already exists.")
            if row is None:
                await tx.table.put(GROUPS, where, name.encode(), orjson.dumps(document))
        return {"ScheduleGroupArn": group_arn(ctx, name)}

    @operation("GetScheduleGroup")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A group."""
        return _shown(ctx, request["Name"], await self._find(ctx, request["Name"]))

    @operation("DeleteScheduleGroup")
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Delete a group with its schedules; what is due for them is void."""
        name, where = request["Name"], partition(ctx.account, ctx.region)
        if name == DEFAULT_GROUP:
            raise AwsError("ValidationException", "The default schedule group cannot be deleted.")
        await self._find(ctx, name)
        async with self._store.transaction() as tx:
            low, high = f"{name}/".encode(), f"{name}0".encode()
            for row in await tx.table.range(SCHEDULES, where, low=low, high=high, limit=_MOST):
                await tx.table.delete(SCHEDULES, where, row.sort)
            await tx.table.delete(GROUPS, where, name.encode())
        return {}

    @operation("ListScheduleGroups")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Groups by name, the default one included."""
        rows = await self._store.table.range(
            GROUPS, partition(ctx.account, ctx.region), limit=_MOST
        )
        found = {row.sort.decode(): orjson.loads(row.document) for row in rows}
        found.setdefault(DEFAULT_GROUP, await self._find(ctx, DEFAULT_GROUP))
        prefix = request.get("NamePrefix", "")
        names = sorted(name for name in found if name.startswith(prefix))
        page, token = paged(
            names, request.get("NextToken"), request.get("MaxResults", 100), bad_token()
        )
        result: Result = {"ScheduleGroups": [_shown(ctx, name, found[name]) for name in page]}
        return result if token is None else {**result, "NextToken": token}

    @operation("TagResource")
    async def tag(self, ctx: Context, request: Request) -> Result:
        """Set tags of a group."""
        added = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        await self._retag(ctx, request["ResourceArn"], lambda tags: {**tags, **added})
        return {}

    @operation("UntagResource")
    async def untag(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a group."""
        gone = set(request["TagKeys"])
        await self._retag(
            ctx,
            request["ResourceArn"],
            lambda tags: {key: value for key, value in tags.items() if key not in gone},
        )
        return {}

    @operation("ListTagsForResource")
    async def tags(self, ctx: Context, request: Request) -> Result:
        """Tags of a group."""
        document = await self._find(ctx, _name_of(request["ResourceArn"]))
        return {"Tags": [{"Key": key, "Value": value} for key, value in document["tags"].items()]}

    async def _retag(self, ctx: Context, arn: str, change: Any) -> None:
        name = _name_of(arn)
        document = await self._find(ctx, name)
        document["tags"] = change(document["tags"])
        if len(document["tags"]) > _MOST_TAGS:
            raise AwsError("ValidationException", "A resource has at most 50 tags.")
        await self._store.table.put(
            GROUPS, partition(ctx.account, ctx.region), name.encode(), orjson.dumps(document)
        )


def _name_of(arn: str) -> str:
    found = _GROUP_ARN.fullmatch(arn)
    if found is None:
        # AWS: groups have tags, schedules have none (Scheduler API reference, TagResource).
        raise AwsError("ValidationException", f"Invalid ARN: {arn}")
    return found[1]


def _shown(ctx: Context, name: str, document: dict[str, Any]) -> Result:
    return {
        "Arn": group_arn(ctx, name),
        "Name": name,
        "State": "ACTIVE",
        "CreationDate": document["created_at"],
        "LastModificationDate": document["modified_at"],
    }
