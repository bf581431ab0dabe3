"""The EventBridge service: its resources on one store, and its lanes of the fan-out."""

import orjson

from penstock.api import Context, Dispatcher, Service, operations_of
from penstock.core.errors import AwsError
from penstock.fanout import Delivery, Fanout
from penstock.services.events.archives import Archives
from penstock.services.events.buses import Buses
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

    def __init__(self, fanout: Fanout, built: frozenset[str]) -> None:
        store, ids = fanout.store, fanout.ids
        self._indexes = RuleIndexes(store)
        self._buses = Buses(store)
        timetable = Timetable(ids)
        rules = Rules(store, self._buses, self._indexes, timetable)
        self._lanes = Lanes(fanout, {"events": self._to_bus}, self._to_bus)
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
            PatternTests(),
            PutEvents(ids, self._buses, self._router),
        )
        self.service = Service("events", operations)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        self._start()

    def _start(self) -> None:
        self._lanes.start()
        self._due.start()
        self._replays.start()

    def reset(self) -> None:
        """Forget what is not in the store, when the store is emptied."""
        self._indexes.clear()
        self._lanes.reset()
        self._start()

    async def _to_bus(
        self, dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        """Hand an event to another bus, as it is: with its id, account and region."""
        bus = bus_key(ctx, delivery.to)
        if not await self._buses.exists(bus):
            raise AwsError(
                "ResourceNotFoundException", f"Event bus {bus.name} does not exist.", status=404
            )
        event = Event(orjson.loads(message.body), delivery.trace)
        await self._router.accept(ctx, [(bus, event)])
