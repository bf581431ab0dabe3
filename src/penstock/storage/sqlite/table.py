"""The Table primitive on SQLite."""

from typing import Final

from penstock.core.errors import Conflict
from penstock.storage.primitives import Row
from penstock.storage.sql import load_queries
from penstock.storage.sqlite.connection import Connection

_CACHED_ROWS: Final = 8_192
_CACHED_BYTES: Final = 8_192


class SqliteTable:
    """Documents found by table, partition and sort key; BLOB keys compare by bytes.

    The process owns the database, so small documents that were read or written lately are answered from memory: every
    request looks up the same few records of queues, functions and tables.
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._rows: dict[tuple[str, bytes, bytes], Row] = {}
        self._stamps: dict[str, int] = {}
        """The stamps of tables whose documents have not changed since somebody asked."""
        self._stamped = 0
        connection.on_forget.append(self._rows.clear)
        connection.on_forget.append(self._stamps.clear)
        self._sql = load_queries("penstock.storage.sqlite", "table.sql")
        self._get_sql = self._sql["get_document"]
        self._put_sql = self._sql["put_document"]

    def stamp(self, table: str) -> int:
        """What changes with the documents; see `primitives.Table`."""
        stamp = self._stamps.get(table)
        if stamp is None:
            self._stamped += 1
            stamp = self._stamps[table] = self._stamped
        return stamp

    async def get(self, table: str, partition: bytes, sort: bytes) -> Row | None:
        """The document, or None; see `primitives.Table`."""
        key = (table, partition, sort)
        row = self._rows.get(key)
        if row is None:
            number = self._db.known(table)
            if number is None:
                return None
            rows = self._db.read(self._get_sql, (number, partition, sort))
            if rows:
                row = Row(partition, sort, rows[0][0], rows[0][1])
                self._remember(key, row)
        return row

    def _remember(self, key: tuple[str, bytes, bytes], row: Row) -> None:
        if len(row.document) > _CACHED_BYTES:
            self._rows.pop(key, None)
            return
        if len(self._rows) >= _CACHED_ROWS:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = row

    async def put(
        self,
        table: str,
        partition: bytes,
        sort: bytes,
        document: bytes,
        *,
        expect: int | None = None,
    ) -> int:
        """Store a document, conditionally; see `primitives.Table`."""
        self._stamps.pop(table, None)
        number = self._db.name(table)
        version = self._db.sequence()
        row = Row(partition, sort, document, version)
        key = (table, partition, sort)
        known = None if expect is None else self._rows.get(key)
        if known is not None and known.version != expect:
            raise Conflict(f"{table}: not version {expect}")
        if known is not None or expect is None:
            self._db.run(self._put_sql, (number, partition, sort, version, document))
            self._remember(key, row)
            return version
        if expect == 0:
            done = self._db.change(
                self._sql["add_document"], (number, partition, sort, version, document)
            )
        else:
            done = self._db.change(
                self._sql["replace_document"], (version, document, number, partition, sort, expect)
            )
        if not done:
            raise Conflict(f"{table}: not version {expect}")
        self._remember(key, row)
        return version

    async def delete(
        self, table: str, partition: bytes, sort: bytes, *, expect: int | None = None
    ) -> bool:
        """Remove a document, conditionally; see `primitives.Table`."""
        number = self._db.known(table)
        if number is None:
            if expect:
                raise Conflict(f"{table}: not version {expect}")
            return False
        if expect is not None:
            rows = self._db.read(self._get_sql, (number, partition, sort))
            if (rows[0][1] if rows else 0) != expect:
                raise Conflict(f"{table}: not version {expect}")
        self._stamps.pop(table, None)
        self._rows.pop((table, partition, sort), None)
        return self._db.change(self._sql["delete_document"], (number, partition, sort)) > 0

    async def range(
        self,
        table: str,
        partition: bytes,
        *,
        low: bytes = b"",
        high: bytes | None = None,
        limit: int = 1000,
        reverse: bool = False,
    ) -> list[Row]:
        """Documents of a partition; see `primitives.Table`."""
        number = self._db.known(table)
        if number is None:
            return []
        sql = self._sql["range_down" if reverse else "range_up"]
        rows = self._db.read(sql, (number, partition, low, high, limit))
        return [Row(partition, *row) for row in rows]

    async def scan(
        self, table: str, *, after: tuple[bytes, bytes] | None = None, limit: int = 1000
    ) -> list[Row]:
        """Documents beyond a key; see `primitives.Table`."""
        number = self._db.known(table)
        if number is None:
            return []
        if after is None:
            rows = self._db.read(self._sql["scan_first"], (number, limit))
        else:
            rows = self._db.read(self._sql["scan_documents"], (number, *after, limit))
        return [Row(*row) for row in rows]

    async def drop(self, table: str) -> None:
        """Remove every document; see `primitives.Table`."""
        number = self._db.known(table)
        if number is not None:
            self._stamps.pop(table, None)
            self._db.run(self._sql["drop_documents"], (number,))
            self._rows.clear()

    async def size(self, table: str) -> int:
        """How many documents there are; see `primitives.Table`."""
        number = self._db.known(table)
        if number is None:
            return 0
        count: int = self._db.read(self._sql["count_documents"], (number,))[0][0]
        return count
