"""What an SQS event source mapping does with a batch: filter, build the event, run the function, read the answer."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from penstock.core.batch import failed_items
from penstock.core.errors import AwsError, PenstockError
from penstock.core.lineage import new_trace, passed, passes
from penstock.delivery.model import Delivered, Failed, Outcome, PartiallyFailed, Source, Throttled
from penstock.delivery.sqs_event import SqsFilter, sqs_record
from penstock.services.lambda_.asynchronous import RunsFunctions, loops
from penstock.services.lambda_.repository import Function, Ref, Repository
from penstock.services.lambda_.surroundings import Surroundings
from penstock.storage.primitives import Leased, LeaseTerms

_SLACK_MS: Final = 30_000


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
