"""What a subscription is: its record, its attributes and what of it is compiled for publishing."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.core.errors import AwsError
from penstock.core.sns_filter import Filter, FilterError, broken_json, compile_filter
from penstock.services.sns.delivery_policy import (
    effective_policy,
    read_subscription_policy,
)
from penstock.services.sns.problem import ARN_PARTS, invalid
from penstock.services.sns.topic import Topic

HTTP: Final = ("http", "https")
MAIL: Final = ("email", "email-json")
# AWS: a token is good for two days, and so is a subscription that nobody confirms (API reference, Subscribe).
PENDING_MS: Final = 2 * 86_400_000
_REDRIVE: Final = "RedrivePolicy"
_DEFAULT_SCOPE: Final = "MessageAttributes"


@dataclass(slots=True, kw_only=True)
class SubscriptionRecord:
    """A subscription as it is stored; `attributes` are those that were set."""

    arn: str
    protocol: str
    endpoint: str
    owner: str
    """The account that subscribed."""
    principal: str
    """ARN of who subscribed."""
    attributes: dict[str, str] = field(default_factory=dict)
    created_at: int
    pending: bool = False
    authenticated: bool = True
    """Whether whoever confirmed did it with credentials."""
    locked: bool = False
    """Whether only its owner may end it."""
    token: str = ""
    replay: str = ""
    """The replay that goes on; empty for none."""
    version: int = 0

    @property
    def topic_arn(self) -> str:
        """The topic's ARN."""
        return self.arn.rpartition(":")[0]

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition(":")[2]

    @property
    def raw(self) -> bool:
        """Whether messages are delivered without an envelope."""
        return self.attributes.get("RawMessageDelivery") == "true"

    @property
    def letters_to(self) -> str | None:
        """The ARN of the dead-letter queue."""
        text = self.attributes.get(_REDRIVE)
        return orjson.loads(text)["deadLetterTargetArn"] if text else None

    def filter(self) -> Filter | None:
        """The filter policy, compiled."""
        text = self.attributes.get("FilterPolicy")
        return compile_filter(text, _scope(self.attributes)) if text else None

    def gone(self, now: int) -> bool:
        """Whether nobody confirmed it in time."""
        return self.pending and now >= self.created_at + PENDING_MS

    def dump(self) -> bytes:
        """The document for the table."""
        names = (name for name in self.__slots__ if name != "version")
        return orjson.dumps({name: getattr(self, name) for name in names})

    @staticmethod
    def load(document: bytes, version: int) -> "SubscriptionRecord":
        """The record of a stored document."""
        return SubscriptionRecord(**orjson.loads(document), version=version)


def shown_attributes(record: SubscriptionRecord, topic: Topic | None) -> dict[str, str]:
    """The attributes as GetSubscriptionAttributes answers them."""
    own = record.attributes
    shown = {
        "ConfirmationWasAuthenticated": _truth(record.authenticated and not record.pending),
        "Endpoint": record.endpoint,
        "Owner": record.owner,
        "PendingConfirmation": _truth(record.pending),
        "Protocol": record.protocol,
        "RawMessageDelivery": own.get("RawMessageDelivery", "false"),
        "SubscriptionArn": record.arn,
        "SubscriptionPrincipal": record.principal,
        "TopicArn": record.topic_arn,
    }
    if own.get("FilterPolicy"):
        # AWS: the scope is shown with a policy alone (recorded by LocalStack).
        shown["FilterPolicy"] = own["FilterPolicy"]
        shown["FilterPolicyScope"] = own.get("FilterPolicyScope", _DEFAULT_SCOPE)
    for name in (_REDRIVE, "DeliveryPolicy", "ReplayPolicy"):
        if own.get(name):
            shown[name] = own[name]
    if own.get("ReplayPolicy"):
        shown["ReplayStatus"] = "In progress" if record.replay else "Completed"
    if record.protocol in HTTP and topic is not None:
        effective = effective_policy(
            topic.attributes.get("DeliveryPolicy"), own.get("DeliveryPolicy")
        )
        shown["EffectiveDeliveryPolicy"] = orjson.dumps(effective).decode()
    return shown


def is_same(record: SubscriptionRecord, attributes: Mapping[str, str]) -> bool:
    """Whether a subscription has these attributes, those that it was not given being as they are by default."""
    has = {"FilterPolicyScope": _DEFAULT_SCOPE, "RawMessageDelivery": "false", **record.attributes}
    return all(has.get(name, "") == value for name, value in attributes.items())


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _scope(attributes: Mapping[str, str]) -> Any:
    return attributes.get("FilterPolicyScope") or _DEFAULT_SCOPE


def read_attributes(topic: Topic, endpoint: str, given: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a new subscription as they are kept. Raises for what they cannot be."""
    kept: dict[str, str] = {}
    try:
        # The scope first: it says what the policy may be.
        for name in sorted(given, key=lambda name: name != "FilterPolicyScope"):
            kept = with_attribute(topic, endpoint, kept, name, given[name])
    except AwsError as error:
        start, _, reason = error.message.partition("Invalid parameter: ")
        if start or error.code != "InvalidParameterException":
            raise
        raise invalid(f"Attributes Reason: {reason}") from None
    return kept


def with_attribute(
    topic: Topic, endpoint: str, kept: Mapping[str, str], name: str, value: str
) -> dict[str, str]:
    """The attributes with one set. Raises for what it cannot be."""
    if name == "SubscriptionRoleArn":
        raise refuse("the subscription attribute SubscriptionRoleArn")
    reader = _READERS.get(name)
    if reader is None:
        raise invalid("AttributeName")
    changed = {**kept, name: reader(topic, endpoint, value)}
    if name in ("FilterPolicy", "FilterPolicyScope") and changed.get("FilterPolicy"):
        _check_filter(changed)
    return {name: text for name, text in changed.items() if text}


def _read_raw(topic: Topic, endpoint: str, value: str) -> str:
    if value.lower() not in ("true", "false"):
        raise invalid(f"RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
    return value.lower()


def _read_scope(topic: Topic, endpoint: str, value: str) -> str:
    if value not in ("MessageAttributes", "MessageBody"):
        raise invalid(
            f"FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or"
            " MessageAttributes"
        )
    return value


def _check_filter(attributes: Mapping[str, str]) -> None:
    try:
        compile_filter(attributes["FilterPolicy"], _scope(attributes))
    except FilterError as error:
        raise invalid(str(error) if error.own else f"FilterPolicy: {error}") from None


def _read_redrive(topic: Topic, endpoint: str, value: str) -> str:
    try:
        policy = json.loads(value or "{}")
    except ValueError as error:
        raise invalid(f"RedrivePolicy: {broken_json(value, error)}") from None
    if policy == {}:
        return ""
    given = policy if isinstance(policy, dict) else {}
    if unknown := [name for name in given if name != "deadLetterTargetArn"]:
        # AWS: in these words; maxReceiveCount is of queues only (observed with SetSubscriptionAttributes).
        raise invalid(f"RedrivePolicy: invalid JSON. Attribute {unknown[0]} is unknown.")
    arn = str(given.get("deadLetterTargetArn", ""))
    parts = arn.split(":")
    if len(parts) != ARN_PARTS or parts[0] != "arn" or parts[2] != "sqs":
        raise invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn")
    if topic.fifo and endpoint.endswith(".fifo") and not arn.endswith(".fifo"):
        raise invalid(
            "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
        )
    return value


def _read_replay(topic: Topic, endpoint: str, value: str) -> str:
    try:
        policy = json.loads(value or "{}")
    except ValueError as error:
        raise invalid(f"ReplayPolicy: {broken_json(value, error)}") from None
    if policy == {}:
        return ""
    if not topic.archived_since:
        raise invalid("ReplayPolicy: the topic has no ArchivePolicy")
    if not isinstance(policy, dict) or policy.get("PointType") != "Timestamp":
        raise invalid("ReplayPolicy: PointType must be Timestamp")
    if "StartingPoint" not in policy:
        raise invalid("ReplayPolicy: StartingPoint is required")
    return value


_READERS: Final[Mapping[str, Callable[[Topic, str, str], str]]] = {
    "DeliveryPolicy": lambda _topic, _endpoint, value: read_subscription_policy(value),
    "FilterPolicy": lambda _topic, _endpoint, value: value,
    "FilterPolicyScope": _read_scope,
    "RawMessageDelivery": _read_raw,
    "RedrivePolicy": _read_redrive,
    "ReplayPolicy": _read_replay,
}
