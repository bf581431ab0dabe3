"""SNS topics, subscriptions and policies."""

from typing import Any, Final

import orjson

from penstock.services.cloudformation.resource import (
    Made,
    Properties,
    ResourceType,
    Target,
    answers,
)
from penstock.services.cloudformation.shapes import sns

# What an attribute returns to when its property is removed (SNS API reference, SetTopicAttributes).
_TOPIC: Final = {
    "ArchivePolicy": "{}",
    "ContentBasedDeduplication": "false",
    "DisplayName": "",
    "FifoThroughputScope": "Topic",
    "SignatureVersion": "1",
    "TracingConfig": "PassThrough",
}
_SUBSCRIPTION: Final = {
    "DeliveryPolicy": "",
    "FilterPolicy": "",
    "FilterPolicyScope": "MessageAttributes",
    "RawMessageDelivery": "false",
    "RedrivePolicy": "",
    "ReplayPolicy": "",
}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _topic_attributes(properties: Properties) -> dict[str, str]:
    return {name: _text(properties[name]) for name in _TOPIC if name in properties}


async def _create_topic(target: Target) -> Made:
    properties = target.properties
    fifo = _text(properties.get("FifoTopic", False)) == "true"
    name = properties.get("TopicName") or target.name(256, ending=".fifo" if fifo else "")
    attributes = _topic_attributes(properties) | ({"FifoTopic": "true"} if fifo else {})
    request = {"Name": name, "Attributes": attributes, "Tags": properties.get("Tags", [])}
    arn = (await target.call("sns", "CreateTopic", request))["TopicArn"]
    await target.hold(arn)
    await _set_delivery_policy(target, arn)
    for one in properties.get("Subscription", []):
        await target.call("sns", "Subscribe", {"TopicArn": arn, **one})
    return _topic(arn)


async def _topic_found(target: Target) -> bool:
    arn = f"arn:aws:sns:{target.ctx.region}:{target.ctx.account}:{target.properties['TopicName']}"
    return await answers(target, "sns", "GetTopicAttributes", {"TopicArn": arn}) is not None


async def _set_delivery_policy(target: Target, arn: str) -> None:
    policy, before = (p.get("DeliveryPolicy") for p in (target.properties, target.previous))
    if policy != before:
        value = "" if policy is None else _text(policy)
        await _set_topic(target, arn, "DeliveryPolicy", value)


async def _set_topic(target: Target, arn: str, name: str, value: str) -> None:
    request = {"TopicArn": arn, "AttributeName": name, "AttributeValue": value}
    await target.call("sns", "SetTopicAttributes", request)


async def _update_topic(target: Target) -> Made:
    arn = target.physical_id
    wanted, had = _topic_attributes(target.properties), _topic_attributes(target.previous)
    changes = {name: value for name, value in wanted.items() if had.get(name) != value}
    changes |= {name: _TOPIC[name] for name in had if name not in wanted}
    for name, value in changes.items():
        await _set_topic(target, arn, name, value)
    await _set_delivery_policy(target, arn)
    await _update_inline(target, arn)
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("sns", "UntagResource", {"ResourceArn": arn, "TagKeys": removed})
        if tags := target.properties.get("Tags"):
            await target.call("sns", "TagResource", {"ResourceArn": arn, "Tags": tags})
    return _topic(arn)


async def _update_inline(target: Target, arn: str) -> None:
    wanted = target.properties.get("Subscription", [])
    had = target.previous.get("Subscription", [])
    for one in wanted:
        if one not in had:
            await target.call("sns", "Subscribe", {"TopicArn": arn, **one})
    gone = [(one["Protocol"], one["Endpoint"]) for one in had if one not in wanted]
    if not gone:
        return
    listed = await target.call("sns", "ListSubscriptionsByTopic", {"TopicArn": arn})
    for one in listed["Subscriptions"]:
        if (one["Protocol"], one["Endpoint"]) in gone and one["SubscriptionArn"].startswith("arn:"):
            await target.call("sns", "Unsubscribe", {"SubscriptionArn": one["SubscriptionArn"]})


async def _delete_topic(target: Target) -> None:
    await target.drop("sns", "DeleteTopic", {"TopicArn": target.physical_id})


def _topic(arn: str) -> Made:
    return Made(arn, {"TopicArn": arn, "TopicName": arn.rsplit(":", 1)[1]})


def _subscription_attributes(properties: Properties) -> dict[str, str]:
    return {name: _text(properties[name]) for name in _SUBSCRIPTION if name in properties}


async def _create_subscription(target: Target) -> Made:
    properties = target.properties
    request = {
        "TopicArn": properties["TopicArn"],
        "Protocol": properties["Protocol"],
        "Endpoint": properties.get("Endpoint", ""),
        "Attributes": _subscription_attributes(properties),
        "ReturnSubscriptionArn": True,
    }
    arn = (await target.call("sns", "Subscribe", request))["SubscriptionArn"]
    return Made(arn, {"Arn": arn})


async def _update_subscription(target: Target) -> Made:
    arn = target.physical_id
    wanted = _subscription_attributes(target.properties)
    had = _subscription_attributes(target.previous)
    changes = {name: _SUBSCRIPTION[name] for name in had if name not in wanted}
    changes |= {name: value for name, value in wanted.items() if had.get(name) != value}
    # Bodies allow all policies and attributes only some: the scope comes before the policy, or after it.
    wider = changes.get("FilterPolicyScope") == "MessageBody"
    for name in sorted(changes, key=lambda name: (name == "FilterPolicyScope") != wider):
        request = {"SubscriptionArn": arn, "AttributeName": name, "AttributeValue": changes[name]}
        await target.call("sns", "SetSubscriptionAttributes", request)
    return Made(arn, {"Arn": arn})


async def _subscription_found(target: Target) -> bool:
    pair = target.given(("Protocol", "Endpoint")).items()
    request = target.given(("TopicArn",))
    while told := await answers(target, "sns", "ListSubscriptionsByTopic", request):
        if any(pair <= one.items() for one in told["Subscriptions"]):
            return True
        if not told.get("NextToken"):
            break
        request["NextToken"] = told["NextToken"]
    return False


async def _delete_subscription(target: Target) -> None:
    await target.drop("sns", "Unsubscribe", {"SubscriptionArn": target.physical_id})


async def _put_policy(target: Target) -> Made:
    topics = target.properties["Topics"]
    await _clear(target, [arn for arn in target.previous.get("Topics", []) if arn not in topics])
    physical_id = target.physical_id or target.name()
    await target.hold(physical_id)
    for arn in topics:
        await _set_topic(target, arn, "Policy", _text(target.properties["PolicyDocument"]))
    return Made(physical_id, {"Id": physical_id})


async def _delete_policy(target: Target) -> None:
    await _clear(target, target.properties["Topics"])


async def _put_inline_policy(target: Target) -> Made:
    arn = target.properties["TopicArn"]
    await _set_topic(target, arn, "Policy", _text(target.properties["PolicyDocument"]))
    return Made(arn, {})


async def _policy_found(target: Target) -> bool:
    """Whether a topic has another policy than the one that each has from the start."""
    request = target.given(("TopicArn",))
    told = await answers(target, "sns", "GetTopicAttributes", request) or {"Attributes": {}}
    policy = orjson.loads(told["Attributes"].get("Policy") or "{}")
    return bool(policy) and policy.get("Id") != "__default_policy_ID"


async def _delete_inline_policy(target: Target) -> None:
    await _clear(target, [target.properties["TopicArn"]])


async def _clear(target: Target, topics: list[str]) -> None:
    """Give topics the policy that they have by default."""
    for arn in topics:
        request = {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": ""}
        await target.drop("sns", "SetTopicAttributes", request)


ROWS: Final = (
    ResourceType(
        name="AWS::SNS::Topic",
        shape=sns.TOPIC,
        immutable=frozenset({"FifoTopic", "TopicName"}),
        create=_create_topic,
        update=_update_topic,
        delete=_delete_topic,
        identity=("TopicName",),
        found=_topic_found,
        tags="list",
    ),
    ResourceType(
        name="AWS::SNS::Subscription",
        shape=sns.SUBSCRIPTION,
        immutable=frozenset({"Endpoint", "Protocol", "TopicArn"}),
        create=_create_subscription,
        update=_update_subscription,
        delete=_delete_subscription,
        identity=("TopicArn", "Protocol", "Endpoint"),
        found=_subscription_found,
        # AWS: Subscribe answers with the subscription that is there, and so does the handler (aws-sns-subscription).
        adopts=True,
    ),
    ResourceType(
        name="AWS::SNS::TopicPolicy",
        shape=sns.TOPIC_POLICY,
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
    ),
    ResourceType(
        name="AWS::SNS::TopicInlinePolicy",
        shape=sns.TOPIC_INLINE_POLICY,
        immutable=frozenset({"TopicArn"}),
        create=_put_inline_policy,
        update=_put_inline_policy,
        delete=_delete_inline_policy,
        identity=("TopicArn",),
        found=_policy_found,
    ),
)
