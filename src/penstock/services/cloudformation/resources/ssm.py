"""Parameters of the Systems Manager."""

from typing import Final

from penstock.services.cloudformation.resource import Made, ResourceType, Target, there
from penstock.services.cloudformation.shapes import ssm

_SENT: Final = ("Type", "Value", "Description", "AllowedPattern", "DataType", "Tier", "Policies")


async def _create(target: Target) -> Made:
    name = target.properties.get("Name") or f"CFN-{target.name()}"
    request = {"Name": name, **target.given(_SENT)}
    if tags := target.properties.get("Tags"):
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    await target.make("ssm", "PutParameter", request)
    return _parameter(target, name)


async def _update(target: Target) -> Made:
    name = target.physical_id
    if target.changed(*_SENT):
        request = {"Name": name, "Overwrite": True, **target.given(_SENT)}
        await target.call("ssm", "PutParameter", request)
    if target.changed("Tags"):
        tags, had = target.properties.get("Tags", {}), target.previous.get("Tags", {})
        resource = {"ResourceType": "Parameter", "ResourceId": name}
        if removed := [key for key in had if key not in tags]:
            await target.call("ssm", "RemoveTagsFromResource", {**resource, "TagKeys": removed})
        if tags:
            listed = [{"Key": key, "Value": value} for key, value in tags.items()]
            await target.call("ssm", "AddTagsToResource", {**resource, "Tags": listed})
    return _parameter(target, name)


async def _delete(target: Target) -> None:
    await target.call("ssm", "DeleteParameter", {"Name": target.physical_id})


def _parameter(target: Target, name: str) -> Made:
    return Made(name, {"Type": target.properties["Type"], "Value": target.properties["Value"]})


ROWS: Final = (
    ResourceType(
        name="AWS::SSM::Parameter",
        shape=ssm.PARAMETER,
        immutable=frozenset({"Name", "Type"}),
        create=_create,
        update=_update,
        delete=_delete,
        identity=("Name",),
        found=there("ssm", "GetParameter", Name="Name"),
        tags="map",
    ),
)
