"""What a queue is: its name, its record and what follows from its attributes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from penstock.core.errors import AwsError

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")

DEFAULTS: Final[Mapping[str, str]] = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
FIFO_DEFAULTS: Final[Mapping[str, str]] = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoQueue": "true",
    "FifoThroughputLimit": "perQueue",
}


@dataclass(slots=True, kw_only=True)
class QueueRecord:
    """A queue as it is stored; `attributes` are the settable ones, all strings, defaults included."""

    name: str
    arn: str
    account: str
    attributes: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    created_at: int
    modified_at: int
    purged_at: int = 0
    version: int = 0
    delay_ms: int = 0
    visibility_ms: int = 0
    retention_ms: int = 0
    wait_ms: int = 0
    max_bytes: int = 0
    fifo: bool = False
    high_throughput: bool = False
    dead_letter: str | None = None
    max_receives: int = 0

    def __post_init__(self) -> None:
        attributes = self.attributes
        self.delay_ms = int(attributes["DelaySeconds"]) * 1000
        self.visibility_ms = int(attributes["VisibilityTimeout"]) * 1000
        self.retention_ms = int(attributes["MessageRetentionPeriod"]) * 1000
        self.wait_ms = int(attributes["ReceiveMessageWaitTimeSeconds"]) * 1000
        self.max_bytes = int(attributes["MaximumMessageSize"])
        self.fifo = attributes.get("FifoQueue") == "true"
        # AWS: both attributes together are what lifts the limit of a FIFO queue (developer guide, "high throughput").
        self.high_throughput = (
            attributes.get("DeduplicationScope") == "messageGroup"
            and attributes.get("FifoThroughputLimit") == "perMessageGroupId"
        )
        redrive = attributes.get("RedrivePolicy")
        if redrive:
            policy = orjson.loads(redrive)
            self.dead_letter = policy["deadLetterTargetArn"]
            self.max_receives = int(policy["maxReceiveCount"])

    def dump(self) -> bytes:
        """The document for the table."""
        return orjson.dumps(
            {
                "name": self.name,
                "arn": self.arn,
                "account": self.account,
                "attributes": self.attributes,
                "tags": self.tags,
                "created_at": self.created_at,
                "modified_at": self.modified_at,
                "purged_at": self.purged_at,
            }
        )

    @staticmethod
    def load(document: bytes, version: int) -> "QueueRecord":
        """The record of a stored document."""
        return QueueRecord(**orjson.loads(document), version=version)

    def dedup_key(self, explicit: str | None, group: str, content: Callable[[], str]) -> str | None:
        """The key under which a message of a FIFO queue is a duplicate; None on a standard queue."""
        if not self.fifo:
            return None
        key = explicit
        if key is None:
            if self.attributes["ContentBasedDeduplication"] != "true":
                raise missing_dedup()
            key = content()
        if self.attributes["DeduplicationScope"] == "messageGroup":
            return f"{group}\n{key}"
        return key


def check_name(name: str) -> None:
    """Raise unless `name` may be a queue's name."""
    if not _NAME.fullmatch(name):
        raise AwsError(
            "InvalidParameterValueException",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )


def missing_dedup() -> AwsError:
    """The error for a message that nothing tells from its copies."""
    return AwsError(
        "InvalidParameterValueException",
        "The queue should either have ContentBasedDeduplication enabled or"
        " MessageDeduplicationId provided explicitly",
    )
