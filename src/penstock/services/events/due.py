"""Scheduled rules that are due."""

from collections.abc import Sequence
from typing import Any

import orjson

from penstock.api import Context
from penstock.core.lineage import new_trace
from penstock.delivery.model import Delivered, Outcome
from penstock.fanout import Fanout, Work
from penstock.services.events.documents import Document, Documents
from penstock.services.events.event import Event, new_document
from penstock.services.events.index import compile_rule
from penstock.services.events.names import BusKey
from penstock.services.events.routing import Router
from penstock.services.events.timetable import SCHEDULES, Timetable
from penstock.storage.primitives import Hold, Leased


class DueRules:
    """Fires rules: the deliveries and the next message are put in the transaction that settles this one."""

    def __init__(self, fanout: Fanout, router: Router, timetable: Timetable) -> None:
        self._fanout = fanout
        self._router = router
        self._timetable = timetable
        self._rules = Documents("events/rules")
        self._work = Work(fanout, SCHEDULES, self)
        timetable.on_put = self._work.start

    async def restore(self) -> None:
        """Fire from now on, if any rule has a schedule."""
        await self._work.restore()

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Fire one rule once."""
        (message,) = batch
        due: dict[str, Any] = orjson.loads(message.body)
        store, now = self._fanout.store, self._fanout.clock.now()
        bus = BusKey(*due["bus"])
        document = await self._rules.find(store, bus.partition, due["rule"])
        if document is None or document.get("Generation") != due["generation"]:
            return Delivered()
        ctx = context_of(bus, message.id, now)
        routed = await self._router.fire(
            ctx, compile_rule(bus, document), self._event(bus, document, due["at"])
        )
        following = self._timetable.next(bus, document, due["at"], now)
        async with store.transaction() as tx:
            held = await tx.queue.settle(SCHEDULES, message.receipt, now, strict=True)
            if held is Hold.DONE:
                await self._router.store_in(tx, routed, now)
                if following is not None:
                    await tx.queue.put(SCHEDULES, [following], now)
        return Delivered()

    def _event(self, bus: BusKey, rule: Document, at: int) -> Event:
        ids = self._fanout.ids
        document = new_document(
            id_=ids.uuid(),
            scope=bus.scope,
            source="aws.events",
            detail_type="Scheduled Event",
            at=at,
            resources=[rule["Arn"]],
            detail={},
        )
        return Event(document, new_trace(ids, at))


def context_of(bus: BusKey, request_id: str, now: int) -> Context:
    """On whose behalf EventBridge does its own work."""
    return Context(
        account=bus.account,
        region=bus.region,
        now=now,
        request_id=request_id,
        principal="events.amazonaws.com",
        principal_id=bus.account,
    )
