"""Faults on demand: what a network and a crash do to deliveries, by ARN and probability, from a seed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from penstock.core.ids import Ids


class Kind(Enum):
    """What can go wrong with a delivery."""

    DUPLICATE = "duplicate"
    """The target gets the batch twice; what the second time brings counts."""
    DELAY = "delay"
    """The batch waits before it is handed over."""
    LOSE_ACKNOWLEDGEMENT = "lose-acknowledgement"
    """The target does its work, and nobody hears of it: the messages come back when their lease ends."""
    THROTTLE = "throttle"
    """The target does not get the batch, as if it could take no more."""
    CRASH = "crash"
    """The whole process is killed after the target has done its work, before the batch is settled."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One kind of fault, with a chance of its own for every batch."""

    arn: str
    kind: Kind
    probability: float = 1.0
    delay_ms: int = 1000
    seed: int = 0
    chance: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self.chance = Ids(self.seed).random.random


class Faults:
    """The faults that are in force."""

    def __init__(self, crash: Callable[[], None]) -> None:
        self.crash = crash
        self.active: Sequence[Fault] = ()

    def draw(self, arns: Collection[str]) -> dict[Kind, Fault]:
        """The faults that hit a batch of a subscription which `arns` name."""
        return {
            fault.kind: fault
            for fault in self.active
            if fault.arn in arns and fault.chance() < fault.probability
        }
