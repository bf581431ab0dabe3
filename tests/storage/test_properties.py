"""Each primitive against a naive model, under random histories."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from penstock.core.errors import Conflict
from penstock.storage.primitives import Hold, LeaseTerms, NewMessage
from penstock.storage.sqlite import SqliteStore

LIMITS = settings(max_examples=25, stateful_step_count=40, deadline=None)


class Machine(RuleBasedStateMachine):
    """Runs coroutines against a store that may be reopened at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())

    @initialize(in_memory=st.booleans())
    def open(self, in_memory: bool) -> None:
        self.path = ":memory:" if in_memory else str(self.folder)
        self.store = self.run(SqliteStore.open(self.path))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @rule()
    def reopen(self) -> None:
        if self.path != ":memory:":
            self.run(self.store.close())
            self.store = self.run(SqliteStore.open(self.path))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)


@dataclass
class Model:
    """A message as a naive queue keeps it."""

    id: str
    group: str | None
    visible_at: int
    leases: int = 0
    receipt: str = ""
    sent_at: int = 0


class QueueMachine(Machine):
    """The Queue primitive against a list; `kind` decides whether messages have groups, tenants or neither."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1
        self.names = 0
        self.messages: list[Model] = []
        self.dead: list[str] = []

    @initialize(kind=st.sampled_from(["groups", "tenants", "neither"]))
    def choose(self, kind: str) -> None:
        self.kind = kind

    def new(self, delay: int, group: str) -> tuple[Model, NewMessage]:
        self.names += 1
        visible_at = self.now + delay
        model = Model(
            str(self.names), group if self.kind == "groups" else None, visible_at, sent_at=self.now
        )
        message = NewMessage(
            id=model.id,
            body=b"",
            visible_at=visible_at,
            group=model.group,
            tenant=group if self.kind == "tenants" else None,
        )
        return model, message

    @rule(
        delay=st.sampled_from([0, 0, 5]),
        group=st.sampled_from("xyz"),
        copies=st.sampled_from([1, 1, 1, 40]),
    )
    def put(self, delay: int, group: str, copies: int) -> None:
        made = [self.new(delay, group) for _ in range(copies)]
        self.run(self.store.queue.put("q", [message for _, message in made], self.now))
        self.messages += [model for model, _ in made]

    @rule(delay=st.sampled_from([0, 5]), group=st.sampled_from("xyz"))
    def fail(self, delay: int, group: str) -> None:
        """A transaction that puts, leases, settles and then fails has done nothing."""

        async def work() -> None:
            _, message = self.new(delay, group)
            async with self.store.transaction() as tx:
                await tx.queue.put("q", [message], self.now)
                for leased in await tx.queue.lease("q", 2, LeaseTerms(until=1 << 40), self.now):
                    await tx.queue.settle("q", leased.receipt, self.now)
                raise KeyError

        with pytest.raises(KeyError):
            self.run(work())

    @rule(age=st.integers(1, 20))
    def expire(self, age: int) -> None:
        before = self.now - age
        old = [m for m in self.messages if m.sent_at < before and m.visible_at < before]
        assert len(old) == self.run(self.store.queue.expire("q", before, 1_000))
        self.messages = [m for m in self.messages if m not in old]

    @rule(limit=st.integers(1, 5), duration=st.sampled_from([3, 10]))
    def lease(self, limit: int, duration: int) -> None:
        terms = LeaseTerms(until=self.now + duration, dead_letter="dead", max_leases=3, source="q")
        leased = self.run(self.store.queue.lease("q", limit, terms, self.now))
        may = self.leasable()
        dying = [m for m in may if m.leases >= 3]
        assert len(leased) <= limit
        assert {m.id for m in leased} <= {m.id for m in may if m.leases < 3}
        if not dying:
            assert len(leased) == min(limit, len(may))
        by_id = {m.id: m for m in self.messages}
        for found in leased:
            model = by_id[found.id]
            model.leases += 1
            model.visible_at = self.now + duration
            model.receipt = found.receipt
            assert found.leases == model.leases
        self.bury(dying)
        self.check_order(leased)

    def leasable(self) -> list[Model]:
        """Visible messages; of a group, those before the first hidden one."""
        locked: set[str] = set()
        found = []
        for model in self.messages:
            if model.visible_at > self.now:
                if model.group:
                    locked.add(model.group)
            elif model.group not in locked:
                found.append(model)
        return found

    def bury(self, dying: list[Model]) -> None:
        """Take over which of the messages that were due to die have died."""
        buried = {
            m.id
            for m in self.run(
                self.store.queue.lease("dead", 1000, LeaseTerms(until=1 << 40), self.now)
            )
        }
        assert buried <= {m.id for m in dying}
        self.messages = [m for m in self.messages if m.id not in buried]
        self.dead += buried

    def check_order(self, leased: list[Any]) -> None:
        for group in {m.group for m in leased if m.group}:
            ids = [int(m.id) for m in leased if m.group == group]
            assert ids == sorted(ids)

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        held = [m for m in self.messages if m.receipt]
        if held:
            model = data.draw(st.sampled_from(held))
            assert Hold.DONE is self.run(self.store.queue.settle("q", model.receipt, self.now))
            self.messages.remove(model)

    @rule(data=st.data(), duration=st.sampled_from([0, 7]), strict=st.booleans())
    def extend(self, data: st.DataObject, duration: int, strict: bool) -> None:
        held = [m for m in self.messages if m.receipt]
        if held:
            model = data.draw(st.sampled_from(held))
            result = self.run(
                self.store.queue.extend(
                    "q", model.receipt, self.now + duration, self.now, strict=strict
                )
            )
            if model.visible_at > self.now or not strict:
                assert Hold.DONE is result
                model.visible_at = self.now + duration
            else:
                assert Hold.ENDED is result

    @rule(step=st.sampled_from([1, 4, 11]))
    def wait(self, step: int) -> None:
        self.now += step

    @rule()
    def purge(self) -> None:
        self.run(self.store.queue.purge("q"))
        self.messages.clear()

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "store"):
            counts = self.run(self.store.queue.count("q", self.now))
            hidden = [m for m in self.messages if m.visible_at > self.now]
            leased = sum(m.leases > 0 for m in hidden)
            expected = (len(self.messages) - len(hidden), leased, len(hidden) - leased)
            assert expected == (counts.visible, counts.leased, counts.delayed)


class TableMachine(Machine):
    """The Table primitive against a dict."""

    keys = st.tuples(st.sampled_from([b"p", b"q"]), st.binary(max_size=2))

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[bytes, bytes], tuple[bytes, int]] = {}
        self.versions: set[int] = set()

    @rule(key=keys, document=st.binary(max_size=3), mode=st.sampled_from(["any", "right", "wrong"]))
    def put(self, key: tuple[bytes, bytes], document: bytes, mode: str) -> None:
        current = self.rows.get(key, (b"", 0))[1]
        expect = {"any": None, "right": current, "wrong": current + 1}[mode]
        try:
            version = self.run(self.store.table.put("t", *key, document, expect=expect))
        except Conflict:
            assert mode == "wrong"
            return
        assert mode != "wrong"
        assert version not in self.versions
        self.versions.add(version)
        self.rows[key] = (document, version)

    @rule(key=keys)
    def delete(self, key: tuple[bytes, bytes]) -> None:
        assert self.run(self.store.table.delete("t", *key)) == (key in self.rows)
        self.rows.pop(key, None)

    @rule(key=keys)
    def put_and_fail(self, key: tuple[bytes, bytes]) -> None:
        async def fail() -> None:
            async with self.store.transaction() as tx:
                await tx.table.put("t", *key, b"never")
                raise KeyError

        with pytest.raises(KeyError):
            self.run(fail())

    @rule(
        low=st.binary(max_size=1),
        high=st.none() | st.binary(max_size=1),
        limit=st.integers(1, 4),
        reverse=st.booleans(),
    )
    def range(self, low: bytes, high: bytes | None, limit: int, reverse: bool) -> None:
        found = self.run(
            self.store.table.range("t", b"p", low=low, high=high, limit=limit, reverse=reverse)
        )
        sorts = sorted(
            (s for p, s in self.rows if p == b"p" and s >= low and (high is None or s < high)),
            reverse=reverse,
        )
        assert sorts[:limit] == [row.sort for row in found]

    @invariant()
    def same(self) -> None:
        if hasattr(self, "store"):
            rows = self.run(self.store.table.scan("t"))
            assert self.rows == {(r.partition, r.sort): (r.document, r.version) for r in rows}


class LogMachine(Machine):
    """The Log primitive against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[int, bytes]] = []
        self.now = 0

    @rule(data=st.lists(st.binary(max_size=2), min_size=1, max_size=3))
    def append(self, data: list[bytes]) -> None:
        self.now += 1
        self.run(self.store.log.append("l", [(self.now, d) for d in data]))
        self.entries += [(self.now, d) for d in data]

    @rule(back=st.integers(0, 5))
    def trim(self, back: int) -> None:
        before = self.now - back
        kept = [e for e in self.entries if e[0] >= before]
        assert len(self.entries) - len(kept) == self.run(self.store.log.trim("l", before))
        self.entries = kept

    @invariant()
    def same(self) -> None:
        if hasattr(self, "store"):
            records = self.run(self.store.log.read("l"))
            assert self.entries == [(r.at, r.data) for r in records]
            sequences = [r.sequence for r in records]
            assert sequences == sorted(set(sequences))


TestQueue = QueueMachine.TestCase
TestQueue.settings = LIMITS
TestTable = TableMachine.TestCase
TestTable.settings = LIMITS
TestLog = LogMachine.TestCase
TestLog.settings = LIMITS
