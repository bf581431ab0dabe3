"""The archive of a FIFO topic: a log of what was published, and its replay to one subscription."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.services.sns.message import Message
from penstock.services.sns.problem import invalid
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Primitives

_DAY_MS: Final = 86_400_000


def archive_of(topic_arn: str) -> str:
    """The log of a topic's archive."""
    return f"sns/archive/{topic_arn}"


def dedup_of(topic_arn: str) -> str:
    """The queue that gives a topic's messages their sequence and knows which of them are repeated."""
    return f"sns/fifo/{topic_arn}"


async def keep(tx: Primitives, topic: Topic, messages: list[Message], now: int) -> None:
    """Add messages to a topic's archive, and remove what is too old."""
    log = archive_of(topic.arn)
    await tx.log.append(log, [(now, message.dump()) for message in messages])
    await tx.log.trim(log, now - topic.retention_days * _DAY_MS)


def span_of(policy: str) -> tuple[int, int | None]:
    """From when to when (ms, both included) a ReplayPolicy asks for; None for no end."""
    document: dict[str, Any] = orjson.loads(policy)
    end = document.get("EndingPoint")
    return _instant(document["StartingPoint"]), None if end is None else _instant(end)


def _instant(text: Any) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise invalid(f"ReplayPolicy: {text} is not a timestamp") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
