"""Instants as SNS writes them."""

from datetime import UTC, datetime


def instant(at: int) -> str:
    """As in `2026-01-31T12:00:00.000Z`."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"
