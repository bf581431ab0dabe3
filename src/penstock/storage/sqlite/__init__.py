"""The SQLite engine: one folder, one process, everything durable by group commit."""

from penstock.storage.sqlite.engine import SqliteStore

__all__ = ["SqliteStore"]
