"""What an SQS event source mapping does with a batch: filter, build the event, run the function, read the answer."""

import base64
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from penstock.core.arn import parse_arn
from penstock.core.batch import failed_items
from penstock.core.errors import AwsError, PenstockError
from penstock.core.lineage import new_trace, passed, passes
from penstock.core.pattern import Pattern, PatternError, compile_pattern
from penstock.core.retry import Backoff, Decision, Leave, Settle
from penstock.core.sqs_message import decode_attributes, md5_of_attributes, system_attributes
from penstock.delivery.model import Delivered, Failed, Outcome, PartiallyFailed, Source, Throttled
from penstock.services.lambda_.asynchronous import RunsFunctions, loops
from penstock.services.lambda_.repository import Function, Ref, Repository
from penstock.services.lambda_.surroundings import Surroundings
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage

_SLACK_MS: Final = 30_000
_BACKOFF: Final = Backoff(first_ms=1_000, most_ms=60_000)
# What a record takes beside the message itself: the names of its members, its handle, ids and instants.
_RECORD_BYTES: Final = 900


def record_size(message: Leased) -> int:
    """About how many bytes a message takes of an event: its body is a JSON string, where some characters take two."""
    body = message.body
    doubled = body.count(b'"') + body.count(b"\\") + body.count(b"\n")
    return len(body) + doubled + 2 * len(message.attributes) + _RECORD_BYTES


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


class SqsBatchSource:
    """The mapping's queue, on the queue's own terms, as long as there is a function to take the messages."""

    def __init__(self, repository: Repository, queue: Source, mapping: dict[str, Any], ref: Ref):
        self._repository = repository
        self._queue = queue
        self._window_ms = mapping["MaximumBatchingWindowInSeconds"] * 1000
        self._ref = ref
        self.timeout_ms = 0
        """How long the function may take, as last looked at."""

    @property
    def queue(self) -> str:
        """The queue's name in the store."""
        return self._queue.queue

    async def terms(self, now: int) -> LeaseTerms | None:
        """The queue's terms, with leases that outlast the window and the function."""
        try:
            function = await self._repository.describe(self._ref)
        except AwsError:
            # Nothing is received in vain: it would only bring the messages nearer to the dead-letter queue.
            return None
        self.timeout_ms = function.config["Timeout"] * 1000
        terms = await self._queue.terms(now)
        if terms is None or not self._window_ms:
            return terms
        needed = now + self._window_ms + self.timeout_ms
        # AWS: where window and timeout are more than the visibility timeout, it is their sum and thirty seconds (Lambda
        # guide, "configuring an Amazon SQS event source").
        return terms if terms.until >= needed else replace(terms, until=needed + _SLACK_MS)


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
        try:
            function = await self._repository.find(self._ref)
        except AwsError as error:
            return Throttled(error.message)
        records = [
            sqs_record(message, self._handle(self._queue, message.receipt), self._queue)
            for message in batch
        ]
        wanted = [record for record in records if self._filter.matches(record)]
        # AWS: what comes round too often is not handed over; it stays until it is dead-lettered (Lambda guide,
        # "recursive loop detection").
        fit = [record for record in wanted if not loops(function, _trace(record))]
        if not fit:
            return _outcome({record["messageId"] for record in wanted})
        outcome = await self._invoke(function, fit)
        if len(fit) == len(records):
            return outcome
        failed = {record["messageId"] for record in wanted}
        if isinstance(outcome, Throttled):
            return Throttled(outcome.reason, frozenset(failed))
        if isinstance(outcome, Delivered):
            failed -= {record["messageId"] for record in fit}
        elif isinstance(outcome, PartiallyFailed):
            failed -= {record["messageId"] for record in fit} - outcome.failed
        return _outcome(failed)

    async def _invoke(self, function: Function, records: list[dict[str, Any]]) -> Outcome:
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            return Throttled(permit)
        now = self._clock.now()
        # The trace of the message that has come furthest.
        traces = [trace for record in records if (trace := _trace(record)) is not None]
        trace = max(traces, key=lambda one: passes(one, function.arn), default=None)
        trace = passed(trace or new_trace(self._ids, now), function.arn)
        payload = orjson.dumps({"Records": records})
        with permit:
            try:
                result = await self._runner.run(function, self._ids.uuid(), payload, trace, now)
            except PenstockError as error:
                return Throttled(str(error))
        if result.error is not None:
            return Failed(result.payload)
        if not self._partial:
            return Delivered(result.payload)
        return _outcome(failed_items(result.payload, [one["messageId"] for one in records]))


def _trace(record: dict[str, Any]) -> str | None:
    found: str | None = record["attributes"].get("AWSTraceHeader")
    return found


def _outcome(failed: Collection[str]) -> Outcome:
    return PartiallyFailed(frozenset(failed)) if failed else Delivered()


@dataclass(frozen=True, slots=True)
class SqsBatchPolicy:
    """What failed is left to the queue's visibility timeout and redrive policy; the rest is deleted."""

    timeout_ms: Callable[[], int]
    """How long the function may take, as it is at the moment."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """A throttled batch is kept while the function could still take it before its messages are visible again."""
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
