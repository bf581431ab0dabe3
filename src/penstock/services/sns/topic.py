"""What a topic is: its name, its record and its attributes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.services.sns.delivery_policy import effective_topic_policy, read_topic_policy
from penstock.services.sns.instant import instant
from penstock.services.sns.problem import invalid

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_FIFO_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,251}\.fifo")
_TRUTH: Final = {"true": "true", "false": "false"}
_DAYS: Final = re.compile(r"\d{1,3}")
_UNBUILT: Final = re.compile(
    "KmsMasterKeyId|(Application|Firehose|HTTP|Lambda|SQS)(Success|Failure)Feedback(RoleArn|SampleRate)"
)
# AWS: what the owner's account may do by default (recorded by LocalStack).
_OWN_ACTIONS: Final = (
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
)


@dataclass(slots=True, kw_only=True)
class Topic:
    """A topic as it is stored; `attributes` are those that were set."""

    arn: str
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    created_at: int
    deleted: int = 0
    """How many subscriptions were removed."""
    archived_since: int = 0
    """Since when messages are archived (ms); 0 for not at all."""
    version: int = 0
    account: str = field(init=False)
    """The owner."""
    region: str = field(init=False)
    """Where it is."""
    fifo: bool = field(init=False)
    """Whether messages have an order and are not repeated."""

    def __post_init__(self) -> None:
        self.region, self.account = self.arn.split(":")[3:5]
        self.fifo = self.arn.endswith(".fifo")

    @property
    def name(self) -> str:
        """The last part of the ARN."""
        return self.arn.rsplit(":", 1)[1]

    @property
    def grouped(self) -> bool:
        """Whether repetitions and rates are counted for each group by itself."""
        return self.attributes.get("FifoThroughputScope") == "MessageGroup"

    @property
    def signature_version(self) -> str:
        """1 (SHA-1) or 2 (SHA-256)."""
        return self.attributes.get("SignatureVersion", "1")

    @property
    def retention_days(self) -> int:
        """How long messages are archived; 0 for not at all."""
        policy = self.attributes.get("ArchivePolicy")
        return int(orjson.loads(policy)["MessageRetentionPeriod"]) if policy else 0

    @property
    def policy(self) -> dict[str, Any]:
        """Who may do what, as a document."""
        text = self.attributes.get("Policy")
        document: dict[str, Any] = orjson.loads(text) if text else default_policy(self)
        return document

    def dump(self) -> bytes:
        """The document for the table."""
        return orjson.dumps(
            {
                "arn": self.arn,
                "attributes": self.attributes,
                "tags": self.tags,
                "created_at": self.created_at,
                "deleted": self.deleted,
                "archived_since": self.archived_since,
            }
        )

    @staticmethod
    def load(document: bytes, version: int) -> "Topic":
        """The record of a stored document."""
        return Topic(**orjson.loads(document), version=version)


def default_policy(topic: Topic) -> dict[str, Any]:
    """The policy of a topic that was given none."""
    return {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [f"SNS:{action}" for action in _OWN_ACTIONS],
                "Resource": topic.arn,
                "Condition": {"StringEquals": {"AWS:SourceOwner": topic.account}},
            }
        ],
    }


def shown_attributes(topic: Topic, confirmed: int, pending: int) -> dict[str, str]:
    """The attributes as GetTopicAttributes answers them."""
    shown = {
        "TopicArn": topic.arn,
        "Owner": topic.account,
        "Policy": orjson.dumps(topic.policy).decode(),
        "DisplayName": "",
        "EffectiveDeliveryPolicy": orjson.dumps(
            effective_topic_policy(topic.attributes.get("DeliveryPolicy"))
        ).decode(),
        "SubscriptionsConfirmed": str(confirmed),
        "SubscriptionsDeleted": str(topic.deleted),
        "SubscriptionsPending": str(pending),
        **({"FifoTopic": "true", "ContentBasedDeduplication": "false"} if topic.fifo else {}),
        **{name: value for name, value in topic.attributes.items() if name != "Policy"},
    }
    if topic.archived_since:
        shown["BeginningArchiveTime"] = instant(topic.archived_since)
    return shown


def check_name(name: str, fifo: bool) -> None:
    """Raise unless a topic of the kind may have this name."""
    if not (_FIFO_NAME if fifo else _NAME).fullmatch(name):
        raise invalid("Topic Name")


def read_attribute(name: str, value: str, *, fifo: bool) -> str:
    """The value to keep of an attribute that a request sets. Raises when there is no such attribute or value."""
    if _UNBUILT.fullmatch(name):
        raise refuse(f"the topic attribute {name}")
    reader = _READERS.get(name) or (_FIFO_READERS.get(name) if fifo else None)
    if reader is None:
        raise invalid("AttributeName")
    return reader(name, value)


def _display_name(name: str, value: str) -> str:
    if len(value) > 100:
        raise invalid("DisplayName")
    return value


def _policy(name: str, value: str) -> str:
    if not value:
        return ""
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise invalid("Policy Error: null") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise invalid("Policy Error: null")
    return value


def _truth(name: str, value: str) -> str:
    found = _TRUTH.get(value.lower())
    if found is None:
        raise invalid(f"{name}: Invalid value [{value}]. Must be true or false.")
    return found


def _signature_version(name: str, value: str) -> str:
    if value not in ("1", "2"):
        raise invalid("SignatureVersion")
    return value


def _tracing(name: str, value: str) -> str:
    if value == "Active":
        raise refuse("the value Active of the topic attribute TracingConfig")
    if value != "PassThrough":
        raise invalid("TracingConfig")
    return value


def _throughput_scope(name: str, value: str) -> str:
    if value not in ("Topic", "MessageGroup"):
        raise invalid("FifoThroughputScope")
    return value


def _archive_policy(name: str, value: str) -> str:
    try:
        policy = orjson.loads(value or "{}")
    except orjson.JSONDecodeError:
        raise invalid("ArchivePolicy: failed to parse JSON.") from None
    if policy == {}:
        return ""
    days = str(policy.get("MessageRetentionPeriod", "")) if isinstance(policy, dict) else ""
    if not _DAYS.fullmatch(days) or not 1 <= int(days) <= 365:
        raise invalid("ArchivePolicy: MessageRetentionPeriod must be between 1 and 365 days")
    return orjson.dumps({"MessageRetentionPeriod": days}).decode()


_READERS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "DeliveryPolicy": lambda _, value: read_topic_policy(value),
    "DisplayName": _display_name,
    "Policy": _policy,
    "SignatureVersion": _signature_version,
    "TracingConfig": _tracing,
}
_FIFO_READERS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "ArchivePolicy": _archive_policy,
    "ContentBasedDeduplication": _truth,
    "FifoThroughputScope": _throughput_scope,
}
