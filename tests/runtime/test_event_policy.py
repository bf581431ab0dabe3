"""What becomes of an asynchronous event, decided without a clock or a process."""

import asyncio
from typing import Any

import orjson

from penstock.clock import VirtualClock
from penstock.core.retry import DeadLetter, Retry, Settle
from penstock.core.sqs_message import decode_attributes
from penstock.delivery.model import Delivered, Failed, Throttled
from penstock.runtime.model import InvocationResult
from penstock.services.lambda_.asynchronous import (
    NOT_FOUND,
    EventPolicy,
    EventTarget,
    queue_of,
)
from penstock.services.lambda_.destinations import Recipients
from penstock.services.lambda_.repository import Function, Ref, Repository
from penstock.storage.primitives import Leased, NewMessage
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
    return EventPolicy(REF, of, Recipients(of, there), lambda: "new-id")


class Nothing:
    """A runner for events that must not run."""

    def admit(self, function: Function) -> str:
        raise AssertionError(function.arn)

    async def run(self, function: Function, *_: Any) -> InvocationResult:
        raise AssertionError(function.arn)


def event(tries: int, throttles: int = 0) -> Leased:
    history = orjson.dumps({"q": None, "t": None, "n": throttles})
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
    """One second, doubled each time; the event goes back with the count of tries that it had."""
    for throttles, delay in ((0, 1_000), (1, 2_000), (2, 4_000), (12, 300_000)):
        message, outcome = event(1, throttles), Throttled("busy")
        decision = policy().decide(message, outcome, BEGAN)
        assert Settle() == decision
        ((queue, again),) = policy().follow_up(message, outcome, decision, BEGAN)
        assert queue_of(REF) == queue
        assert (BEGAN + delay, 0, BEGAN) == (again.visible_at, again.leases, again.sent_at)
        assert again.id == "id-1"


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


def test_success_without_destination_says_nothing() -> None:
    """Most functions have no destination."""
    decision = policy().decide(event(1), Delivered(b"1"), BEGAN)
    assert policy().follow_up(event(1), Delivered(b"1"), decision, BEGAN) == []


def test_event_of_a_deleted_version_is_a_failure() -> None:
    """What was accepted and never ran must be told of, at once and as a failure: no later try can succeed."""
    of = document(
        DestinationConfig={"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": QUEUE}}
    )
    told = EventPolicy(REF, of, Recipients(of, there), lambda: "new-id")
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
        repository = Repository(store)
        of = {**document(), "code": ""}
        await repository.create(REF, of, queue_of(REF))
        target = EventTarget(repository, Nothing(), VirtualClock(), REF, Recipients(of, there))
        history = orjson.dumps({"q": "7", "t": None})
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
    recipients = Recipients(of, gone)
    asyncio.run(recipients.look(None))
    told = EventPolicy(REF, of, recipients, lambda: "new-id")
    follow_ups = told.follow_up(event(3), Failed(b"{}"), DeadLetter("RetriesExhausted"), BEGAN)
    assert [LETTERS] == [queue for queue, _ in follow_ups]


def test_function_of_the_same_name_begins_without_events() -> None:
    """Events that waited for a deleted function go with it, and never reach its successor."""

    async def scenario() -> None:
        store = await SqliteStore.open(":memory:")
        repository, queue = Repository(store), queue_of(REF)
        waiting = NewMessage(id="id-1", body=b"{}", visible_at=BEGAN)
        await repository.create(REF, document(), queue)
        await store.queue.put(queue, [waiting], BEGAN)
        await repository.delete(REF, queue)
        assert 0 == (await store.queue.count(queue, BEGAN)).visible
        # A throttled event that was in flight goes back after its function was deleted.
        await store.queue.put(queue, [waiting], BEGAN)
        await repository.create(REF, document(), queue)
        assert 0 == (await store.queue.count(queue, BEGAN)).visible
        await store.close()

    asyncio.run(scenario())
