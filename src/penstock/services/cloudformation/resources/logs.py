"""CloudWatch Logs groups."""

from typing import Final

import orjson

from penstock.services.cloudformation.resource import (
    Made,
    ResourceType,
    Target,
    answers,
    tag_map,
)
from penstock.services.cloudformation.shapes import logs


async def _create(target: Target) -> Made:
    name = target.properties.get("LogGroupName") or target.name(512)
    request = {"logGroupName": name}
    if tags := tag_map(target.properties):
        request["tags"] = tags
    for property_name, member in (("KmsKeyId", "kmsKeyId"), ("LogGroupClass", "logGroupClass")):
        if property_name in target.properties:
            request[member] = target.properties[property_name]
    await target.make("logs", "CreateLogGroup", request)
    await target.hold(name)
    await _retain(target, name)
    return _group(target, name)


async def _group_found(target: Target) -> bool:
    name = target.properties["LogGroupName"]
    # It comes first of all that begin with its name.
    told = await answers(target, "logs", "DescribeLogGroups", {"logGroupNamePrefix": name}) or {}
    return any(group["logGroupName"] == name for group in told.get("logGroups", []))


async def _update(target: Target) -> Made:
    name = target.physical_id
    if target.changed("RetentionInDays"):
        await _retain(target, name)
    if target.changed("Tags"):
        arn = f"arn:aws:logs:{target.ctx.region}:{target.ctx.account}:log-group:{name}"
        if removed := target.tags_removed():
            request = {"resourceArn": arn, "tagKeys": removed}
            await target.call("logs", "UntagResource", request)
        if tags := tag_map(target.properties):
            await target.call("logs", "TagResource", {"resourceArn": arn, "tags": tags})
    return _group(target, name)


async def _retain(target: Target, name: str) -> None:
    if "RetentionInDays" in target.properties:
        days = target.properties["RetentionInDays"]
        request = {"logGroupName": name, "retentionInDays": days}
        await target.call("logs", "PutRetentionPolicy", request)
    elif "RetentionInDays" in target.previous:
        await target.drop("logs", "DeleteRetentionPolicy", {"logGroupName": name})


async def _delete(target: Target) -> None:
    await target.call("logs", "DeleteLogGroup", {"logGroupName": target.physical_id})


def _group(target: Target, name: str) -> Made:
    arn = f"arn:aws:logs:{target.ctx.region}:{target.ctx.account}:log-group:{name}:*"
    return Made(name, {"Arn": arn})


async def _put_policy(target: Target) -> Made:
    name, document = target.properties["PolicyName"], target.properties["PolicyDocument"]
    text = document if isinstance(document, str) else orjson.dumps(document).decode()
    request = {"policyName": name, "policyDocument": text}
    await target.call("logs", "PutResourcePolicy", request)
    return Made(name)


async def _policy_found(target: Target) -> bool:
    name = target.properties["PolicyName"]
    told = await target.call("logs", "DescribeResourcePolicies", {})
    return any(policy["policyName"] == name for policy in told["resourcePolicies"])


async def _delete_policy(target: Target) -> None:
    await target.call("logs", "DeleteResourcePolicy", {"policyName": target.physical_id})


ROWS: Final = (
    ResourceType(
        name="AWS::Logs::ResourcePolicy",
        shape=logs.RESOURCE_POLICY,
        immutable=frozenset({"PolicyName"}),
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
        identity=("PolicyName",),
        found=_policy_found,
    ),
    ResourceType(
        name="AWS::Logs::LogGroup",
        shape=logs.LOG_GROUP,
        immutable=frozenset({"LogGroupName", "KmsKeyId", "LogGroupClass"}),
        create=_create,
        update=_update,
        delete=_delete,
        identity=("LogGroupName",),
        found=_group_found,
        tags="list",
    ),
)
