"""What an SQS event source mapping does with a batch: filter, build the event, run the function, read the answer."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from penstock.core.arn import parse_arn
from penstock.core.batch import failed_items
from penstock.core.errors import AwsError, PenstockError
from penstock.core.pattern import Pattern, PatternError, compile_pattern
from penstock.core.retry import Decision, Leave, Settle
from penstock.core.sqs_message import decode_attributes, md5_of_attributes, system_attributes
from penstock.delivery.model import Delivered, Failed, Outcome, PartiallyFailed, Throttled
from penstock.services.lambda_.asynchronous import RunsFunctions
from penstock.services.lambda_.repository import Ref, Repository
from penstock.services.lambda_.surroundings import Surroundings
from penstock.storage.primitives import Leased, NewMessage


def sqs_record(message: Leased, handle: str, queue_arn: str) -> dict[str, Any]:
    """A message as the function sees it. `handle` is its receipt handle."""
    kept = decode_attributes(message.attributes)
    record: dict[str, Any] = {
        "messageId": message.id,
        "receiptHandle": handle,
        "body": message.body.decode(),
        "attributes": system_attributes(message, kept),
        "messageAttributes": {name: _attribute(value) for name, value in kept.attributes.items()},
        "md5OfBody": hashlib.md5(message.body, usedforsecurity=False).hexdigest(),
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
    """The filters of a mapping, of which one must match. Raises AwsError for a pattern that is none."""

    def __init__(self, criteria: dict[str, Any] | None) -> None:
        self._patterns: list[tuple[Pattern, str]] = []
        for entry in (criteria or {}).get("Filters") or []:
            try:
                document = orjson.loads(entry.get("Pattern") or "{}")
                self._patterns.append((compile_pattern(document), _kind(document.get("body"))))
            except (PatternError, orjson.JSONDecodeError) as error:
                raise AwsError(
                    "InvalidParameterValueException", "Invalid filter pattern definition."
                ) from error

    def matches(self, record: dict[str, Any]) -> bool:
        """Whether the function wants a record."""
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


class SqsBatchTarget:
    """Invokes the mapping's function with the messages that its filters let through; the others are taken as done."""

    def __init__(
        self,
        repository: Repository,
        runner: RunsFunctions,
        given: Surroundings,
        mapping: dict[str, Any],
        ref: Ref,
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._clock = given.clock
        self._ids = given.ids
        self._handle = given.receipt_handle
        self._queue = mapping["EventSourceArn"]
        self._filter = SqsFilter(mapping.get("FilterCriteria"))
        self._partial = "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or [])
        self._ref = ref

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Run the function once for the batch."""
        found = [
            (message, sqs_record(message, self._handle(self._queue, message.receipt), self._queue))
            for message in batch
        ]
        wanted = [(message, record) for message, record in found if self._filter.matches(record)]
        if not wanted:
            return Delivered()
        ids = [message.id for message, _ in wanted]
        outcome = await self._invoke(orjson.dumps({"Records": [r for _, r in wanted]}), ids)
        if len(wanted) < len(found) and isinstance(outcome, Failed | Throttled):
            return PartiallyFailed(frozenset(ids))
        return outcome

    async def _invoke(self, payload: bytes, ids: list[str]) -> Outcome:
        try:
            function = await self._repository.find(self._ref)
        except AwsError as error:
            return Throttled(error.message)
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            return Throttled(permit)
        with permit:
            try:
                result = await self._runner.run(
                    function, self._ids.uuid(), payload, None, self._clock.now()
                )
            except PenstockError as error:
                return Throttled(str(error))
        if result.error is not None:
            return Failed(result.payload)
        failed = failed_items(result.payload, ids) if self._partial else frozenset[str]()
        return PartiallyFailed(failed, result.payload) if failed else Delivered(result.payload)


class SqsBatchPolicy:
    """What failed is left to the queue's visibility timeout and redrive policy; the rest is deleted."""

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle or leave."""
        match outcome:
            case Delivered():
                return Settle()
            case PartiallyFailed(failed=failed):
                return Leave() if message.id in failed else Settle()
        return Leave()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        """Nothing."""
        return []
