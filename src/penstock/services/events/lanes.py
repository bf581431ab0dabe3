"""The lanes of the fan-out that EventBridge has: one for all targets that are quick, and own ones for HTTP."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from penstock.api import Context
from penstock.fanout import Delivery, Fanout, Lane, OwnLanes, Packed, Sender
from penstock.services.events.letters import letter_of, schedule_of
from penstock.services.events.senders import SENDERS

DELIVERIES: Final = "events/deliveries"
STAGES: Final = "stages"
_OWN: Final = f"{DELIVERIES}/"
Exists: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether there is an API destination of an ARN."""


class Lanes:
    """Puts deliveries into their lanes."""

    def __init__(
        self,
        fanout: Fanout,
        senders: Mapping[str, Sender],
        http: Mapping[str, Sender],
        exists: Exists,
    ) -> None:
        self._fanout = fanout
        self._http = http
        """Senders of targets that can be slow: API destinations by `events`, stages by `execute-api`."""
        self._exists = exists
        self._main = fanout.lane(DELIVERIES, schedule_of, letter_of, senders={**SENDERS, **senders})
        self._own = OwnLanes(fanout.store, self._make)
        self._retired: set[str] = set()
        """The queues of destinations that are gone, where something waited when it was last looked."""

    async def start(self, own: Sequence[str], now: int) -> list[str]:
        """Deliver from now on, in those of some lanes where anything waits. Returns the others."""
        self._main.start()
        empty = []
        for name in (STAGES, *own):
            if await self._own.waiting(_queue(name), now):
                self._own.start(_queue(name))
            else:
                empty.append(name)
        return empty

    def _make(self, queue: str) -> Lane:
        return self._fanout.lane(queue, schedule_of, letter_of, senders=self._http)

    def reset(self) -> None:
        """Begin anew, when the store is emptied."""
        self._own.clear()
        self._retired.clear()
        self._main.start()

    async def retire(self, arn: str) -> None:
        """A destination is gone: its lane stops, and so do those of before, unless something waits in it."""
        self._retired.add(_queue(arn))
        for queue in sorted(self._retired):
            if not await self._own.waiting(queue, self._fanout.clock.now()):
                self._retired.discard(queue)
                self._own.stop(queue)

    async def pack(
        self, ctx: Context, deliveries: Sequence[tuple[Delivery, bytes]]
    ) -> list[Packed]:
        """What to put where. Whoever puts it calls `start_for` then."""
        queues: dict[str, str] = {}
        by_lane: dict[str, list[tuple[Delivery, bytes]]] = {}
        to = ""
        together: list[tuple[Delivery, bytes]] = []
        for one in deliveries:
            delivery = one[0]
            if delivery.to != to:
                to = delivery.to
                if to not in queues:
                    queues[to] = await self._queue_of(delivery)
                together = by_lane.setdefault(queues[to], [])
            together.append(one)
        packed = []
        for queue, found in by_lane.items():
            lane = self._own.lane(queue) if queue else self._main
            packed.append(await lane.pack(ctx, found))
        return packed

    def start_for(self, packed: Packed) -> None:
        """Deliver what was just put."""
        for queue in packed:
            if queue.startswith(_OWN):
                self._own.start(queue)

    async def _queue_of(self, delivery: Delivery) -> str:
        """The queue of its own that a delivery has; empty for the one that all have in common."""
        if delivery.service == "execute-api":
            return _queue(STAGES)
        if ":api-destination/" not in delivery.to:
            return ""
        queue = _queue(delivery.to)
        # What is gone fails at once, and needs no lane.
        return queue if queue in self._own or await self._exists(delivery.to) else ""


def _queue(name: str) -> str:
    return _OWN + name
