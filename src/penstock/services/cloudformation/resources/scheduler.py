"""Schedules and their groups."""

from typing import Any, Final

from penstock.services.cloudformation.resource import Made, ResourceType, Target, instant, there
from penstock.services.cloudformation.shapes import scheduler

_SENT: Final = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "GroupName",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "State",
    "Target",
)


def _request(target: Target, name: str) -> dict[str, Any]:
    request = {"Name": name, **target.given(_SENT)}
    for date in ("StartDate", "EndDate"):
        if date in request:
            request[date] = instant(date, request[date])
    return request


async def _create(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    await target.make("scheduler", "CreateSchedule", _request(target, name))
    where = {"Name": name, **target.given(("GroupName",))}
    found = await target.call("scheduler", "GetSchedule", where)
    return Made(name, {"Arn": found["Arn"]})


async def _update(target: Target) -> Made:
    name = target.physical_id
    updated = await target.call("scheduler", "UpdateSchedule", _request(target, name))
    return Made(name, {"Arn": updated["ScheduleArn"]})


async def _delete(target: Target) -> None:
    request = {"Name": target.physical_id, **target.given(("GroupName",))}
    await target.call("scheduler", "DeleteSchedule", request)


async def _create_group(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in target.properties.get("Tags", [])]
    request = {"Name": name, **({"Tags": tags} if tags else {})}
    await target.make("scheduler", "CreateScheduleGroup", request)
    return await _group(target, name)


async def _update_group(target: Target) -> Made:
    made = await _group(target, target.physical_id)
    resource = {"ResourceArn": made.attributes["Arn"]}
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("scheduler", "UntagResource", {**resource, "TagKeys": removed})
        if tags := target.properties.get("Tags"):
            await target.call("scheduler", "TagResource", {**resource, "Tags": tags})
    return made


async def _group(target: Target, name: str) -> Made:
    found = await target.call("scheduler", "GetScheduleGroup", {"Name": name})
    return Made(name, {"Arn": found["Arn"], "State": found["State"]})


async def _delete_group(target: Target) -> None:
    await target.call("scheduler", "DeleteScheduleGroup", {"Name": target.physical_id})


ROWS: Final = (
    ResourceType(
        name="AWS::Scheduler::Schedule",
        shape=scheduler.SCHEDULE,
        immutable=frozenset({"Name", "GroupName"}),
        create=_create,
        update=_update,
        delete=_delete,
        identity=("Name", "GroupName"),
        found=there("scheduler", "GetSchedule", Name="Name", GroupName="GroupName"),
    ),
    ResourceType(
        name="AWS::Scheduler::ScheduleGroup",
        shape=scheduler.SCHEDULE_GROUP,
        immutable=frozenset({"Name"}),
        create=_create_group,
        update=_update_group,
        delete=_delete_group,
        identity=("Name",),
        found=there("scheduler", "GetScheduleGroup", Name="Name"),
        tags="list",
    ),
)
