"""The EventBridge service: its resources on one store, and its lanes of the fan-out."""

import orjson

from penstock.api import Context, Dispatcher, Service, operations_of
from penstock.core.errors import AwsError
from penstock.fanout import Delivery, Fanout
from penstock.services.events.archives import Archives
from penstock.services.events.authorizing import Authorizing
from penstock.services.events.buses import Buses
from penstock.services.events.calls import Calls, Door
from penstock.services.events.connections import Connections
from penstock.services.events.destinations import Destinations
from penstock.services.events.due import DueRules
from penstock.services.events.event import Event
from penstock.services.events.index import RuleIndexes
from penstock.services.events.lanes import Lanes
from penstock.services.events.names import bus_key
from penstock.services.events.patterns import PatternTests
from penstock.services.events.put_events import PutEvents
from penstock.services.events.replays import Replays
from penstock.services.events.routing import Router
from penstock.services.events.rules import Rules
from penstock.services.events.tags import Tags
from penstock.services.events.targets import Targets
from penstock.services.events.timetable import Timetable
from penstock.storage.primitives import Leased


class Events:
    """Builds the service."""

    def __init__(self, fanout: Fanout, built: frozenset[str], door: Door) -> None:
        store, ids = fanout.store, fanout.ids
        self._clock = fanout.clock
        self._indexes = RuleIndexes(store)
        self._buses = Buses(store)
        timetable = Timetable(ids)
        rules = Rules(store, self._buses, self._indexes, timetable)
        self._authorizing = Authorizing(fanout)
        connections = Connections(store, ids, self._authorizing)
        self._destinations = Destinations(store, ids, connections)
        self._calls = Calls(
            self._destinations, self._authorizing, fanout.outbound, fanout.clock, door
        )
        self._lanes = Lanes(
            fanout,
            {"events": self._to_bus},
            {"events": self._calls.to_destination, "execute-api": self._calls.to_stage},
            self._destinations.exists,
        )
        self._destinations.on_change = self._calls.forget
        self._destinations.on_delete = self._lanes.retire
        self._router = Router(store, ids, self._indexes, self._lanes, fanout.queue_exists)
        self._due = DueRules(fanout, self._router, timetable)
        archives = Archives(store, self._buses, rules, self._indexes)
        self._replays = Replays(fanout, self._buses, archives, self._router)
        operations = operations_of(
            self._buses,
            rules,
            Targets(store, rules, self._indexes, built),
            Tags(store, self._buses, rules),
            archives,
            self._replays,
            connections,
            self._destinations,
            PatternTests(),
            PutEvents(ids, self._buses, self._router),
        )
        self.service = Service("events", operations)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        await self._due.restore()
        await self._replays.restore()
        await self._authorizing.restore()
        destinations = await self._destinations.everywhere()
        for name in await self._lanes.start(destinations, self._clock.now()):
            if name in destinations:
                await self._destinations.forget(name)

    def reset(self) -> None:
        """Forget what is not in the store, when the store is emptied."""
        self._indexes.clear()
        self._lanes.reset()
        self._calls.reset()
        self._authorizing.reset()

    async def call(self, ctx: Context, delivery: Delivery, body: bytes) -> bytes:
        """What an API destination or a stage of API Gateway answers, for those who wait for it."""
        if delivery.service == "execute-api":
            return await self._calls.call_stage(ctx, delivery, body)
        return await self._calls.call_destination(ctx, delivery, body)

    async def _to_bus(
        self, dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        """Hand an event to another bus: it keeps its account and region and, within a region, its id."""
        if ":api-destination/" in delivery.to:
            # It was gone when the event was put on its way, and says so.
            await self._destinations.by_arn(delivery.to)
        bus = bus_key(ctx, delivery.to)
        if not await self._buses.exists(bus):
            raise AwsError(
                "ResourceNotFoundException", f"Event bus {bus.name} does not exist.", status=404
            )
        document = orjson.loads(message.body)
        if bus.region != delivery.region:
            # AWS: in another region it is an event of its own (recorded).
            document["id"] = message.id
        event = Event(document, delivery.trace, sent_on=True)
        await self._router.accept(ctx, [(bus, event)])
