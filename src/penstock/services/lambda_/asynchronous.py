"""Asynchronous invocation: a durable queue for each function, retries, dead letters and destinations.

An event is a message of the queue `lambda/async/ACCOUNT/REGION/FUNCTION` whose id is the request id. A throttled event
is put back as a new message with its history, so that only tries count as tries.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson

from penstock.clock import Clock
from penstock.core.errors import AwsError, PenstockError
from penstock.core.retry import (
    AsyncRetryPolicy,
    DeadLetter,
    Decision,
    Drop,
    Retry,
    Settle,
    after_failure,
    after_throttle,
)
from penstock.core.sqs_message import encode_attributes
from penstock.delivery.model import (
    BatchPolicy,
    Delivered,
    Failed,
    Outcome,
    Subscription,
    Throttled,
)
from penstock.runtime.concurrency import Permit
from penstock.runtime.model import InvocationResult
from penstock.services.lambda_.destinations import Recipients, event_config
from penstock.services.lambda_.repository import LATEST, Function, Ref, Repository
from penstock.services.lambda_.surroundings import Surroundings
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage, Store

AGE_EXCEEDED: Final = "EventAgeExceeded"
NO_CONCURRENCY: Final = "ZeroReservedConcurrency"
RETRIES_EXHAUSTED: Final = "RetriesExhausted"
# The code of a failure to find the function's version; no try will find it.
NOT_FOUND: Final = 404
# How many events of one function are in flight at once, at most; the rest wait in the queue, where nothing is lost.
_IN_FLIGHT: Final = 32
_GRACE_MS: Final = 60_000


class RunsFunctions(Protocol):
    """What is asked of the runner."""

    def admit(self, function: Function) -> Permit | str:
        """A permit or the reason why not."""
        ...

    async def run(
        self, function: Function, request_id: str, payload: bytes, trace: str | None, now: int
    ) -> InvocationResult:
        """Run one event."""
        ...


def queue_of(ref: Ref) -> str:
    """The queue of a function's events."""
    return f"lambda/async/{ref.account}/{ref.region}/{ref.name}"


class AsyncInvocations:
    """Accepts events, and keeps one subscription a function that runs them."""

    def __init__(self, repository: Repository, runner: RunsFunctions, given: Surroundings) -> None:
        self._repository = repository
        self._runner = runner
        self._engine = given.engine
        self._clock = given.clock
        self._ids = given.ids
        self._queue_exists = given.queue_exists

    async def accept(
        self, ref: Ref, request_id: str, payload: bytes, trace: str | None, now: int
    ) -> None:
        """Queue an event."""
        history = {"q": ref.qualifier, "t": trace}
        message = NewMessage(
            id=request_id, body=payload, attributes=orjson.dumps(history), visible_at=now
        )
        await self._repository.store.queue.put(queue_of(ref), [message], now)

    def subscribe(self, ref: Ref, document: dict[str, Any]) -> None:
        """Run the function's events by its configuration as it now is."""
        ref = ref._replace(qualifier=None)
        timeout_ms = document["config"]["Timeout"] * 1000
        recipients = Recipients(document, self._queue_exists)
        self._engine.add(
            Subscription(
                id=queue_of(ref),
                source=_EventSource(self._repository.store, queue_of(ref), timeout_ms),
                target=EventTarget(self._repository, self._runner, self._clock, ref, recipients),
                policy=EventPolicy(ref, document, recipients, self._ids.uuid),
                batch=BatchPolicy(size=1),
                concurrency=_IN_FLIGHT,
                arns=frozenset((ref.arn,)),
            )
        )

    def unsubscribe(self, ref: Ref) -> None:
        """Take no more events. Those that run go on; those that wait are the repository's to remove."""
        self._engine.discard(queue_of(ref))


class _EventSource:
    """The queue of one function."""

    def __init__(self, store: Store, queue: str, timeout_ms: int) -> None:
        self._store = store
        self._queue = queue
        self._timeout_ms = timeout_ms

    @property
    def queue(self) -> str:
        return self._queue

    async def lease(self, limit: int, now: int) -> list[Leased]:
        terms = LeaseTerms(until=now + self._timeout_ms + _GRACE_MS)
        return await self._store.queue.lease(self._queue, limit, terms, now)


class EventTarget:
    """Runs one event of the function, then looks which queues can be told."""

    def __init__(
        self,
        repository: Repository,
        runner: RunsFunctions,
        clock: Clock,
        ref: Ref,
        recipients: Recipients,
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._clock = clock
        self._ref = ref
        self._recipients = recipients

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Run the batch's one event."""
        (message,) = batch
        history = orjson.loads(message.attributes)
        outcome = await self._outcome(message, history)
        await self._recipients.look(history["q"])
        return outcome

    async def _outcome(self, message: Leased, history: dict[str, Any]) -> Outcome:
        try:
            function = await self._repository.find(self._ref._replace(qualifier=history["q"]))
        except AwsError as error:
            # What was to run has been deleted since the event was accepted.
            document = {"errorMessage": error.message, "errorType": error.code}
            return Failed(orjson.dumps(document), NOT_FOUND)
        now = self._clock.now()
        if (reason := self._given_up(function, message, history["q"], now)) is not None:
            return Throttled(reason)
        return await self._run(function, message, history["t"], now)

    def _given_up(
        self, function: Function, message: Leased, qualifier: str | None, now: int
    ) -> str | None:
        """Why the event is not even tried."""
        if function.document["reserved"] == 0:
            return NO_CONCURRENCY
        limit = retry_policy(function.document, qualifier).max_age_ms
        return AGE_EXCEEDED if now - message.sent_at > limit else None

    async def _run(
        self, function: Function, message: Leased, trace: str | None, now: int
    ) -> Outcome:
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            return Throttled(permit)
        with permit:
            try:
                result = await self._runner.run(function, message.id, message.body, trace, now)
            except PenstockError as error:
                return Throttled(str(error))
        return Delivered(result.payload) if result.error is None else Failed(result.payload)


def retry_policy(document: dict[str, Any], qualifier: str | None) -> AsyncRetryPolicy:
    """How a qualifier's events are retried."""
    config = event_config(document, qualifier)
    return AsyncRetryPolicy(
        max_retries=config.get("MaximumRetryAttempts", 2),
        max_age_ms=config.get("MaximumEventAgeInSeconds", 21_600) * 1000,
    )


class EventPolicy:
    """What becomes of an event: see section "asynchronous invocation" of the Lambda guide."""

    def __init__(
        self,
        ref: Ref,
        document: dict[str, Any],
        recipients: Recipients,
        new_id: Callable[[], str],
    ) -> None:
        self._ref = ref
        self._document = document
        self._recipients = recipients
        self._new_id = new_id

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle, retry, or give up."""
        history = orjson.loads(message.attributes)
        policy = retry_policy(self._document, history["q"])
        match outcome:
            case Failed(code=code) if code == NOT_FOUND:
                return DeadLetter(RETRIES_EXHAUSTED)
            case Failed():
                return after_failure(
                    policy, attempts=message.leases, enqueued_at=message.sent_at, now=now
                )
            case Throttled(reason=reason) if reason in (AGE_EXCEEDED, NO_CONCURRENCY):
                return DeadLetter(reason)
            case Throttled():
                decision = self._after_throttle(message, history, now)
                return Settle() if isinstance(decision, Retry) else decision
        return Settle()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        """The throttled event itself, once more; or what its destinations and dead-letter queue are told."""
        history = orjson.loads(message.attributes)
        if isinstance(decision, Settle) and isinstance(outcome, Throttled):
            return self._again(message, history, now)
        recipients, dead_letter = self._recipients, None
        if isinstance(decision, Settle) and isinstance(outcome, Delivered):
            wanted, condition = recipients.on_success(history["q"]), "Success"
        elif isinstance(decision, DeadLetter | Drop):
            wanted, condition = recipients.on_failure(history["q"]), decision.reason
            dead_letter = recipients.dead_letter()
        else:
            return []
        found: list[tuple[str, NewMessage]] = []
        if wanted and recipients.there(wanted):
            record = self._record(message, outcome, condition, history["q"], now)
            found.append((wanted, self._sqs(record, now, None, history["t"])))
        if dead_letter and recipients.there(dead_letter):
            attributes = _dead_letter_attributes(message, outcome)
            body = self._sqs(message.body, now, attributes, history["t"])
            found.append((dead_letter, body))
        return found

    def _after_throttle(
        self, message: Leased, history: dict[str, Any], now: int
    ) -> Retry | DeadLetter:
        return after_throttle(
            retry_policy(self._document, history["q"]),
            throttles=history.get("n", 0) + 1,
            enqueued_at=message.sent_at,
            now=now,
        )

    def _again(
        self, message: Leased, history: dict[str, Any], now: int
    ) -> list[tuple[str, NewMessage]]:
        decision = self._after_throttle(message, history, now)
        if not isinstance(decision, Retry):
            return []
        throttled = {**history, "n": history.get("n", 0) + 1}
        again = NewMessage(
            id=message.id,
            body=message.body,
            attributes=orjson.dumps(throttled),
            visible_at=decision.at,
            sent_at=message.sent_at,
            leases=message.leases - 1,
        )
        return [(queue_of(self._ref), again)]

    def _sqs(
        self, body: bytes, now: int, attributes: dict[str, Any] | None, trace: str | None
    ) -> NewMessage:
        """A message as SQS keeps it: the only place here that knows SQS's encoding."""
        encoded = encode_attributes(self._ref.account, attributes, trace)
        return NewMessage(id=self._new_id(), body=body, attributes=encoded, visible_at=now)

    def _record(
        self, message: Leased, outcome: Outcome, condition: str, qualifier: str | None, now: int
    ) -> bytes:
        """The invocation record, in AWS's order of members."""
        tried = not isinstance(outcome, Throttled) and not _is_missing(outcome)
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": _iso(now),
            "requestContext": {
                "requestId": message.id,
                "functionArn": f"{self._ref.arn}:{qualifier or LATEST}",
                "condition": condition,
                "approximateInvokeCount": message.leases if tried else message.leases - 1,
            },
            "requestPayload": orjson.Fragment(message.body),
        }
        if tried:
            context: dict[str, Any] = {"statusCode": 200, "executedVersion": qualifier or LATEST}
            if isinstance(outcome, Failed):
                context["functionError"] = "Unhandled"
            record["responseContext"] = context
            record["responsePayload"] = _document(
                outcome.error if isinstance(outcome, Failed) else getattr(outcome, "result", b"")
            )
        return orjson.dumps(record)


def _is_missing(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.code == NOT_FOUND


def _document(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode("utf-8", "replace")


def _dead_letter_attributes(message: Leased, outcome: Outcome) -> dict[str, Any]:
    """RequestID, ErrorCode and ErrorMessage of a dead letter."""
    error, code = "", "429"
    if isinstance(outcome, Failed):
        document = _document(outcome.error)
        error = str(document.get("errorMessage", "")) if isinstance(document, dict) else ""
        code = str(outcome.code)
    elif isinstance(outcome, Throttled):
        error = "Rate Exceeded."
    # AWS: the first kilobyte of the error message (Lambda guide, "dead-letter queues").
    text = error.encode()[:1024].decode("utf-8", "ignore")
    found = {
        "RequestID": {"DataType": "String", "StringValue": message.id},
        "ErrorCode": {"DataType": "Number", "StringValue": code},
    }
    if text:
        found["ErrorMessage"] = {"DataType": "String", "StringValue": text}
    return found


def _iso(now: int) -> str:
    return (
        datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{now % 1000:03d}Z"
    )
