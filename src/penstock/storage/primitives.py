"""The seam between what Penstock means and where it is kept.

A verb returns once its effect is applied and visible to every later verb. `Store.durable()` returns once everything
applied so far is on disk: whoever tells the outside world of an effect (an HTTP answer, an event
handed to a function) awaits it first. Verbs of several primitives become atomic in `Store.transaction()`.
Inside the block await nothing but verbs of the transaction.

Records are plain slotted classes: freezing them would cost more than the statements they carry. Instants are int milliseconds. A queue, log or table is named by a string; using the name creates it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol


@dataclass(slots=True)
class NewMessage:
    """A message to put. `attributes` is the owner's own encoding, opaque to storage."""

    id: str
    body: bytes
    visible_at: int
    """Hidden until then; the present instant for a message without delay."""
    attributes: bytes = b""
    group: str | None = None
    """Messages of one group are leased in order, and wait for the ones before them."""
    tenant: str | None = None
    """Where there are no groups: whose message it is. Those of a tenant with many wait behind those of others."""
    dedup: str | None = None
    """A second message with this key within the window is not stored."""
    source: str | None = None
    """Where a dead-lettered message came from, in the owner's words."""
    sent_at: int | None = None
    """When it was first sent; the instant of the put when absent."""
    leases: int = 0
    """How often it was leased before, when it comes from another queue."""


@dataclass(slots=True)
class Stored:
    """What became of a put: `sequence` rises in the order of puts; a duplicate tells of the original."""

    id: str
    sequence: int
    duplicate: bool = False


@dataclass(slots=True)
class Leased:
    """A message hidden from others until its lease ends. `receipt` names this lease."""

    id: str
    receipt: str
    sequence: int
    body: bytes
    attributes: bytes
    sent_at: int
    first_leased_at: int
    leases: int
    group: str | None = None
    dedup: str | None = None
    source: str | None = None


@dataclass(slots=True, kw_only=True)
class LeaseTerms:
    """How messages of a queue are leased."""

    until: int
    """The end of the lease; at or before `now` for a look that hides nothing but still counts."""
    oldest: int = 0
    """Messages sent before this instant have expired and are removed when met."""
    dead_letter: str | None = None
    """The queue for messages that were leased `max_leases` times already."""
    max_leases: int = 0
    source: str | None = None
    """What a dead-lettered message shall remember as its source."""
    max_leased: int = 0
    """How many messages of the queue may be leased at once; 0 for any number."""


class Hold(Enum):
    """What a receipt was found to hold."""

    DONE = "the lease was current, and what was asked is done"
    ENDED = "the message is there, but this lease of it has ended"
    GONE = "there is no such message"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages of a queue can be leased, are leased, are delayed; and since when the oldest waits.

    The numbers are exact, the age is that of the oldest among those that come next.
    """

    visible: int
    leased: int
    delayed: int
    oldest_sent_at: int | None


class Queue(Protocol):
    """Messages that are hidden while leased, ordered within a group, gone once settled, dead-lettered past a count."""

    async def put(
        self, queue: str, messages: Sequence[NewMessage], now: int, *, dedup_since: int | None = 0
    ) -> list[Stored]:
        """Store messages in order.

        One whose `dedup` was put at or after `dedup_since` is answered, not stored; with None keys do not count.
        """
        ...

    async def put_all(
        self,
        packed: Mapping[str, Sequence[NewMessage]],
        now: int,
        *,
        dedup_since: int | None = 0,
    ) -> None:
        """Store messages of several queues, as `put` does: all or none."""
        ...

    async def lease(self, queue: str, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        """Take up to `limit` messages, oldest first, and hide them until `terms.until`.

        A message of a group is taken only if no earlier message of its group is hidden, so a lease takes the longest
        visible prefix of each group. Messages past `terms.max_leases` are moved to the dead-letter queue instead.
        """
        ...

    async def extend(
        self, queue: str, receipt: str, until: int, now: int, *, strict: bool = True
    ) -> Hold:
        """Move the end of a lease; at or before `now` ends it.

        Unless `strict`, any lease the message ever had decides when the message is next visible.
        """
        ...

    async def renew(
        self, queue: str, receipts: Sequence[str], held_until: int, until: int, now: int
    ) -> list[Leased] | None:
        """Move the end of leases made together and return their messages as they were leased.

        None, and nothing done, unless every one is current and still ends at `held_until`.
        """
        ...

    async def settle(self, queue: str, receipt: str, now: int, *, strict: bool = False) -> Hold:
        """Remove a leased message. A lease that ended still settles unless `strict` or superseded."""
        ...

    async def settle_many(self, queue: str, receipts: Sequence[str], now: int) -> list[Hold]:
        """As `settle`, not strict, for several messages in order; what one is refused does not touch the others."""
        ...

    async def count(self, queue: str, now: int) -> Counts:
        """Count messages by state, in a time that does not grow with the queue."""
        ...

    async def leased(self, queue: str, now: int) -> int:
        """How many messages are leased."""
        ...

    async def expire(self, queue: str, before: int, limit: int) -> int:
        """Remove up to `limit` messages that were sent, and last became visible, before an instant. Returns how many."""
        ...

    async def purge(self, queue: str) -> None:
        """Remove every message and forget the dedup keys."""
        ...

    async def next_due(self, queue: str, now: int) -> int | None:
        """The instant at which the next hidden message may be leased; None if nothing is hidden."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of a log."""

    sequence: int
    at: int
    data: bytes


class Log(Protocol):
    """Append-only partitions read by sequence or by time, trimmed by age."""

    async def append(self, log: str, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append (instant, data) pairs in order. Returns the sequence of the last; sequences rise, with gaps."""
        ...

    async def read(
        self, log: str, *, after: int = 0, limit: int = 1000, reverse: bool = False
    ) -> list[Record]:
        """Entries with a sequence above `after`, oldest first; or below `after` (0: the end), newest first."""
        ...

    async def read_by_time(
        self,
        log: str,
        *,
        after: tuple[int, int] = (0, 0),
        before: tuple[int, int] | None = None,
        limit: int = 1000,
        reverse: bool = False,
    ) -> list[Record]:
        """Entries between two places, neither included, in order of their places or its reverse.

        A place is an instant and a sequence; sequences begin at 1, so (instant, 0) is before all of the instant.
        """
        ...

    async def trim(self, log: str, before: int) -> int:
        """Remove entries whose instant is before `before`. Returns how many."""
        ...

    async def bounds(self, log: str) -> tuple[Record, Record] | None:
        """The first and last entries; None for an empty log."""
        ...

    async def drop(self, log: str) -> None:
        """Remove every entry."""
        ...


@dataclass(slots=True)
class Row:
    """A document of a table. A version is never used twice in a store."""

    partition: bytes
    sort: bytes
    document: bytes
    version: int


class Table(Protocol):
    """An ordered map from (partition, sort) to a document, conditional by version. Keys compare as bytes."""

    def stamp(self, table: str) -> int:
        """A number that is another one as soon as a document may have changed, also when a change is undone.

        What was made of a table's documents holds as long as this number does.
        """
        ...

    async def get(self, table: str, partition: bytes, sort: bytes) -> Row | None:
        """The document, or None."""
        ...

    async def put(
        self,
        table: str,
        partition: bytes,
        sort: bytes,
        document: bytes,
        *,
        expect: int | None = None,
    ) -> int:
        """Store a document and return its version.

        `expect` is the version it must replace, 0 if none may be there. Raises `Conflict`.
        """
        ...

    async def delete(
        self, table: str, partition: bytes, sort: bytes, *, expect: int | None = None
    ) -> bool:
        """Remove a document. False if there was none. Raises `Conflict` if its version is not `expect`."""
        ...

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
        """Documents of a partition with low <= sort < high, in order of sort or its reverse."""
        ...

    async def scan(
        self, table: str, *, after: tuple[bytes, bytes] | None = None, limit: int = 1000
    ) -> list[Row]:
        """Documents beyond the key `after`, in order of partition and sort."""
        ...

    async def drop(self, table: str) -> None:
        """Remove every document."""
        ...

    async def size(self, table: str) -> int:
        """How many documents there are."""
        ...


class Blob(Protocol):
    """Immutable bytes, named by their SHA-256 in hexadecimal."""

    async def put(self, data: bytes) -> str:
        """Keep `data`, durable on return. Returns its digest."""
        ...

    async def open(self, digest: str) -> bytes | None:
        """The bytes, or None."""
        ...

    def path(self, digest: str) -> Path:
        """The file that holds the bytes on this machine."""
        ...

    async def read(self, digest: str, start: int, size: int) -> bytes | None:
        """Up to `size` of the bytes from `start` on, or None when there is no such blob."""
        ...

    def write(self) -> "BlobWriter":
        """A blob that comes in pieces."""
        ...

    async def delete(self, digest: str) -> None:
        """Forget the bytes."""
        ...

    def discard(self, digest: str) -> None:
        """Forget the bytes, before anything else can happen on the event loop."""
        ...

    def digests(self) -> Iterator[list[str]]:
        """The digests of all blobs, in lists of a size that one can look through in a moment. It blocks."""
        ...


class BlobWriter(Protocol):
    """A blob on its way to the disk. Its verbs block: call them from a thread, one after the other."""

    @property
    def digest(self) -> str:
        """The digest of what was taken so far."""
        ...

    def take(self, data: bytes) -> None:
        """Append `data`."""
        ...

    def finish(self) -> None:
        """Make the blob durable under its digest."""
        ...

    def drop(self) -> None:
        """Let go of the file; what was not finished is forgotten."""
        ...


class Leases(Protocol):
    """Exclusive or counted ownership with expiry, for work that only so many nodes may do."""

    async def acquire(self, name: str, owner: str, until: int, now: int, *, limit: int = 1) -> bool:
        """Become one of at most `limit` owners until `until`, or renew. False if the places are taken."""
        ...

    async def release(self, name: str, owner: str) -> None:
        """Give the place back."""
        ...


class Notifier(Protocol):
    """Wakes whoever waits for a name. A wake-up is a hint: look again."""

    def notify(self, name: str, count: int = 1) -> None:
        """Wake up to `count` waiters of `name`, longest waiting first."""
        ...

    def wait(self, name: str) -> "asyncio.Future[None]":
        """A future that is done at a `notify(name)` from now on. Give it to `forget` when no longer awaited."""
        ...

    def forget(self, name: str, waiter: "asyncio.Future[None]") -> None:
        """Stop waiting. A wake-up that came too late to be used goes to the next waiter."""
        ...


class Primitives(Protocol):
    """The four primitives and the leases, as a store or a transaction offers them."""

    @property
    def queue(self) -> Queue: ...  # noqa: D102
    @property
    def log(self) -> Log: ...  # noqa: D102
    @property
    def table(self) -> Table: ...  # noqa: D102
    @property
    def leases(self) -> Leases: ...  # noqa: D102


class Store(Primitives, Protocol):
    """An engine."""

    @property
    def blob(self) -> Blob: ...  # noqa: D102
    @property
    def objects(self) -> Blob:
        """Blobs of their own for S3, which counts who names them and removes those that nobody does."""
        ...

    @property
    def notifier(self) -> Notifier: ...  # noqa: D102

    def transaction(self) -> AbstractAsyncContextManager[Primitives]:
        """Make the verbs of the block one: all or, when it raises, none."""
        ...

    @property
    def epoch(self) -> int:
        """Rises whenever something that was applied is lost before it was on disk."""
        ...

    async def durable(self, since: int | None = None, up_to: int | None = None) -> None:
        """Return once everything applied so far is on disk.

        Raises `Unavailable` if it was lost, or if anything was since the epoch `since`: who takes more than one step
        before telling the world notes the epoch first. Versions and sequences are numbers of one rising sequence: who
        speaks of nothing but records up to one of them need not wait for what was applied since.
        """
        ...

    def when_durable(
        self, since: int, told: Callable[[Exception | None], None], up_to: int | None = None
    ) -> None:
        """Call `told` when `durable` would return, with the error that it would raise. `told` does not raise."""
        ...

    async def reset(self) -> None:
        """Remove everything."""
        ...

    async def close(self) -> None:
        """Make everything durable and let go of the files."""
        ...
