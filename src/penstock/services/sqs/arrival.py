"""Long polling: waiting for messages without looking again and again."""

from penstock.clock import Clock, finished_by
from penstock.storage.primitives import Store


class Arrivals:
    """Those who wait for messages of a queue.

    A put wakes as many as it has messages. What becomes visible by time is watched for by one of them, the watcher, who
    hands the watch on when leaving: a thousand that wait cost one timer's work.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._watched: set[str] = set()

    async def wait(self, queue: str, until: int, now: int) -> None:
        """Return when there may be a message, at `until` at the latest (ms).

        `now` is the instant of the look that found nothing. Call `leave` when looking is over.
        """
        notifier = self._store.notifier
        waiter = notifier.wait(queue)
        watches = queue not in self._watched
        at = until
        try:
            if watches:
                self._watched.add(queue)
                due = await self._store.queue.next_due(queue, now)
                at = until if due is None else min(due, until)
            await finished_by(self._clock, waiter, at)
        except BaseException:
            notifier.forget(queue, waiter)
            raise
        finally:
            if watches:
                self._watched.discard(queue)
        if not waiter.done():
            notifier.forget(queue, waiter)

    def leave(self, queue: str) -> None:
        """Have somebody else look, and watch, if nobody does."""
        if queue not in self._watched:
            self._store.notifier.notify(queue)
