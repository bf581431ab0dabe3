"""Scheduled rules: when each is due next is a message of a durable queue, hidden until then."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from penstock.core.ids import Ids
from penstock.core.schedule import parse_schedule
from penstock.services.events.documents import Document
from penstock.services.events.names import BusKey
from penstock.storage.primitives import NewMessage, Primitives

SCHEDULES: Final = "events/schedules"


class Timetable:
    """Puts rules on the queue. A message is of one generation of its rule: after a change it means nothing."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.on_put: Callable[[], None] | None = None
        """Called when a rule got a schedule."""

    async def set(
        self, tx: Primitives, bus: BusKey, document: Document, before: Document | None, now: int
    ) -> None:
        """Note in a rule's document since when its schedule runs, and when it is first due."""
        text = document.get("ScheduleExpression")
        if not text or document["State"] == "DISABLED":
            document.pop("Generation", None)
            return
        if (
            before is not None
            and before.get("Generation")
            and before.get("ScheduleExpression") == text
        ):
            document.update(Generation=before["Generation"], Since=before["Since"])
            return
        document.update(Generation=self._ids.uuid(), Since=now)
        message = self.next(bus, document, now, now)
        if message is not None:
            await tx.queue.put(SCHEDULES, [message], now)
            if self.on_put is not None:
                self.on_put()

    def next(self, bus: BusKey, document: Document, after: int, now: int) -> NewMessage | None:
        """The message for the first instant after one; None if there is none."""
        schedule = parse_schedule(document["ScheduleExpression"])
        # What was missed while nobody served is not made up for: the first of it fired, the rest is past.
        at = schedule.next_after(max(after, now - 1), document["Since"])
        if at is None:
            return None
        due: dict[str, Any] = {
            "bus": list(bus),
            "rule": document["Name"],
            "generation": document["Generation"],
            "at": at,
        }
        return NewMessage(id=self._ids.uuid(), body=orjson.dumps(due), visible_at=at)
