"""What becomes of an asynchronous event, and what its destinations and dead-letter queue are told. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.core.lineage import passed
from penstock.core.retry import (
    AsyncRetryPolicy,
    DeadLetter,
    Decision,
    Postpone,
    Settle,
    after_failure,
    after_throttle,
)
from penstock.core.sqs_message import encode_attributes
from penstock.delivery.model import Delivered, Failed, Outcome, Throttled
from penstock.fanout import Delivery
from penstock.services.lambda_.destinations import Recipients, event_config
from penstock.services.lambda_.report import DESTINATIONS, request_for
from penstock.services.lambda_.repository import LATEST, Ref
from penstock.storage.primitives import Leased, NewMessage

AGE_EXCEEDED: Final = "EventAgeExceeded"
NO_CONCURRENCY: Final = "ZeroReservedConcurrency"
RETRIES_EXHAUSTED: Final = "RetriesExhausted"
# The code of an event that ran, whatever the function made of it; one of any other code did not run and never will.
RAN: Final = 200
# AWS: a message of SQS has at most so many bytes, and so does an event of Lambda; one of SNS and EventBridge has a
# quarter (quotas of the services).
_MOST_BYTES: Final = 1_048_576
_MOST_BYTES_OF: Final = {"sns": 262_144, "events": 262_144}


def retry_policy(document: dict[str, Any], qualifier: str | None) -> AsyncRetryPolicy:
    """How a qualifier's events are retried."""
    config = event_config(document, qualifier)
    return AsyncRetryPolicy(
        max_retries=config.get("MaximumRetryAttempts", 2),
        max_age_ms=config.get("MaximumEventAgeInSeconds", 21_600) * 1000,
    )


class EventPolicy:
    """The policy of one qualifier's events: see section "asynchronous invocation" of the Lambda guide."""

    def __init__(
        self,
        ref: Ref,
        document: dict[str, Any],
        recipients: Recipients,
        new_id: Callable[[], str],
    ) -> None:
        self._ref = ref
        self._arn = ref.arn
        self._function_arn = f"{ref.arn}:{ref.qualifier or LATEST}"
        self._recipients = recipients
        self._new_id = new_id
        self._retries = retry_policy(document, ref.qualifier)
        self._role = document["config"].get("Role", "")

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """A throttled event goes back to its queue."""
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle, retry, or give up."""
        match outcome:
            case Failed(code=code) if code != RAN:
                return DeadLetter(RETRIES_EXHAUSTED)
            case Failed():
                return after_failure(
                    self._retries, attempts=message.leases, enqueued_at=message.sent_at, now=now
                )
            case Throttled(reason=reason) if reason in (AGE_EXCEEDED, NO_CONCURRENCY):
                return DeadLetter(reason)
            case Throttled():
                return self._after_throttle(message, now)
        return Settle()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        """What the event's destinations and dead-letter queue are told."""
        recipients = self._recipients
        letters = None
        if isinstance(decision, Settle):
            wanted, condition = recipients.on_success, "Success"
        elif isinstance(decision, DeadLetter):
            wanted, condition = recipients.on_failure, decision.reason
            letters = recipients.dead_letter
        else:
            return []
        if wanted is None and letters is None:
            return []
        trace = passed(orjson.loads(message.attributes)["t"], self._arn)
        found: list[tuple[str, NewMessage]] = []
        if wanted and recipients.there(wanted):
            record = self._record(message, outcome, condition, wanted, now)
            found.append(self._told(wanted, record, trace, condition, now))
        if letters and recipients.there(letters):
            attributes = _dead_letter_attributes(message, outcome)
            found.append(self._told(letters, message.body, trace, condition, now, attributes))
        return found

    def _after_throttle(self, message: Leased, now: int) -> Postpone | DeadLetter:
        history = orjson.loads(message.attributes)
        throttles = history.get("n", 0) + 1
        decision = after_throttle(
            self._retries, throttles=throttles, enqueued_at=message.sent_at, now=now
        )
        if isinstance(decision, DeadLetter):
            return decision
        return Postpone(decision.at, orjson.dumps({**history, "n": throttles}))

    def _told(
        self,
        arn: str,
        body: bytes,
        trace: str,
        condition: str,
        now: int,
        attributes: dict[str, Any] | None = None,
    ) -> tuple[str, NewMessage]:
        """A message for a queue, or for the deliveries to other services, and where it goes."""
        if arn.startswith("arn:aws:sqs:"):
            # The only place here that knows SQS's encoding.
            kept = encode_attributes(self._ref.account, attributes, trace)
            return arn, NewMessage(id=self._new_id(), body=body, attributes=kept, visible_at=now)
        id_ = self._new_id()
        request = request_for(arn, self._function_arn, condition, now, id_)
        if attributes:
            request["MessageAttributes"] = attributes
        delivery = Delivery(
            to=arn,
            arn=self._function_arn,
            account=self._ref.account,
            region=self._ref.region,
            principal=self._role,
            trace=trace,
            request=request,
        )
        message = NewMessage(id=id_, body=body, attributes=delivery.encode(), visible_at=now)
        return DESTINATIONS, message

    def _record(
        self, message: Leased, outcome: Outcome, condition: str, arn: str, now: int
    ) -> bytes:
        """The invocation record, in AWS's order of members."""
        ran = isinstance(outcome, Delivered) or (
            isinstance(outcome, Failed) and outcome.code == RAN
        )
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": _iso(now),
            "requestContext": {
                "requestId": message.id,
                "functionArn": self._function_arn,
                "condition": condition,
                "approximateInvokeCount": message.leases if ran else message.leases - 1,
            },
            "requestPayload": orjson.Fragment(message.body),
        }
        if isinstance(outcome, Delivered | Failed) and ran:
            context: dict[str, Any] = {
                "statusCode": 200,
                "executedVersion": outcome.by or self._ref.qualifier or LATEST,
            }
            failed = isinstance(outcome, Failed)
            if failed:
                context["functionError"] = "Unhandled"
            record["responseContext"] = context
            record["responsePayload"] = _document(
                outcome.error if isinstance(outcome, Failed) else outcome.result
            )
        return _fitting(record, _MOST_BYTES_OF.get(arn.split(":", 3)[2], _MOST_BYTES))


def _fitting(record: dict[str, Any], most: int) -> bytes:
    """The record, without payloads that are more than the destination takes."""
    data = orjson.dumps(record)
    for name in ("responsePayload", "requestPayload"):
        if len(data) > most and name in record:
            # AWS: what is too large for the destination is left out (Lambda guide, "destinations").
            data = orjson.dumps({**record, name: None})
            record[name] = None
    return data


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
    instant = datetime.fromtimestamp(now // 1000, UTC).replace(tzinfo=None)
    return f"{instant.isoformat()}.{now % 1000:03d}Z"
