"""The operations on log groups and streams."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError, Conflict
from penstock.core.page import paged
from penstock.services.logs.streams import GROUPS, Streams, scope

_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180)
_MONTHS: Final = (365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
_RETENTIONS: Final = frozenset({*_DAYS, *_MONTHS})


def group_name(request: Request) -> str:
    """The group that a request names by `logGroupName` or, by ARN or name, `logGroupIdentifier`."""
    given = request.get("logGroupName") or request.get("logGroupIdentifier")
    if not given:
        raise AwsError("InvalidParameterException", "A log group must be specified.")
    return _named(str(given))


def _named(identifier: str) -> str:
    if not identifier.startswith("arn:"):
        return identifier
    _, _, rest = identifier.partition(":log-group:")
    return rest.removesuffix(":*")


def bad_token() -> AwsError:
    """What Logs answers to a token that it did not give."""
    return AwsError("InvalidParameterException", "The specified nextToken is invalid.")


class Groups:
    """See the module."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    @operation(
        "CreateLogGroup",
        refuses=["kmsKeyId", "deletionProtectionEnabled"],
        in_part=["logGroupClass: other than STANDARD"],
    )
    async def create_log_group(self, ctx: Context, request: Request) -> Result:
        """A new, empty group."""
        if request.get("logGroupClass", "STANDARD") != "STANDARD":
            raise refuse(f"the log group class {request['logGroupClass']}")
        try:
            await self._streams.add_group(
                ctx.account, ctx.region, request["logGroupName"], ctx.now, request.get("tags")
            )
        except Conflict:
            raise AwsError(
                "ResourceAlreadyExistsException", "The specified log group already exists"
            ) from None
        return {}

    @operation("DeleteLogGroup")
    async def delete_log_group(self, ctx: Context, request: Request) -> Result:
        """Remove a group with its streams."""
        name = request["logGroupName"]
        await self._streams.group(ctx.account, ctx.region, name)
        await self._streams.drop_group(ctx.account, ctx.region, name)
        return {}

    @operation(
        "DescribeLogGroups",
        refuses=["accountIdentifiers", "includeLinkedAccounts", "logGroupIdentifiers"],
    )
    async def describe_log_groups(self, ctx: Context, request: Request) -> Result:
        """Groups in order of name, by prefix or by a part of the name."""
        prefix = request.get("logGroupNamePrefix") or ""
        part = request.get("logGroupNamePattern") or ""
        start = request.get("nextToken") or prefix
        limit = request.get("limit") or 50
        rows = await self._streams.store.table.range(
            GROUPS, scope(ctx.account, ctx.region), low=start.encode(), limit=100_000
        )
        found: list[dict[str, Any]] = []
        for row in rows:
            document = orjson.loads(row.document)
            name = document["logGroupName"]
            if not name.startswith(prefix) or part.lower() not in name.lower():
                continue
            if len(found) == limit:
                return {"logGroups": found, "nextToken": name}
            found.append({key: value for key, value in document.items() if key != "tags"})
        return {"logGroups": found}

    @operation("PutRetentionPolicy")
    async def put_retention_policy(self, ctx: Context, request: Request) -> Result:
        """Keep events for so many days."""
        days = request["retentionInDays"]
        group = await self._streams.group(ctx.account, ctx.region, request["logGroupName"])
        if days not in _RETENTIONS:
            raise AwsError(
                "InvalidParameterException",
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: {sorted(_RETENTIONS)}",
            )
        await self._streams.save_group(ctx.account, ctx.region, {**group, "retentionInDays": days})
        return {}

    @operation("DeleteRetentionPolicy")
    async def delete_retention_policy(self, ctx: Context, request: Request) -> Result:
        """Keep events for ever."""
        group = await self._streams.group(ctx.account, ctx.region, request["logGroupName"])
        group.pop("retentionInDays", None)
        await self._streams.save_group(ctx.account, ctx.region, group)
        return {}

    @operation("CreateLogStream")
    async def create_log_stream(self, ctx: Context, request: Request) -> Result:
        """A new, empty stream."""
        group = request["logGroupName"]
        await self._streams.group(ctx.account, ctx.region, group)
        try:
            await self._streams.add_stream(
                ctx.account, ctx.region, group, request["logStreamName"], ctx.now
            )
        except Conflict:
            raise AwsError(
                "ResourceAlreadyExistsException", "The specified log stream already exists"
            ) from None
        return {}

    @operation("DeleteLogStream")
    async def delete_log_stream(self, ctx: Context, request: Request) -> Result:
        """Remove a stream and its events."""
        group, name = request["logGroupName"], request["logStreamName"]
        await self._streams.group(ctx.account, ctx.region, group)
        await self._streams.stream(ctx.account, ctx.region, group, name)
        await self._streams.drop_stream(ctx.account, ctx.region, group, name)
        return {}

    @operation("DescribeLogStreams")
    async def describe_log_streams(self, ctx: Context, request: Request) -> Result:
        """Streams in order of name or of their last event."""
        group = group_name(request)
        await self._streams.group(ctx.account, ctx.region, group)
        found = await self._streams.streams(
            ctx.account, ctx.region, group, request.get("logStreamNamePrefix") or ""
        )
        by_time = request.get("orderBy") == "LastEventTime"
        if by_time:
            found = [await self._described(ctx, group, stream) for stream in found]
            found.sort(key=lambda stream: stream.get("lastEventTimestamp", 0))
        if request.get("descending"):
            found.reverse()
        page, token = paged(
            found, request.get("nextToken"), request.get("limit") or 50, bad_token()
        )
        if not by_time:
            page = [await self._described(ctx, group, stream) for stream in page]
        return {"logStreams": page, "nextToken": token} if token else {"logStreams": page}

    @operation("TagLogGroup")
    async def tag_log_group(self, ctx: Context, request: Request) -> Result:
        """Set tags of a group."""
        return await self._retag(ctx, request["logGroupName"], request["tags"], ())

    @operation("UntagLogGroup")
    async def untag_log_group(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a group."""
        return await self._retag(ctx, request["logGroupName"], {}, request["tags"])

    @operation("ListTagsLogGroup")
    async def list_tags_log_group(self, ctx: Context, request: Request) -> Result:
        """The tags of a group."""
        group = await self._streams.group(ctx.account, ctx.region, request["logGroupName"])
        return {"tags": group["tags"]}

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> Result:
        """Set tags of a group, by its ARN."""
        return await self._retag(ctx, _named(request["resourceArn"]), request["tags"], ())

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a group, by its ARN."""
        return await self._retag(ctx, _named(request["resourceArn"]), {}, request["tagKeys"])

    @operation("ListTagsForResource")
    async def list_tags_for_resource(self, ctx: Context, request: Request) -> Result:
        """The tags of a group, by its ARN."""
        name = _named(request["resourceArn"])
        return {"tags": (await self._streams.group(ctx.account, ctx.region, name))["tags"]}

    async def _retag(self, ctx: Context, name: str, add: dict[str, str], remove: Any) -> Result:
        group = await self._streams.group(ctx.account, ctx.region, name)
        tags = {**group["tags"], **add}
        for key in remove:
            tags.pop(key, None)
        await self._streams.save_group(ctx.account, ctx.region, {**group, "tags": tags})
        return {}

    async def _described(self, ctx: Context, group: str, stream: dict[str, Any]) -> dict[str, Any]:
        name = stream["logStreamName"]
        log = Streams.log(ctx.account, ctx.region, group, name)
        bounds = await self._streams.store.log.bounds(log)
        described = {**stream, "storedBytes": 0}  # AWS: always 0 since June 2019
        if bounds is not None:
            first, last = bounds
            described["firstEventTimestamp"] = first.at
            described["lastEventTimestamp"] = last.at
            described["lastIngestionTime"] = orjson.loads(last.data)[0]
            described["uploadSequenceToken"] = f"{last.sequence:056d}"
        return described
