"""Operations on schedules."""

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

from penstock.api import Context, Dispatcher, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.schedule import ScheduleError, parse_schedule
from penstock.services.scheduler.due import DueSchedules
from penstock.services.scheduler.groups import Groups, bad_token
from penstock.services.scheduler.record import (
    DEFAULT_GROUP,
    SCHEDULES,
    Place,
    Record,
    partition,
)
from penstock.services.scheduler.target import check_target
from penstock.storage.primitives import Row, Store

_NOT_DESCRIBING: Final = ("Name", "GroupName", "ClientToken")
_DEFAULTS: Final = {
    "ActionAfterCompletion": "NONE",
    "ScheduleExpressionTimezone": "UTC",
    "State": "ENABLED",
}
_DEFAULT_RETRIES: Final = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
_LATEST_START_MS: Final = 300_000


class Schedules:
    """Schedules of an account, by group and name."""

    def __init__(
        self, store: Store, groups: Groups, due: DueSchedules, dispatcher: Dispatcher
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._groups = groups
        self._due = due

    @operation(
        "CreateSchedule", refuses=["KmsKeyArn"], in_part=["Target of a service that is not built"]
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a schedule; the same ClientToken once more changes nothing."""
        place = _place(ctx, request)
        given = self._described(ctx, request)
        await self._groups.require(ctx, place.group)
        record = self._record(ctx, request, given, ctx.now)
        self._due.start()
        async with self._store.transaction() as tx:
            row = await tx.table.get(SCHEDULES, place.partition, place.sort)
            if row is not None:
                before = Record.load(row.document)
                if record.client_token is None or before.client_token != record.client_token:
                    text = f"Schedule {place.name} already exists."
                    raise AwsError("ConflictException", text)
            else:
                await tx.table.put(SCHEDULES, place.partition, place.sort, record.dump())
                await self._due.put(tx, place, record, record.first(ctx.now), ctx.now)
        return {"ScheduleArn": place.arn}

    @operation(
        "UpdateSchedule", refuses=["KmsKeyArn"], in_part=["Target of a service that is not built"]
    )
    async def update(self, ctx: Context, request: Request) -> Result:
        """Replace a schedule; what is not given is as if it had never been."""
        place = _place(ctx, request)
        given = self._described(ctx, request)
        before = await self._find(place)
        record = self._record(ctx, request, given, before.created_at)
        # What has run once does not do so again because something else about it has changed.
        same = before.runs_as(record)
        due = record.next_after(ctx.now - 1) if same else record.first(ctx.now)
        stays = before.is_due_as(record)
        if stays:
            # What is due at this moment, or later in its window, is not lost.
            record.generation = before.generation
        async with self._store.transaction() as tx:
            await tx.table.put(SCHEDULES, place.partition, place.sort, record.dump())
            if not stays:
                await self._due.put(tx, place, record, due, ctx.now)
        return {"ScheduleArn": place.arn}

    @operation("GetSchedule")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A schedule."""
        place = _place(ctx, request)
        record = await self._find(place)
        return {
            "Arn": place.arn,
            "GroupName": place.group,
            "Name": place.name,
            "CreationDate": record.created_at,
            "LastModificationDate": record.modified_at,
            **record.given,
        }

    @operation("DeleteSchedule")
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Delete a schedule. What it has handed over goes on."""
        place = _place(ctx, request)
        if not await self._store.table.delete(SCHEDULES, place.partition, place.sort):
            raise _no_schedule(place)
        return {}

    @operation("ListSchedules")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Schedules by group and name."""
        group = request.get("GroupName")
        if group is not None:
            await self._groups.require(ctx, group)
        limit = request.get("MaxResults", 100)
        found = [one async for one in self._matching(ctx, request)]
        result: Result = {"Schedules": [_summary(*one) for one in found[:limit]]}
        if len(found) > limit:
            result["NextToken"] = base64.b64encode(found[limit][0].sort).decode()
        return result

    async def _matching(
        self, ctx: Context, request: Request
    ) -> AsyncIterator[tuple[Place, Record]]:
        """One more than a page has, from where the page begins; no more of the table is read than that takes."""
        prefix, state = request.get("NamePrefix", ""), request.get("State")
        low, high = _range(request.get("GroupName"), prefix)
        low = max(low, _continued(request.get("NextToken")))
        left = request.get("MaxResults", 100) + 1
        where = partition(ctx.account, ctx.region)
        while left:
            rows = await self._store.table.range(SCHEDULES, where, low=low, high=high, limit=left)
            for place, record in (_loaded(ctx, row) for row in rows):
                if place.name.startswith(prefix) and state in (None, record.given["State"]):
                    left -= 1
                    yield place, record
            if not rows:
                return
            low = rows[-1].sort + b"\0"

    async def _find(self, place: Place) -> Record:
        row = await self._store.table.get(SCHEDULES, place.partition, place.sort)
        if row is None:
            raise _no_schedule(place)
        return Record.load(row.document)

    def _described(self, ctx: Context, request: Request) -> dict[str, Any]:
        """The members that describe the schedule, checked, with their defaults."""
        given = {**_DEFAULTS, **{k: v for k, v in request.items() if k not in _NOT_DESCRIBING}}
        _check_expression(given)
        _check_window(given["FlexibleTimeWindow"])
        start, end = given.get("StartDate"), given.get("EndDate")
        if start is not None and start < ctx.now - _LATEST_START_MS:
            raise _invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")
        if end is not None and end <= max(ctx.now, start or 0):
            raise _invalid("The EndDate you specify must come after the StartDate and the present.")
        check_target(given["Target"], self._dispatcher)
        target = given["Target"]
        retries = {**_DEFAULT_RETRIES, **(target.get("RetryPolicy") or {})}
        return {**given, "Target": {**target, "RetryPolicy": retries}}

    def _record(
        self, ctx: Context, request: Request, given: dict[str, Any], created_at: int
    ) -> Record:
        return Record(
            given=given,
            created_at=created_at,
            modified_at=ctx.now,
            generation=self._due.new_generation(),
            client_token=request.get("ClientToken"),
        )


def _range(group: str | None, prefix: str) -> tuple[bytes, bytes | None]:
    """Where the schedules of a group, or of all, can be."""
    if group is None:
        return b"", None
    low = f"{group}/{prefix}".encode()
    return low, low + b"\xff"


def _continued(token: str | None) -> bytes:
    """The place that a token names."""
    try:
        return base64.b64decode(token, validate=True) if token else b""
    except ValueError as error:
        raise bad_token() from error


def _place(ctx: Context, request: Request) -> Place:
    group = request.get("GroupName", DEFAULT_GROUP)
    return Place(ctx.account, ctx.region, group, request["Name"])


def _no_schedule(place: Place) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Schedule {place.name} does not exist.")


def _check_expression(given: dict[str, Any]) -> None:
    expression, zone = given["ScheduleExpression"], given["ScheduleExpressionTimezone"]
    try:
        parse_schedule(expression, strict_units=False)
    except ScheduleError as error:
        raise _invalid(f"Invalid Schedule Expression {expression}.") from error
    try:
        parse_schedule("cron(0 0 * * ? *)", zone=zone)
    except ScheduleError as error:
        raise _invalid(f"Invalid Schedule Expression Timezone {zone}.") from error


def _check_window(window: dict[str, Any]) -> None:
    flexible = window["Mode"] == "FLEXIBLE"
    if flexible != ("MaximumWindowInMinutes" in window):
        raise _invalid(
            "MaximumWindowInMinutes must be specified for a flexible time window, and for no other."
        )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _loaded(ctx: Context, row: Row) -> tuple[Place, Record]:
    group, _, name = row.sort.decode().partition("/")
    return Place(ctx.account, ctx.region, group, name), Record.load(row.document)


def _summary(place: Place, record: Record) -> Result:
    return {
        "Arn": place.arn,
        "Name": place.name,
        "GroupName": place.group,
        "State": record.given["State"],
        "CreationDate": record.created_at,
        "LastModificationDate": record.modified_at,
        "Target": {"Arn": record.given["Target"]["Arn"]},
    }
