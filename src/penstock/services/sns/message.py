"""What may be published, and how a message looks on its way."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from penstock.api import Request
from penstock.core.errors import AwsError
from penstock.core.sqs_message import attributes_size, binary_values
from penstock.services.sns.problem import invalid
from penstock.services.sns.topic import Topic

# AWS: 256 KiB, attributes included (API reference, Publish).
MAX_BYTES: Final = 262_144
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]*")
_SUBJECT: Final = re.compile(r"[ -~]{1,100}")
_TOKEN: Final = re.compile(r"[!-~]{1,128}")
_KINDS: Final = ("Binary", "Number", "String")


@dataclass(slots=True, kw_only=True)
class Message:
    """A published message. Attributes as in requests, binary values as bytes."""

    id: str
    text: str
    at: int
    """When it was published (ms)."""
    subject: str | None = None
    texts: dict[str, str] = field(default_factory=dict)
    """Other texts by protocol, of a message structure."""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    group: str | None = None
    dedup: str | None = None
    sequence: str | None = None
    """Of a FIFO topic: 20 digits."""
    replayed: bool = False

    def text_for(self, protocol: str) -> str:
        """What a protocol's subscribers get."""
        return self.texts.get(protocol, self.text) if self.texts else self.text

    def dump(self) -> bytes:
        """The message as an archive keeps it."""
        return orjson.dumps(
            {
                "id": self.id,
                "text": self.text,
                "at": self.at,
                "subject": self.subject,
                "texts": self.texts,
                "attributes": plain_attributes(self.attributes),
                "group": self.group,
                "dedup": self.dedup,
                "sequence": self.sequence,
            }
        )

    @staticmethod
    def load(data: bytes) -> "Message":
        """The inverse of `dump`: a message that is replayed."""
        document = orjson.loads(data)
        attributes = binary_values(document.pop("attributes"))
        return Message(**document, attributes=attributes, replayed=True)


def plain_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Attributes with binary values as base64 text."""
    return {
        name: {
            k: base64.b64encode(v).decode() if k == "BinaryValue" else v for k, v in value.items()
        }
        for name, value in attributes.items()
    }


def read_message(request: Request, topic: Topic | None, id_: str, now: int) -> Message:
    """The message of a Publish request or a batch entry. Raises AwsError for what cannot be published."""
    text = request.get("Message") or ""
    if not text:
        raise invalid("Empty message")
    subject = request.get("Subject")
    if subject is not None and not _SUBJECT.fullmatch(subject):
        raise invalid("Subject")
    attributes = request.get("MessageAttributes") or {}
    check_attributes(attributes)
    if size_of(request) > MAX_BYTES:
        raise invalid("Message too long")
    texts: dict[str, str] = {}
    structure = request.get("MessageStructure")
    if structure == "json":
        texts = _read_structure(text)
        text = texts["default"]
    elif structure:
        raise invalid("MessageStructure")
    group, dedup = request.get("MessageGroupId"), request.get("MessageDeduplicationId")
    if topic is not None:
        _check_order(topic, group, dedup)
    return Message(
        id=id_,
        text=text,
        at=now,
        subject=subject,
        texts=texts,
        attributes=attributes,
        group=group,
        dedup=dedup,
    )


def size_of(request: Request) -> int:
    """The bytes that count."""
    attributes = request.get("MessageAttributes")
    size = len((request.get("Message") or "").encode())
    return size + (attributes_size(attributes) if attributes else 0)


def _read_structure(text: str) -> dict[str, str]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise invalid("Message Structure - JSON message body failed to parse")
    if not isinstance(document.get("default"), str):
        raise invalid("Message Structure - No default entry in JSON message body")
    return {name: value for name, value in document.items() if isinstance(value, str)}


def _check_order(topic: Topic, group: str | None, dedup: str | None) -> None:
    for name, value in (("MessageGroupId", group), ("MessageDeduplicationId", dedup)):
        if value is not None and not _TOKEN.fullmatch(value):
            raise invalid(f"{name} Reason: must be 1 to 128 alphanumeric or punctuation characters")
    if not topic.fifo:
        if dedup is not None:
            raise invalid(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId"
                " parameter that is not valid for this topic type"
            )
        return
    if group is None:
        raise invalid("The MessageGroupId parameter is required for FIFO topics")
    if dedup is None and topic.attributes.get("ContentBasedDeduplication") != "true":
        raise invalid(
            "The topic should either have ContentBasedDeduplication enabled or"
            " MessageDeduplicationId provided explicitly"
        )


def check_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Names, types and values of message attributes."""
    for name, value in attributes.items():
        _check_name(name)
        _check_value(name, value)


def _bad(text: str) -> AwsError:
    return AwsError("InvalidParameterValueException", text)


def _check_name(name: str) -> None:
    if len(name.encode()) > 256:
        raise _bad("Length of message attribute name must be less than 256 bytes.")
    found = _NAME.match(name)
    if found is not None and found.end() < len(name):
        raise _bad(
            f"Invalid non-alphanumeric character '#x{ord(name[found.end()]):X}' was found in the message"
            " attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots."
        )
    if not name:
        raise _bad("Length of message attribute name must be greater than 0.")
    if name[0] == ".":
        raise _bad("Invalid message attribute name starting with character '.' was found.")
    if name[-1] == ".":
        raise _bad("Invalid message attribute name ending with character '.' was found.")
    if ".." in name:
        raise _bad("Message attribute name can not have successive '.' character.")


def _check_value(name: str, value: Mapping[str, Any]) -> None:
    type_ = value.get("DataType") or ""
    kind, dot, label = type_.partition(".")
    if kind not in _KINDS or (dot and not label):
        raise _bad(
            f"The message attribute '{name}' has an invalid message attribute type, the set of"
            " supported type prefixes is Binary, Number, and String."
        )
    text, data = value.get("StringValue"), value.get("BinaryValue")
    field_, own, other = ("Binary", data, text) if kind == "Binary" else ("String", text, data)
    if not own and other:
        raise _bad(f"The message attribute '{name}' with type '{type_}' must use field '{field_}'.")
    if not own:
        raise _bad(
            f"The message attribute '{name}' must contain non-empty message attribute value for"
            f" message attribute type '{type_}'."
        )
    if kind == "Number" and not _is_number(text or ""):
        raise _bad(f"Could not cast message attribute '{name}' value to number.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
