"""How often may be published to a FIFO topic."""

from collections.abc import Iterable
from typing import Final

from penstock.core.errors import AwsError
from penstock.core.throttle import TokenBucket
from penstock.services.sns.topic import Topic

# AWS: publishes a second to a topic, a batch counting as one; at the scope of the group, to each group (SNS quotas).
PER_SECOND: Final = 300
_KEPT: Final = 10_000


class PublishRates:
    """One bucket for each FIFO topic, or each of its groups, that is in use."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def take(self, topic: Topic, groups: Iterable[str], now: int) -> None:
        """Count a publish. Raises `Throttled` for one too many."""
        keys = set(groups) if topic.grouped else {""}
        # Every group is counted, also when one of them is beyond its rate.
        allowed = [self._bucket((topic.arn, key), now).take(now) for key in keys]
        if not all(allowed):
            raise AwsError("ThrottledException", "Rate exceeded")

    def _bucket(self, key: tuple[str, str], now: int) -> TokenBucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _KEPT:
                # One that has not been used for a second is full: as good as none.
                self._buckets = {
                    k: b for k, b in self._buckets.items() if now - b.refilled_at < 1_000
                }
            bucket = self._buckets[key] = TokenBucket(PER_SECOND, PER_SECOND)
        return bucket
