"""The collector: removes the files of objects that nobody owns any more."""

from collections.abc import Sequence
from typing import Final

from penstock.core.retry import Decision, Retry, Settle
from penstock.delivery.model import Delivered, Outcome, Scaling, Subscription, Throttled
from penstock.delivery.sources import QueueSource
from penstock.services.s3.content import GARBAGE, Contents
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage

_LEASE_MS: Final = 300_000
_AGAIN_MS: Final = 60_000


def collection(contents: Contents) -> Subscription:
    """The subscription that does it."""

    async def terms(now: int) -> LeaseTerms:
        return LeaseTerms(until=now + _LEASE_MS)

    return Subscription(
        id=GARBAGE,
        source=QueueSource(GARBAGE, terms),
        target=_Collector(contents),
        policy=_Policy(),
        scaling=Scaling(start=1, most=1),
    )


class _Collector:
    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        for message in batch:
            if not await self._contents.collect(message.body.decode()):
                return Throttled("the file is in use")
        return Delivered()


class _Policy:
    def hold(self, throttles: int, until: int, now: int) -> int | None:
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        return Settle() if isinstance(outcome, Delivered) else Retry(now + _AGAIN_MS)

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        return ()
