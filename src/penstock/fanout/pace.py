"""How often an endpoint may be called."""

import math
from typing import Final

# Those who wait for a turn look at least so often whether one has become free.
_LOOK_MS: Final = 10_000
_LATE_MS: Final = 100


class Pace:
    """So many a second, evenly. A turn is taken by a call, never ahead of it."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._hint_at = 0.0

    def hint(self, rate: int, now: int) -> int:
        """The instant (ms) at which it is worth to come for a turn.

        Those who ask get instants one after the other, so that they do not all come at once. They own nothing: whoever
        comes when the next turn is free takes it.
        """
        again = max(self._free_at, self._hint_at, now)
        self._hint_at = again + 1000 / rate
        return math.ceil(again)

    def take(self, rate: int, now: int) -> int | None:
        """Take the turn and return None, or say when (ms) to come again."""
        if self._free_at <= now:
            # The beat is kept by those who come a little late.
            begins = self._free_at if now - self._free_at < _LATE_MS else float(now)
            self._free_at = begins + 1000 / rate
            return None
        if max(self._free_at, self._hint_at) > now + _LOOK_MS:
            return now + _LOOK_MS
        return self.hint(rate, now)
