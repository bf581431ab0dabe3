"""What the engine does while batches are in flight: more places, held batches, renewed leases, parts, changes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.clock import quiet
from penstock.core.retry import Decision, Drop, Leave, Postpone, Retry, Settle
from penstock.delivery.fault import Fault, Faults, Kind
from penstock.delivery.model import (
    BatchPolicy,
    Delivered,
    Failed,
    Outcome,
    PartiallyFailed,
    Scaling,
    Subscription,
    Throttled,
)
from penstock.delivery.sources import QueueSource
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage
from tests.delivery.test_engine import LEASE_MS, QueuePolicy, Receiver, World, scenario


class HoldingPolicy(QueuePolicy):
    """Keeps a throttled batch for ten seconds at a time, as long as its lease lasts."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        at = now + 10_000
        return at if at < until else None


@dataclass
class Fixed(QueuePolicy):
    """Decides one thing, whatever happened."""

    decision: Decision

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        return self.decision


async def grouped(w: World, group: str, *ids: str, size: int = 1) -> None:
    """Put messages of one group."""
    now = w.clock.now()
    messages = [NewMessage(id=i, body=b"x" * size, visible_at=now, group=group) for i in ids]
    await w.store.queue.put("q", messages, now)


@scenario
async def test_places_are_added_while_messages_wait(w: World) -> None:
    """A backlog gets more batches at once, minute by minute, up to the most; an empty queue ends that."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put(*(str(n) for n in range(20)))
    w.subscribe(receiver, BatchPolicy(), scaling=Scaling(start=2, per_minute=60, most=5))
    await w.settle()
    seen = [receiver.running]
    for _ in range(6):
        await w.advance(1)
        seen.append(receiver.running)
    assert [2, 3, 4, 5, 5, 5, 5] == seen

    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    receiver.gate.clear()
    await w.put(*(str(n) for n in range(30, 40)))
    await w.settle()
    assert 2 == receiver.running
    receiver.gate.set()


@scenario
async def test_cap_holds_at_every_moment(w: World) -> None:
    """A further limit may change while batches are in flight."""
    caps = [1]
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put(*"abcdef")
    w.subscribe(receiver, BatchPolicy(), scaling=Scaling(start=4, most=4, cap=lambda: caps[0]))
    await w.settle()
    assert 1 == receiver.running
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert (1, 0) == (receiver.most, await w.left())


@scenario
async def test_single_messages_for_all_places_are_leased_together(w: World) -> None:
    """Each is a batch of its own, and no more are leased than there are places for."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put(*"abcdefg")
    w.subscribe(receiver, BatchPolicy(), concurrency=5, singly=True)
    await w.settle()
    assert [[id_] for id_ in "abcde"] == [ids for _, ids in receiver.batches]
    counts = await w.store.queue.count("q", w.clock.now())
    assert (5, 2) == (counts.leased, counts.visible)
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert [[id_] for id_ in "abcdefg"] == [ids for _, ids in receiver.batches]
    assert 0 == await w.left()
    await w.put("h")
    await w.settle()
    assert ["h"] == receiver.batches[-1][1]


@dataclass
class SlowForB(Receiver):
    """Takes everything at once, except for `b`."""

    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        outcome = await super().deliver(batch)
        if batch[0].id == "b":
            await self.over.wait()
        return outcome


@scenario
async def test_singles_are_settled_though_others_go_on(w: World) -> None:
    """They are gathered for a moment; a slow neighbour is not waited for, and their places are free at once."""
    receiver = SlowForB(w.clock)
    await w.put(*"abcdefg")
    w.subscribe(receiver, BatchPolicy(), concurrency=2, singly=True)
    async with asyncio.timeout(10):
        while await w.left() > 1:
            await asyncio.sleep(0)
    assert [[id_] for id_ in "abcdefg"] == [ids for _, ids in receiver.batches]
    assert not w.engine.idle()
    receiver.over.set()
    await quiet(w.engine.idle)
    assert 0 == await w.left()


@scenario
async def test_fault_of_a_settlement_harms_no_other(w: World) -> None:
    """What is settled together with a message at fault is settled all the same; that one stays until its lease ends."""

    class Faulty(QueuePolicy):
        def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
            if message.id == "b" and now < LEASE_MS:
                raise ValueError("not now")
            return super().decide(message, outcome, now)

    await w.put(*"abc")
    w.subscribe(Receiver(w.clock), BatchPolicy(), concurrency=3, singly=True, policy=Faulty())
    await quiet(w.engine.idle)
    assert 1 == await w.left()
    await w.advance(31)
    await quiet(w.engine.idle)
    assert 0 == await w.left()


@scenario
async def test_throttled_batch_is_held(w: World) -> None:
    """A batch that finds no place is kept and tried again, without being received again."""
    answers = iter([Throttled(), Throttled(), Delivered()])
    receiver = Receiver(w.clock, lambda _: next(answers))
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=HoldingPolicy())
    await w.advance(25)
    assert [1_000, 11_000, 21_000] == [at for at, _ in receiver.batches]
    assert 0 == await w.left()


@scenario
async def test_held_batch_is_given_back_in_time(w: World) -> None:
    """Nobody else may get a message that is still held here: before the lease ends it is let go."""
    receiver = Receiver(w.clock, lambda _: Throttled())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=HoldingPolicy())
    await w.advance(31)
    assert [1_000, 11_000, 21_000, 31_000] == [at for at, _ in receiver.batches]
    assert 1 == await w.left()


@scenario
async def test_removal_does_not_wait_for_time(w: World) -> None:
    """A stop must not last as long as a held batch may be held."""
    receiver = Receiver(w.clock, lambda _: Throttled())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=HoldingPolicy())
    await w.settle()
    await w.engine.remove("s")
    assert 1 == await w.left()


@scenario
async def test_only_what_is_throttled_stays(w: World) -> None:
    """Messages that a target has no need of are done with, also when it has no place for the others."""

    class Filtering(QueuePolicy):
        def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
            assert isinstance(outcome, Throttled)
            assert outcome.only is not None
            return Leave() if message.id in outcome.only else Settle()

    receiver = Receiver(w.clock, lambda _: Throttled("busy", frozenset("a")))
    await w.put("a", "b")
    w.subscribe(receiver, BatchPolicy(size=10), policy=Filtering())
    await w.settle()
    assert 1 == await w.left()


@scenario
async def test_leases_are_renewed_while_the_target_works(w: World) -> None:
    """A delivery that takes longer than its lease is not delivered a second time."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), renew_ms=LEASE_MS)
    await w.advance(600)
    assert 1 == len(receiver.batches)
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert 0 == await w.left()


@scenario
async def test_renewal_does_not_undo_a_retry(w: World) -> None:
    """What was decided to be tried later stays where it was put."""
    receiver = Receiver(w.clock, lambda _: Failed())
    await w.put("a")
    policy = Fixed(Retry(90_000))
    w.subscribe(receiver, BatchPolicy(), policy=policy, renew_ms=LEASE_MS)
    await w.advance(80)
    policy.decision = Settle()
    await w.advance(10)
    assert [1_000, 90_000] == [at for at, _ in receiver.batches]


@scenario
async def test_postponed_message_is_as_before(w: World) -> None:
    """An attempt that does not count leaves no trace but the owner's."""
    receiver = Receiver(w.clock, lambda _: Throttled())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=Fixed(Postpone(5_000, b"once")))
    await w.settle()
    w.engine.discard("s")
    (again,) = await w.store.queue.lease("q", 1, LeaseTerms(until=9_000), 5_000)
    assert ("a", b"once", 1, 1_000) == (again.id, again.attributes, again.leases, again.sent_at)


@scenario
async def test_message_of_a_purged_queue_does_not_come_back(w: World) -> None:
    """What was in flight when its owner was deleted must not reach a later owner of the same name."""
    receiver = Receiver(w.clock, lambda _: Throttled(), gate=asyncio.Event())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=Fixed(Postpone(5_000, b"")))
    await w.settle()
    await w.store.queue.purge("q")
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert 0 == await w.left()


@scenario
async def test_dropped_message_is_gone(w: World) -> None:
    """What nobody wants to hear of is removed, and only logged."""
    receiver = Receiver(w.clock, lambda _: Failed())
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=Fixed(Drop("refused")))
    await w.settle()
    assert 0 == await w.left()


@scenario
async def test_parts_are_within_the_bytes(w: World) -> None:
    """Messages that were received together and are too much for one event are handed over one part after the other."""
    receiver = Receiver(w.clock)
    now = w.clock.now()
    sizes = {"a": 400, "b": 400, "c": 400, "d": 2_000, "e": 100}
    messages = [NewMessage(id=i, body=b"x" * n, visible_at=now) for i, n in sizes.items()]
    await w.store.queue.put("q", messages, now)
    w.subscribe(receiver, BatchPolicy(size=10, max_bytes=1_000))
    await w.settle()
    assert [["a", "b"], ["c"], ["d"], ["e"]] == [ids for _, ids in receiver.batches]
    assert (1, 0) == (receiver.most, await w.left())


@scenario
async def test_group_stops_where_a_part_failed(w: World) -> None:
    """Order within a group holds also where its messages are handed over in parts."""
    answers = iter([PartiallyFailed(frozenset({"a2"})), Delivered()])
    receiver = Receiver(w.clock, lambda _: next(answers, Delivered()))
    await grouped(w, "a", "a1", "a2", "a3", "a4", size=400)
    await grouped(w, "b", "b1", "b2", size=400)
    w.subscribe(receiver, BatchPolicy(size=10, max_bytes=1_000))
    await w.advance(1)
    assert [["a1", "a2"], ["b1", "b2"]] == [ids for _, ids in receiver.batches]
    await w.advance(31)
    assert [["a2", "a3"], ["a4"]] == [ids for _, ids in receiver.batches[2:]]


@scenario
async def test_groups_are_delivered_side_by_side(w: World) -> None:
    """A slow group holds up itself alone."""
    receiver = Receiver(w.clock, gate=asyncio.Event())
    await grouped(w, "a", "a1", "a2")
    await grouped(w, "b", "b1", "b2")
    w.subscribe(receiver, BatchPolicy(size=1))
    await w.settle()
    assert [["a1"], ["b1"]] == [ids for _, ids in receiver.batches]
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert {("a2",), ("b2",)} == {tuple(ids) for _, ids in receiver.batches[2:]}


@scenario
async def test_replacement_counts_what_is_in_flight(w: World) -> None:
    """A changed subscription must not have more in flight than it allows, counting what began before."""
    before, after = Receiver(w.clock, gate=asyncio.Event()), Receiver(w.clock)
    await w.put(*"abc")
    w.subscribe(before, BatchPolicy(), concurrency=1)
    await w.settle()
    w.subscribe(after, BatchPolicy(), concurrency=1)
    await w.settle()
    assert (1, 0) == (before.running, len(after.batches))
    assert before.gate is not None
    before.gate.set()
    await w.settle()
    assert [["b"], ["c"]] == [ids for _, ids in after.batches]


@scenario
async def test_owner_is_told_when_nothing_is_in_flight(w: World) -> None:
    """Who disables a subscription can tell when its last batch is settled; one that goes on is not told of."""

    async def terms(now: int) -> LeaseTerms:
        return LeaseTerms(until=now + LEASE_MS)

    told: list[str] = []
    receiver = Receiver(w.clock, gate=asyncio.Event())

    def subscription(name: str) -> Subscription:
        return Subscription(
            id="s",
            source=QueueSource("q", terms),
            target=receiver,
            policy=QueuePolicy(),
            on_drained=lambda: told.append(name),
        )

    await w.put("a")
    w.engine.add(subscription("first"))
    await w.settle()
    w.engine.discard("s")
    w.engine.add(subscription("second"))
    await w.settle()
    w.engine.discard("s")
    await w.settle()
    assert [] == told
    assert receiver.gate is not None
    receiver.gate.set()
    await w.settle()
    assert ["second"] == told
    assert w.engine.idle()


@scenario
async def test_faults_are_drawn_for_every_attempt(w: World) -> None:
    """A throttle that was asked for ends when it is no longer asked for, also for a batch that is held."""
    faults = Faults(lambda: None)
    faults.active = [Fault(arn="x", kind=Kind.THROTTLE)]
    receiver = Receiver(w.clock)
    await w.put("a")
    w.subscribe(receiver, BatchPolicy(), policy=HoldingPolicy(), faults=faults)
    await w.advance(5)
    assert [] == receiver.batches
    faults.active = []
    await w.advance(6)
    assert [11_000] == [at for at, _ in receiver.batches]


class LastWords(QueuePolicy):
    """Leaves a letter of the same text for every message, as a FIFO queue with deduplication by content gets it."""

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        letter = NewMessage(
            id=message.id, body=b"x", visible_at=now, group="g", dedup="the same text"
        )
        return [("dead.fifo", letter)]


@scenario
async def test_the_same_dead_letter_after_the_window_is_kept(w: World) -> None:
    """A FIFO queue knows an id for five minutes, not for ever."""
    w.subscribe(Receiver(w.clock), BatchPolicy(), policy=LastWords())
    await w.put("a")
    await w.advance(1)
    await w.put("b")
    await w.advance(300)
    assert 1 == await w.left("dead.fifo")
    await w.put("c")
    await w.advance(1)
    assert 2 == await w.left("dead.fifo")
