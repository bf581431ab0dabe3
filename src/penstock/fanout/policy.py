"""What becomes of a delivery that its target did not take. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from penstock.core.retry import (
    DeadLetter,
    Decision,
    Drop,
    Postpone,
    Retry,
    Schedule,
    Settle,
    after_refusal,
)
from penstock.core.sqs_message import encode_attributes
from penstock.delivery.model import Failed, Outcome, Throttled
from penstock.fanout.delivery import Delivery
from penstock.fanout.letters import Letters
from penstock.storage.primitives import Leased, NewMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter as its queue gets it. `attributes` as SQS has message attributes."""

    body: bytes
    attributes: dict[str, Any] | None = None
    group: str | None = None
    """For a FIFO queue."""
    dedup: str | None = None
    """For a FIFO queue."""


ScheduleOf: TypeAlias = Callable[[Delivery], Schedule]
LetterOf: TypeAlias = Callable[[Delivery, Leased, Failed, DeadLetter], Letter]


class DeliveryPolicy:
    """Tries again by the sender's schedule, and leaves a dead letter in the sender's form."""

    def __init__(
        self,
        schedule_of: ScheduleOf,
        letter_of: LetterOf,
        letters: Letters,
        new_id: Callable[[], str],
    ) -> None:
        self._schedule_of = schedule_of
        self._letter_of = letter_of
        self._letters = letters
        self._new_id = new_id

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """A throttled delivery goes back to its queue."""
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle, retry or give up."""
        if not isinstance(outcome, Failed | Throttled):
            return Settle()
        delivery = Delivery.of(message)
        decision: Decision = DeadLetter("")
        if not (isinstance(outcome, Failed) and outcome.final):
            decision = self._again(delivery, message, outcome, now)
        if isinstance(decision, DeadLetter):
            to = delivery.letters_to
            if to is None or not self._letters.there(to):
                # AWS: what could not be delivered and has no dead-letter queue is dropped (SNS and EventBridge guides).
                return Drop(f"{delivery.arn} to {delivery.to}: {_told(outcome)}")
        return decision

    def _again(
        self, delivery: Delivery, message: Leased, outcome: Failed | Throttled, now: int
    ) -> Decision:
        """When to try again: by the schedule, and not before the target may be called."""
        schedule = self._schedule_of(delivery)
        decision: Decision
        if isinstance(outcome, Throttled) and outcome.until is not None:
            decision = Postpone(outcome.until, message.attributes)
        else:
            decision = after_refusal(
                schedule, failures=message.leases, enqueued_at=message.sent_at, now=now
            )
            if isinstance(outcome, Failed) and isinstance(decision, Retry):
                decision = Retry(max(decision.at, now + outcome.wait_ms))
        late = isinstance(decision, Postpone | Retry) and (
            decision.at - message.sent_at > schedule.max_age_ms
        )
        return DeadLetter("MaximumEventAgeInSeconds") if late else decision

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        """The dead letter."""
        if not isinstance(decision, DeadLetter):
            return ()
        delivery = Delivery.of(message)
        assert delivery.letters_to is not None
        failed = outcome if isinstance(outcome, Failed) else Failed(_told(outcome).encode(), 429)
        letter = self._letter_of(delivery, message, failed, decision)
        kept = encode_attributes(delivery.account, letter.attributes, delivery.trace)
        put = NewMessage(
            id=self._new_id(),
            body=letter.body,
            attributes=kept,
            visible_at=now,
            group=letter.group,
            dedup=letter.dedup,
        )
        return ((delivery.letters_to, put),)


def _told(outcome: Outcome) -> str:
    match outcome:
        case Failed(error=error, kind=kind):
            return f"{kind}: {error.decode(errors='replace')}"
        case Throttled(reason=reason):
            return reason
    return ""
