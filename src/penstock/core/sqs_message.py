"""What SQS keeps beside a message's body: sender, attributes, trace, tenant; and its checksums.

Source of the checksum rules: SQS developer guide, "calculating the MD5 message digest for message attributes".
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

# AWS: sequence numbers are opaque and have 20 digits; those that AWS shows begin near this one (SQS API reference).
_FIRST_SEQUENCE: Final = 18_849_496_460_467_696_128
# AWS: for so long a FIFO queue, or topic, knows a deduplication id (SQS and SNS guides).
DEDUP_MS: Final = 300_000


class Received(Protocol):
    """What a consumer is told of a message that it has leased. Instants in ms."""

    @property
    def sequence(self) -> int: ...  # noqa: D102
    @property
    def sent_at(self) -> int: ...  # noqa: D102
    @property
    def first_leased_at(self) -> int: ...  # noqa: D102
    @property
    def leases(self) -> int: ...  # noqa: D102
    @property
    def group(self) -> str | None: ...  # noqa: D102
    @property
    def dedup(self) -> str | None: ...  # noqa: D102
    @property
    def source(self) -> str | None: ...  # noqa: D102


@dataclass(slots=True)
class SqsAttributes:
    """`attributes` maps names to `{"DataType", "StringValue" | "BinaryValue"}` with binary values as bytes."""

    sender: str = ""
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    trace: str | None = None
    tenant: str | None = None
    """The MessageGroupId of a message on a standard queue: the tenant it belongs to."""


def encode_attributes(
    sender: str,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    trace: str | None = None,
    tenant: str | None = None,
) -> bytes:
    """The bytes that `NewMessage.attributes` holds for SQS."""
    if trace is tenant is None and not attributes:
        return sender.encode()
    document: dict[str, Any] = {"s": sender}
    if attributes:
        document["a"] = {
            name: {
                k: base64.b64encode(v).decode() if k == "BinaryValue" else v
                for k, v in value.items()
            }
            for name, value in attributes.items()
        }
    if trace is not None:
        document["t"] = trace
    if tenant is not None:
        document["g"] = tenant
    return orjson.dumps(document)


def binary_values(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Message attributes of JSON as operations take them: a `BinaryValue` is bytes again."""
    return {
        name: {k: base64.b64decode(v) if k == "BinaryValue" else v for k, v in value.items()}
        for name, value in attributes.items()
    }


def decode_attributes(data: bytes) -> SqsAttributes:
    """The inverse of `encode_attributes`."""
    if not data.startswith(b"{"):
        return SqsAttributes(data.decode())
    document = orjson.loads(data)
    attributes = binary_values(document.get("a", {}))
    return SqsAttributes(document["s"], attributes, document.get("t"), document.get("g"))


def md5_of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """The hexadecimal MD5 of message attributes, as clients verify it."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        binary = value.get("BinaryValue")
        for part in (name.encode(), value["DataType"].encode()):
            digest.update(len(part).to_bytes(4, "big") + part)
        data = value["StringValue"].encode() if binary is None else binary
        digest.update(
            (b"\x01" if binary is None else b"\x02") + len(data).to_bytes(4, "big") + data
        )
    return digest.hexdigest()


def attributes_size(attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes that attributes count against the message size: names, types and values."""
    size = 0
    for name, value in attributes.items():
        data = value.get("BinaryValue")
        size += len(name.encode()) + len(value.get("DataType", "").encode())
        size += len(data) if data is not None else len(value.get("StringValue", "").encode())
    return size


def sequence_number(sequence: int) -> str:
    """A sequence as FIFO queues show it: 20 digits."""
    return f"{_FIRST_SEQUENCE + sequence:020d}"


def system_attributes(message: Received, kept: SqsAttributes) -> dict[str, str]:
    """Every system attribute that the message has, as ReceiveMessage and events of Lambda show them."""
    system = {
        "ApproximateReceiveCount": str(message.leases),
        "SentTimestamp": str(message.sent_at),
        "SenderId": kept.sender,
        "ApproximateFirstReceiveTimestamp": str(message.first_leased_at),
    }
    if message.group is not None:
        system["SequenceNumber"] = sequence_number(message.sequence)
        # Where deduplication is by group, the key is kept behind its group.
        system["MessageDeduplicationId"] = (message.dedup or "").rsplit("\n", 1)[-1]
        system["MessageGroupId"] = message.group
    elif kept.tenant is not None:
        system["MessageGroupId"] = kept.tenant
    if kept.trace is not None:
        system["AWSTraceHeader"] = kept.trace
    if message.source is not None:
        system["DeadLetterQueueSourceArn"] = message.source
    return system
