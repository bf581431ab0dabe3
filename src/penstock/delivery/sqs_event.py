"""Batches of SQS messages for functions and pipes: records, filters, and what becomes of a batch."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from penstock.core.arn import parse_arn
from penstock.core.md5 import md5_of
from penstock.core.pattern import Pattern, PatternError, compile_pattern
from penstock.core.retry import Backoff, Decision, Leave, Settle
from penstock.core.sqs_message import decode_attributes, md5_of_attributes, system_attributes
from penstock.delivery.model import Delivered, Outcome, PartiallyFailed, Throttled
from penstock.storage.primitives import Leased, NewMessage

_BACKOFF: Final = Backoff(first_ms=1_000, most_ms=60_000)
# What a record takes beside the message itself: the names of its members, its handle, ids and instants.
_RECORD_BYTES: Final = 900


def record_size(message: Leased) -> int:
    """About how many bytes a message takes of an event: its body is a JSON string, where some characters take two."""
    body = message.body
    doubled = body.count(b'"') + body.count(b"\\") + body.count(b"\n")
    return len(body) + doubled + 2 * len(message.attributes) + _RECORD_BYTES


def sqs_record(message: Leased, handle: str, queue_arn: str) -> dict[str, Any]:
    """A message as functions and pipes see it. `handle` is its receipt handle."""
    kept = decode_attributes(message.attributes)
    record: dict[str, Any] = {
        "messageId": message.id,
        "receiptHandle": handle,
        "body": message.body.decode(),
        "attributes": system_attributes(message, kept),
        "messageAttributes": {name: _attribute(value) for name, value in kept.attributes.items()},
        "md5OfBody": md5_of(message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": parse_arn(queue_arn).region,
    }
    if kept.attributes:
        record["md5OfMessageAttributes"] = md5_of_attributes(kept.attributes)
    return record


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "StringValue" in value:
        found["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        found["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return {
        **found,
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }


class SqsFilter:
    """The filters of a mapping or a pipe, of which one must match. Raises PatternError for a pattern that is none."""

    def __init__(self, criteria: dict[str, Any] | None) -> None:
        self._patterns: list[tuple[Pattern, str]] = []
        for entry in (criteria or {}).get("Filters") or []:
            try:
                document = orjson.loads(entry.get("Pattern") or "{}")
            except orjson.JSONDecodeError as error:
                raise PatternError(str(error)) from error
            self._patterns.append((compile_pattern(document), _kind(document.get("body"))))

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether a record is wanted."""
        if not self._patterns:
            return True
        body = _parsed(record["body"])
        kind = "text" if isinstance(body, str) else "object"
        event = {**record, "body": body}
        # AWS: a pattern for the other format of body drops the message (Lambda guide, "filtering SQS").
        return any(
            wants in ("", kind) and pattern.matches(event) for pattern, wants in self._patterns
        )


def _kind(pattern: Any) -> str:
    """Which format of body a pattern is for: `text`, `object`, or either."""
    if pattern is None:
        return ""
    return "text" if isinstance(pattern, list) else "object"


def _parsed(body: str) -> Any:
    """The body as JSON where it is an object or a list, else as it is."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return document if isinstance(document, dict | list) else body


@dataclass(frozen=True, slots=True)
class SqsBatchPolicy:
    """What failed is left to the queue's visibility timeout and redrive policy; the rest is deleted."""

    timeout_ms: Callable[[], int]
    """How long the target may take, as it is at the moment."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """A throttled batch is kept while the target could still take it before its messages are visible again."""
        # AWS: the poller backs off within the visibility timeout, then gives the messages back (Lambda guide, "using
        # Lambda with Amazon SQS": backoff for failed invocations).
        at = now + _BACKOFF.delay(throttles)
        return at if at + self.timeout_ms() <= until else None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle or leave."""
        match outcome:
            case Delivered():
                return Settle()
            case PartiallyFailed(failed=failed) | Throttled(only=frozenset() as failed):
                return Leave() if message.id in failed else Settle()
        return Leave()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        """Nothing."""
        return []
