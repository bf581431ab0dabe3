"""The Log primitive on SQLite."""

from collections.abc import Callable, Sequence
from typing import Final

from penstock.storage.primitives import Record
from penstock.storage.sql import load_queries
from penstock.storage.sqlite.connection import Connection

_END: Final = (1 << 63) - 1


class SqliteLog:
    """Entries clustered by log and sequence."""

    def __init__(self, connection: Connection, notify: Callable[[str, int], None]) -> None:
        self._db = connection
        self._notify = notify
        self._sql = load_queries("penstock.storage.sqlite", "log.sql")

    async def append(self, log: str, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append entries in order; see `primitives.Log`."""
        number = self._db.name(log)
        first = self._db.sequence(len(entries))
        self._db.insert(
            self._sql["append_entry"],
            [(number, sequence, at, data) for sequence, (at, data) in enumerate(entries, first)],
        )
        self._notify(log, len(entries))
        return first + len(entries) - 1

    async def read(
        self, log: str, *, after: int = 0, limit: int = 1000, reverse: bool = False
    ) -> list[Record]:
        """Entries beyond a sequence; see `primitives.Log`."""
        number = self._db.known(log)
        if number is None:
            return []
        name = "read_backward" if reverse else "read_forward"
        start = (after or _END) if reverse else after
        return [Record(*row) for row in self._db.read(self._sql[name], (number, start, limit))]

    async def read_by_time(
        self,
        log: str,
        *,
        after: tuple[int, int] = (0, 0),
        before: tuple[int, int] | None = None,
        limit: int = 1000,
        reverse: bool = False,
    ) -> list[Record]:
        """Entries between two places; see `primitives.Log`."""
        number = self._db.known(log)
        if number is None:
            return []
        name = "read_latest" if reverse else "read_earliest"
        bindings = (number, *after, *(before or (_END, _END)), limit)
        return [Record(*row) for row in self._db.read(self._sql[name], bindings)]

    async def trim(self, log: str, before: int) -> int:
        """Remove old entries; see `primitives.Log`."""
        number = self._db.known(log)
        if number is None:
            return 0
        return self._db.change(self._sql["trim_entries"], (number, before))

    async def bounds(self, log: str) -> tuple[Record, Record] | None:
        """The first and the last entry; see `primitives.Log`."""
        first = await self.read(log, limit=1)
        last = await self.read(log, limit=1, reverse=True)
        return (first[0], last[0]) if first else None

    async def drop(self, log: str) -> None:
        """Remove every entry; see `primitives.Log`."""
        number = self._db.known(log)
        if number is not None:
            self._db.run(self._sql["drop_entries"], (number,))
