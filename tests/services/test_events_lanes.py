"""EventBridge's lanes of API destinations: they stop when the destination is gone, and never while anything waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from penstock.api import Context
from penstock.core.ids import Ids
from penstock.delivery.model import Subscription
from penstock.fanout import Delivery, Packed, put
from penstock.services.events.lanes import Lanes
from penstock.storage.primitives import Store
from penstock.storage.sqlite import SqliteStore
from tests.aws.direct import fanout_over

ARN = "arn:aws:events:us-east-1:000000000000:api-destination/d/1"


class Running:
    """Notes which subscriptions run, and runs none."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def add(self, subscription: Subscription) -> None:
        """It runs."""
        self.ids.add(subscription.id)

    def discard(self, id_: str) -> None:
        """It does not."""
        self.ids.discard(id_)


class Stage:
    """Lanes over a store, with one destination that may be deleted."""

    def __init__(self, store: Store) -> None:
        fanout, _, _ = fanout_over(store, Ids())
        self.store = store
        self.running = Running()
        self.there = True
        self.lanes = Lanes(replace(fanout, engine=self.running), {}, {}, self.exists)
        self.ctx = Context(
            account="000000000000",
            region="us-east-1",
            now=fanout.clock.now(),
            request_id="r",
        )

    async def exists(self, arn: str) -> bool:
        """Whether the destination is there."""
        return self.there

    async def pack(self) -> Packed:
        """What an event for the destination puts where."""
        own = {"retries": 0, "max_age_ms": 60_000}
        delivery = Delivery(to=ARN, arn="rule", account="0", region="us-east-1", own=own)
        (packed,) = await self.lanes.pack(self.ctx, [(delivery, b"{}")])
        return packed

    async def put(self, packed: Packed) -> None:
        """Put that."""
        async with self.store.transaction() as tx:
            await put(tx, packed, self.ctx.now)
            self.lanes.start_for(packed)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    store = await SqliteStore.open(":memory:")
    try:
        yield Stage(store)
    finally:
        await store.close()


def test_an_empty_lane_stops_with_its_destination() -> None:
    """And what comes later goes the way that all share."""

    async def scene() -> None:
        async with stage() as given:
            packed = await given.pack()
            await given.put(packed)
            ((queue, _),) = packed.items()
            await given.store.queue.purge(queue)
            assert {queue} == given.running.ids

            given.there = False
            await given.lanes.retire(ARN)

            assert set() == given.running.ids
            assert queue not in await given.pack()

    asyncio.run(scene())


def test_a_lane_goes_on_while_anything_waits() -> None:
    """It stops when the next destination goes."""

    async def scene() -> None:
        async with stage() as given:
            packed = await given.pack()
            await given.put(packed)
            ((queue, _),) = packed.items()
            given.there = False
            await given.lanes.retire(ARN)
            assert {queue} == given.running.ids

            await given.store.queue.purge(queue)
            await given.lanes.retire(f"{ARN}2")

            assert set() == given.running.ids

    asyncio.run(scene())


def test_a_lane_runs_for_what_was_packed_before_its_destination_went() -> None:
    """A message in a lane that nobody runs would never become a dead letter."""

    async def scene() -> None:
        async with stage() as given:
            packed = await given.pack()
            given.there = False
            await given.lanes.retire(ARN)

            await given.put(packed)

            assert set(packed) == given.running.ids

    asyncio.run(scene())
