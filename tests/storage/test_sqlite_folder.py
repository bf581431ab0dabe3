"""What only a data folder can do: be reopened, be taken, be broken."""

import asyncio
import contextlib
import os
from pathlib import Path

import apsw
import pytest

from penstock.core.errors import StoreError, StoreFull, Unavailable
from penstock.storage.primitives import Hold, LeaseTerms, NewMessage
from penstock.storage.sql import load_migrations
from penstock.storage.sqlite import SqliteStore


def message(id_: str, group: str | None = None) -> NewMessage:
    return NewMessage(id=id_, body=b"x", visible_at=0, group=group, dedup=id_ if group else None)


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    """What was durable is what the next process finds, leases and dedup keys included."""
    store = await SqliteStore.open(tmp_path)
    await store.queue.put("q", [message("a"), message("b")], 0)
    (leased,) = await store.queue.lease("q", 1, LeaseTerms(until=30), 0)
    await store.queue.put("f", [message("c", "g")], 0)
    version = await store.table.put("t", b"p", b"s", b"doc")
    await store.close()

    store = await SqliteStore.open(tmp_path)
    assert Hold.DONE is await store.queue.settle("q", leased.receipt, 1)
    assert ["b"] == [m.id for m in await store.queue.lease("q", 9, LeaseTerms(until=30), 1)]
    assert (await store.queue.put("f", [message("c", "g")], 1))[0].duplicate
    assert await store.table.put("t", b"p", b"s", b"new", expect=version) > version
    await store.close()


async def test_sequences_rise_across_reopening(tmp_path: Path) -> None:
    """No sequence is given twice, though its message is gone."""
    store = await SqliteStore.open(tmp_path)
    (first,) = await store.queue.put("q", [message("a")], 0)
    await store.queue.purge("q")
    await store.close()
    store = await SqliteStore.open(tmp_path)
    (second,) = await store.queue.put("q", [message("b")], 0)

    assert second.sequence > first.sequence
    await store.close()


async def test_folder_in_use(tmp_path: Path) -> None:
    """Two processes on one folder would lose messages: the second is told who has it."""
    store = await SqliteStore.open(tmp_path)
    with pytest.raises(StoreError, match=r"in use by process \d+"):
        await SqliteStore.open(tmp_path)
    await store.close()


async def test_newer_schema(tmp_path: Path) -> None:
    """A folder of a newer version is left alone."""
    store = await SqliteStore.open(tmp_path)
    await store.close()
    database = apsw.Connection(str(tmp_path / "penstock.db"))
    database.execute("PRAGMA user_version = 999")
    database.close()

    with pytest.raises(StoreError, match="newer Penstock"):
        await SqliteStore.open(tmp_path)


async def test_older_schema(tmp_path: Path) -> None:
    """Documents of a folder of the first schema are there in the newest."""
    first = load_migrations("penstock.storage.sqlite")[0][1]
    old = apsw.Connection(str(tmp_path / "penstock.db"))
    old.execute(f"BEGIN; {first}; PRAGMA user_version = 1; COMMIT")
    old.execute("INSERT INTO name (id, text) VALUES (1, 't')")
    kept = [(1, b"p", b"b", 7, b"second"), (1, b"p", b"a", 6, b"first"), (1, b"q", b"", 8, b"")]
    for row in kept:
        old.execute("INSERT INTO document VALUES (?, ?, ?, ?, ?)", row)
    old.close()
    store = await SqliteStore.open(tmp_path)
    newer = await store.table.put("t", b"p", b"b", b"newer", expect=7)

    found = [(row.sort, row.document, row.version) for row in await store.table.range("t", b"p")]
    assert [(b"a", b"first", 6), (b"b", b"newer", newer)] == found
    assert 3 == await store.table.size("t")
    await store.close()


async def test_path_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is a clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot use the data folder"):
        await SqliteStore.open(tmp_path / "file")


async def test_not_a_database(tmp_path: Path) -> None:
    """Foreign bytes are not overwritten."""
    (tmp_path / "penstock.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match="cannot use the data folder"):
        await SqliteStore.open(tmp_path)
    assert (tmp_path / "penstock.db").read_bytes().startswith(b"something else")


async def test_full_disk(tmp_path: Path) -> None:
    """A write that finds no room fails, what was acknowledged stays, and room lets it go on."""
    store = await SqliteStore.open(tmp_path)
    await store.queue.put("q", [message("kept")], 0)
    await store.durable()
    pages = store._driver.pragma("page_count")
    store._driver.pragma("max_page_count", pages + 5)
    big = NewMessage(id="big", body=b"x" * 1_000_000, visible_at=0)
    with pytest.raises(StoreFull):
        await store.queue.put("q", [big], 0)
        await store.durable()
    store._driver.pragma("max_page_count", 1_000_000)
    await store.queue.put("q", [message("after")], 0)
    await store.durable()

    leased = await store.queue.lease("q", 9, LeaseTerms(until=30), 0)
    assert ["kept", "after"] == [m.id for m in leased]
    await store.close()


async def test_full_disk_at_the_end_of_a_transaction(tmp_path: Path) -> None:
    """A transaction whose only write finds no room raises, and leaves what was there."""
    store = await SqliteStore.open(tmp_path)
    await store.table.put("t", b"p", b"s", b"kept")
    await store.durable()
    store._driver.pragma("max_page_count", store._driver.pragma("page_count") + 5)
    with pytest.raises(StoreFull):
        async with store.transaction() as tx:
            await tx.table.put("t", b"p", b"s", b"x" * 1_000_000)
    store._driver.pragma("max_page_count", 1_000_000)
    with pytest.raises(StoreFull):
        async with store.transaction() as tx:
            store._driver.pragma("max_page_count", store._driver.pragma("page_count") + 5)
            await tx.table.put("t", b"p", b"s", b"x" * 8_000)
            await tx.table.put("t", b"p", b"t", b"x" * 1_000_000)
    store._driver.pragma("max_page_count", 1_000_000)

    row = await store.table.get("t", b"p", b"s")
    assert row is not None
    assert b"kept" == row.document
    assert 1 == await store.table.size("t")
    await store.close()


async def test_full_disk_in_the_middle_of_a_lease(tmp_path: Path) -> None:
    """A lease that finds no room hides none of its messages, and the counts are those of the folder."""
    store = await SqliteStore.open(tmp_path)
    for _ in range(5):
        many = [NewMessage(id=str(n), body=b"x", visible_at=0) for n in range(1000)]
        await store.queue.put("q", many, 0)
    store._driver.pragma("max_page_count", store._driver.pragma("page_count") + 1)
    leased = 0
    with pytest.raises(StoreFull):
        for round_ in range(50):
            terms = LeaseTerms(until=1000 + round_, oldest=0, max_leases=1, dead_letter=None)
            leased += len(await store.queue.lease("q", 100, terms, 5))
    store._driver.pragma("max_page_count", 1_000_000)
    counts = await store.queue.count("q", 5)
    await store.close()
    store = await SqliteStore.open(tmp_path)

    assert 0 < leased == counts.leased
    assert counts == await store.queue.count("q", 5)
    await store.close()


async def test_many_writers_share_a_group(tmp_path: Path) -> None:
    """Concurrent writers are all answered, each after its own write is there."""
    store = await SqliteStore.open(tmp_path)

    async def write(n: int) -> None:
        await store.queue.put("q", [message(str(n))], 0)
        await store.durable()

    await asyncio.gather(*(write(n) for n in range(500)))
    assert 500 == (await store.queue.count("q", 0)).visible
    await store.close()


async def test_who_speaks_of_older_records_only_does_not_wait(tmp_path: Path) -> None:
    """A record that is on disk may be spoken of whatever was written since; a newer one may not, before it is."""
    store = await SqliteStore.open(tmp_path)
    old = await store.table.put("t", b"p", b"old", b"")
    await store.durable()
    new = await store.table.put("t", b"p", b"new", b"")
    told: list[str] = []
    store.when_durable(store.epoch, lambda _: told.append("new"), new)
    store.when_durable(store.epoch, lambda _: told.append("old"), old)
    assert ["old"] == told
    await store.durable()
    assert ["old", "new"] == told
    await store.close()

    store = await SqliteStore.open(tmp_path)
    await store.queue.put("q", [message("a")], 0)
    store.when_durable(store.epoch, lambda _: told.append("since reopening"), new)
    assert "since reopening" == told[-1]
    await store.close()

    store = await SqliteStore.open(tmp_path)
    first = await store.table.put("t", b"p", b"first", b"")
    store.when_durable(store.epoch, lambda _: told.append("first"), first)
    assert "first" not in told
    await store.close()
    assert "first" == told[-1]


async def test_who_speaks_of_a_lost_record_is_told(tmp_path: Path) -> None:
    """What was written after the last flush may be gone, and nothing that rests on it is true."""
    store = await SqliteStore.open(tmp_path)
    old = await store.table.put("t", b"p", b"old", b"")
    await store.durable()
    epoch = store.epoch
    lost = await store.table.put("t", b"p", b"lost", b"")
    store._driver.execute("ROLLBACK")
    with pytest.raises(apsw.SQLError):
        await store.durable()
    await store.table.put("t", b"p", b"later", b"")
    await store.durable()

    with pytest.raises(Unavailable):
        await store.durable(epoch, lost)
    await store.durable(store.epoch, old)
    await store.close()


async def test_checkpoint_keeps_the_log_short(tmp_path: Path) -> None:
    """The write-ahead log is copied back while writes go on."""
    store = await SqliteStore.open(tmp_path)
    for n in range(300):
        await store.queue.put("q", [NewMessage(id=str(n), body=b"x" * 400_000, visible_at=0)], 0)
        await store.durable()

    assert 300 == (await store.queue.count("q", 0)).visible
    assert (tmp_path / "penstock.db-wal").stat().st_size < 200_000_000
    assert (tmp_path / "penstock.db").stat().st_size > 50_000_000
    await store.close()


async def test_failed_flush_acknowledges_nobody(tmp_path: Path) -> None:
    """Once a flush has failed nothing is known to be on disk: neither its own group nor a later one is acknowledged."""
    store = await SqliteStore.open(tmp_path)
    await store.queue.put("q", [message("kept")], 0)
    await store.durable()
    epoch = store.epoch
    os.close(store._group._descriptor)
    await store.queue.put("q", [message("lost")], 0)
    waiting = asyncio.ensure_future(store.durable(epoch))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with contextlib.suppress(Unavailable):
        await store.queue.put("q", [message("later")], 0)

    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        await store.durable(epoch)
    with pytest.raises(Unavailable, match="restart"):
        await store.queue.put("q", [message("after")], 0)
    store._group._descriptor = -1
    await store.close()


async def test_late_writer_of_a_lost_group_is_told(tmp_path: Path) -> None:
    """Who asks only after its group was lost is not told that all is well."""
    store = await SqliteStore.open(tmp_path)
    await store.queue.put("q", [message("kept")], 0)
    await store.durable()
    epoch = store.epoch
    await store.queue.put("q", [message("lost")], 0)
    store._driver.execute("ROLLBACK")
    with pytest.raises(apsw.SQLError):
        await store.durable()

    with pytest.raises(Unavailable):
        await store.durable(epoch)
    await store.durable()
    leased = await store.queue.lease("q", 9, LeaseTerms(until=30), 0)
    assert ["kept"] == [m.id for m in leased]
    await store.close()
