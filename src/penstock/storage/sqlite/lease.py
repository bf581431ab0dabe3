"""Leases on SQLite."""

from penstock.storage.sql import load_queries
from penstock.storage.sqlite.connection import Connection


class SqliteLeases:
    """One row for each owner of a place."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._sql = load_queries("penstock.storage.sqlite", "lease.sql")

    async def acquire(self, name: str, owner: str, until: int, now: int, *, limit: int = 1) -> bool:
        """Take or renew a place; see `primitives.Leases`."""
        with self._db.atomic():
            self._db.write(self._sql["expire_leases"], (name, now))
            return bool(self._db.write(self._sql["take_lease"], (name, owner, until, limit)))

    async def release(self, name: str, owner: str) -> None:
        """Give a place back; see `primitives.Leases`."""
        self._db.write(self._sql["release_lease"], (name, owner))
