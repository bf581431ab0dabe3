"""Pipes."""

from typing import Final

from penstock.services.cloudformation.resource import Made, Properties, ResourceType, Target, there
from penstock.services.cloudformation.shapes import pipes

_SENT: Final = (
    "Description",
    "DesiredState",
    "Enrichment",
    "EnrichmentParameters",
    "RoleArn",
    "SourceParameters",
    "Target",
    "TargetParameters",
)
# What is as if it were never said.
_UNSAID: Final[Properties] = {
    "Description": "",
    "DesiredState": "RUNNING",
    "Enrichment": "",
    "EnrichmentParameters": {},
    "TargetParameters": {},
}
_UNSAID_OF_SOURCE: Final[Properties] = {
    "FilterCriteria": {"Filters": []},
    "SqsQueueParameters": {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0},
}


async def _create(target: Target) -> Made:
    name = target.properties.get("Name") or target.name(64)
    request = {"Name": name, **target.given((*_SENT, "Source", "Tags"))}
    await target.make("pipes", "CreatePipe", request)
    return await _pipe(target, name)


async def _update(target: Target) -> Made:
    name = target.physical_id
    if target.changed(*_SENT):
        await target.call("pipes", "UpdatePipe", {"Name": name, **_changes(target)})
    made = await _pipe(target, name)
    if target.changed("Tags"):
        resource = {"resourceArn": made.attributes["Arn"]}
        tags, had = target.properties.get("Tags", {}), target.previous.get("Tags", {})
        if removed := [key for key in had if key not in tags]:
            await target.call("pipes", "UntagResource", {**resource, "tagKeys": removed})
        if tags:
            await target.call("pipes", "TagResource", {**resource, "tags": tags})
    return made


def _changes(target: Target) -> Properties:
    """An update's request. UpdatePipe leaves what it does not name: what the template no longer says is empty."""
    request = _with_unsaid(target.given(_SENT), target.previous, _UNSAID)
    had = target.previous.get("SourceParameters", {})
    source = _with_unsaid(request.get("SourceParameters", {}), had, _UNSAID_OF_SOURCE)
    return {**request, "SourceParameters": source} if source else request


def _with_unsaid(given: Properties, had: Properties, unsaid: Properties) -> Properties:
    gone = {name: value for name, value in unsaid.items() if name in had and name not in given}
    return {**gone, **given}


async def _pipe(target: Target, name: str) -> Made:
    found = await target.call("pipes", "DescribePipe", {"Name": name})
    names = ("Arn", "CurrentState", "CreationTime", "LastModifiedTime")
    return Made(name, {key: found[key] for key in names})


async def _delete(target: Target) -> None:
    await target.call("pipes", "DeletePipe", {"Name": target.physical_id})


ROWS: Final = (
    ResourceType(
        name="AWS::Pipes::Pipe",
        shape=pipes.PIPE,
        immutable=frozenset({"Name", "Source"}),
        create=_create,
        update=_update,
        delete=_delete,
        identity=("Name",),
        found=there("pipes", "DescribePipe", Name="Name"),
        tags="map",
    ),
)
