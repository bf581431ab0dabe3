"""What the engine, its sources and its targets say to one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from penstock.core.retry import Decision
from penstock.storage.primitives import Leased, NewMessage


@dataclass(frozen=True, slots=True)
class Delivered:
    """Every message of the batch has been taken. `result` is for the policy that decides what follows."""

    result: bytes = b""


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


@dataclass(frozen=True, slots=True)
class Throttled:
    """The target could not take the batch now: this does not count as an attempt."""

    reason: str = ""


Outcome: TypeAlias = Delivered | PartiallyFailed | Failed | Throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """When a batch is full: so many messages, so long after the first, so many bytes."""

    size: int = 1
    window_ms: int = 0
    max_bytes: int = 6 * 1024 * 1024


class Source(Protocol):
    """Where a subscription's messages come from."""

    @property
    def queue(self) -> str:
        """The queue's name in the store; what the notifier announces."""
        ...

    async def lease(self, limit: int, now: int) -> list[Leased]:
        """Take up to `limit` messages on the source's own terms."""
        ...


class Target(Protocol):
    """What takes batches. It answers with an outcome; it never raises for what the target itself did."""

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Hand the batch over and wait for what becomes of it."""
        ...


class Policy(Protocol):
    """What becomes of each message after an outcome. Pure: it sees values and `now`."""

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
    batch: BatchPolicy
    concurrency: int = 5
    """How many batches may be with the target at once."""
    arns: frozenset[str] = frozenset()
    """What users call it by: the source, the target, the subscription itself."""
