"""The lanes of the fan-out that EventBridge has: one for all targets that are quick, and own ones for HTTP."""

from collections.abc import Mapping, Sequence
from typing import Final

from penstock.api import Context
from penstock.fanout import Delivery, Fanout, Lane, Packed, Sender
from penstock.services.events.letters import letter_of, schedule_of
from penstock.services.events.senders import SENDERS

DELIVERIES: Final = "events/deliveries"
STAGES: Final = "stages"


class Lanes:
    """Puts deliveries into their lanes."""

    def __init__(
        self, fanout: Fanout, senders: Mapping[str, Sender], http: Mapping[str, Sender]
    ) -> None:
        self._fanout = fanout
        self._http = http
        """Senders of targets that can be slow: API destinations by `events`, stages by `execute-api`."""
        self._main = fanout.lane(DELIVERIES, schedule_of, letter_of, senders={**SENDERS, **senders})
        self._own: dict[str, Lane] = {}

    async def start(self, own: Sequence[str], now: int) -> list[str]:
        """Deliver from now on, in those of some lanes where anything waits. Returns the others."""
        self._main.start()
        empty = []
        for name in (STAGES, *own):
            counts = await self._fanout.store.queue.count(_queue(name), now)
            if counts.visible or counts.leased or counts.delayed:
                self._start_own(name)
            else:
                empty.append(name)
        return empty

    def _start_own(self, name: str) -> Lane:
        lane = self._own.get(name)
        if lane is None:
            # A slow endpoint holds up nobody but those who wait for it.
            lane = self._fanout.lane(_queue(name), schedule_of, letter_of, senders=self._http)
            self._own[name] = lane
        lane.start()
        return lane

    def reset(self) -> None:
        """Begin anew, when the store is emptied."""
        self._own.clear()
        self._main.start()

    async def pack(
        self, ctx: Context, deliveries: Sequence[tuple[Delivery, bytes]]
    ) -> list[Packed]:
        """What to put where."""
        by_lane: dict[str, list[tuple[Delivery, bytes]]] = {}
        for delivery, body in deliveries:
            by_lane.setdefault(_lane_of(delivery), []).append((delivery, body))
        packed = []
        for name, found in by_lane.items():
            lane = self._start_own(name) if name else self._main
            lane.start()
            packed.append(await lane.pack(ctx, found))
        return packed


def _lane_of(delivery: Delivery) -> str:
    """The lane of its own that a delivery has; empty for the one that all have in common."""
    if ":api-destination/" in delivery.to:
        return delivery.to
    return STAGES if delivery.service == "execute-api" else ""


def _queue(name: str) -> str:
    return f"{DELIVERIES}/{name}"
