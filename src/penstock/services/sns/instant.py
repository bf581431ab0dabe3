"""Instants as SNS writes them."""

from datetime import UTC, datetime
from functools import lru_cache


def instant(at: int) -> str:
    """As in `2026-01-31T12:00:00.000Z`."""
    return f"{_second(at // 1000)}.{at % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    """The text of a second, in which many messages are published."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
