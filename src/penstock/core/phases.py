"""Delivery policies: retries in four phases, as SNS has them.

Immediately; before the backoff, each after the minimum delay; the backoff, whose delays rise from the minimum to the
maximum; after the backoff, each after the maximum delay.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Rise: TypeAlias = Literal["arithmetic", "exponential", "geometric", "linear"]

# AWS: the functions have names and drawings but no published formulas (SNS guide, "message delivery retries"). Each maps
# a step of so many to how far from the minimum (0) to the maximum (1) it is; geometric is a power, not a share.
_SHARES: Final[Mapping[Rise, Callable[[int, int], float]]] = {
    "linear": lambda step, last: step / last,
    "arithmetic": lambda step, last: step * (step + 1) / (last * (last + 1)),
    "exponential": lambda step, last: ((1 << step) - 1) / ((1 << last) - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasedSchedule:
    """How many retries each phase has, and between which delays (ms) the backoff rises."""

    immediate: int = 0
    before: int = 0
    backoff: int = 0
    after: int = 0
    min_ms: int
    max_ms: int
    rise: Rise = "linear"
    max_age_ms: int
    max_waits_ms: int | None = None
    """How long all waits together may be, if that is not for the age to say."""

    def delay(self, failures: int) -> int | None:
        """How long to wait (ms) after so many failures (from 1); None when that was the last try."""
        wait = self._delay(failures)
        if wait is None or self.max_waits_ms is None:
            return wait
        waits = wait + sum(self._delay(number) or 0 for number in range(1, failures))
        return None if waits > self.max_waits_ms else wait

    def _delay(self, failures: int) -> int | None:
        left = failures
        if left <= self.immediate:
            return 0
        left -= self.immediate
        if left <= self.before:
            return self.min_ms
        left -= self.before
        if left <= self.backoff:
            return self._risen(left)
        left -= self.backoff
        return self.max_ms if left <= self.after else None

    def _risen(self, step: int) -> int:
        """The delay of a step of the backoff, from 1 (the minimum) to the last (the maximum)."""
        if self.backoff == 1 or self.min_ms == self.max_ms:
            return self.min_ms
        done, last = step - 1, self.backoff - 1
        if self.rise == "geometric":
            return round(self.min_ms * math.pow(self.max_ms / self.min_ms, done / last))
        return round(self.min_ms + (self.max_ms - self.min_ms) * _SHARES[self.rise](done, last))


# AWS: 100,015 tries over 23 days for SQS and Lambda (SNS guide, "message delivery retries").
AWS_MANAGED: Final = PhasedSchedule(
    immediate=3,
    before=2,
    backoff=10,
    after=100_000,
    min_ms=1_000,
    max_ms=20_000,
    rise="exponential",
    max_age_ms=24 * 86_400_000,
)
