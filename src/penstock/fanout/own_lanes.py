"""Lanes of single endpoints, so that a slow one holds up nobody but those who wait for it."""

from collections.abc import Callable

from penstock.fanout.lane import Lane
from penstock.storage.primitives import Store


class OwnLanes:
    """Lanes by their queues, each made when it is first asked for."""

    def __init__(self, store: Store, make: Callable[[str], Lane]) -> None:
        self._store = store
        self._make = make
        self._lanes: dict[str, Lane] = {}

    def __contains__(self, queue: str) -> bool:
        return queue in self._lanes

    def lane(self, queue: str) -> Lane:
        """The lane of a queue, started or not."""
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = self._make(queue)
        return lane

    def start(self, queue: str) -> Lane:
        """The lane of a queue, which delivers from now on."""
        lane = self.lane(queue)
        lane.start()
        return lane

    def stop(self, queue: str) -> None:
        """Deliver no more of a queue; what waits stays."""
        lane = self._lanes.pop(queue, None)
        if lane is not None:
            lane.stop()

    async def waiting(self, queue: str, now: int) -> bool:
        """Whether anything is in a queue."""
        counts = await self._store.queue.count(queue, now)
        return bool(counts.visible or counts.leased or counts.delayed)

    def clear(self) -> None:
        """Begin anew, when the store is emptied."""
        self._lanes.clear()
