"""Schedules that are due: one message each of a durable queue, visible at the instant."""

from collections.abc import Sequence
from typing import Final

import orjson

from penstock.api import Context
from penstock.core.lineage import new_trace
from penstock.delivery.model import Delivered, Outcome
from penstock.fanout import Fanout, Work, put
from penstock.services.scheduler.record import SCHEDULES, Place, Record
from penstock.services.scheduler.target import delivery_of, letter_of, schedule_of, senders
from penstock.storage.primitives import Hold, Leased, NewMessage, Primitives

DUE: Final = "scheduler/due"


class DueSchedules:
    """Puts schedules in the queue and hands those that are due to their targets."""

    def __init__(self, given: Fanout) -> None:
        self._given = given
        self._store = given.store
        self._lane = given.lane("scheduler/deliveries", schedule_of, letter_of, senders=senders())
        self._work = Work(given, DUE, self)

    def start(self) -> None:
        """Run from now on. To start once more changes nothing."""
        self._work.start()
        self._lane.start()

    async def put(
        self, tx: Primitives, place: Place, record: Record, base: int | None, now: int
    ) -> None:
        """Make a schedule due once, at `base` or within its window after it; never if None."""
        if base is None or not record.enabled:
            return
        late = self._given.ids.random.randrange(record.window_ms) if record.window_ms else 0
        known = orjson.dumps({"place": list(place), "generation": record.generation, "base": base})
        message = NewMessage(
            id=self._given.ids.uuid(), body=b"", attributes=known, visible_at=base + late
        )
        await tx.queue.put(DUE, [message], now)

    def new_generation(self) -> str:
        """A mark that tells a schedule from what it was before."""
        return self._given.ids.uuid()

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Hand one occurrence to the fan-out and put the next, in one transaction."""
        (message,) = batch
        known = orjson.loads(message.attributes)
        place, base = Place(*known["place"]), known["base"]
        row = await self._store.table.get(SCHEDULES, place.partition, place.sort)
        record = Record.load(row.document) if row is not None else None
        if record is None or record.generation != known["generation"]:
            return Delivered()
        now = self._given.clock.now()
        trace = new_trace(self._given.ids, now)
        delivery = delivery_of(place, record, base, message.id, trace)
        ctx = Context(
            account=place.account,
            region=place.region,
            now=now,
            request_id=message.id,
            principal=delivery[0].principal,
            principal_id=place.account,
        )
        packed = await self._lane.pack(ctx, [delivery])
        following = record.following(base, now)
        async with self._store.transaction() as tx:
            if await tx.queue.settle(DUE, message.receipt, now, strict=True) is not Hold.DONE:
                return Delivered()
            await put(tx, packed, now)
            await self.put(tx, place, record, following, now)
            ends = record.given.get("ActionAfterCompletion") == "DELETE"
            if following is None and ends and await _unchanged(tx, place, record):
                await tx.table.delete(SCHEDULES, place.partition, place.sort)
        return Delivered()


async def _unchanged(tx: Primitives, place: Place, record: Record) -> bool:
    row = await tx.table.get(SCHEDULES, place.partition, place.sort)
    return row is not None and Record.load(row.document).generation == record.generation
