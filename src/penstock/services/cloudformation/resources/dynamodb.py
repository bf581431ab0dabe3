"""DynamoDB tables."""

from typing import Any, Final

from penstock.core.errors import AwsError
from penstock.services.cloudformation.resource import Made, Properties, ResourceType, Target, there
from penstock.services.cloudformation.shapes import dynamodb

_CREATED: Final = (
    "AttributeDefinitions",
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexes",
    "KeySchema",
    "LocalSecondaryIndexes",
    "ProvisionedThroughput",
    "SSESpecification",
    "TableClass",
    "Tags",
)
_UPDATED: Final = (
    "BillingMode",
    "DeletionProtectionEnabled",
    "ProvisionedThroughput",
    "SSESpecification",
    "TableClass",
)


async def _create(target: Target) -> Made:
    name = target.properties.get("TableName") or target.name(255)
    request = {"TableName": name, **target.given(_CREATED)}
    if "SSESpecification" in request:
        request["SSESpecification"] = _encryption(request["SSESpecification"])
    if stream := _stream(target.properties):
        request["StreamSpecification"] = stream
    await target.make("dynamodb", "CreateTable", request)
    await target.hold(name)
    await _active(target, name)
    await _configure(target, name)
    return await _table(target, name)


async def _update(target: Target) -> Made:
    name = target.physical_id
    request = {
        item: target.properties[item] for item in target.given(_UPDATED) if target.changed(item)
    }
    if "SSESpecification" in request:
        request["SSESpecification"] = _encryption(request["SSESpecification"])
    if target.changed("DeletionProtectionEnabled"):
        protected = target.properties.get("DeletionProtectionEnabled", False)
        request["DeletionProtectionEnabled"] = protected
    if request:
        await target.call("dynamodb", "UpdateTable", {"TableName": name, **request})
        await _active(target, name)
    if target.changed("StreamSpecification"):
        stream = _stream(target.properties) or {"StreamEnabled": False}
        switch = {"TableName": name, "StreamSpecification": stream}
        await target.call("dynamodb", "UpdateTable", switch)
        await _active(target, name)
    for change in _index_changes(target):
        if not await _applies(target, name, change):
            continue
        # AWS: one index is made or removed an UpdateTable (DynamoDB guide, "managing global secondary indexes").
        update: Properties = {"TableName": name, "GlobalSecondaryIndexUpdates": [change]}
        update["AttributeDefinitions"] = target.properties["AttributeDefinitions"]
        await target.call("dynamodb", "UpdateTable", update)
        await _active(target, name)
    await _configure(target, name)
    await _tag(target, name)
    return await _table(target, name)


async def _delete(target: Target) -> None:
    await target.call("dynamodb", "DeleteTable", {"TableName": target.physical_id})


async def _configure(target: Target, name: str) -> None:
    if target.changed("TimeToLiveSpecification"):
        had = target.previous.get("TimeToLiveSpecification", {})
        wanted = target.properties.get("TimeToLiveSpecification", {**had, "Enabled": False})
        enabled = wanted.get("Enabled", False)
        asked = {"TableName": name}
        told = await target.call("dynamodb", "DescribeTimeToLive", asked)
        # A stopped update may have made the change already.
        there = told["TimeToLiveDescription"]
        if enabled or there["TimeToLiveStatus"] == "ENABLED":
            same = there.get("AttributeName") == wanted.get("AttributeName")
            if not (enabled and same):
                # A template that switches it off need not name the attribute.
                named = {"AttributeName": there.get("AttributeName"), **wanted}
                request = {**asked, "TimeToLiveSpecification": named}
                await target.call("dynamodb", "UpdateTimeToLive", request)


async def _tag(target: Target, name: str) -> None:
    if not target.changed("Tags"):
        return
    arn = f"arn:aws:dynamodb:{target.ctx.region}:{target.ctx.account}:table/{name}"
    if removed := target.tags_removed():
        request = {"ResourceArn": arn, "TagKeys": removed}
        await target.call("dynamodb", "UntagResource", request)
    if tags := target.properties.get("Tags"):
        await target.call("dynamodb", "TagResource", {"ResourceArn": arn, "Tags": tags})


async def _active(target: Target, name: str) -> None:
    async def ready() -> bool:
        table = (await target.call("dynamodb", "DescribeTable", {"TableName": name}))["Table"]
        indexes = table.get("GlobalSecondaryIndexes", [])
        states = [table["TableStatus"], *(index.get("IndexStatus", "ACTIVE") for index in indexes)]
        return all(state == "ACTIVE" for state in states)

    await target.settle(ready)


async def _table(target: Target, name: str) -> Made:
    table = (await target.call("dynamodb", "DescribeTable", {"TableName": name}))["Table"]
    attributes = {"Arn": table["TableArn"]}
    if "StreamSpecification" in target.properties:
        attributes["StreamArn"] = table["LatestStreamArn"]
    return Made(name, attributes)


def _stream(properties: Properties) -> dict[str, Any] | None:
    given = properties.get("StreamSpecification")
    return None if given is None else {"StreamEnabled": True, **given}


def _encryption(given: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation calls `SSEEnabled` what the API calls `Enabled`."""
    return {"Enabled" if name == "SSEEnabled" else name: given[name] for name in given}


def _index_changes(target: Target) -> list[dict[str, Any]]:
    had = {index["IndexName"]: index for index in target.previous.get("GlobalSecondaryIndexes", [])}
    wanted = {
        index["IndexName"]: index for index in target.properties.get("GlobalSecondaryIndexes", [])
    }
    changes: list[dict[str, Any]] = []
    for name, index in had.items():
        if name not in wanted or _shape(wanted[name]) != _shape(index):
            changes.append({"Delete": {"IndexName": name}})
    for name, index in wanted.items():
        if name not in had or _shape(had[name]) != _shape(index):
            changes.append({"Create": index})
        elif had[name] != index:
            throughput = {item: index[item] for item in index if "Throughput" in item}
            changes.append({"Update": {"IndexName": name, **throughput}})
    return changes


def _check_indexes(previous: Properties, properties: Properties) -> None:
    """Raise ValidationError for more than one change of the global indexes that takes making or removing."""
    had, wanted = (
        {index["IndexName"]: _shape(index) for index in side.get("GlobalSecondaryIndexes", [])}
        for side in (previous, properties)
    )
    # AWS: in these words, both of them (CloudFormation guide, AWS::DynamoDB::Table, GlobalSecondaryIndexes).
    if any(had[name] != shape for name, shape in wanted.items() if name in had):
        message = (
            "Cannot update GSI's properties other than Provisioned Throughput and Contributor Insights Specification. "
            "You can create a new GSI with a different name."
        )
        raise AwsError("ValidationError", message, status=400)
    if len(had.keys() ^ wanted.keys()) > 1:
        message = "Cannot perform more than one GSI creation or deletion in a single update"
        raise AwsError("ValidationError", message, status=400)


async def _applies(target: Target, name: str, change: dict[str, Any]) -> bool:
    """False for an index that a stopped update made or removed already."""
    table = (await target.call("dynamodb", "DescribeTable", {"TableName": name}))["Table"]
    there = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])}
    ((kind, index),) = change.items()
    return (index["IndexName"] in there) != (kind == "Create")


def _shape(index: dict[str, Any]) -> tuple[Any, Any]:
    return index.get("KeySchema"), index.get("Projection")


ROWS: Final = (
    ResourceType(
        name="AWS::DynamoDB::Table",
        shape=dynamodb.TABLE,
        immutable=frozenset({"TableName", "KeySchema", "LocalSecondaryIndexes"}),
        create=_create,
        update=_update,
        delete=_delete,
        check=_check_indexes,
        identity=("TableName",),
        found=there("dynamodb", "DescribeTable", TableName="TableName"),
        tags="list",
    ),
)
