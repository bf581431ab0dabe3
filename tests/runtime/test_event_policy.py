"""What becomes of an asynchronous event, decided without a clock or a process."""

from typing import Any

import orjson

from penstock.core.retry import DeadLetter, Retry, Settle
from penstock.delivery.model import Delivered, Failed, Throttled
from penstock.services.lambda_.asynchronous import EventPolicy, queue_of
from penstock.services.lambda_.repository import Ref
from penstock.storage.primitives import Leased

REF = Ref("123456789012", "eu-west-1", "f", None)
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:failures"
BEGAN = 1_700_000_000_000


def policy(**config: Any) -> EventPolicy:
    document = {"config": {}, "event_invoke": {"$LATEST": config} if config else {}}
    return EventPolicy(REF, document, lambda: "new-id")


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
