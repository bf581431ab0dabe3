"""The SQLite store: opens and owns a data folder."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self, TextIO

import apsw

from penstock.core.errors import StoreError, Unavailable
from penstock.storage.blob import FileBlob
from penstock.storage.notifier import LocalNotifier
from penstock.storage.primitives import Primitives
from penstock.storage.sql import load_migrations
from penstock.storage.sqlite.commit import GroupCommit, translate
from penstock.storage.sqlite.connection import Atomic, Connection, used_numbers
from penstock.storage.sqlite.lease import SqliteLeases
from penstock.storage.sqlite.log import SqliteLog
from penstock.storage.sqlite.queue import SqliteQueue
from penstock.storage.sqlite.table import SqliteTable

_TABLES: Final = ("message", "message_group", "dedup", "entry", "document", "lease", "name")


class FolderError(StoreError):
    """The data folder cannot be used; the message says why and what to do."""


class SqliteStore:
    """The four primitives, leases and notifier on one SQLite database and one folder of blobs."""

    def __init__(self, driver: apsw.Connection, folder: Path, lock: TextIO | None) -> None:
        self._driver = driver
        self._folder = folder
        self._lock = lock
        file = None if lock is None else folder / "penstock.db"
        self._group = GroupCommit(driver, file, used_numbers(driver))
        connection = Connection(driver, self._group)
        self._connection = connection
        self.when_durable = self._group.when_durable
        self.notifier = LocalNotifier()
        notify = self.notifier.notify
        self.queue = SqliteQueue(connection, notify)
        self.log = SqliteLog(connection, notify)
        self.table = SqliteTable(connection)
        self.leases = SqliteLeases(connection)
        self.blob = FileBlob(folder / "blobs")
        self.objects = FileBlob(folder / "objects")

    @classmethod
    async def open(cls, path: str | Path) -> Self:
        """Open a data folder, creating it if need be, or `:memory:`. Raises `FolderError`."""
        if str(path) == ":memory:":
            folder = Path(tempfile.mkdtemp(prefix="penstock-"))
            return cls(_connect(":memory:"), folder, None)
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
        except OSError as error:
            raise FolderError(f"cannot use the data folder {folder}: {error.strerror}") from error
        try:
            driver = _connect(str(folder / "penstock.db"))
        except apsw.Error as error:
            lock.close()
            raise FolderError(f"cannot use the data folder {folder}: {error}") from error
        except StoreError:
            lock.close()
            raise
        return cls(driver, folder, lock)

    @property
    def folder(self) -> Path:
        """Where blobs and working files live."""
        return self._folder

    def transaction(self) -> "Transaction":
        """Make the verbs of the block one.

        No verb here gives way to another task, so nothing can come between them; a savepoint undoes them together.
        """
        return Transaction(self, self._connection)

    @property
    def epoch(self) -> int:
        """Rises whenever something that was applied is lost; see `primitives.Store`."""
        return self._group.epoch

    async def durable(self, since: int | None = None, up_to: int | None = None) -> None:
        """Return once everything applied so far, or up to a sequence, is on disk."""
        await self._group.durable(self._group.epoch if since is None else since, up_to)

    async def reset(self) -> None:
        """Remove everything."""
        with self._connection.atomic():
            for table in _TABLES:
                self._connection.write(f"DELETE FROM {table}", ())  # noqa: S608 -- names from a constant
        self._connection.forget()
        self.blob.clear()
        self.objects.clear()
        await self.durable()

    async def close(self) -> None:
        """Make everything durable and let go of the files."""
        # Whoever wrote what cannot be saved was told so.
        with contextlib.suppress(Unavailable):
            await self._group.close()
        self._driver.close()
        if self._lock is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        else:
            self._lock.close()


class Transaction(Atomic):
    """A block whose verbs are one."""

    __slots__ = ("_store",)

    def __init__(self, store: SqliteStore, connection: Connection) -> None:
        self._db = connection
        self._store = store

    async def __aenter__(self) -> Primitives:
        self.__enter__()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self.__exit__(kind, error, trace)


def _lock(folder: Path) -> TextIO:
    """Hold the folder for this process. The kernel lets go of the lock when the process ends, however it ends."""
    lock = (folder / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise FolderError(
            f"the data folder {folder} is in use by process {holder or 'unknown'};"
            " stop it, or start with another --data folder"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _connect(name: str) -> apsw.Connection:
    driver = apsw.Connection(name, statementcachesize=200)
    try:
        # The plan of a statement does not depend on what is bound: else SQLite makes it anew each time.
        driver.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # WAL with synchronous=NORMAL: commits do not flush, `GroupCommit` does; checkpoints flush on their own.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "wal_autocheckpoint=0",
            "cache_size=-16000",
            "temp_store=MEMORY",
        ):
            driver.execute(f"PRAGMA {pragma}")
        driver.set_busy_timeout(5_000)
        _migrate(driver, name)
    except apsw.Error as error:
        driver.close()
        raise translate(error) from error
    except StoreError:
        driver.close()
        raise
    return driver


def _migrate(driver: apsw.Connection, name: str) -> None:
    version = driver.pragma("user_version")
    scripts = load_migrations("penstock.storage.sqlite")
    newest = scripts[-1][0]
    if version > newest:
        raise FolderError(
            f"{name} was written by a newer Penstock (schema {version}, this one knows {newest});"
            " upgrade Penstock, or use another --data folder"
        )
    for number, script in scripts:
        if number > version:
            driver.execute(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")
