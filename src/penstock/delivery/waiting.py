"""Waiting for a queue without polling it."""

from penstock.clock import Clock, finished_by
from penstock.storage.primitives import Store


async def arrival(store: Store, clock: Clock, queue: str, until: int) -> None:
    """Return when a message may have become available in `queue`, at `until` at the latest (ms).

    Woken by a put or a change of a lease; by the end of the next lease or delay; by time.
    """
    waiter = store.notifier.wait(queue)
    try:
        due = await store.queue.next_due(queue, clock.now())
        await finished_by(clock, waiter, until if due is None else min(due, until))
    except BaseException:
        store.notifier.forget(queue, waiter)
        raise
    if not waiter.done():
        store.notifier.forget(queue, waiter)
