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


class QueueMachine(Machine):
    """The Queue primitive against a list; `ordered` decides whether messages have groups."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1
        self.names = 0
        self.messages: list[Model] = []
        self.dead: list[str] = []

    @initialize(ordered=st.booleans())
    def choose(self, ordered: bool) -> None:
        self.ordered = ordered

    @rule(delay=st.sampled_from([0, 0, 5]), group=st.sampled_from("xyz"))
    def put(self, delay: int, group: str) -> None:
        self.names += 1
        model = Model(str(self.names), group if self.ordered else None, self.now + delay)
        message = NewMessage(id=model.id, body=b"", visible_at=model.visible_at, group=model.group)
        self.run(self.store.queue.put("q", [message], self.now))
        self.messages.append(model)

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

    @rule(data=st.data(), duration=st.sampled_from([0, 7]))
    def extend(self, data: st.DataObject, duration: int) -> None:
        held = [m for m in self.messages if m.receipt]
        if held:
            model = data.draw(st.sampled_from(held))
            result = self.run(
                self.store.queue.extend("q", model.receipt, self.now + duration, self.now)
            )
            if model.visible_at > self.now:
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
