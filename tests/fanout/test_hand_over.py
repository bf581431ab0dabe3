"""Handing deliveries over: what a sender's fault, a late turn and a missing dead-letter queue come to."""

import asyncio
from typing import Any

import pytest

from penstock.api import Context, Dispatcher
from penstock.clock import VirtualClock
from penstock.delivery.model import Failed, Outcome, Throttled
from penstock.fanout import Delivery, Letters, NotYetError
from penstock.fanout.hand_over import HandOver
from penstock.storage.primitives import Leased

LETTERS = "arn:aws:sqs:us-east-1:000000000000:never"


class Nowhere:
    """A dispatcher that nobody asks."""

    async def call(self, *_: Any) -> Any:
        raise AssertionError

    call_document = call

    def http(self, *_: Any) -> Any:
        raise AssertionError


def handed_over(error: Exception) -> tuple[Outcome, Letters]:
    async def gone(arn: str) -> bool:
        return False

    async def send(_: Dispatcher, __: Context, ___: Delivery, ____: Leased) -> None:
        raise error

    letters = Letters(gone)
    target = HandOver(Nowhere(), VirtualClock(), "http://x", {"lambda": send}, letters)
    delivery = Delivery(
        to="arn:aws:lambda:us-east-1:000000000000:function:f",
        arn="arn:aws:events:us-east-1:000000000000:rule/r",
        account="000000000000",
        region="us-east-1",
        letters_to=LETTERS,
    )
    message = Leased("id-1", "receipt", 1, b"{}", delivery.encode(), 0, 0, 1)
    return asyncio.run(target.deliver([message])), letters


def test_a_fault_of_ours_is_a_failure_that_the_schedule_ends() -> None:
    """Otherwise the delivery would come back for ever, and never be a dead letter."""
    outcome, _ = handed_over(TypeError("a bug"))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.final) == (500, False)


@pytest.mark.parametrize("error", [NotYetError(5), TypeError("a bug")])
def test_a_dead_letter_queue_is_looked_at_whatever_comes_of_a_delivery(error: Exception) -> None:
    """A letter for a queue that is not there would lie under its name until somebody makes one."""
    outcome, letters = handed_over(error)
    assert isinstance(outcome, Failed | Throttled)
    assert not letters.there(LETTERS)
