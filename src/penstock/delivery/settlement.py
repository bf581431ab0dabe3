"""What becomes of messages after an outcome: the policy's decisions, carried out together.

Nobody is told, so nobody waits for the disk. What a crash undoes is delivered once more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from penstock.clock import Clock
from penstock.core.retry import Decision, Drop, Leave, Postpone, Retry
from penstock.core.sqs_message import DEDUP_MS
from penstock.delivery.model import Outcome, Subscription
from penstock.storage.primitives import Hold, Leased, NewMessage, Primitives, Store

_log: Final = logging.getLogger("penstock.delivery")
TOGETHER_S: Final = 0.005
"""Of what is delivered singly, as many leases and settlements as come within this are one transaction each."""

Outcomes = Sequence[tuple[Leased, Outcome]]


async def carry_out(
    store: Store, subscription: Subscription, outcomes: Outcomes, now: int
) -> list[Leased]:
    """Do what the policy decides about each message, all in one transaction. Returns those that are not done with."""
    policy, queue = subscription.policy, subscription.source.queue
    decided = [
        (message, outcome, policy.decide(message, outcome, now)) for message, outcome in outcomes
    ]
    left: list[Leased] = []
    postponed: list[NewMessage] = []
    follow_ups: dict[str, list[NewMessage]] = {}
    async with store.transaction() as tx:
        holds = await _let_go(tx, queue, decided, now)
        for message, outcome, decision in decided:
            held = holds.get(message.receipt) is Hold.DONE
            if not held or isinstance(decision, Retry):
                left.append(message)
            if not held:
                # Its lease was left alone; or it ended meanwhile and somebody else has the message, or the message was
                # removed with its queue: what follows is not ours to say.
                continue
            match decision:
                case Postpone(at=at, attributes=attributes):
                    postponed.append(_again(message, at, attributes))
                case Drop(reason=reason):
                    _log.warning("dropped %s from %s: %s", message.id, queue, reason)
            for target, follow_up in policy.follow_up(message, outcome, decision, now):
                follow_ups.setdefault(target, []).append(follow_up)
        if postponed:
            await tx.queue.put(queue, postponed, now, dedup_since=None)
        if follow_ups:
            # The queue of a dead letter may be FIFO.
            await tx.queue.put_all(follow_ups, now, dedup_since=now - DEDUP_MS)
    return left


async def _let_go(
    tx: Primitives, queue: str, decided: Sequence[tuple[Leased, Outcome, Decision]], now: int
) -> dict[str, Hold]:
    """Settle or retry messages. Returns what held each of those, by receipt."""
    settled: list[str] = []
    holds: dict[str, Hold] = {}
    for message, _, decision in decided:
        match decision:
            case Leave():
                pass
            case Retry(at=at):
                holds[message.receipt] = await tx.queue.extend(queue, message.receipt, at, now)
            case _:
                settled.append(message.receipt)
    if len(settled) == 1:
        holds[settled[0]] = await tx.queue.settle(queue, settled[0], now)
    elif settled:
        found = await tx.queue.settle_many(queue, settled, now)
        holds.update(zip(settled, found, strict=True))
    return holds


def _again(message: Leased, at: int, attributes: bytes) -> NewMessage:
    """The message as it was before it was leased."""
    return NewMessage(
        id=message.id,
        body=message.body,
        attributes=attributes,
        visible_at=at,
        group=message.group,
        dedup=message.dedup,
        source=message.source,
        sent_at=message.sent_at,
        leases=message.leases - 1,
    )


class Gathering:
    """The outcomes of messages that were delivered singly: those of a few moments are settled in one transaction."""

    __slots__ = (
        "_clock",
        "_on_settled",
        "_outcomes",
        "_store",
        "_subscription",
        "_task",
        "_timer",
    )

    def __init__(
        self,
        subscription: Subscription,
        store: Store,
        clock: Clock,
        on_settled: Callable[["Gathering"], None],
    ) -> None:
        self._subscription = subscription
        self._store = store
        self._clock = clock
        self._on_settled = on_settled
        self._outcomes: list[tuple[Leased, Outcome]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, outcomes: Outcomes, *, last: bool) -> None:
        """Settle these soon; now if they are the last that are to be expected."""
        self._outcomes += outcomes
        if self._task is not None:
            return  # which will see them
        if last:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER_S, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        try:
            while self._outcomes:
                outcomes, self._outcomes = self._outcomes, []
                if not await self._carry_out(outcomes) and len(outcomes) > 1:
                    # One of them may be at fault: that is to harm no other.
                    for one in outcomes:
                        await self._carry_out([one])
        finally:
            self._task = None
            self._on_settled(self)

    async def _carry_out(self, outcomes: Outcomes) -> bool:
        try:
            await carry_out(self._store, self._subscription, outcomes, self._clock.now())
        except Exception:  # noqa: BLE001 -- one fault must not end a subscription
            # The messages stay leased and come back when the lease ends: nothing is lost by going on.
            _log.exception("delivery %s could not settle", self._subscription.id)
            return False
        return True
