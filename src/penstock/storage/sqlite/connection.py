"""What the primitives share: the connection, the open group, names and the counter."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, Self

import apsw

from penstock.storage.sqlite.commit import GroupCommit

_BLOCK: Final = 1_000_000
_ROWS: Final = 10
"""So many rows at most are inserted, or found by their keys, by one statement."""


def used_numbers(driver: apsw.Connection) -> int:
    """Up to which number earlier runs may have used the store's sequence: what they reserved ends before the counter."""
    row = driver.execute("SELECT value FROM counter WHERE name = 'sequence'").fetchone()
    return 0 if row is None else int(row[0]) - 1


class Connection:
    """Executes statements inside the open group. Everything here is synchronous and runs on the event loop."""

    def __init__(self, driver: apsw.Connection, group: GroupCommit) -> None:
        self.driver = driver
        self.group = group
        self._cursor = driver.cursor()
        self.execute = self._cursor.execute
        self._several: dict[tuple[str, int], str] = {}
        """Statements as they are for so many rows or keys."""
        self._names: dict[str, int] = {}
        self._ordered: set[int] = set()
        self._behind: dict[int, int] = {}
        self._next = 0
        self.reserved = 0
        self.block: Atomic | None = None
        """The innermost block that is open."""
        self.writes = 0
        """How many statements have written: a stamp for what is remembered of their effects."""
        self.on_forget: list[Callable[[], None]] = []
        """What else to drop when a transaction did not happen."""
        self.on_undo: list[Callable[[int], None]] = []
        """As `on_forget`, for who can tell what is older: told the stamp up to which writes stand."""
        self.forget()
        group.on_rollback = self.forget
        group.drawn = lambda: self._next - 1

    def forget(self, stands: int = -1) -> None:
        """Drop what was remembered from a transaction that did not happen; writes up to `stands` have."""
        self._names.clear()
        self._ordered.clear()
        self._behind.clear()
        self.reserved = 0
        for drop in self.on_forget:
            drop()
        for undo in self.on_undo:
            undo(stands)

    def read(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        """All rows of a query."""
        if self.block is not None and self.block.held is not None:
            self.block.make_savepoint()
        try:
            return self.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self.group.failed(error) from error

    def run(self, sql: str, bindings: tuple[Any, ...]) -> None:
        """Run a statement that returns nothing in the open group. What is first in a block is held until a second comes."""
        block = self.block
        if block is not None and not block.saved:
            if block.held is None:
                self.group.begin()
                self.writes += 1
                block.held = (sql, bindings)
                return
            block.make_savepoint()
        self.group.begin()
        self.writes += 1
        try:
            self.execute(sql, bindings)
        except apsw.Error as error:
            raise self.group.failed(error) from error

    def change(self, sql: str, bindings: tuple[Any, ...]) -> int:
        """Run a statement in the open group. Returns how many rows it changed."""
        self._make_savepoint()
        self.run(sql, bindings)
        return self.driver.changes()

    def write(self, sql: str, bindings: tuple[Any, ...]) -> list[Any]:
        """Run a statement in the open group. Returns the rows it returns."""
        self._make_savepoint()
        self.group.begin()
        self.writes += 1
        try:
            return self.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise self.group.failed(error) from error

    def write_in(self, sql: str, bindings: tuple[Any, ...], keys: Sequence[Any]) -> list[Any]:
        """Run a statement that has `IN (?)` for several keys: for all, or for none. Returns the rows it returns.

        `bindings` are those of the other parameters, which come before the keys.
        """
        if len(keys) > _ROWS:
            with self.atomic():
                parts = [keys[first : first + _ROWS] for first in range(0, len(keys), _ROWS)]
                found = [self.write_in(sql, bindings, part) for part in parts]
            return list(chain.from_iterable(found))
        if not keys:
            return []
        many = self._several.get((sql, len(keys)))
        if many is None:
            many = sql.replace("IN (?)", f"IN ({', '.join('?' * len(keys))})")
            self._several[sql, len(keys)] = many
        return self.write(many, (*bindings, *keys))

    def _make_savepoint(self) -> None:
        """See that the open block, if there is one, can undo what comes."""
        if self.block is not None and not self.block.saved:
            self.block.make_savepoint()

    def run_held(self, sql: str, bindings: tuple[Any, ...]) -> None:
        """Run a statement that a block has held; it was counted when it came."""
        try:
            self.execute(sql, bindings)
        except apsw.Error as error:
            raise self.group.failed(error) from error

    def insert(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run an `INSERT ... VALUES (...)` for several rows in the open group: all are inserted, or none."""
        if len(rows) > _ROWS:
            with self.atomic():
                for first in range(0, len(rows), _ROWS):
                    self.insert(sql, rows[first : first + _ROWS])
            return
        if not rows:
            return
        many = self._several.get((sql, len(rows)))
        if many is None:
            head, values, row = sql.rpartition("VALUES ")
            many = head + values + ", ".join([row] * len(rows))
            self._several[sql, len(rows)] = many
        self.run(many, tuple(chain.from_iterable(rows)))

    def atomic(self) -> "Atomic":
        """Undo everything since the start of the block if it raises; its neighbours in the group are untouched."""
        return Atomic(self)

    def undo(self, writes: int, reserved: int) -> None:
        """What was written since there were so many writes did not happen; so much was reserved then."""
        if self.writes != writes:
            # Numbers reserved before are still reserved.
            still = reserved if self.reserved == reserved else 0
            self.forget(writes)
            self.reserved = still

    def name(self, text: str) -> int:
        """The number of a queue, log or table; it gets one on its first use."""
        number = self._names.get(text) or self.known(text)
        if number is None:
            rows = self.write("INSERT INTO name (text) VALUES (?) RETURNING id", (text,))
            number = self._names[text] = rows[0][0]
        return number

    def known(self, text: str) -> int | None:
        """The number of a queue, log or table that was written before."""
        number = self._names.get(text)
        if number is None:
            rows = self.read("SELECT id, ordered, behind FROM name WHERE text = ?", (text,))
            if rows:
                number, ordered, behind = rows[0]
                self._names[text] = number
                if ordered:
                    self._ordered.add(number)
                if behind:
                    self._behind[number] = behind
        return number

    def is_ordered(self, number: int) -> bool:
        """Whether the queue's messages belong to groups."""
        return number in self._ordered

    def set_ordered(self, number: int, sql: str) -> None:
        """Remember, here and on disk, that the queue's messages belong to groups."""
        if number not in self._ordered:
            self.write(sql, (number,))
            self._ordered.add(number)

    def behind(self, number: int) -> int | None:
        """The queue whose messages wait behind those of `number`."""
        return self._behind.get(number)

    def set_behind(self, number: int, behind: int | None, sql: str) -> None:
        """Remember, here and on disk, which queue waits behind `number`."""
        self.write(sql, (behind or 0, number))
        if behind is None:
            self._behind.pop(number, None)
        else:
            self._behind[number] = behind

    def sequence(self, count: int = 1) -> int:
        """The next number of the store's one rising sequence, the first of `count`; none is used twice, also after a crash."""
        if self._next + count > self.reserved:
            size = max(_BLOCK, count + 1)
            rows = self.write(
                "INSERT INTO counter (name, value) VALUES ('sequence', ?1) "
                "ON CONFLICT (name) DO UPDATE SET value = max(value, ?2) + ?1 RETURNING value",
                (size, self._next),
            )
            self.reserved = rows[0][0]
            self._next = max(self._next, self.reserved - size, 1)
        number = self._next
        self._next += count
        return number


class Atomic:
    """A block whose writes are one.

    A savepoint is made when there is a second write: one statement by itself is done whole or not at all, so a block of
    one write holds it until the end.
    """

    __slots__ = ("_db", "_depth", "_outer", "_reserved", "_writes", "held", "saved")

    saved: bool
    """Whether there is a savepoint."""
    held: tuple[str, tuple[Any, ...]] | None
    """The only write so far, which is still to be run."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def __enter__(self) -> Self:
        db = self._db
        self.saved = False
        self.held = None
        outer = self._outer = db.block
        if outer is not None and not outer.saved:
            outer.make_savepoint()
        db.block = self
        db.group.savepoints = self._depth = db.group.savepoints + 1
        self._writes, self._reserved = db.writes, db.reserved
        return self

    def make_savepoint(self) -> None:
        """Make the savepoint, and run what was held for it."""
        db = self._db
        db.group.begin()
        db.execute(f"SAVEPOINT s{self._depth}")
        self.saved = True
        held, self.held = self.held, None
        if held is not None:
            db.run_held(*held)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        db = self._db
        db.group.savepoints -= 1
        db.block = self._outer
        if kind is None:
            if self.saved:
                db.execute(f"RELEASE s{self._depth}")
            elif self.held is not None:
                try:
                    db.run_held(*self.held)
                except BaseException:
                    db.undo(self._writes, self._reserved)
                    raise
            return
        # A failure that ended the whole transaction left no savepoint to return to.
        if self.saved and db.driver.in_transaction:
            db.execute(f"ROLLBACK TO s{self._depth}")
            db.execute(f"RELEASE s{self._depth}")
        db.undo(self._writes, self._reserved)
