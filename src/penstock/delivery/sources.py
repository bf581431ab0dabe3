"""Where messages come from: a queue of the store, on terms that its owner sets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.storage.primitives import LeaseTerms


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue; `terms(now)` gives visibility, retention and dead-letter rules as they are at the moment."""

    queue: str
    terms: Callable[[int], Awaitable[LeaseTerms | None]]
