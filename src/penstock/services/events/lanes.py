"""The lanes of the fan-out that EventBridge has: one for all targets, and one for each API destination."""

from collections.abc import Mapping, Sequence
from typing import Final

from penstock.api import Context
from penstock.fanout import Delivery, Fanout, Lane, Packed, Sender
from penstock.services.events.letters import letter_of, schedule_of
from penstock.services.events.senders import SENDERS

DELIVERIES: Final = "events/deliveries"


class Lanes:
    """Puts deliveries into their lanes."""

    def __init__(self, fanout: Fanout, senders: Mapping[str, Sender], destination: Sender) -> None:
        self._fanout = fanout
        self._destination = destination
        self._main = fanout.lane(DELIVERIES, schedule_of, letter_of, senders={**SENDERS, **senders})
        self._destinations: dict[str, Lane] = {}

    def start(self) -> None:
        """Deliver from now on."""
        self._main.start()

    def start_destination(self, arn: str) -> Lane:
        """The lane of an API destination, which delivers from now on."""
        lane = self._destinations.get(arn)
        if lane is None:
            # A slow endpoint holds up nobody but those who wait for it.
            lane = self._fanout.lane(
                _name(arn), schedule_of, letter_of, senders={"events": self._destination}
            )
            self._destinations[arn] = lane
        lane.start()
        return lane

    async def waits(self, arn: str, now: int) -> bool:
        """Whether anything is on its way to an API destination."""
        counts = await self._fanout.store.queue.count(_name(arn), now)
        return bool(counts.visible or counts.leased or counts.delayed)

    def reset(self) -> None:
        """Forget what is not in the store, when the store is emptied."""
        self._destinations.clear()

    async def pack(
        self, ctx: Context, deliveries: Sequence[tuple[Delivery, bytes]]
    ) -> list[Packed]:
        """What to put where."""
        if not deliveries:
            return []
        by_lane: dict[str, list[tuple[Delivery, bytes]]] = {}
        for delivery, body in deliveries:
            own = delivery.to if ":api-destination/" in delivery.to else ""
            by_lane.setdefault(own, []).append((delivery, body))
        packed = []
        for arn, found in by_lane.items():
            lane = self.start_destination(arn) if arn else self._main
            packed.append(await lane.pack(ctx, found))
        self._main.start()
        return packed


def _name(destination: str) -> str:
    return f"{DELIVERIES}/{destination}"
