"""What becomes of a delivery that its target did not take."""

import asyncio
from typing import Any

from penstock.core.retry import DeadLetter, DoublingSchedule, Drop, Postpone, Retry, Settle
from penstock.core.sqs_message import decode_attributes
from penstock.delivery.model import Delivered, Failed, Throttled
from penstock.fanout import Delivery, Letter, Letters
from penstock.fanout.policy import DeliveryPolicy
from penstock.storage.primitives import Leased

BEGAN = 1_700_000_000_000
TARGET = "arn:aws:lambda:us-east-1:000000000000:function:f"
RULE = "arn:aws:events:us-east-1:000000000000:rule/r"
LETTERS = "arn:aws:sqs:us-east-1:000000000000:dead"
SCHEDULE = DoublingSchedule(max_retries=3, max_age_ms=60_000)


def policy(exists: bool = True) -> DeliveryPolicy:
    async def there(arn: str) -> bool:
        return exists

    letters = Letters(there)
    asyncio.run(letters.look(LETTERS))

    def letter(delivery: Delivery, message: Leased, failed: Failed, decision: DeadLetter) -> Letter:
        attributes = {"WHY": {"DataType": "String", "StringValue": decision.reason or failed.kind}}
        return Letter(body=message.body, attributes=attributes)

    return DeliveryPolicy(lambda _: SCHEDULE, letter, letters, lambda: "new-id")


def message(tries: int, **more: Any) -> Leased:
    delivery = Delivery(to=TARGET, arn=RULE, account="000000000000", region="us-east-1", **more)
    return Leased("id-1", "receipt", 1, b"{}", delivery.encode(), BEGAN, BEGAN, tries)


def test_what_was_taken_is_settled() -> None:
    """A delivery that arrived is not made again."""
    assert Settle() == policy().decide(message(1), Delivered(), BEGAN)


def test_failures_and_throttles_are_tried_again_by_the_schedule() -> None:
    """How often it was tried tells how long to wait."""
    assert Retry(BEGAN + 2_000) == policy().decide(message(2), Failed(b"down", 503), BEGAN)
    assert Retry(BEGAN + 4_000) == policy().decide(message(3), Throttled("later"), BEGAN)


def test_a_dead_letter_tells_which_limit_was_reached() -> None:
    """Whoever reads it knows whether tries or time ran out."""
    told = policy()
    failed = Failed(b"down", 503, kind="ServiceUnavailable")
    last = message(4, letters_to=LETTERS)
    assert DeadLetter("MaximumRetryAttempts") == told.decide(last, failed, BEGAN)
    decision = told.decide(message(1, letters_to=LETTERS), failed, BEGAN + 59_500)
    assert DeadLetter("MaximumEventAgeInSeconds") == decision
    ((queue, letter),) = told.follow_up(last, failed, decision, BEGAN)
    assert LETTERS == queue
    attributes = decode_attributes(letter.attributes).attributes
    assert "MaximumEventAgeInSeconds" == attributes["WHY"]["StringValue"]


def test_a_final_refusal_is_not_tried_again() -> None:
    """A target that is gone says so for ever."""
    gone = Failed(b"no such function", 404, kind="ResourceNotFoundException", final=True)
    assert DeadLetter("") == policy().decide(message(1, letters_to=LETTERS), gone, BEGAN)
    told = f"{RULE} to {TARGET}: ResourceNotFoundException: no such function"
    assert Drop(told) == policy().decide(message(1), gone, BEGAN)


def test_a_letter_for_a_queue_that_is_gone_is_lost() -> None:
    """It is dropped with its reason, and not tried for ever."""
    failed = Failed(b"no", 403, kind="AccessDenied", final=True)
    decision = policy(exists=False).decide(message(1, letters_to=LETTERS), failed, BEGAN)
    assert Drop(f"{RULE} to {TARGET}: AccessDenied: no") == decision


def test_a_target_is_left_alone_for_as_long_as_it_asks() -> None:
    """Later than the schedule says, never earlier; and not beyond the age that a delivery may have."""
    asked = Failed(b"later", 429, wait_ms=30_000)
    assert Retry(BEGAN + 30_000) == policy().decide(message(1), asked, BEGAN)
    soon = Failed(b"soon", 429, wait_ms=10)
    assert Retry(BEGAN + 2_000) == policy().decide(message(2), soon, BEGAN)
    late = policy().decide(message(1, letters_to=LETTERS), asked, BEGAN + 31_000)
    assert DeadLetter("MaximumEventAgeInSeconds") == late


def test_who_must_wait_its_turn_has_not_been_tried() -> None:
    """However often that happens, the tries that are left are the same."""
    waits = message(4)
    turn = Throttled("not yet", until=BEGAN + 7)
    assert Postpone(BEGAN + 7, waits.attributes) == policy().decide(waits, turn, BEGAN)
