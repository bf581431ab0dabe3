"""The delivery engine: one loop for each subscription.

Wait for messages, lease a batch, make the lease durable, hand the batch to the target, and settle, retry
or dead-letter each message in one transaction with whatever its outcome enqueues. A crash at any point leaves the
messages leased; they come back when the lease ends.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from penstock.clock import Clock
from penstock.core.errors import PenstockError
from penstock.core.retry import Drop, Leave, Retry
from penstock.delivery.fault import Faults, Kind
from penstock.delivery.model import Outcome, Subscription, Throttled
from penstock.delivery.waiting import arrival
from penstock.storage.primitives import Hold, Leased, Store

_log: Final = logging.getLogger("penstock.delivery")
_LONG_MS: Final = 60_000


class DeliveryEngine:
    """Runs subscriptions until they are removed."""

    def __init__(self, store: Store, clock: Clock, faults: Faults) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._runners: dict[str, _Runner] = {}
        self._stopped: set[_Runner] = set()
        """Runners that take nothing more and still have batches in flight."""

    def add(self, subscription: Subscription) -> None:
        """Start to deliver. A subscription of the same id is replaced; its batches in flight are finished."""
        self.discard(subscription.id)
        self._runners[subscription.id] = _Runner(
            subscription, self._store, self._clock, self._faults
        )

    def discard(self, id_: str) -> None:
        """Stop to deliver, without waiting for the batches in flight; they are settled as ever."""
        runner = self._runners.pop(id_, None)
        if runner is not None:
            runner.stop()
            self._stopped.add(runner)
            runner.when_drained(self._stopped.discard)

    async def remove(self, id_: str) -> None:
        """Stop to deliver; returns when the batches in flight are settled."""
        runner = self._runners.get(id_)
        if runner is not None:
            self.discard(id_)
            await runner.drained()

    def idle(self) -> bool:
        """Whether every subscription waits for messages or for time."""
        return not any(runner.busy for runner in (*self._runners.values(), *self._stopped))

    async def close(self) -> None:
        """Stop every subscription and finish what is in flight."""
        for id_ in list(self._runners):
            self.discard(id_)
        for runner in list(self._stopped):
            await runner.drained()


class _Runner:
    """The loop of one subscription."""

    def __init__(
        self, subscription: Subscription, store: Store, clock: Clock, faults: Faults
    ) -> None:
        self._subscription = subscription
        self._store = store
        self._clock = clock
        self._faults = faults
        self._batches: set[asyncio.Task[None]] = set()
        self._delayed = 0
        """Batches that wait for time."""
        self._waiting = False
        self._freed = asyncio.Event()
        self._loop = asyncio.create_task(self._run(), name=f"deliver {subscription.id}")

    @property
    def busy(self) -> bool:
        full = len(self._batches) >= self._subscription.concurrency
        looking = not (self._waiting or full or self._loop.done())
        return looking or len(self._batches) > self._delayed

    def stop(self) -> None:
        self._loop.cancel()

    async def drained(self) -> None:
        await asyncio.gather(self._loop, *self._batches, return_exceptions=True)

    def when_drained(self, then: Callable[["_Runner"], object]) -> None:
        self._draining = asyncio.create_task(self.drained())
        self._draining.add_done_callback(lambda _: then(self))

    async def _run(self) -> None:
        while True:
            try:
                await self._take_one_batch()
            except Exception:  # noqa: BLE001 -- one fault must not end a subscription; it is logged and tried again
                _log.exception("delivery %s could not take a batch", self._subscription.id)
                self._waiting = True
                await self._clock.sleep_until(self._clock.now() + 1_000)
                self._waiting = False

    async def _take_one_batch(self) -> None:
        subscription = self._subscription
        while len(self._batches) >= subscription.concurrency:
            self._freed.clear()
            await self._freed.wait()
        epoch = self._store.epoch
        batch = await self._gather()
        if batch:
            task = asyncio.create_task(self._deliver(batch, epoch))
            self._batches.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The messages stay leased and come back when the lease ends: nothing is lost by going on.
            _log.error("delivery %s failed", self._subscription.id, exc_info=error)

    async def _gather(self) -> list[Leased]:
        """Lease until the batch is full by count or bytes, or nothing more comes within its window."""
        policy = self._subscription.batch
        source = self._subscription.source
        batch: list[Leased] = []
        size = 0
        closes_at = None
        try:
            while len(batch) < policy.size and size < policy.max_bytes:
                now = self._clock.now()
                # Ten at a time, as SQS hands them out, so that bytes are looked at on the way.
                found = await source.lease(min(10, policy.size - len(batch)), now)
                if found:
                    batch += found
                    size += sum(len(message.body) for message in found)
                    closes_at = closes_at or now + policy.window_ms
                elif closes_at is not None and now >= closes_at:
                    break
                else:
                    until = closes_at or now + _LONG_MS
                    self._waiting = True
                    await arrival(self._store, self._clock, source.queue, until, now)
                    self._waiting = False
        except BaseException:
            # Stopped, or the store is at fault: what was taken goes back, if it can, before its lease ends.
            with suppress(PenstockError):
                for message in batch:
                    now = self._clock.now()
                    await self._store.queue.extend(source.queue, message.receipt, 0, now)
            raise
        return batch

    async def _deliver(self, batch: list[Leased], epoch: int) -> None:
        await self._store.durable(epoch)
        faults = self._faults.draw(self._subscription.arns) if self._faults.active else {}
        if delay := faults.get(Kind.DELAY):
            self._delayed += 1
            await self._clock.sleep_until(self._clock.now() + delay.delay_ms)
            self._delayed -= 1
        outcome: Outcome = Throttled("a fault was asked for")
        if Kind.THROTTLE not in faults:
            outcome = await self._subscription.target.deliver(batch)
        if Kind.DUPLICATE in faults:
            outcome = await self._subscription.target.deliver(batch)
        if Kind.CRASH in faults:
            self._faults.crash()
        if Kind.LOSE_ACKNOWLEDGEMENT not in faults:
            await self._settle(batch, outcome)

    async def _settle(self, batch: Sequence[Leased], outcome: Outcome) -> None:
        """Carry out the policy's decisions, all in one transaction.

        Nobody is told, so nobody waits for the disk: the next batch is leased in the same group. What a crash undoes is
        delivered once more.
        """
        policy = self._subscription.policy
        queue = self._subscription.source.queue
        now = self._clock.now()
        async with self._store.transaction() as tx:
            for message in batch:
                decision = policy.decide(message, outcome, now)
                match decision:
                    case Leave():
                        continue
                    case Retry(at=at):
                        held = await tx.queue.extend(queue, message.receipt, at, now)
                    case _:
                        if isinstance(decision, Drop):
                            _log.warning(
                                "dropped %s from %s: %s", message.id, queue, decision.reason
                            )
                        held = await tx.queue.settle(queue, message.receipt, now)
                if held is not Hold.DONE:
                    # The lease ended meanwhile and somebody else has the message: what follows is theirs to say.
                    continue
                for target, follow_up in policy.follow_up(message, outcome, decision, now):
                    await tx.queue.put(target, [follow_up], now)
