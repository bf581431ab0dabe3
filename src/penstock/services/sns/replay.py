"""Replaying the archive of a FIFO topic to one subscription, a part at a time.

How far a replay has come is a message of a durable queue. A part's deliveries and the message for the next part are put
in the transaction that settles this one, so that a crash neither repeats nor skips what was archived.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from penstock.api import Context
from penstock.delivery.model import Delivered, Outcome
from penstock.fanout import Fanout, Work
from penstock.services.sns.archive import archive_of, span_of
from penstock.services.sns.deliveries import Deliveries, Plan, carry_out
from penstock.services.sns.message import Message
from penstock.services.sns.repository import Repository, Routes
from penstock.services.sns.subscription import SubscriptionRecord
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Hold, Leased, NewMessage, Primitives, Record

_REPLAYS: Final = "sns/replays"
_PART: Final = 100


class Replays:
    """Sends what was archived, in order, as the subscription's ReplayPolicy says."""

    def __init__(self, fanout: Fanout, repository: Repository, deliveries: Deliveries) -> None:
        self._fanout = fanout
        self._store = fanout.store
        self._repository = repository
        self._deliveries = deliveries
        self._work = Work(fanout, _REPLAYS, self)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        await self._work.restore()

    def start(self) -> None:
        """Do what was begun, once that is stored."""
        self._work.start()

    def plan(self, topic: Topic, record: SubscriptionRecord, now: int) -> list[NewMessage]:
        """Give a record the replay that its policy asks for, in place of any other. Returns the work to `begin`.

        Raises when the policy's instants are none. What is published meanwhile may come in between.
        """
        record.replay = ""
        policy = record.attributes.get("ReplayPolicy")
        if not policy or not topic.archived_since:
            return []
        start, end = span_of(policy)
        record.replay = self._fanout.ids.uuid()
        last = now if end is None else min(end, now)
        known = {"id": record.replay, "subscription": record.arn, "last": last}
        return [self._part(known, (start, 0), now)]

    async def begin(self, tx: Primitives, work: Sequence[NewMessage], now: int) -> None:
        """Put what `plan` returned, with the record."""
        await tx.queue.put(_REPLAYS, work, now)

    def _part(self, known: dict[str, Any], after: tuple[int, int], now: int) -> NewMessage:
        body = orjson.dumps({**known, "after": after})
        return NewMessage(id=self._fanout.ids.uuid(), body=body, visible_at=now)

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Replay one part."""
        (message,) = batch
        known: dict[str, Any] = orjson.loads(message.body)
        arn, now = known["subscription"], self._fanout.clock.now()
        record = await self._repository.subscription(arn)
        routes = None if record is None else await self._repository.routes(record.topic_arn)
        if routes is None:
            return Delivered()
        at, sequence = known["after"]
        found = await self._store.log.read_by_time(
            archive_of(routes.topic.arn),
            after=(at, sequence),
            before=(known["last"] + 1, 0),
            limit=_PART,
        )
        plans = await self._plans(routes, arn, found, now)
        async with self._store.transaction() as tx:
            held = await tx.queue.settle(_REPLAYS, message.receipt, now, strict=True)
            record = await self._repository.subscription(arn, tx)
            if held is not Hold.DONE or record is None or record.replay != known["id"]:
                return Delivered()
            await carry_out(tx, plans, routes.topic.account, now)
            if len(found) == _PART:
                following = self._part(known, (found[-1].at, found[-1].sequence), now)
                await tx.queue.put(_REPLAYS, [following], now)
            else:
                record.replay = ""
                await self._repository.put(record, tx)
        return Delivered()

    async def _plans(
        self, routes: Routes, arn: str, found: Sequence[Record], now: int
    ) -> list[Plan]:
        topic = routes.topic
        own = tuple(route for route in routes.routes if route.record.arn == arn)
        ctx = Context(
            account=topic.account,
            region=topic.region,
            now=now,
            request_id=self._fanout.ids.uuid(),
            endpoint=self._fanout.endpoint,
        )
        plans = []
        for one in found:
            draft = self._deliveries.draft(topic, Message.load(one.data))
            await self._deliveries.prepare(replace(routes, routes=own), draft)
            plans.append(await self._deliveries.plan(ctx, topic, draft))
        return plans
