"""A service's own work that is due at an instant: messages whose target settles them itself, with what they lead to."""

from collections.abc import Sequence
from typing import Final

from penstock.core.retry import Decision, Leave, Settle
from penstock.delivery.model import (
    Failed,
    Outcome,
    Scaling,
    Subscription,
    Target,
    Throttled,
)
from penstock.delivery.sources import QueueSource
from penstock.fanout.lane import Fanout
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage

_LEASE_MS: Final = 30_000
_AT_ONCE: Final = Scaling(start=16, most=16)


class Work:
    """A queue of such messages, one handed over at a time. It is looked at once it had any."""

    def __init__(self, given: Fanout, queue: str, target: Target) -> None:
        self._given = given
        self._subscription = Subscription(
            id=queue,
            source=QueueSource(queue, _lease_terms),
            target=target,
            policy=_WorkPolicy(),
            scaling=_AT_ONCE,
        )

    def start(self) -> None:
        """Do what is in the queue, and what will be. To start once more changes nothing."""
        self._given.engine.add(self._subscription)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        counts = await self._given.store.queue.count(self._subscription.id, self._given.clock.now())
        if counts.visible or counts.leased or counts.delayed:
            self.start()


async def _lease_terms(now: int) -> LeaseTerms:
    return LeaseTerms(until=now + _LEASE_MS)


class _WorkPolicy:
    """What was done has settled itself; what a fault kept back comes again when its lease ends."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        return Leave() if isinstance(outcome, Failed | Throttled) else Settle()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        return ()
