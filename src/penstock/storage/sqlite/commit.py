"""Group commit: many verbs share one transaction and one `fdatasync`.

The first write of a group begins a transaction; the end of the event loop's tick commits it, or the end of a later one
when nobody waits for it yet. The write-ahead log is then flushed in the background while the next group fills, so that
groups grow with the load. Nothing is acknowledged before its own flush.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import apsw

from penstock.core.errors import StoreFull, Unavailable
from penstock.storage.sqlite.flush import Flusher

CHECKPOINT_PAGES: Final = 4_000
"""The write-ahead log is copied back in the background from this length."""
UNAWAITED_S: Final = 0.005
"""So long a group that nobody waits for stays open for those who may, and whose flush it then shares."""
TRUNCATE_PAGES: Final = 32_000
"""From this length the copy is finished between two groups, so that the log starts over."""


Told = Callable[[Exception | None], None]
"""Is called when something is on disk, or with the error when it never will be. It does not raise."""


class GroupCommit:
    """The transaction that is open on a connection, and who waits for it to be on disk."""

    def __init__(self, connection: apsw.Connection, path: Path | None, used: int = 0) -> None:
        """`used` is the number up to which earlier runs may have used the store's sequence."""
        self._path = path
        self._connection = connection
        self._execute = connection.cursor().execute
        self._open = False
        self._flushing = False
        self._due = False
        """Whether the end of the tick commits."""
        self._rest: asyncio.TimerHandle | None = None
        self._filling: list[Told] = []
        self._flushed: list[Told] = []
        self._broken: Unavailable | None = None
        self.epoch = 0
        """Rises with every group that is lost."""
        self.savepoints = 0
        """Logical transactions that are open on the connection."""
        self._wal_pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._checkpointing = False
        self._descriptor = -1
        self._committed = 0
        self._on_disk = used
        """Up to which number of the store's sequence all is on disk."""
        self._flusher = Flusher()
        # Copies the log back; statements never leave the event loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-checkpoint")
        self.on_rollback: Callable[[], None] = lambda: None
        self.drawn: Callable[[], int] = lambda: 0
        """The last number of the store's sequence that was drawn."""
        if path is not None:
            connection.set_wal_hook(self._measure_wal)

    def begin(self) -> None:
        """Open a group if none is open. Every write calls this first."""
        if self._open:
            return
        if (unusable := self._unusable()) is not None:
            raise unusable
        try:
            self._execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise translate(error) from error
        self._open = True
        self._commit_soon()

    def _commit_soon(self) -> None:
        """Commit at the end of the tick; while a flush goes on, its end does."""
        if not self._due and not self._flushing:
            self._due = True
            asyncio.get_running_loop().call_soon(self._end_tick)

    def _end_tick(self) -> None:
        self._due = False
        if self._filling:
            self._commit()
        elif self._open and self._rest is None:
            self._rest = asyncio.get_running_loop().call_later(UNAWAITED_S, self._end_rest)

    def _end_rest(self) -> None:
        self._rest = None
        self._commit()

    def failed(self, error: apsw.Error) -> Exception:
        """Account for a failed statement. Returns what to raise."""
        if self._open and not self._connection.in_transaction:
            # SQLite gave up the whole transaction: nobody in this group is acknowledged.
            self._lose(translate(error))
        return translate(error)

    def when_durable(self, since: int, told: Told, up_to: int | None = None) -> None:
        """Tell when everything so far, or all up to the number `up_to`, is on disk: at once if it is already.

        `Unavailable` is told if a group was lost since the epoch `since`: what the caller wrote may have been in it.
        """
        if since != self.epoch:
            told(Unavailable("a write was lost before it was on disk; ask again"))
        elif up_to is not None and up_to <= self._on_disk:
            told(None)
        elif self._open:
            self._filling.append(told)
            self._commit_soon()
        elif self._flushing:
            self._flushed.append(told)
        else:
            told(self._unusable())

    async def durable(self, since: int, up_to: int | None = None) -> None:
        """Return when everything so far is on disk; raises what `when_durable` tells."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told(error: Exception | None) -> None:
            if waiter.done():
                return
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

        self.when_durable(since, told, up_to)
        await waiter

    def _unusable(self) -> Unavailable | None:
        """The error of a store that has stopped."""
        if self._broken is None:
            return None
        return Unavailable(
            f"the store stopped after a failed write ({self._broken}); restart Penstock"
        )

    def _lose(self, error: Exception) -> None:
        """The open group is no more: tell those who wait for it, and those who will ask for it."""
        self._open = False
        self.epoch += 1
        waiters, self._filling = self._filling, []
        self._release(waiters, error)
        self.on_rollback()

    async def close(self) -> None:
        """Commit and flush what is left. Raises `Unavailable` if that cannot be."""
        try:
            while self._open or self._flushing:
                await self.durable(self.epoch)
            if (unusable := self._unusable()) is not None:
                raise unusable
        finally:
            self._flusher.close()
            self._thread.shutdown(wait=True)
            if self._descriptor >= 0:
                os.close(self._descriptor)

    def _commit(self) -> None:
        if not self._open or self._flushing:
            return
        if self.savepoints:
            # A logical transaction is waiting for something; its group waits for it.
            asyncio.get_running_loop().call_soon(self._commit)
            return
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        try:
            if self._broken is not None:
                raise self._broken
            self._execute("COMMIT")
        except (apsw.Error, OSError, Unavailable) as error:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            self._lose(
                translate(error) if isinstance(error, apsw.Error) else Unavailable(str(error))
            )
            return
        self._open = False
        self._committed = self.drawn()
        self._flushed, self._filling = self._filling, []
        if self._path is None:
            waiters, self._flushed = self._flushed, []
            self._settle(waiters)
            return
        if self._wal_pages > self._checkpoint_at:
            self._checkpoint()
        self._flush(self._path)

    def _flush(self, path: Path) -> None:
        """Begin to flush the write-ahead log; first see that its name is on disk."""
        self._flushing = True
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(f"{path}-wal", os.O_RDWR)
                folder = os.open(path.parent, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)
        except OSError as error:
            self._on_flushed(error)
        else:
            self._flusher.flush(self._descriptor, self._on_flushed)

    def _break(self, waiters: list[Told], error: BaseException) -> None:
        """After a failed flush the kernel may have dropped the pages: what is on disk is unknown."""
        self._broken = Unavailable(f"could not flush to disk: {error}")
        self.epoch += 1
        self._release(waiters, self._broken)

    def _on_flushed(self, error: OSError | None) -> None:
        self._flushing = False
        waiters, self._flushed = self._flushed, []
        if error is not None:
            self._break(waiters, error)
            self._commit()  # which loses what is open
        else:
            self._settle(waiters)
            self._end_tick()

    def _settle(self, waiters: list[Told]) -> None:
        """What was committed is on disk."""
        self._on_disk = max(self._on_disk, self._committed)
        self._release(waiters, None)

    @staticmethod
    def _release(waiters: list[Told], error: Exception | None) -> None:
        for told in waiters:
            told(error)

    def _measure_wal(self, _connection: Any, _name: str, pages: int) -> int:
        if pages < self._wal_pages:
            self._checkpoint_at = CHECKPOINT_PAGES  # the log has started over
        self._wal_pages = pages
        return 0

    def _checkpoint(self) -> None:
        if self._checkpointing:
            return
        if self._wal_pages > TRUNCATE_PAGES:
            # The background copy has done nearly all of it; the rest is short and nothing writes meanwhile.
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._checkpointing = True
        self._checkpoint_at = self._wal_pages + CHECKPOINT_PAGES
        asyncio.get_running_loop().run_in_executor(self._thread, self._copy_back).add_done_callback(
            self._on_copied
        )

    def _copy_back(self) -> None:
        connection = apsw.Connection(str(self._path))
        try:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            connection.close()

    def _on_copied(self, result: "asyncio.Future[None]") -> None:
        self._checkpointing = False
        error = result.exception()
        if error is not None and not isinstance(error, apsw.BusyError):
            self._broken = Unavailable(f"could not copy the log back: {error}")


def translate(error: apsw.Error) -> Exception:
    """The storage error for a driver error."""
    if isinstance(error, apsw.FullError):
        return StoreFull(
            "the disk that holds the data folder is full; free some space, nothing was written"
        )
    if isinstance(
        error, apsw.IOError | apsw.ReadOnlyError | apsw.CantOpenError | apsw.CorruptError
    ):
        return Unavailable(f"the data folder cannot be written: {error}")
    return error
