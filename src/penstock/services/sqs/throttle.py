"""How often a FIFO queue may be called."""

from collections.abc import Iterable
from typing import Final

from penstock.core.errors import AwsError
from penstock.core.throttle import TokenBucket
from penstock.services.sqs.queue import QueueRecord

# AWS: calls a second to a FIFO queue, for each of the actions and its batch form together; in high throughput mode
# to each group, by whoever names one (developer guide, "Amazon SQS message quotas").
CALLS_PER_SECOND: Final = {
    "ChangeMessageVisibility": 300,
    "DeleteMessage": 300,
    "ReceiveMessage": 300,
    "SendMessage": 300,
}
_KEPT: Final = 10_000


class CallRates:
    """One bucket for each queue, action and, in high throughput mode, group that is in use."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}

    def take(self, queue: QueueRecord, action: str, now: int, groups: Iterable[str] = ()) -> None:
        """Count a call. Raises `RequestThrottled` for one too many."""
        keys = groups if queue.high_throughput else ("",)
        # Every group is counted, also when one of them is beyond its rate.
        allowed = [self._bucket((queue.arn, action, key), now).take(now) for key in keys]
        if not all(allowed):
            raise AwsError("RequestThrottled", "Request is throttled.")

    def _bucket(self, key: tuple[str, str, str], now: int) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _KEPT:
                # One that has not been used for a second is full: as good as none.
                self._buckets = {
                    k: b for k, b in self._buckets.items() if now - b.refilled_at < 1_000
                }
            rate = CALLS_PER_SECOND[key[1]]
            bucket = self._buckets[key] = TokenBucket(rate, rate)
        return bucket
