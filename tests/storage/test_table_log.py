"""Conformance of the Table, Log, Blob and Leases primitives."""

import asyncio

import pytest

from penstock.core.errors import Conflict
from penstock.storage.primitives import NewMessage, Store


async def keys(store: Store, **options: object) -> list[bytes]:
    return [row.sort for row in await store.table.range("t", b"p", **options)]  # type: ignore[arg-type]


async def test_put_get_delete(store: Store) -> None:
    """A document is there until it is deleted."""
    version = await store.table.put("t", b"p", b"s", b"one")

    row = await store.table.get("t", b"p", b"s")
    assert row is not None
    assert (b"one", version) == (row.document, row.version)
    assert await store.table.delete("t", b"p", b"s")
    assert not await store.table.delete("t", b"p", b"s")
    assert await store.table.get("t", b"p", b"s") is None


async def test_conditional_put(store: Store) -> None:
    """A put that expects another version changes nothing."""
    version = await store.table.put("t", b"p", b"s", b"one", expect=0)
    for expected in (0, version + 1):
        with pytest.raises(Conflict):
            await store.table.put("t", b"p", b"s", b"two", expect=expected)
    newer = await store.table.put("t", b"p", b"s", b"two", expect=version)

    assert newer > version
    with pytest.raises(Conflict):
        await store.table.delete("t", b"p", b"s", expect=version)
    assert await store.table.delete("t", b"p", b"s", expect=newer)


async def test_stamp_changes_with_the_documents(store: Store) -> None:
    """A stamp stays while a table does, and is another one after every change and after one that is undone."""
    table = store.table

    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.table.put("t", b"p", b"s", b"two")
            await tx.table.put("t", b"p", b"r", b"two")
            within.append(tx.table.stamp("t"))
            raise ValueError

    within: list[int] = []
    seen = {table.stamp("t")}
    for change in (
        lambda: table.put("t", b"p", b"s", b"one"),
        lambda: table.delete("t", b"p", b"s"),
        lambda: table.drop("t"),
    ):
        await change()
        seen.add(table.stamp("t"))
        await table.put("other", b"p", b"s", b"one")
        assert table.stamp("t") in seen
    with pytest.raises(ValueError):
        await fail()

    assert len(seen) == 4
    assert table.stamp("t") not in {*seen, *within}


async def test_version_is_not_used_again(store: Store) -> None:
    """A document that was deleted and written again is another version."""
    version = await store.table.put("t", b"p", b"s", b"one")
    await store.table.delete("t", b"p", b"s")
    await store.table.put("t", b"p", b"s", b"one")

    with pytest.raises(Conflict):
        await store.table.put("t", b"p", b"s", b"two", expect=version)


async def test_range(store: Store) -> None:
    """Sort keys compare as bytes; both directions; half-open bounds."""
    for sort in (b"b", b"a", b"\xff", b"", b"a\x00"):
        await store.table.put("t", b"p", sort, b"x")
    await store.table.put("t", b"other", b"z", b"x")

    assert [b"", b"a", b"a\x00", b"b", b"\xff"] == await keys(store)
    assert [b"\xff", b"b"] == await keys(store, reverse=True, limit=2)
    assert [b"a", b"a\x00"] == await keys(store, low=b"a", high=b"b")


async def test_scan(store: Store) -> None:
    """A scan goes on beyond a key, across partitions."""
    for partition, sort in ((b"p", b"2"), (b"p", b"1"), (b"q", b"0")):
        await store.table.put("t", partition, sort, b"x")

    first = await store.table.scan("t", limit=2)
    rest = await store.table.scan("t", after=(first[-1].partition, first[-1].sort))
    assert [(b"p", b"1"), (b"p", b"2"), (b"q", b"0")] == [
        (r.partition, r.sort) for r in first + rest
    ]
    assert 3 == await store.table.size("t")
    await store.table.drop("t")
    assert [] == await store.table.scan("t")


async def test_log(store: Store) -> None:
    """Entries come back in order, from either end, until they are trimmed."""
    last = await store.log.append("l", [(10, b"a"), (20, b"b")])
    await store.log.append("l", [(30, b"c")])

    assert [b"a", b"b", b"c"] == [r.data for r in await store.log.read("l")]
    assert [b"c"] == [r.data for r in await store.log.read("l", after=last)]
    assert [b"c", b"b"] == [r.data for r in await store.log.read("l", limit=2, reverse=True)]
    bounds = await store.log.bounds("l")
    assert bounds is not None
    assert (b"a", b"c") == (bounds[0].data, bounds[1].data)
    assert 1 == await store.log.trim("l", 20)
    assert [b"b", b"c"] == [r.data for r in await store.log.read("l")]
    await store.log.drop("l")
    assert await store.log.bounds("l") is None


async def test_log_by_time(store: Store) -> None:
    """Entries are found by their instants, whatever the order in which they were appended."""
    await store.log.append("l", [(30, b"d"), (10, b"a"), (20, b"b"), (20, b"c")])
    await store.log.append("other", [(20, b"x")])

    every = await store.log.read_by_time("l")
    assert [b"a", b"b", b"c", b"d"] == [r.data for r in every]
    twenties = await store.log.read_by_time("l", after=(20, 0), before=(30, 0))
    assert [b"b", b"c"] == [r.data for r in twenties]
    beyond = await store.log.read_by_time("l", after=(20, twenties[0].sequence), limit=1)
    assert [b"c"] == [r.data for r in beyond]
    latest = await store.log.read_by_time("l", before=(30, 0), limit=2, reverse=True)
    assert [b"c", b"b"] == [r.data for r in latest]
    assert [] == await store.log.read_by_time("none")


async def test_blob(store: Store) -> None:
    """Bytes are kept once, under their digest."""
    digest = await store.blob.put(b"data")

    assert digest == await store.blob.put(b"data")
    assert b"data" == await store.blob.open(digest) == store.blob.path(digest).read_bytes()
    await store.blob.delete(digest)
    assert await store.blob.open(digest) is None


async def test_leases(store: Store) -> None:
    """So many owners, no more, until they let go or their time is over."""
    assert await store.leases.acquire("l", "a", 10, 0)
    assert await store.leases.acquire("l", "a", 20, 5)
    assert not await store.leases.acquire("l", "b", 30, 19)
    assert await store.leases.acquire("l", "b", 30, 20)
    assert await store.leases.acquire("l", "c", 30, 20, limit=2)
    await store.leases.release("l", "b")
    assert await store.leases.acquire("l", "d", 30, 21, limit=2)


async def test_reset(store: Store) -> None:
    """Nothing is left after a reset."""
    await store.table.put("t", b"p", b"s", b"x")
    await store.log.append("l", [(1, b"x")])
    await store.reset()

    assert await store.table.get("t", b"p", b"s") is None
    assert [] == await store.log.read("l")


async def test_the_same_bytes_at_once(store: Store) -> None:
    """Concurrent puts of one content do not trip over each other's files."""
    digests = await asyncio.gather(*(store.blob.put(b"same" * 100_000) for _ in range(20)))

    assert 1 == len(set(digests))
    assert b"same" * 100_000 == await store.blob.open(digests[0])


async def test_transaction_of_one_write(store: Store) -> None:
    """One write alone is seen within its transaction and after it, and is undone when the block raises."""
    old = await store.table.put("t", b"p", b"s", b"old")
    async with store.transaction() as tx:
        await tx.table.put("t", b"p", b"s", b"new", expect=old)
        assert [b"s"] == [row.sort for row in await tx.table.range("t", b"p")]
        assert b"new" == (await tx.table.range("t", b"p"))[0].document
    async with store.transaction() as tx:
        newer = await tx.table.put("t", b"p", b"s", b"newer")
    assert b"newer" == (await store.table.range("t", b"p"))[0].document

    with pytest.raises(KeyError):
        async with store.transaction() as tx:
            await tx.table.put("t", b"p", b"s", b"undone", expect=newer)
            raise KeyError
    for row in (await store.table.get("t", b"p", b"s"), *await store.table.range("t", b"p")):
        assert row is not None
        assert (b"newer", newer) == (row.document, row.version)


async def test_writes_of_a_transaction_are_in_order(store: Store) -> None:
    """A later write of a transaction meets what the first has done, also within verbs that are blocks of their own."""
    many = [NewMessage(id=str(n), body=b"", visible_at=0) for n in range(25)]
    await store.queue.put("first", many[:1], 0)
    await store.table.put("t", b"p", b"known", b"")
    async with store.transaction() as tx:
        await tx.table.put("t", b"p", b"a", b"first")
        assert await tx.table.delete("t", b"p", b"a")
        await tx.table.put("t", b"p", b"a", b"second")
        await tx.queue.put("first", many[1:], 0)

    row = await store.table.get("t", b"p", b"a")
    assert row is not None
    assert b"second" == row.document
    assert 25 == (await store.queue.count("first", 0)).visible

    with pytest.raises(Conflict):
        async with store.transaction() as tx:
            await tx.table.put("t", b"p", b"a", b"third")
            await tx.queue.put("first", many, 0)
            await tx.table.put("t", b"p", b"a", b"fourth", expect=row.version)
    assert [b"second"] == [row.document for row in await store.table.range("t", b"p", high=b"b")]
    assert 25 == (await store.queue.count("first", 0)).visible
