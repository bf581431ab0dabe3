"""What a message may be, and how it is shown to a consumer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.api import Result
from penstock.core.errors import AwsError
from penstock.core.md5 import md5_of
from penstock.core.sqs_message import (
    decode_attributes,
    md5_of_attributes,
    system_attributes,
)
from penstock.storage.primitives import Leased

_FORBIDDEN: Final = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
# Plain ASCII text stays as it is, and nothing else does.
_PLAIN: Final = bytes(
    code if code in (9, 10, 13) or 32 <= code < 127 else code ^ 128 for code in range(256)
)
_TOKEN: Final = re.compile(r"[!-~]{1,128}")
# AWS: letters beyond ASCII are taken too, although the API reference says otherwise (recorded by LocalStack).
_ATTRIBUTE_NAME: Final = re.compile(r"[\w.\-]+")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RESERVED: Final = ("aws.", "amazon.")
SYSTEM_NAMES: Final = (
    "All",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
)


def invalid(message: str) -> AwsError:
    """`InvalidParameterValue`, SQS's answer to most of what is wrong."""
    return AwsError("InvalidParameterValueException", message)


def check_body(body: str | None) -> bytes:
    """The bytes of a body. Raises for an empty one and for characters that XML cannot carry."""
    if not body:
        raise AwsError(
            "MissingRequiredParameterException",
            "The request must contain the parameter MessageBody.",
        )
    if body.isascii():
        data = body.encode()
        if is_plain(data):
            return data
    if found := _FORBIDDEN.search(body):
        raise AwsError("InvalidMessageContents", _forbidden(found.group(), "message body"))
    return body.encode()


def is_plain(data: bytes) -> bool:
    """Whether text is there and is ASCII alone, as most bodies are: a pattern takes several times as long to tell."""
    return bool(data) and data.translate(_PLAIN) == data


def _forbidden(character: str, where: str) -> str:
    # AWS: as users of several SDKs have reported it.
    return (
        f"Invalid binary character '#x{ord(character):X}' was found in the {where}, the set of allowed"
        " characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]."
    )


def check_token(name: str, value: str | None) -> None:
    """A group, deduplication or attempt id: 1 to 128 printable ASCII characters without spaces."""
    if value is not None and not _TOKEN.fullmatch(value):
        raise invalid(
            f"Value {value} for parameter {name} is invalid. Reason: {name} can only include"
            " alphanumeric and punctuation characters. 1 to 128 in length."
        )


def check_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Names, types and values of message attributes."""
    if len(attributes) > 10:
        raise invalid(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10]."
        )
    for name, value in attributes.items():
        _check_attribute_name(name)
        _check_attribute_value(name, value)


def _check_attribute_name(name: str) -> None:
    if len(name.encode()) > 256:
        raise invalid("Message (user) attribute names must be shorter than 256 Bytes")
    if not _ATTRIBUTE_NAME.fullmatch(name):
        raise invalid(
            "Message (user) attributes name can only contain upper and lower score characters,"
            " digits, periods, hyphens and underscores. "
        )
    if name.lower().startswith(_RESERVED) or name[0] == "." or name[-1] == "." or ".." in name:
        raise invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are"
            " reserved for internal use. Additionally, they cannot start or end with '.'."
        )


def _check_attribute_value(name: str, value: Mapping[str, Any]) -> None:
    type_ = value.get("DataType") or ""
    kind = type_.split(".", 1)[0]
    if kind not in ("String", "Number", "Binary"):
        # AWS: the missing space is AWS's own (recorded by peers).
        raise invalid(
            "Type for parameter MessageAttributes.Attribute_name.DataType must be prefixed"
            f'with "String", "Binary", or "Number", but was: {type_}'
        )
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise AwsError(
            "UnsupportedOperation",
            "Message attribute list values in SendMessage operation are not supported.",
        )
    text, data = value.get("StringValue"), value.get("BinaryValue")
    if not (data if kind == "Binary" else text):
        raise invalid(
            f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        )
    if kind == "Number" and not _NUMBER.fullmatch(text or ""):
        raise invalid(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    if kind != "Binary" and (found := _FORBIDDEN.search(text or "")):
        raise invalid(_forbidden(found.group(), f"message (user) attribute '{name}'"))


def too_long(limit: int) -> AwsError:
    """The error for a message above the queue's maximum."""
    return invalid(
        f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
    )


def shown(
    leased: Sequence[Leased], handles: Sequence[str], request: Mapping[str, Any]
) -> list[Result]:
    """Messages as ReceiveMessage answers them, with the attributes that the request asks for."""
    messages: list[Result] = [
        {
            "MessageId": one.id,
            "ReceiptHandle": handle,
            "MD5OfBody": md5_of(one.body),
            "Body": one.body.decode(),
        }
        for one, handle in zip(leased, handles, strict=True)
    ]
    wanted = [
        *(request.get("MessageSystemAttributeNames") or ()),
        *(request.get("AttributeNames") or ()),
    ]
    named = request.get("MessageAttributeNames") or ()
    if wanted or named:
        for message, one in zip(messages, leased, strict=True):
            _add_attributes(message, one, wanted, named)
    return messages


def _add_attributes(
    message: Result, leased: Leased, wanted: Sequence[str], named: Sequence[str]
) -> None:
    extra = decode_attributes(leased.attributes)
    if wanted:
        system = system_attributes(leased, extra)
        if "All" not in wanted:
            system = {k: v for k, v in system.items() if k in wanted}
        if system:
            message["Attributes"] = system
    if named and extra.attributes:
        chosen = _select(extra.attributes, named)
        if chosen:
            message["MessageAttributes"] = chosen
            message["MD5OfMessageAttributes"] = md5_of_attributes(chosen)


def _select(
    attributes: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    # AWS: a lone star means all too, and a prefix need not end at a period (recorded by LocalStack).
    if "All" in names or ".*" in names or "*" in names:
        return dict(attributes)
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {
        name: value
        for name, value in attributes.items()
        if name in names or (prefixes and name.startswith(prefixes))
    }
