"""Conformance of the Queue primitive, verb by verb, on every engine."""

import contextlib
import time
from typing import Any

import pytest

from penstock.storage.primitives import Counts, Hold, LeaseTerms, NewMessage, Store


def message(id_: str, **options: Any) -> NewMessage:
    return NewMessage(**{"id": id_, "body": id_.encode(), "visible_at": 0, **options})


async def take(
    store: Store, limit: int = 10, now: int = 0, until: int = 30, **terms: Any
) -> list[str]:
    return [
        m.id for m in await store.queue.lease("q", limit, LeaseTerms(until=until, **terms), now)
    ]


async def test_put_keeps_order_and_content(store: Store) -> None:
    """A message comes back whole, oldest first."""
    first, second = await store.queue.put("q", [message("a", attributes=b"x"), message("b")], 5)

    assert first.sequence < second.sequence
    leased = await store.queue.lease("q", 10, LeaseTerms(until=30), 5)
    assert [(b"a", b"x", 5, 1), (b"b", b"", 5, 1)] == [
        (m.body, m.attributes, m.sent_at, m.leases) for m in leased
    ]


async def test_leased_is_hidden_until_the_end(store: Store) -> None:
    """A lease hides; its end brings the message back with a higher count."""
    await store.queue.put("q", [message("a")], 0)

    assert ["a"] == await take(store, now=1, until=30)
    assert [] == await take(store, now=29)
    again = await store.queue.lease("q", 1, LeaseTerms(until=60), 30)
    assert [("a", 2, 1)] == [(m.id, m.leases, m.first_leased_at) for m in again]


async def test_delay(store: Store) -> None:
    """A delayed message is not leased before its time."""
    await store.queue.put("q", [message("a", visible_at=10)], 0)

    assert [] == await take(store, now=9)
    assert 10 == await store.queue.next_due("q", 9)
    assert ["a"] == await take(store, now=10)


async def test_settle(store: Store) -> None:
    """Settling removes; again finds nothing."""
    await store.queue.put("q", [message("a")], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)

    assert Hold.DONE is await store.queue.settle("q", leased.receipt, 1)
    assert Hold.GONE is await store.queue.settle("q", leased.receipt, 1)
    assert [] == await take(store, now=100)


async def test_settle_after_the_end(store: Store) -> None:
    """An ended lease still settles, unless it is asked to be strict."""
    await store.queue.put("q", [message("a")], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)

    assert Hold.ENDED is await store.queue.settle("q", leased.receipt, 30, strict=True)
    assert Hold.DONE is await store.queue.settle("q", leased.receipt, 30)


async def test_superseded_receipt(store: Store) -> None:
    """A receipt is void once the message was leased again."""
    await store.queue.put("q", [message("a")], 0)
    (first,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)
    (second,) = await store.queue.lease("q", 1, LeaseTerms(until=60), 30)

    assert Hold.ENDED is await store.queue.settle("q", first.receipt, 31)
    assert Hold.ENDED is await store.queue.extend("q", first.receipt, 99, 31)
    assert Hold.DONE is await store.queue.settle("q", second.receipt, 31)


@pytest.mark.parametrize("group", [None, "g"])
async def test_settle_many(store: Store, group: str | None) -> None:
    """Each receipt is answered for itself: done, superseded, none, and the same one twice."""
    await store.queue.put("q", [message(one, group=group) for one in "abc"], 0)
    a, b, c = await store.queue.lease("q", 10, LeaseTerms(until=30), 0)
    (again,) = await store.queue.lease("q", 1, LeaseTerms(until=60), 30)
    assert again.id == "a"

    receipts = [b.receipt, a.receipt, "nonsense", b.receipt, c.receipt]
    held = await store.queue.settle_many("q", receipts, 31)
    assert [Hold.DONE, Hold.ENDED, Hold.GONE, Hold.GONE, Hold.DONE] == held
    assert Counts(0, 1, 0, 0) == await store.queue.count("q", 31)
    assert [Hold.DONE] == await store.queue.settle_many("q", [again.receipt], 31)
    assert Counts(0, 0, 0, None) == await store.queue.count("q", 31)
    assert [Hold.GONE] == await store.queue.settle_many("never", [a.receipt], 31)


async def test_put_many_is_all_or_nothing(store: Store) -> None:
    """A batch that fails leaves nothing, and is not counted."""
    await store.queue.put("q", [message("a")], 0)
    assert 1 == (await store.queue.count("q", 0)).visible
    broken = message("c")
    broken.body = object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        await store.queue.put("q", [message("b"), broken], 0)
    assert 1 == (await store.queue.count("q", 0)).visible
    assert ["a"] == await take(store)


async def test_put_all_is_all_or_nothing(store: Store) -> None:
    """Messages for several queues are there, counted and told of together, or not at all."""
    waiter = store.notifier.wait("r")
    many = [message(str(n)) for n in range(25)]
    await store.queue.put_all({"q": many, "r": [message("a")], "s": []}, 0)
    ordered = [message("b", group="g", dedup="k"), message("c", group="g", dedup="k")]
    await store.queue.put_all({"r": [message("d")], "f": ordered}, 0)
    broken = message("e")
    broken.body = object()  # type: ignore[assignment]
    with pytest.raises(TypeError):
        await store.queue.put_all({"q": [*many, broken], "r": [message("f")]}, 0)
    with pytest.raises(TypeError):
        await store.queue.put_all({"r": [message("g")], "q": [broken, *ordered]}, 0)

    assert waiter.done()
    assert [25, 2, 1] == [(await store.queue.count(name, 0)).visible for name in ("q", "r", "f")]
    assert [str(n) for n in range(25)] == await take(store, limit=30)


async def test_receipt_of_another_queue(store: Store) -> None:
    """A receipt opens nothing in another queue."""
    await store.queue.put("q", [message("a")], 0)
    await store.queue.put("r", [message("b")], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)

    assert Hold.GONE is await store.queue.settle("r", leased.receipt, 1)
    assert Hold.GONE is await store.queue.settle("q", "nonsense", 1)


async def test_extend(store: Store) -> None:
    """Extending moves the end of the lease, zero ends it."""
    await store.queue.put("q", [message("a")], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)

    assert Hold.DONE is await store.queue.extend("q", leased.receipt, 50, 10)
    assert [] == await take(store, now=49)
    assert Hold.DONE is await store.queue.extend("q", leased.receipt, 10, 10)
    assert ["a"] == await take(store, now=10, until=60)


async def test_groups_lease_the_visible_prefix(store: Store) -> None:
    """A group is served in order, and waits for what is in flight."""
    await store.queue.put("q", [message(n, group="g") for n in ("a", "b", "c")], 0)

    assert ["a", "b"] == await take(store, limit=2)
    assert [] == await take(store, now=1)
    assert ["a", "b", "c"] == await take(store, now=30, until=60)


async def test_groups_wait_for_an_extended_head(store: Store) -> None:
    """Nothing of a group is served while an earlier message of it is hidden."""
    await store.queue.put("q", [message(n, group="g") for n in ("a", "b", "c")], 0)
    leased = await store.queue.lease("q", 3, LeaseTerms(until=30), 0)
    await store.queue.extend("q", leased[0].receipt, 90, 1)
    await store.queue.extend("q", leased[1].receipt, 60, 1)

    assert [] == await take(store, now=40)
    assert 90 == await store.queue.next_due("q", 40)
    assert ["a", "b", "c"] == await take(store, now=90, until=120)


async def test_group_unlocks_when_its_head_is_settled(store: Store) -> None:
    """Deleting all that is in flight unlocks the group at once; a part does not."""
    await store.queue.put("q", [message(n, group="g") for n in ("a", "b", "c")], 0)
    a, b = await store.queue.lease("q", 2, LeaseTerms(until=30), 0)

    await store.queue.settle("q", a.receipt, 1)
    assert [] == await take(store, now=1)
    await store.queue.settle("q", b.receipt, 1)
    assert ["c"] == await take(store, now=1)


async def test_groups_take_turns(store: Store) -> None:
    """One group's backlog does not keep the others waiting."""
    await store.queue.put("q", [message(n, group=n[0]) for n in ("x1", "x2", "x3", "y1", "z1")], 0)

    assert ["x1", "x2", "x3", "y1"] == await take(store, limit=4, now=0, until=0)
    assert ["z1"] == (await take(store, limit=4, now=1, until=1))[:1]


async def test_dedup(store: Store) -> None:
    """A key is stored once in its window, also after the first message is gone."""
    (first,) = await store.queue.put("q", [message("a", group="g", dedup="k")], 100)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=130), 100)
    await store.queue.settle("q", leased.receipt, 100)
    (second,) = await store.queue.put(
        "q", [message("b", group="g", dedup="k")], 399, dedup_since=99
    )
    (third,) = await store.queue.put(
        "q", [message("c", group="g", dedup="k")], 500, dedup_since=200
    )

    assert ("a", first.sequence, True) == (second.id, second.sequence, second.duplicate)
    assert not third.duplicate
    assert ["c"] == await take(store, now=500, until=600)


async def test_dead_letter(store: Store) -> None:
    """A message leased too often is moved, with its history, when it would be leased again."""
    await store.queue.put("q", [message("a"), message("b", visible_at=1)], 0)
    terms: dict[str, Any] = {"dead_letter": "dead", "max_leases": 1, "source": "from-q"}
    assert ["a"] == await take(store, limit=1, until=10, **terms)

    assert ["b"] == await take(store, now=10, until=20, **terms)
    (dead,) = await store.queue.lease("dead", 10, LeaseTerms(until=99), 11)
    assert ("a", "from-q", 2, 0) == (dead.id, dead.source, dead.leases, dead.sent_at)


async def test_dead_letter_in_a_group(store: Store) -> None:
    """A dead letter frees its group for the successor and keeps its own group."""
    await store.queue.put("q", [message(n, group="g") for n in ("a", "b")], 0)
    terms: dict[str, Any] = {"dead_letter": "dead", "max_leases": 1, "source": "q"}
    assert ["a"] == await take(store, limit=1, until=10, **terms)

    assert ["b"] == await take(store, limit=1, now=10, until=20, **terms)
    (dead,) = await store.queue.lease("dead", 10, LeaseTerms(until=99), 11)
    assert ("a", "g") == (dead.id, dead.group)


async def test_expiry(store: Store) -> None:
    """A message past its retention is removed, not leased."""
    await store.queue.put("q", [message("a")], 0)
    await store.queue.put("q", [message("b", visible_at=50)], 50)

    assert ["b"] == await take(store, now=100, until=130, oldest=50)
    assert Counts(0, 1, 0, 50) == await store.queue.count("q", 100)


async def test_look_without_hiding(store: Store) -> None:
    """A lease that ends at once leaves the message visible and still counts."""
    await store.queue.put("q", [message("a")], 0)

    assert ["a"] == await take(store, now=5, until=5)
    (again,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 5)
    assert 2 == again.leases


async def test_count(store: Store) -> None:
    """Visible, leased and delayed messages are told apart."""
    await store.queue.put("q", [message("a"), message("b"), message("c", visible_at=50)], 0)
    await take(store, limit=1)

    assert Counts(1, 1, 1, 0) == await store.queue.count("q", 1)
    assert Counts(0, 0, 0, None) == await store.queue.count("unknown", 1)


async def test_purge(store: Store) -> None:
    """Nothing is left, and keys may be used again."""
    await store.queue.put("q", [message("a", group="g", dedup="k")], 0)
    await store.queue.purge("q")
    (again,) = await store.queue.put("q", [message("b", group="g", dedup="k")], 1)

    assert not again.duplicate
    assert ["b"] == await take(store, now=1)


async def test_rollback_leaves_neighbours(store: Store) -> None:
    """A failed transaction undoes itself and nothing else of its group."""
    await store.queue.put("q", [message("a")], 0)
    try:
        async with store.transaction() as tx:
            await tx.queue.put("q", [message("b")], 0)
            await tx.queue.put("new", [message("c")], 0)
            raise KeyError
    except KeyError:
        pass
    await store.queue.put("new", [message("d")], 0)
    await store.durable()

    assert ["a"] == await take(store)
    assert Counts(1, 0, 0, 0) == await store.queue.count("new", 0)


async def test_put_wakes_a_waiter(store: Store) -> None:
    """Whoever waits for a queue is told of a put, one waiter for each message."""
    one, two = store.notifier.wait("q"), store.notifier.wait("q")
    await store.queue.put("q", [message("a")], 0)

    assert (True, False) == (one.done(), two.done())
    store.notifier.forget("q", two)


async def test_unused_wake_up_is_passed_on(store: Store) -> None:
    """A waiter that gives up after it was woken wakes the next one."""
    one, two = store.notifier.wait("q"), store.notifier.wait("q")
    await store.queue.put("q", [message("a")], 0)
    store.notifier.forget("q", one)

    assert two.done()


async def test_groups_of_expired_messages_give_way(store: Store) -> None:
    """A lease goes on to other groups when those it looked at first had only messages to remove."""
    old = [message(f"old{n}", group=f"g{n}") for n in range(5)]
    await store.queue.put("q", old, 0)
    await store.queue.put("q", [message("new", group="z", visible_at=50)], 50)

    assert ["new"] == await take(store, limit=2, now=60, until=90, oldest=10)


async def test_many_expired_messages(store: Store) -> None:
    """A backlog that has expired is removed in few steps and does not hide what has not."""
    await store.queue.put("q", [message(str(n)) for n in range(300)], 0)
    await store.queue.put("q", [message("new", visible_at=50)], 50)

    assert ["new"] == await take(store, now=60, until=90, oldest=10)
    assert Counts(0, 1, 0, 50) == await store.queue.count("q", 60)


async def test_a_failed_look_keeps_what_is_known(store: Store) -> None:
    """A transaction that read and gave up costs its neighbours nothing: sequences go on without a gap."""
    (first,) = await store.queue.put("q", [message("a")], 0)
    for _ in range(3):
        with contextlib.suppress(KeyError):
            async with store.transaction() as tx:
                await tx.queue.count("q", 0)
                raise KeyError
    (second,) = await store.queue.put("q", [message("b")], 0)

    assert first.sequence + 1 == second.sequence


async def test_a_failed_transaction_is_not_counted(store: Store) -> None:
    """Counts are remembered, not read: what is undone must be taken off them again."""
    await store.queue.put("q", [message("a"), message("b")], 0)
    assert 2 == (await store.queue.count("q", 0)).visible
    with contextlib.suppress(KeyError):
        async with store.transaction() as tx:
            (leased,) = await tx.queue.lease("q", 1, LeaseTerms(until=30), 0)
            await tx.queue.settle("q", leased.receipt, 0)
            await tx.queue.put("q", [message("c"), message("d", visible_at=9)], 0)
            assert Counts(2, 0, 1, 0) == await tx.queue.count("q", 0)
            raise KeyError

    assert Counts(2, 0, 0, 0) == await store.queue.count("q", 0)


async def test_counts_follow_time(store: Store) -> None:
    """Leases end and delays pass without anybody doing anything."""
    await store.queue.put("q", [message("a"), message("b", visible_at=20)], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=10), 0)

    assert (0, 1, 1) == await numbers(store, 5)
    await store.queue.extend("q", leased.receipt, 30, 5)
    assert (0, 1, 1) == await numbers(store, 15)
    assert (1, 1, 0) == await numbers(store, 20)
    assert (2, 0, 0) == await numbers(store, 30)
    await store.queue.settle("q", leased.receipt, 31)
    assert (1, 0, 0) == await numbers(store, 31)


async def numbers(store: Store, now: int) -> tuple[int, int, int]:
    counts = await store.queue.count("q", now)
    return counts.visible, counts.leased, counts.delayed


@pytest.mark.parametrize("group", [None, "g"])
async def test_no_more_leases_than_allowed(store: Store, group: str | None) -> None:
    """A queue has so many leases at a time; what is settled or comes back makes room."""
    await store.queue.put("q", [message(n, group=group) for n in "abcde"], 0)

    first = await store.queue.lease("q", 2, LeaseTerms(until=30, max_leased=3), 0)
    assert ["a", "b"] == [m.id for m in first]
    if group is None:
        assert ["c"] == await take(store, max_leased=3)
    assert [] == await take(store, max_leased=2)
    for leased in first:
        await store.queue.settle("q", leased.receipt, 1)
    assert 1 == len(await take(store, limit=1, now=1, max_leased=3))
    assert 3 == len(await take(store, now=30, until=60, max_leased=3))
    assert 3 == await store.queue.leased("q", 31)


async def test_expire(store: Store) -> None:
    """Messages that wait since before an instant are removed, so many at a time, and counted no more."""
    await store.queue.put("q", [message(str(n)) for n in range(5)], 0)
    await store.queue.put("q", [message("late", visible_at=50)], 50)

    assert 3 == await store.queue.expire("q", 40, 3)
    assert 2 == await store.queue.expire("q", 40, 3)
    assert 0 == await store.queue.expire("q", 40, 3)
    assert Counts(1, 0, 0, 50) == await store.queue.count("q", 60)


async def test_expire_in_a_group(store: Store) -> None:
    """A group goes on with its first message that has not expired."""
    await store.queue.put("q", [message("a", group="g"), message("b", group="h")], 0)
    await store.queue.put("q", [message("c", group="g", visible_at=50)], 50)

    assert 2 == await store.queue.expire("q", 40, 10)
    assert ["c"] == await take(store, now=60, until=90)


async def test_groups_that_go_on_keep_their_order(store: Store) -> None:
    """Of groups whose first messages expire together the one that sent first goes first."""
    names = [f"g{n}" for n in range(20)]
    await store.queue.put("q", [message(f"old-{name}", group=name) for name in names], 0)
    await store.queue.put("q", [message(name, group=name, visible_at=50) for name in names], 50)

    assert 20 == await store.queue.expire("q", 40, 100)
    assert names == await take(store, limit=20, now=60, until=90)


async def test_extend_whatever_the_lease(store: Store) -> None:
    """Where it is not strict, an old lease decides as well, also after its end."""
    await store.queue.put("q", [message("a")], 0)
    (first,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)

    assert Hold.DONE is await store.queue.extend("q", first.receipt, 60, 40, strict=False)
    assert (0, 1, 0) == await numbers(store, 50)
    (second,) = await store.queue.lease("q", 1, LeaseTerms(until=90), 60)
    assert Hold.DONE is await store.queue.extend("q", first.receipt, 61, 61, strict=False)
    assert [second.id] == await take(store, now=61, until=90)


async def test_renew(store: Store) -> None:
    """Leases that nobody touched are given again, whole, with the same receipts."""
    await store.queue.put("q", [message(n, group="g") for n in "abc"], 0)
    leased = await store.queue.lease("q", 2, LeaseTerms(until=30), 1)
    receipts = [m.receipt for m in leased]

    assert leased == await store.queue.renew("q", receipts, 30, 50, 10)
    assert [] == await take(store, now=49)
    assert (1, 2, 0) == await numbers(store, 49)
    assert None is await store.queue.renew("q", receipts, 30, 90, 49)
    assert None is await store.queue.renew("q", receipts, 50, 90, 50)


async def test_renew_is_all_or_nothing(store: Store) -> None:
    """One message that was settled, or whose lease was moved, ends it for the others."""
    await store.queue.put("q", [message(n) for n in "ab"], 0)
    leased = await store.queue.lease("q", 2, LeaseTerms(until=30), 0)
    receipts = [m.receipt for m in leased]
    await store.queue.extend("q", receipts[0], 40, 1)

    assert None is await store.queue.renew("q", receipts, 30, 50, 2)
    await store.queue.extend("q", receipts[0], 30, 3)
    await store.queue.settle("q", receipts[1], 4)
    assert None is await store.queue.renew("q", receipts, 30, 50, 5)
    assert ["a"] == await take(store, now=30, until=60)


async def test_keys_that_do_not_count(store: Store) -> None:
    """A message that comes back keeps its key and is no duplicate of itself."""
    await store.queue.put("q", [message("a", group="g", dedup="k")], 0)
    (stored,) = await store.queue.put(
        "q", [message("b", group="g", dedup="k")], 1, dedup_since=None
    )

    assert not stored.duplicate
    leased = await store.queue.lease("q", 2, LeaseTerms(until=30), 1)
    assert [("a", "k"), ("b", "k")] == [(m.id, m.dedup) for m in leased]


async def test_tenants_with_many_messages_wait_behind_others(store: Store) -> None:
    """One tenant's backlog does not keep the others' messages waiting."""
    await store.queue.put("q", [message(f"n{n}", tenant="noisy") for n in range(300)], 0)
    await store.queue.put("q", [message("q1", tenant="quiet"), message("own")], 1)

    first = await take(store, limit=32, now=2)
    assert {"q1", "own"} < set(first)
    assert 270 == len(set(await take(store, limit=300, now=2)) - set(first))


async def test_a_queue_behind_is_part_of_its_queue(engine: Any) -> None:
    """Wherever a message waits, it is counted, extended, settled, expired and purged as its queue's, also after a restart."""
    async with engine.open() as store:
        await store.queue.put("q", [message(str(n), tenant="t") for n in range(60)], 0)
        leased = await store.queue.lease("q", 60, LeaseTerms(until=30), 0)
        assert 60 == len(leased)
        assert Hold.DONE is await store.queue.settle("q", leased[-1].receipt, 1)
        assert Hold.GONE is await store.queue.settle("q", leased[-1].receipt, 1)
        assert Hold.DONE is await store.queue.extend("q", leased[-2].receipt, 20, 1)
        assert 20 == await store.queue.next_due("q", 1)
        assert Counts(1, 58, 0, 0) == await store.queue.count("q", 25)
        await store.durable()
        if engine.kind == "memory":
            return
    async with engine.open() as store:
        assert Counts(1, 58, 0, 0) == await store.queue.count("q", 25)
        assert [leased[-2].id] == await take(store, now=25, until=30)
        assert 59 == await store.queue.expire("q", 40, 100)
        await store.queue.put("q", [message(str(n), tenant="t") for n in range(60)], 0)
        await store.queue.purge("q")
        assert Counts(0, 0, 0, None) == await store.queue.count("q", 0)


async def test_counting_does_not_grow_with_the_queue(store: Store) -> None:
    """Whoever watches a queue must not slow it down: no count reads the messages again."""
    for _ in range(30):
        await store.queue.put("q", [message(str(n)) for n in range(1_000)], 0)
    await store.queue.count("q", 0)

    started = time.perf_counter()
    for _ in range(20):
        assert 30_000 == (await store.queue.count("q", 0)).visible
    assert 0.005 > (time.perf_counter() - started) / 20
