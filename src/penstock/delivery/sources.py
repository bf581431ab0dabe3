"""Where messages come from: a queue of the store, on terms that its owner sets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.storage.primitives import Leased, LeaseTerms, Store


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue; `terms(now)` gives visibility, retention and dead-letter rules as they are at the moment."""

    store: Store
    queue: str
    terms: Callable[[int], Awaitable[LeaseTerms | None]]

    async def lease(self, limit: int, now: int) -> list[Leased]:
        """Take up to `limit` messages; none when the queue is gone."""
        terms = await self.terms(now)
        if terms is None:
            return []
        return await self.store.queue.lease(self.queue, limit, terms, now)
