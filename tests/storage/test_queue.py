"""Conformance of the Queue primitive, verb by verb, on every engine."""

import contextlib
from typing import Any

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
