"""Lanes: the durable queue of a sender's deliveries, and the subscription that takes them to their targets."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from penstock.api import Context, Dispatcher, Request
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.core.sqs_message import DEDUP_MS
from penstock.delivery.fault import Faults
from penstock.delivery.model import Scaling, Subscription
from penstock.delivery.sources import QueueSource
from penstock.fanout.delivery import Delivery
from penstock.fanout.hand_over import SENDERS, HandOver, Sender, beside_body
from penstock.fanout.letters import Letters, QueueExists
from penstock.fanout.outbound import Outbound
from penstock.fanout.policy import DeliveryPolicy, LetterOf, ScheduleOf
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage, Primitives, Store

# A lease is renewed while the target has the event: after a crash it is delivered again so long later, at most.
_LEASE_MS: Final = 30_000
_AT_ONCE: Final = Scaling(start=64, most=64)

Packed: TypeAlias = dict[str, list[NewMessage]]
"""Messages by the queue that they are to be put in. Whoever is given it may add to it."""


Take: TypeAlias = Callable[[bytes, Request, str, str | None], NewMessage | None]
"""The message that SendMessage would store for a body and what the request says beside it, by the sender's account and the
trace header; None for what it would refuse."""
Intake: TypeAlias = Callable[[str, int], Awaitable[Take | None]]
"""How the queue of an ARN takes messages now (ms) from those who put them themselves; None where there is no such queue."""


class Engine(Protocol):
    """What is asked of the delivery engine."""

    def add(self, subscription: Subscription) -> None:
        """Start, or replace, a subscription."""
        ...

    def discard(self, id_: str) -> None:
        """Stop a subscription. Its batches in flight go on and are settled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fanout:
    """What the composition root gives to every sender."""

    store: Store
    engine: Engine
    dispatcher: Dispatcher
    clock: Clock
    ids: Ids
    faults: Faults
    intake: Intake
    queue_exists: QueueExists
    outbound: Outbound
    endpoint: str
    """Penstock's own URL, as targets see it."""

    def lane(
        self,
        name: str,
        schedule_of: ScheduleOf,
        letter_of: LetterOf,
        *,
        senders: Mapping[str, Sender] | None = None,
        scaling: Scaling = _AT_ONCE,
    ) -> "Lane":
        """A lane by its name, `SERVICE/deliveries` or with the endpoint it is for behind that. Not yet started."""
        letters = Letters(self.queue_exists)
        target = HandOver(
            self.dispatcher, self.clock, self.endpoint, {**SENDERS, **(senders or {})}, letters
        )
        policy = DeliveryPolicy(schedule_of, letter_of, letters, self.ids.uuid)
        subscription = Subscription(
            id=name,
            source=QueueSource(name, _lease_terms),
            target=target,
            policy=policy,
            scaling=scaling,
            renew_ms=_LEASE_MS,
            arns_of=_arns_of,
        )
        return Lane(self, subscription)


class Lane:
    """Takes deliveries of one sender, or to one endpoint that must not hold up the others."""

    def __init__(self, given: Fanout, subscription: Subscription) -> None:
        self._given = given
        self._subscription = subscription

    def start(self) -> None:
        """Deliver from now on. To start once more changes nothing."""
        self._given.engine.add(self._subscription)

    def stop(self) -> None:
        """Deliver no more; what waits stays."""
        self._given.engine.discard(self._subscription.id)

    async def pack(self, ctx: Context, deliveries: Sequence[tuple[Delivery, bytes]]) -> Packed:
        """What to put where for these deliveries and payloads; to be done before the transaction that puts it.

        An event for a queue here that takes it is that queue's message at once: the transaction of its sender is the
        hand-over. Every other delivery is a message of the lane, and so is all that a fault may hit.
        """
        given, now = self._given, ctx.now
        faulty = given.faults.active
        takes: dict[str, Take | None] = {}
        packed: Packed = {}
        to, take = "", None
        for delivery, body in deliveries:
            if delivery.to != to:
                to = delivery.to
                if to not in takes:
                    direct = to.startswith("arn:aws:sqs:") and not faulty
                    takes[to] = await given.intake(to, now) if direct else None
                take = takes[to]
            where, message = to, None
            if take is not None:
                message = take(body, beside_body(delivery), delivery.account, delivery.trace)
            if message is None:
                # Whether to try again what a queue refused is the policy's to say.
                where = self._subscription.id
                message = NewMessage(given.ids.uuid(), body, now, delivery.encode())
            if where in packed:
                packed[where].append(message)
            else:
                packed[where] = [message]
        return packed


def add(packed: Packed, more: Packed) -> Packed:
    """All messages of both, those of `more` last; either may be changed by it."""
    if not packed:
        return more
    for queue, messages in more.items():
        packed.setdefault(queue, []).extend(messages)
    return packed


async def put(tx: Primitives, packed: Packed, now: int) -> None:
    """Put what was packed."""
    await tx.queue.put_all(packed, now, dedup_since=now - DEDUP_MS)


async def _lease_terms(now: int) -> LeaseTerms:
    return LeaseTerms(until=now + _LEASE_MS)


def _arns_of(message: Leased) -> tuple[str, str]:
    delivery = Delivery.of(message)
    return delivery.arn, delivery.to
