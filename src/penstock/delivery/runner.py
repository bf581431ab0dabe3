"""The loop of one subscription.

Wait for messages, lease a batch, make the lease durable, hand the batch to the target, and settle, retry
or dead-letter each message in one transaction with whatever its outcome enqueues (`settlement`). A crash at any point leaves the
messages leased; they come back when the lease ends.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from penstock.clock import Clock, finished_by
from penstock.core.errors import PenstockError
from penstock.delivery.fault import Fault, Faults, Kind
from penstock.delivery.model import BatchPolicy, Outcome, Subscription, Throttled
from penstock.delivery.settlement import TOGETHER_S, Gathering, carry_out
from penstock.delivery.waiting import arrival
from penstock.storage.primitives import Leased, Store

_log: Final = logging.getLogger("penstock.delivery")
# How long nobody looks at a queue that is empty, or whose messages may not be taken at the moment.
_EMPTY_MS: Final = 86_400_000
_BARRED_MS: Final = 60_000
# AWS: what a poller asks SQS for at once; bytes are looked at on the way.
_FIRST_LOOK: Final = 10


@dataclass(slots=True, eq=False)
class _Batch:
    """Messages that were leased together, and what they were leased for."""

    subscription: Subscription
    messages: list[Leased]
    until: int
    """When the first of the leases ends."""
    size: int = 0
    """Bytes, as the subscription weighs them."""
    gathering: Gathering | None = None
    """Where its outcome is settled, if that is with those of others."""
    decided: bool = False
    """Whether that has it."""


class Runner:
    """Takes batches for a subscription until it is stopped; `on_drained` is told when nothing is in flight any more."""

    def __init__(
        self,
        subscription: Subscription,
        store: Store,
        clock: Clock,
        faults: Faults,
        on_drained: Callable[["Runner"], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._on_drained = on_drained
        self._batches: dict[asyncio.Task[None], _Batch] = {}
        self._delayed = 0
        """Batches that wait for time."""
        self._waiting = False
        self._barred = False
        """Whether the source gave no terms when it was last asked."""
        self._freed = asyncio.Event()
        self._rested: asyncio.Future[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._growing: asyncio.Task[None] | None = None
        self._loops: set[asyncio.Task[None]] = set()
        self._unsettled: dict[Gathering, None] = {}
        """Where outcomes wait to be settled."""
        loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._drained: asyncio.Future[None] = loop.create_future()
        self._begin(subscription)

    def _begin(self, subscription: Subscription) -> None:
        loop = asyncio.get_running_loop()
        if self._stopped.done():
            self._stopped = loop.create_future()
        self.subscription = subscription
        self._gathering: Gathering | None = None
        self._limit = subscription.scaling.start
        self._waiting = False
        self._loop = loop.create_task(self._run(), name=f"deliver {subscription.id}")
        self._loops.add(self._loop)
        self._loop.add_done_callback(self._loop_ended)

    @property
    def busy(self) -> bool:
        """Whether there is work that waits neither for messages nor for time."""
        looking = not (self._waiting or self._full() or self._loop.done())
        return looking or len(self._batches) > self._delayed or bool(self._unsettled)

    def follow(self, subscription: Subscription) -> None:
        """Go on by another subscription of the same id; also after a stop."""
        if subscription is self.subscription and not self._stopped.done():
            return
        self._halt()
        self._begin(subscription)

    def stop(self) -> "asyncio.Future[None]":
        """Take nothing more. The future is done when what is in flight is settled."""
        if not self._stopped.done():
            self._stopped.set_result(None)
            self._halt()
        return self._drained

    def _halt(self) -> None:
        self._loop.cancel()
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None

    def _loop_ended(self, loop: asyncio.Task[None]) -> None:
        self._loops.discard(loop)
        self._look_whether_drained()

    def _look_whether_drained(self) -> None:
        if self._stopped.done() and not (self._batches or self._loops or self._unsettled):
            if self._renewing is not None:
                self._renewing.cancel()
            if not self._drained.done():
                self._drained.set_result(None)
                self._on_drained(self)
                if self.subscription.on_drained is not None:
                    self.subscription.on_drained()

    # Taking batches.

    async def _run(self) -> None:
        subscription = self.subscription
        while True:
            try:
                await self._take_one_batch(subscription)
            except Exception:  # noqa: BLE001 -- one fault must not end a subscription; it is logged and tried again
                _log.exception("delivery %s could not take a batch", subscription.id)
                self._waiting = True
                await self._clock.sleep_until(self._clock.now() + 1_000)
                self._waiting = False

    def _places(self) -> int:
        """How many batches may be with the target at the moment."""
        cap = self.subscription.scaling.cap
        return self._limit if cap is None else min(self._limit, cap())

    def _free(self) -> int:
        """How many places are not taken."""
        return self._places() - len(self._batches)

    def _full(self) -> bool:
        return self._free() <= 0

    def _is_half_free(self) -> bool:
        return len(self._batches) * 2 <= self._places()

    async def _take_one_batch(self, subscription: Subscription) -> None:
        while self._full():
            self._grow()
            self._freed.clear()
            await self._freed.wait()
        epoch = self._store.epoch
        if subscription.singly:
            for batch in await self._take_singly(subscription):
                self._begin_delivery(batch, epoch)
            await self._rest()
            return
        batch = await self._gather(subscription)
        if batch.messages:
            self._begin_delivery(batch, epoch)

    async def _rest(self) -> None:
        """Places that become free in the next moments, or half of all, are filled together."""
        if self._is_half_free():
            return
        loop = asyncio.get_running_loop()
        self._rested = loop.create_future()
        timer = loop.call_later(TOGETHER_S, _end, self._rested)
        try:
            await self._rested
        finally:
            timer.cancel()

    def _begin_delivery(self, batch: _Batch, epoch: int) -> None:
        task = asyncio.create_task(self._deliver(batch, epoch))
        self._batches[task] = batch
        task.add_done_callback(self._done)
        renew_ms = batch.subscription.renew_ms
        if renew_ms and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(renew_ms))

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._freed.set()
        if self._rested is not None and self._is_half_free():
            _end(self._rested)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The messages stay leased and come back when the lease ends: nothing is lost by going on.
            _log.error("delivery %s failed", self.subscription.id, exc_info=error)
        if self._stopped.done():
            self._look_whether_drained()

    def _grow(self) -> None:
        """All places are taken: more of them from time to time, as long as that is so."""
        scaling = self.subscription.scaling
        if self._growing is None and scaling.per_minute and self._limit < scaling.most:
            self._growing = asyncio.create_task(self._add_places(scaling.per_minute, scaling.most))

    async def _add_places(self, per_minute: int, most: int) -> None:
        while self._limit < most:
            await self._clock.sleep_until(self._clock.now() + 60_000 // per_minute)
            if self._full():
                self._limit += 1
                self._freed.set()
        self._growing = None

    def _shrink(self) -> None:
        """Nothing waits: begin again with few places."""
        self._limit = self.subscription.scaling.start
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None

    async def _take_singly(self, subscription: Subscription) -> list[_Batch]:
        """Lease a message for each free place, each a batch of its own; none when there was nothing until just now."""
        now = self._clock.now()
        leased = _Batch(subscription, [], 0)
        if await self._lease(leased, now, self._free()):
            weigh = subscription.batch.weigh
            if self._gathering is None:
                self._gathering = Gathering(
                    subscription, self._store, self._clock, self._on_settled
                )
            return [
                _Batch(subscription, [one], leased.until, weigh(one), self._gathering)
                for one in leased.messages
            ]
        self._shrink()
        await self._await_messages(subscription, now + self._pause_ms(), now)
        return []

    async def _gather(self, subscription: Subscription) -> _Batch:
        """Lease until the batch is full by count or bytes, or nothing more comes within its window."""
        policy, queue = subscription.batch, subscription.source.queue
        batch = _Batch(subscription, [], 0)
        closes_at = None
        try:
            while len(batch.messages) < policy.size and batch.size < policy.max_bytes:
                now = self._clock.now()
                if await self._lease(batch, now):
                    closes_at = closes_at or now + policy.window_ms
                elif closes_at is not None and now >= closes_at:
                    break
                else:
                    self._shrink()
                    until = closes_at or now + self._pause_ms()
                    await self._await_messages(subscription, until, now)
        except BaseException:
            # Stopped, or the store is at fault: what was taken goes back, if it can, before its lease ends.
            with suppress(PenstockError):
                for message in batch.messages:
                    now = self._clock.now()
                    await self._store.queue.extend(queue, message.receipt, 0, now)
            raise
        return batch

    def _pause_ms(self) -> int:
        """For how long nobody looks unless something comes."""
        return _BARRED_MS if self._barred else _EMPTY_MS

    async def _await_messages(self, subscription: Subscription, until: int, now: int) -> None:
        self._waiting = True
        await arrival(self._store, self._clock, subscription.source.queue, until, now)
        self._waiting = False

    async def _lease(self, batch: _Batch, now: int, most: int | None = None) -> bool:
        """Add messages to a batch, up to its size or `most`. False when there are none."""
        policy, source = batch.subscription.batch, batch.subscription.source
        terms = await source.terms(now)
        self._barred = terms is None
        if terms is None:
            return False
        so_far = len(batch.messages)
        limit = min(_FIRST_LOOK, policy.size) if most is None else most
        if so_far:
            # As many more as there is room for, if they are like those before.
            fitting = (policy.max_bytes - batch.size) * so_far // max(batch.size, 1)
            limit = min(policy.size - so_far, max(1, fitting))
        found = await self._store.queue.lease(source.queue, limit, terms, now)
        if not found:
            return False
        batch.until = min(batch.until, terms.until) if so_far else terms.until
        batch.messages += found
        batch.size += sum(map(policy.weigh, found))
        return True

    # Delivering.

    async def _deliver(self, batch: _Batch, epoch: int) -> None:
        await self._store.durable(epoch)
        policy = batch.subscription.batch
        if batch.size <= policy.max_bytes:
            await self._deliver_part(batch.messages, batch)
            return
        # What was leased together is more than the target takes at once: one part after the other, and of a group
        # nothing that comes after a message which was not settled.
        blocked: set[str | None] = set()
        for part in _parts(batch.messages, policy):
            fit = [message for message in part if message.group not in blocked]
            if fit:
                blocked |= await self._deliver_part(fit, batch)

    async def _deliver_part(self, messages: list[Leased], batch: _Batch) -> set[str | None]:
        """Hand messages over until the target takes them or they are given up; returns groups that are left unsettled."""
        subscription = batch.subscription
        throttles = 0
        while True:
            faults: dict[Kind, Fault] = {}
            if self._faults.active:
                faults = self._faults.draw(_arns(subscription, messages))
            outcome = await self._hand_over(messages, subscription, faults)
            if not isinstance(outcome, Throttled):
                break
            throttles += 1
            now = self._clock.now()
            at = subscription.policy.hold(throttles, batch.until, now)
            if at is not None:
                await self._pause(at)
            if at is None or self._stopped.done():
                break
        if Kind.CRASH in faults:
            self._faults.crash()
        if Kind.LOSE_ACKNOWLEDGEMENT in faults:
            return {message.group for message in messages} - {None}
        return await self._settle(messages, outcome, batch)

    async def _hand_over(
        self, messages: Sequence[Leased], subscription: Subscription, faults: dict[Kind, Fault]
    ) -> Outcome:
        if delay := faults.get(Kind.DELAY):
            await self._pause(self._clock.now() + delay.delay_ms)
        outcome: Outcome = Throttled("a fault was asked for")
        if Kind.THROTTLE not in faults:
            outcome = await subscription.target.deliver(messages)
        if Kind.DUPLICATE in faults:
            outcome = await subscription.target.deliver(messages)
        return outcome

    async def _pause(self, at: int) -> None:
        """Wait for an instant, or for the end of the runner."""
        self._delayed += 1
        try:
            await finished_by(self._clock, self._stopped, at)
        finally:
            self._delayed -= 1

    async def _renew(self, lease_ms: int) -> None:
        """Hold the leases of what is in flight for as long as the target takes, however long that is."""
        while self._batches:
            await self._clock.sleep_until(self._clock.now() + lease_ms // 3)
            now = self._clock.now()
            for batch in list(self._batches.values()):
                queue = batch.subscription.source.queue
                batch.until = now + lease_ms
                for message in batch.messages:
                    with suppress(PenstockError):
                        await self._store.queue.extend(queue, message.receipt, batch.until, now)
        self._renewing = None

    async def _settle(
        self, messages: Sequence[Leased], outcome: Outcome, batch: _Batch
    ) -> set[str | None]:
        """Carry out the policy's decisions, soon or now. Returns the groups of what is not settled."""
        subscription = batch.subscription
        if subscription.renew_ms:
            # What is decided now is not to be undone by a renewal.
            decided = {message.receipt for message in messages}
            batch.messages = [one for one in batch.messages if one.receipt not in decided]
        outcomes = [(message, outcome) for message in messages]
        if batch.gathering is not None:
            batch.decided = True
            self._unsettled[batch.gathering] = None
            last = all([other.decided for other in self._batches.values()])
            batch.gathering.add(outcomes, last=last)
            return set()
        left = await carry_out(self._store, subscription, outcomes, self._clock.now())
        return {message.group for message in left} - {None}

    def _on_settled(self, gathering: Gathering) -> None:
        self._unsettled.pop(gathering, None)
        self._look_whether_drained()


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _arns(subscription: Subscription, messages: Sequence[Leased]) -> Collection[str]:
    if subscription.arns_of is None:
        return subscription.arns
    return subscription.arns.union(*map(subscription.arns_of, messages))


def _parts(messages: Sequence[Leased], policy: BatchPolicy) -> Iterator[list[Leased]]:
    """Messages in order, in parts that are within the policy's bytes; a message beyond them all is its own part."""
    part: list[Leased] = []
    size = 0
    for message in messages:
        weight = policy.weigh(message)
        if part and size + weight > policy.max_bytes:
            yield part
            part, size = [], 0
        part.append(message)
        size += weight
    yield part
