"""What the attributes of a queue may be, told in AWS's words."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.core.errors import AwsError

_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
_FLAGS: Final = ("ContentBasedDeduplication", "FifoQueue", "SqsManagedSseEnabled")
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_FLAGS, ("true", "false")),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
_FIFO_ONLY: Final = ("FifoQueue", "ContentBasedDeduplication")
_FIFO_SCOPES: Final = ("DeduplicationScope", "FifoThroughputLimit")
_DOCUMENTS: Final = ("Policy", "RedriveAllowPolicy", "RedrivePolicy")
_REUSE_DEFAULT: Final = "300"
_QUEUE_ARN: Final = re.compile(r"arn:[a-z-]+:sqs:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,80}(\.fifo)?")


def normalized(given: Mapping[str, str]) -> dict[str, str]:
    """Attributes in the form in which they are kept and compared: flags in lower case, numbers without leading zeros."""
    return {name: _normalized(name, value) for name, value in given.items()}


def _normalized(name: str, value: str) -> str:
    if name in _FLAGS:
        # AWS: `True` is taken for `true` (recorded by LocalStack: CreateQueue).
        return value.lower()
    if name in _RANGES and value.isascii() and value.isdigit():
        return str(int(value))
    return value


def check_attributes(
    given: Mapping[str, str], current: Mapping[str, str], *, fifo: bool, creating: bool
) -> None:
    """Raise the error AWS answers for the first attribute that is unknown or not possible.

    `current` are the attributes that `given` come to, defaults included.
    """
    for name, value in given.items():
        _check_attribute(name, value, fifo=fifo, creating=creating)
    merged = {**current, **given}
    if (
        merged.get("FifoThroughputLimit") == "perMessageGroupId"
        and merged.get("DeduplicationScope") != "messageGroup"
    ):
        raise AwsError(
            "InvalidAttributeValue",
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup",
        )


def _check_attribute(name: str, value: str, *, fifo: bool, creating: bool) -> None:
    if name in _FIFO_ONLY or name in _FIFO_SCOPES:
        _check_fifo(name, value, fifo=fifo, creating=creating)
    elif name in _RANGES:
        _check_range(name, value)
    elif name in _CHOICES:
        _check_choice(name, value)
    elif name == "KmsMasterKeyId":
        if value:
            raise refuse(f"the attribute {name}")
    elif name not in _DOCUMENTS:
        raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
    elif value:
        _check_document(name, value)


def _not_possible(name: str, reason: str = "") -> AwsError:
    return AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.{reason}")


def _check_range(name: str, value: str) -> None:
    low, high = _RANGES[name]
    if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
        raise _not_possible(name)
    if name == "KmsDataKeyReusePeriodSeconds" and value != _REUSE_DEFAULT:
        raise refuse(f"the attribute {name}")


def _check_choice(name: str, value: str) -> None:
    if value not in _CHOICES[name]:
        raise _not_possible(name)


def _check_fifo(name: str, value: str, *, fifo: bool, creating: bool) -> None:
    if not fifo:
        if name in _FIFO_ONLY:
            raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        raise AwsError(
            "InvalidAttributeName",
            f"You can specify the {name} only when FifoQueue is set to true.",
        )
    if name == "FifoQueue" and value != "true":
        reason = "" if creating else " Reason: Modifying queue type is not supported."
        raise _not_possible(name, reason)
    _check_choice(name, value)


def _check_document(name: str, value: str) -> None:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise _not_possible(name)
    if name == "RedrivePolicy":
        _check_redrive(value, document)
    elif name == "RedriveAllowPolicy":
        _check_redrive_allow(value, document)
    elif not _is_policy(value, document):
        raise _not_possible(name)


def _is_policy(text: str, policy: Mapping[str, Any]) -> bool:
    """Whether a document is a policy of a queue: 8,192 bytes, 20 statements (SQS developer guide, "policy quotas")."""
    statements = policy.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not 1 <= len(statements) <= 20:
        return False
    return (
        len(text.encode()) <= 8_192
        and policy.get("Version", "2008-10-17") in ("2008-10-17", "2012-10-17")
        and all(isinstance(s, dict) and _is_statement(s) for s in statements)
    )


def _is_statement(statement: Mapping[str, Any]) -> bool:
    pairs = (("Principal", "NotPrincipal"), ("Action", "NotAction"))
    return statement.get("Effect") in ("Allow", "Deny") and all(
        (one in statement) != (other in statement) for one, other in pairs
    )


def _check_redrive(text: str, policy: Mapping[str, Any]) -> None:
    start = f"Value {text} for parameter RedrivePolicy is invalid. Reason: "
    for member in ("deadLetterTargetArn", "maxReceiveCount"):
        if member not in policy:
            raise AwsError(
                "InvalidParameterValueException",
                f"{start}The required parameter '{member}' is missing",
            )
    if len(policy) > 2:
        raise AwsError(
            "InvalidParameterValueException",
            f"{start}Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
        )
    if not _is_queue_arn(policy["deadLetterTargetArn"]):
        raise AwsError(
            "InvalidParameterValueException", f"{start}Invalid value for deadLetterTargetArn."
        )
    count = str(policy["maxReceiveCount"])
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= 1000):
        raise AwsError(
            "InvalidParameterValueException",
            f"{start}Invalid value for maxReceiveCount: {count},"
            " valid values are from 1 to 1000 both inclusive.",
        )


def _check_redrive_allow(text: str, policy: Mapping[str, Any]) -> None:
    permission = policy.get("redrivePermission")
    sources = policy.get("sourceQueueArns")
    if permission == "byQueue":
        # AWS: up to ten source queues by their ARNs (API reference, SetQueueAttributes).
        fits = (
            isinstance(sources, list)
            and 1 <= len(sources) <= 10
            and all(_is_queue_arn(arn) for arn in sources)
        )
    else:
        fits = permission in ("allowAll", "denyAll") and sources is None
    if not fits:
        raise AwsError(
            "InvalidParameterValueException",
            f"Value {text} for parameter RedriveAllowPolicy is invalid."
            " Reason: Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.",
        )


def _is_queue_arn(arn: Any) -> bool:
    return isinstance(arn, str) and _QUEUE_ARN.fullmatch(arn) is not None
