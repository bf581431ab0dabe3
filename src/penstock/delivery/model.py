"""What the engine, its sources and its targets say to one another."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from penstock.core.retry import Decision
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage


@dataclass(frozen=True, slots=True)
class Delivered:
    """Every message of the batch has been taken. `result` is for the policy that decides what follows."""

    result: bytes = b""
    by: str = ""
    """Which version of the target took it."""


@dataclass(frozen=True, slots=True)
class PartiallyFailed:
    """The messages whose ids are in `failed` have not been taken."""

    failed: frozenset[str]
    result: bytes = b""


@dataclass(frozen=True, slots=True)
class Failed:
    """The target took the batch and failed: this counts as an attempt. `error` is what it said."""

    error: bytes = b""
    code: int = 200
    by: str = ""
    """Which version of the target failed."""
    kind: str = ""
    """The error's code, as the target's API names it."""
    final: bool = False
    """Whether the target would say the same again."""
    wait_ms: int = 0
    """For how long the target asked to be left alone."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The target could not take the batch now: this does not count as an attempt."""

    reason: str = ""
    only: frozenset[str] | None = None
    """The ids that this is about, when the target has no need of the others."""
    until: int | None = None
    """The instant at which the target may be called, where that is known."""


Outcome: TypeAlias = Delivered | PartiallyFailed | Failed | Throttled


def _body_size(message: Leased) -> int:
    return len(message.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """When a batch is full: so many messages, so long after the first, so many bytes."""

    size: int = 1
    window_ms: int = 0
    max_bytes: int = 6 * 1024 * 1024
    weigh: Callable[[Leased], int] = _body_size
    """The bytes that a message takes of `max_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How many batches may be with the target at once.

    `start` at first; `per_minute` more for as long as all places are taken and messages wait, up to `most`; `start`
    again when nothing waits. `cap` is a further limit, as it is at the moment.
    """

    start: int = 5
    per_minute: int = 0
    most: int = 5
    cap: Callable[[], int] | None = None


class Source(Protocol):
    """Where a subscription's messages come from."""

    @property
    def queue(self) -> str:
        """The queue's name in the store; what the notifier announces."""
        ...

    def terms(self, now: int, /) -> Awaitable[LeaseTerms | None]:
        """How messages are leased at the moment; None for not at all."""
        ...


class Target(Protocol):
    """What takes batches. It answers with an outcome; it never raises for what the target itself did."""

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Hand the batch over and wait for what becomes of it."""
        ...


class Policy(Protocol):
    """What becomes of each message after an outcome. Pure: it sees values and `now`."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """When to hand over again a batch that was throttled so many times in a row; None not to keep it.

        `until` is when its leases end.
        """
        ...

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle, retry at an instant, or leave the message to the end of its lease."""
        ...

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        """Messages to enqueue in the transaction that carries out `decision`: destinations, dead letters."""
        ...


@dataclass(slots=True, kw_only=True)
class Subscription:
    """A standing order: take from `source` in batches, hand to `target`, settle by `policy`."""

    id: str
    source: Source
    target: Target
    policy: Policy
    batch: BatchPolicy = field(default_factory=BatchPolicy)
    scaling: Scaling = field(default_factory=Scaling)
    renew_ms: int = 0
    """Leases are renewed for so long at a time while the target has the batch; 0 for leases that end when they end."""
    singly: bool = False
    """Whether batches are of one message and none has a group: those for all free places are then leased together."""
    arns: frozenset[str] = frozenset()
    """What users call it by: the source, the target, the subscription itself."""
    arns_of: Callable[[Leased], Collection[str]] | None = None
    """The same of one message, where a subscription's messages go to many targets; its batches are of one message."""
    on_drained: Callable[[], None] | None = None
    """Called when it was discarded and what was in flight is settled."""
