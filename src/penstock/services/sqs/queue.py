"""What a queue is: its record, its attributes and what they may be."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from penstock.api import refuse
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
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "SqsManagedSseEnabled": ("true", "false"),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_FIFO_ONLY: Final = ("FifoQueue", "ContentBasedDeduplication")
_FIFO_SCOPES: Final = ("DeduplicationScope", "FifoThroughputLimit")
_KMS: Final = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")


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
                raise AwsError(
                    "InvalidParameterValueException",
                    "The queue should either have ContentBasedDeduplication enabled or"
                    " MessageDeduplicationId provided explicitly",
                )
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


def check_attributes(given: Mapping[str, str], *, fifo: bool, creating: bool) -> None:
    """Raise the error AWS answers for the first attribute that is unknown or out of its range."""
    for name, value in given.items():
        _check_attribute(name, value, fifo=fifo, creating=creating)
    if given.get("FifoThroughputLimit") == "perMessageGroupId":
        scope = given.get("DeduplicationScope", "queue" if creating else "messageGroup")
        if scope != "messageGroup":
            raise AwsError(
                "InvalidAttributeValue",
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup",
            )


def _check_attribute(name: str, value: str, *, fifo: bool, creating: bool) -> None:
    if name in _RANGES:
        _check_range(name, value)
    elif name in _FIFO_ONLY or name in _FIFO_SCOPES:
        _check_fifo(name, value, fifo=fifo, creating=creating)
    elif name in _CHOICES:
        _check_choice(name, value)
    elif name in _KMS:
        if value:
            raise refuse(f"the attribute {name}")
    elif name not in ("Policy", "RedrivePolicy", "RedriveAllowPolicy"):
        raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
    elif value:
        _check_document(name, value)


def _check_range(name: str, value: str) -> None:
    low, high = _RANGES[name]
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def _check_choice(name: str, value: str) -> None:
    if value not in _CHOICES[name]:
        raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


def _check_fifo(name: str, value: str, *, fifo: bool, creating: bool) -> None:
    if not fifo:
        if name in _FIFO_ONLY:
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        raise AwsError(
            "InvalidAttributeName",
            f"You can specify the {name} only when FifoQueue is set to true.",
        )
    if name == "FifoQueue":
        if value != "true":
            reason = "Modifying queue type is not supported."
            raise AwsError(
                "InvalidAttributeValue",
                f"Invalid value for the parameter FifoQueue. Reason: {reason}"
                if not creating
                else "Invalid value for the parameter FifoQueue.",
            )
        return
    _check_choice(name, value)


def _check_document(name: str, value: str) -> None:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    if name == "RedrivePolicy":
        _check_redrive(value, document)
    elif name == "RedriveAllowPolicy" and document.get("redrivePermission") not in (
        "allowAll",
        "denyAll",
        "byQueue",
    ):
        raise AwsError(
            "InvalidParameterValueException",
            f"Value {value} for parameter RedriveAllowPolicy is invalid."
            " Reason: Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.",
        )


def _check_redrive(text: str, policy: Mapping[str, Any]) -> None:
    start = f"Value {text} for parameter RedrivePolicy is invalid. Reason: "
    for member in ("deadLetterTargetArn", "maxReceiveCount"):
        if member not in policy:
            raise AwsError(
                "InvalidParameterValueException",
                f"{start}The required parameter '{member}' is missing",
            )
    count = str(policy["maxReceiveCount"])
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= 1000):
        raise AwsError(
            "InvalidParameterValueException",
            f"{start}Invalid value for maxReceiveCount: {count},"
            " valid values are from 1 to 1000 both inclusive.",
        )
