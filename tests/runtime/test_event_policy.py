"""What becomes of an asynchronous event, decided without a clock or a process."""

import asyncio
from typing import Any

import orjson

from penstock.clock import VirtualClock
from penstock.core.ids import Ids
from penstock.core.retry import DeadLetter, Postpone, Retry
from penstock.core.sqs_message import decode_attributes
from penstock.delivery.model import Delivered, Failed, Throttled
from penstock.fanout import Letters
from penstock.runtime.model import InvocationResult
from penstock.services.lambda_.asynchronous import NOT_FOUND, EventTarget
from penstock.services.lambda_.destinations import Recipients
from penstock.services.lambda_.event_policy import EventPolicy
from penstock.services.lambda_.report import DESTINATIONS
from penstock.services.lambda_.repository import Function, Ref, Repository
from penstock.storage.primitives import Leased
from penstock.storage.sqlite import SqliteStore

REF = Ref("123456789012", "eu-west-1", "f", None)
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:failures"
LETTERS = "arn:aws:sqs:eu-west-1:123456789012:letters"
BEGAN = 1_700_000_000_000


def document(**config: Any) -> dict[str, Any]:
    letters = {"DeadLetterConfig": {"TargetArn": LETTERS}}
    return {"config": letters, "event_invoke": {"$LATEST": config} if config else {}}


async def there(arn: str) -> bool:
    return True


def policy(**config: Any) -> EventPolicy:
    of = {**document(**config), "config": {}}
    return EventPolicy(REF, of, Recipients(of, None, Letters(there)), lambda: "new-id")


class Nothing:
    """A runner for events that must not run."""

    def admit(self, function: Function) -> str:
        raise AssertionError(function.arn)

    async def run(self, function: Function, *_: Any) -> InvocationResult:
        raise AssertionError(function.arn)


def event(tries: int, throttles: int = 0) -> Leased:
    history = orjson.dumps({"t": "Root=1-0-0", "n": throttles})
    return Leased("id-1", "receipt", 1, b'{"a":1}', history, BEGAN, BEGAN, tries)


def test_retries_after_one_minute_then_two() -> None:
    """AWS's schedule for function errors."""
    failed = Failed(b"{}")
    assert Retry(BEGAN + 60_000) == policy().decide(event(1), failed, BEGAN)
    assert Retry(BEGAN + 180_000) == policy().decide(event(2), failed, BEGAN + 60_000)
    assert DeadLetter("RetriesExhausted") == policy().decide(event(3), failed, BEGAN + 180_000)


def test_retry_that_cannot_start_in_time_is_not_awaited() -> None:
    """Recorded from AWS: an age of 60 s gives one invocation and its record at once."""
    aged = policy(MaximumEventAgeInSeconds=60)
    assert DeadLetter("EventAgeExceeded") == aged.decide(event(1), Failed(b"{}"), BEGAN)


def test_throttles_back_off_and_are_no_tries() -> None:
    """One second, doubled each time; the event goes back as if it had not been taken."""
    for throttles, delay in ((0, 1_000), (1, 2_000), (2, 4_000), (12, 300_000)):
        decision = policy().decide(event(1, throttles), Throttled("busy"), BEGAN)
        assert isinstance(decision, Postpone)
        assert BEGAN + delay == decision.at
        assert {"t": "Root=1-0-0", "n": throttles + 1} == orjson.loads(decision.attributes)


def test_failure_record() -> None:
    """Consumers parse the record; its members and their order were recorded from AWS."""
    destinations = {"OnFailure": {"Destination": QUEUE}}
    told = policy(DestinationConfig=destinations)
    message, outcome = event(3), Failed(b'{"errorMessage":"x"}')
    decision = told.decide(message, outcome, BEGAN)
    ((queue, record),) = told.follow_up(message, outcome, decision, BEGAN)
    assert queue == QUEUE
    expected = (
        b'{"version":"1.0","timestamp":"2023-11-14T22:13:20.000Z","requestContext":{"requestId":"id-1",'
        b'"functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST","condition":"RetriesExhausted",'
        b'"approximateInvokeCount":3},"requestPayload":{"a":1},"responseContext":{"statusCode":200,'
        b'"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"x"}}'
    )
    assert expected == record.body


def test_record_without_room_leaves_payloads_out() -> None:
    """A record that its destination would refuse is told without what makes it large, rather than not at all."""
    told = policy(DestinationConfig={"OnFailure": {"Destination": QUEUE}})
    outcome = Failed(orjson.dumps({"errorMessage": "x" * 1_048_576}))
    ((_, record),) = told.follow_up(event(3), outcome, DeadLetter("RetriesExhausted"), BEGAN)
    found = orjson.loads(record.body)
    assert ({"a": 1}, None) == (found["requestPayload"], found["responsePayload"])


def test_record_tells_the_version_that_ran() -> None:
    """An alias is what was asked for; the version behind it is what ran."""
    of = {
        "config": {},
        "event_invoke": {"live": {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}},
    }
    ref = REF._replace(qualifier="live")
    told = EventPolicy(ref, of, Recipients(of, "live", Letters(there)), lambda: "new-id")
    outcome = Delivered(b"1", "7")
    ((_, record),) = told.follow_up(event(1), outcome, told.decide(event(1), outcome, BEGAN), BEGAN)
    found = orjson.loads(record.body)
    assert f"{REF.arn}:live" == found["requestContext"]["functionArn"]
    assert "7" == found["responseContext"]["executedVersion"]


def test_other_services_are_told_by_a_delivery_of_their_own() -> None:
    """The record is on disk with the end of the event, and reaches its service however often that is down."""
    bucket = "arn:aws:s3:::records"
    told = policy(DestinationConfig={"OnFailure": {"Destination": bucket}})
    follow_ups = told.follow_up(event(3), Failed(b"{}"), DeadLetter("RetriesExhausted"), BEGAN)
    ((queue, message),) = follow_ups
    report = orjson.loads(message.attributes)
    assert DESTINATIONS == queue
    assert (bucket, f"{REF.arn}:$LATEST") == (report["to"], report["arn"])
    assert "Lineage=" in report["trace"]


def test_success_without_destination_says_nothing() -> None:
    """Most functions have no destination."""
    decision = policy().decide(event(1), Delivered(b"1"), BEGAN)
    assert policy().follow_up(event(1), Delivered(b"1"), decision, BEGAN) == []


def test_event_of_a_deleted_version_is_a_failure() -> None:
    """What was accepted and never ran must be told of, at once and as a failure: no later try can succeed."""
    of = document(
        DestinationConfig={"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": QUEUE}}
    )
    told = EventPolicy(REF, of, Recipients(of, None, Letters(there)), lambda: "new-id")
    message, outcome = event(1), Failed(b'{"errorMessage":"Function not found: f:2"}', NOT_FOUND)
    decision = told.decide(message, outcome, BEGAN)
    assert DeadLetter("RetriesExhausted") == decision
    (queue, record), (letters, letter) = told.follow_up(message, outcome, decision, BEGAN)
    assert (QUEUE, LETTERS) == (queue, letters)
    found = orjson.loads(record.body)
    assert ["version", "timestamp", "requestContext", "requestPayload"] == list(found)
    assert "RetriesExhausted" == found["requestContext"]["condition"]
    assert 0 == found["requestContext"]["approximateInvokeCount"]
    attributes = decode_attributes(letter.attributes).attributes
    assert "404" == attributes["ErrorCode"]["StringValue"]
    assert "Function not found: f:2" == attributes["ErrorMessage"]["StringValue"]


def test_missing_version_is_found_out_when_the_event_runs() -> None:
    """Deleting a version must not make its waiting events look as if they had succeeded."""

    async def scenario() -> None:
        store = await SqliteStore.open(":memory:")
        repository = Repository(store, Ids(1))
        of = document()
        ref = REF._replace(qualifier="7")
        target = EventTarget(
            repository, Nothing(), VirtualClock(), ref, Recipients(of, "7", Letters(there))
        )
        history = orjson.dumps({"t": "Root=1-0-0"})
        waiting = Leased("id-1", "receipt", 1, b"{}", history, BEGAN, BEGAN, 1)
        outcome = await target.deliver([waiting])
        assert isinstance(outcome, Failed)
        assert NOT_FOUND == outcome.code
        await store.close()

    asyncio.run(scenario())


def test_result_for_a_queue_that_is_gone_is_lost() -> None:
    """A message under the name of a deleted queue would appear, years late, in the next queue of that name."""

    async def gone(arn: str) -> bool:
        return arn != QUEUE

    of = document(DestinationConfig={"OnFailure": {"Destination": QUEUE}})
    recipients = Recipients(of, None, Letters(gone))
    asyncio.run(recipients.look())
    told = EventPolicy(REF, of, recipients, lambda: "new-id")
    follow_ups = told.follow_up(event(3), Failed(b"{}"), DeadLetter("RetriesExhausted"), BEGAN)
    assert [LETTERS] == [queue for queue, _ in follow_ups]
