"""SQS queues and their policies."""

from typing import Any, Final

import orjson

from penstock.services.cloudformation.resource import (
    Made,
    Properties,
    ResourceType,
    Target,
    answers,
    tag_map,
    there,
)
from penstock.services.cloudformation.shapes import sqs

# What an attribute returns to when its property is removed (SQS API reference, SetQueueAttributes).
_DEFAULTS: Final = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "DelaySeconds": "0",
    "FifoThroughputLimit": "perQueue",
    "KmsDataKeyReusePeriodSeconds": "300",
    "KmsMasterKeyId": "",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "RedriveAllowPolicy": "",
    "RedrivePolicy": "",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}


def _attributes(properties: Properties) -> dict[str, str]:
    attributes = {name: _text(properties[name]) for name in _DEFAULTS if name in properties}
    # AWS: a standard queue refuses FifoQueue=false (SQS API reference, CreateQueue).
    if _text(properties.get("FifoQueue", False)) == "true":
        attributes["FifoQueue"] = "true"
    return attributes


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _create_queue(target: Target) -> Made:
    attributes = _attributes(target.properties)
    ending = ".fifo" if "FifoQueue" in attributes else ""
    name = target.properties.get("QueueName") or target.name(80, ending=ending)
    request = {"QueueName": name, "Attributes": attributes, "tags": tag_map(target.properties)}
    created = await target.call("sqs", "CreateQueue", request)
    return _queue(target, created["QueueUrl"], name)


async def _update_queue(target: Target) -> Made:
    url = target.physical_id
    wanted, had = _attributes(target.properties), _attributes(target.previous)
    changes = {name: value for name, value in wanted.items() if had.get(name) != value}
    changes |= {name: _DEFAULTS[name] for name in had if name not in wanted}
    if changes:
        await target.call("sqs", "SetQueueAttributes", {"QueueUrl": url, "Attributes": changes})
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("sqs", "UntagQueue", {"QueueUrl": url, "TagKeys": removed})
        if tags := tag_map(target.properties):
            await target.call("sqs", "TagQueue", {"QueueUrl": url, "Tags": tags})
    return _queue(target, url, url.rsplit("/", 1)[-1])


async def _delete_queue(target: Target) -> None:
    await target.call("sqs", "DeleteQueue", {"QueueUrl": target.physical_id})


def _queue(target: Target, url: str, name: str) -> Made:
    arn = f"arn:aws:sqs:{target.ctx.region}:{target.ctx.account}:{name}"
    return Made(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})


def _request(url: str, policy: str) -> dict[str, Any]:
    return {"QueueUrl": url, "Attributes": {"Policy": policy}}


async def _clear(target: Target, queues: list[str]) -> None:
    for url in queues:
        await target.drop("sqs", "SetQueueAttributes", _request(url, ""))


async def _put_policy(target: Target) -> Made:
    queues = target.properties["Queues"]
    left = [url for url in target.previous.get("Queues", []) if url not in queues]
    await _clear(target, left)
    policy = _text(target.properties["PolicyDocument"])
    physical_id = target.physical_id or target.name()
    await target.hold(physical_id)
    for url in queues:
        await target.call("sqs", "SetQueueAttributes", _request(url, policy))
    return Made(physical_id, {"Id": physical_id})


async def _delete_policy(target: Target) -> None:
    await _clear(target, target.properties["Queues"])


async def _put_inline_policy(target: Target) -> Made:
    url = target.properties["Queue"]
    policy = _text(target.properties["PolicyDocument"])
    await target.call("sqs", "SetQueueAttributes", _request(url, policy))
    return Made(url, {})


async def _policy_found(target: Target) -> bool:
    request = {"QueueUrl": target.properties["Queue"], "AttributeNames": ["Policy"]}
    told = await answers(target, "sqs", "GetQueueAttributes", request) or {}
    return bool(told.get("Attributes"))


async def _delete_inline_policy(target: Target) -> None:
    await _clear(target, [target.properties["Queue"]])


ROWS: Final = (
    ResourceType(
        name="AWS::SQS::Queue",
        shape=sqs.QUEUE,
        immutable=frozenset({"FifoQueue", "QueueName"}),
        create=_create_queue,
        update=_update_queue,
        delete=_delete_queue,
        identity=("QueueName",),
        found=there("sqs", "GetQueueUrl", QueueName="QueueName"),
        tags="list",
    ),
    ResourceType(
        name="AWS::SQS::QueuePolicy",
        shape=sqs.QUEUE_POLICY,
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
    ),
    ResourceType(
        name="AWS::SQS::QueueInlinePolicy",
        shape=sqs.QUEUE_INLINE_POLICY,
        immutable=frozenset({"Queue"}),
        create=_put_inline_policy,
        update=_put_inline_policy,
        delete=_delete_inline_policy,
        identity=("Queue",),
        found=_policy_found,
    ),
)
