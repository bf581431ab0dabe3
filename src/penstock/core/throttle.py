"""The token bucket, in whole numbers: tokens are counted in millionths."""

from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = 1_000_000


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, up to `burst` saved. Full at first."""

    rate: float
    burst: int
    tokens: int = field(init=False)
    refilled_at: int = field(init=False, default=0)
    _gain: int = field(init=False)
    _full: int = field(init=False)

    def __post_init__(self) -> None:
        self._gain = round(self.rate * _TOKEN / 1000)
        self.tokens = self._full = self.burst * _TOKEN

    def take(self, now: int) -> bool:
        """Take one token at `now` (ms). False when there is none."""
        if now > self.refilled_at:
            tokens = self.tokens + self._gain * (now - self.refilled_at)
            self.tokens = tokens if tokens < self._full else self._full
            self.refilled_at = now
        if self.tokens < _TOKEN:
            return False
        self.tokens -= _TOKEN
        return True
