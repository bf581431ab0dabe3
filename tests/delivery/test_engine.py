"""The delivery engine on virtual time: batches, windows, outcomes, retries, limits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from penstock.clock import VirtualClock
from penstock.core.retry import (
    AsyncRetryPolicy,
    DeadLetter,
    Decision,
    Leave,
    Settle,
    after_failure,
)
from penstock.delivery.engine import DeliveryEngine
from penstock.delivery.fault import Faults
from penstock.delivery.model import (
    BatchPolicy,
    Delivered,
    Failed,
    Outcome,
    PartiallyFailed,
    Scaling,
    Subscription,
)
from penstock.delivery.sources import QueueSource
from penstock.delivery.waiting import arrival
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage
from penstock.storage.sqlite import SqliteStore

LEASE_MS = 30_000


@dataclass
class Receiver:
    """A target that notes what it is given and answers what it is told to."""

    clock: VirtualClock
    answer: Callable[[Sequence[Leased]], Outcome] = lambda _: Delivered()
    gate: asyncio.Event | None = None
    batches: list[tuple[int, list[str]]] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        self.batches.append((self.clock.now(), [message.id for message in batch]))
        self.running += 1
        self.most = max(self.most, self.running)
        if self.gate is not None:
            await self.gate.wait()
        self.running -= 1
        return self.answer(batch)


class QueuePolicy:
    """As an SQS mapping decides: what failed waits for its visibility timeout."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        match outcome:
            case Delivered():
                return Settle()
            case PartiallyFailed(failed=failed):
                return Leave() if message.id in failed else Settle()
            case _:
                return Leave()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        return ()


class AsyncPolicy:
    """As an asynchronous invocation is retried, with a dead-letter queue."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        if isinstance(outcome, Delivered):
            return Settle()
        return after_failure(
            AsyncRetryPolicy(), attempts=message.leases, enqueued_at=message.sent_at, now=now
        )

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        if isinstance(decision, DeadLetter):
            return [
                ("dead", NewMessage(id=message.id, body=decision.reason.encode(), visible_at=now))
            ]
        return ()


class World:
    """A store, an engine and a clock; `subscribe` connects queue `q` to a receiver."""

    def __init__(self, store: SqliteStore) -> None:
        self.clock = VirtualClock(1_000)
        self.store = store
        self.engine = DeliveryEngine(store, self.clock, Faults(lambda: None))

    async def put(self, *ids: str) -> None:
        messages = [NewMessage(id=i, body=b"x", visible_at=self.clock.now()) for i in ids]
        await self.store.queue.put("q", messages, self.clock.now())

    def subscribe(
        self,
        receiver: Receiver,
        batch: BatchPolicy,
        concurrency: int = 5,
        policy: QueuePolicy | AsyncPolicy | None = None,
        scaling: Scaling | None = None,
        renew_ms: int = 0,
        singly: bool = False,
        faults: Faults | None = None,
    ) -> None:
        async def terms(now: int) -> LeaseTerms:
            return LeaseTerms(until=now + LEASE_MS)

        if faults is not None:
            self.engine = DeliveryEngine(self.store, self.clock, faults)
        self.engine.add(
            Subscription(
                id="s",
                source=QueueSource("q", terms),
                target=receiver,
                policy=policy or QueuePolicy(),
                batch=batch,
                scaling=scaling or Scaling(start=concurrency, most=concurrency),
                renew_ms=renew_ms,
                singly=singly,
                arns=frozenset("x"),
            )
        )

    async def settle(self) -> None:
        """Let every task run until nothing is left to do now."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(int(seconds * 1000), self.settle)

    async def left(self, queue: str = "q") -> int:
        counts = await self.store.queue.count(queue, self.clock.now())
        return counts.visible + counts.leased + counts.delayed


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    store = await SqliteStore.open(":memory:")
    one = World(store)
    yield one
    await one.engine.close()
    await store.close()


def scenario(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in a world of its own."""

    async def run() -> None:
        async with world() as one:
            await test(one)

    def wrapped() -> None:
        asyncio.run(run())

    wrapped.__doc__ = test.__doc__
    return wrapped


@scenario
async def test_takes_what_is_there(w: World) -> None:
    """Without a window a batch is what can be had at once, up to its size."""
    receiver = Receiver(w.clock)
    await w.put(*"abcde")
    w.subscribe(receiver, BatchPolicy(size=3))
    await w.settle()

    assert [["a", "b", "c"], ["d", "e"]] == [ids for _, ids in receiver.batches]
    assert 0 == await w.left()


@scenario
async def test_window_fills_a_batch(w: World) -> None:
    """A window holds a batch back until it is full or the time is over."""
    receiver = Receiver(w.clock)
    w.subscribe(receiver, BatchPolicy(size=3, window_ms=5_000))
    await w.put("a")
    await w.advance(2)
    await w.put("b")
    await w.advance(2.9)
    assert [] == receiver.batches
    await w.advance(0.2)
    assert [(6_000, ["a", "b"])] == receiver.batches

    await w.put(*"cde")
    await w.settle()
    assert ["c", "d", "e"] == receiver.batches[1][1]


@scenario
async def test_batches_above_ten(w: World) -> None:
    """A batch may be larger than what one receive gives."""
    receiver = Receiver(w.clock)
    await w.put(*(str(n) for n in range(25)))
    w.subscribe(receiver, BatchPolicy(size=100, window_ms=1_000))
    await w.advance(1.1)

    assert [25] == [len(ids) for _, ids in receiver.batches]


@scenario
async def test_bytes_fill_a_batch(w: World) -> None:
    """A batch is full when its bytes are."""
    receiver = Receiver(w.clock)
    messages = [NewMessage(id=str(n), body=b"x" * 100, visible_at=0) for n in range(30)]
    await w.store.queue.put("q", messages, w.clock.now())
    w.subscribe(receiver, BatchPolicy(size=100, max_bytes=1_000))
    await w.settle()

    assert [10, 10, 10] == [len(ids) for _, ids in receiver.batches]


@scenario
async def test_failed_batch_comes_back(w: World) -> None:
    """What failed is tried again when its visibility timeout ends, not before."""
    answers = iter([Failed(), Delivered()])
    receiver = Receiver(w.clock, lambda _: next(answers))
    await w.put("a", "b")
    w.subscribe(receiver, BatchPolicy(size=10))
    await w.advance(29)
    assert 1 == len(receiver.batches)
    await w.advance(2)

    assert [(1_000, ["a", "b"]), (31_000, ["a", "b"])] == receiver.batches
    assert 0 == await w.left()


@scenario
async def test_partial_failure(w: World) -> None:
    """Only what failed comes back."""
    answers = iter([PartiallyFailed(frozenset({"b"})), Delivered()])
    receiver = Receiver(w.clock, lambda _: next(answers))
    await w.put("a", "b", "c")
    w.subscribe(receiver, BatchPolicy(size=10))
    await w.advance(31)

    assert [["a", "b", "c"], ["b"]] == [ids for _, ids in receiver.batches]
    assert 0 == await w.left()


@scenario
async def test_concurrency_is_a_limit(w: World) -> None:
    """No more batches are with the target than allowed, and none waits needlessly."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put(*"abcdef")
    w.subscribe(receiver, BatchPolicy(size=1), concurrency=2)
    await w.settle()
    assert (2, 2) == (receiver.running, len(receiver.batches))
    assert not w.engine.idle()
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()

    assert (2, 6) == (receiver.most, len(receiver.batches))
    assert w.engine.idle()


@scenario
async def test_asynchronous_retries(w: World) -> None:
    """Two retries, after one minute and two more, then the dead letter, in one transaction with the end."""
    receiver = Receiver(w.clock, lambda _: Failed())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(size=1), policy=AsyncPolicy())
    await w.advance(600)

    assert [1_000, 61_000, 181_000] == [at for at, _ in receiver.batches]
    assert (0, 1) == (await w.left(), await w.left("dead"))


@scenario
async def test_removal_gives_messages_back(w: World) -> None:
    """A batch that was still filling is visible again at once."""
    receiver = Receiver(w.clock)
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(size=10, window_ms=60_000))
    await w.settle()
    await w.engine.remove("s")

    assert [] == receiver.batches
    assert 1 == (await w.store.queue.count("q", w.clock.now())).visible


@scenario
async def test_removal_finishes_what_is_in_flight(w: World) -> None:
    """A batch that the target has is settled before the removal returns."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(size=1))
    await w.settle()
    removal = asyncio.create_task(w.engine.remove("s"))
    await w.settle()
    assert not removal.done()
    assert receiver.gate is not None
    receiver.gate.set()
    await removal

    assert 0 == await w.left()


@scenario
async def test_twice_alike(w: World) -> None:
    """The same history gives the same deliveries at the same instants."""

    async def history(one: World) -> list[tuple[int, list[str]]]:
        receiver = Receiver(one.clock, lambda b: Failed() if len(b) % 2 else Delivered())
        one.subscribe(receiver, BatchPolicy(size=4, window_ms=700))
        for n in range(40):
            await one.put(f"m{n}")
            await one.advance(0.3)
        await one.advance(300)
        return receiver.batches

    async with world() as other:
        assert await history(w) == await history(other)


@scenario
async def test_due_between_two_looks_at_the_clock(w: World) -> None:
    """A message that became visible just after the look that missed it is not waited for in vain."""
    await w.store.queue.put("q", [NewMessage(id="a", body=b"", visible_at=1_001)], 1_000)
    waiting = asyncio.create_task(arrival(w.store, w.clock, "q", 60_000, 1_000))
    await w.advance(0.001)

    assert waiting.done()
    await waiting


@scenario
async def test_a_fault_does_not_end_a_subscription(w: World) -> None:
    """An unforeseen error is tried again after a pause."""
    receiver = Receiver(w.clock)
    faults = iter([KeyError("a fault"), None])

    async def terms(now: int) -> LeaseTerms:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return LeaseTerms(until=now + LEASE_MS)

    await w.put("a")
    w.engine.add(
        Subscription(
            id="s",
            source=QueueSource("q", terms),
            target=receiver,
            policy=QueuePolicy(),
            batch=BatchPolicy(),
        )
    )
    await w.advance(2)

    assert [["a"]] == [ids for _, ids in receiver.batches]


@scenario
async def test_superseded_lease_has_no_follow_up(w: World) -> None:
    """When somebody else has the message by now, its dead letter is theirs to write."""
    receiver = Receiver(w.clock, lambda _: Failed(), gate=asyncio.Event())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(size=1), concurrency=1, policy=AsyncPolicy())
    await w.settle()
    for n in range(3):
        later = w.clock.now() + LEASE_MS * (n + 1)
        await w.store.queue.lease("q", 1, LeaseTerms(until=later + LEASE_MS), later)
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()

    assert 0 == await w.left("dead")
    assert 1 == await w.left()


@scenario
async def test_discard_does_not_wait(w: World) -> None:
    """A discarded subscription takes nothing more; what is in flight is settled, and counts as work."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put("a", "b")
    w.subscribe(receiver, BatchPolicy(size=1), concurrency=1)
    await w.settle()
    w.engine.discard("s")
    assert not w.engine.idle()
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()

    assert (1, 1) == (len(receiver.batches), await w.left())
    assert w.engine.idle()
