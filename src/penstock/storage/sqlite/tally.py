"""How many messages a queue holds, kept beside the table so that nobody has to count rows.

A tally is exact from the count it begins with. Messages become visible by time alone, so the hidden ones are kept by the
instant at which they do; what has passed is taken off when somebody looks.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush


class Hidden:
    """How many messages are hidden, by the instant (ms) until which they are."""

    __slots__ = ("_count", "_order", "_until")

    def __init__(self) -> None:
        self._count = 0
        self._until: dict[int, int] = {}
        self._order: list[int] = []

    def add(self, until: int, messages: int = 1) -> None:
        """Hide so many more until an instant."""
        known = self._until.get(until)
        if known is None:
            heappush(self._order, until)
            known = 0
        self._until[until] = known + messages
        self._count += messages

    def remove(self, until: int, messages: int = 1) -> None:
        """Take off so many that were hidden until then; nothing if that has passed."""
        known = self._until.get(until)
        if known:
            messages = min(messages, known)
            self._until[until] = known - messages
            self._count -= messages

    def at(self, now: int) -> int:
        """How many are hidden at `now`, which never goes back."""
        order = self._order
        while order and order[0] <= now:
            self._count -= self._until.pop(heappop(order))
        return self._count


@dataclass(slots=True)
class Tally:
    """All messages of a queue, and those hidden by a lease or by a delay."""

    total: int = 0
    leased: Hidden = field(default_factory=Hidden)
    delayed: Hidden = field(default_factory=Hidden)
    stamp: int = 0
    """The connection's count of writes after the last change: what is undone beyond it undoes the tally."""

    def hide(self, visible_at: int, leases: int) -> None:
        """One of the messages is hidden until then."""
        (self.leased if leases else self.delayed).add(visible_at)

    def gone(self, visible_at: int, leases: int, messages: int = 1) -> None:
        """So many messages less that were leased as often and visible at the same instant."""
        self.total -= messages
        (self.leased if leases else self.delayed).remove(visible_at, messages)
