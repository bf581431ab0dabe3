"""Replaying the archive of a FIFO topic to one subscription."""

from dataclasses import replace
from typing import Final

from penstock.api import Context
from penstock.services.sns.archive import archive_of, span_of
from penstock.services.sns.deliveries import Deliveries, carry_out
from penstock.services.sns.message import Message
from penstock.services.sns.repository import Repository
from penstock.services.sns.subscription import SubscriptionRecord
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Store

_PAGE: Final = 100


class Replays:
    """Sends what was archived, in order, as the subscription's ReplayPolicy says."""

    def __init__(self, store: Store, repository: Repository, deliveries: Deliveries) -> None:
        self._store = store
        self._repository = repository
        self._deliveries = deliveries

    async def start(self, ctx: Context, topic: Topic, record: SubscriptionRecord) -> None:
        """Replay to a subscription, if it asks for it. What is published meanwhile may come in between."""
        policy = record.attributes.get("ReplayPolicy")
        if not policy or not topic.archived_since:
            return
        start, end = span_of(policy)
        last = ctx.now if end is None else min(end, ctx.now)
        after = (start, 0)
        while True:
            found = await self._store.log.read_by_time(
                archive_of(topic.arn), after=after, before=(last + 1, 0), limit=_PAGE
            )
            if not found:
                return
            routes = await self._repository.routes(topic.arn)
            if routes is None:
                return
            own = tuple(route for route in routes.routes if route.record.arn == record.arn)
            alone = replace(routes, routes=own)
            plans = []
            for one in found:
                draft = self._deliveries.draft(topic, Message.load(one.data))
                await self._deliveries.prepare(alone, draft)
                plans.append(await self._deliveries.plan(ctx, topic, draft))
            async with self._store.transaction() as tx:
                await carry_out(tx, plans, topic.account, ctx.now)
            after = (found[-1].at, found[-1].sequence)
