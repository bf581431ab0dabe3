"""Waiting for a queue without polling it."""

from penstock.clock import Clock, finished_by
from penstock.storage.primitives import Store


async def arrival(store: Store, clock: Clock, queue: str, until: int, now: int) -> None:
    """Return when a message may have become available in `queue`, at `until` at the latest (ms).

    Woken by a put or a change of a lease; by the end of the next lease or delay; by time. `now` is the instant of the look
    that found nothing: what became visible after it must not be missed.
    """
    waiter = store.notifier.wait(queue)
    try:
        due = await store.queue.next_due(queue, now)
        await finished_by(clock, waiter, until if due is None else min(due, until))
    except BaseException:
        store.notifier.forget(queue, waiter)
        raise
    if not waiter.done():
        store.notifier.forget(queue, waiter)
