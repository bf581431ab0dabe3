"""The events of an archive: a log by the instants at which they were taken.

A record is `COUNT BYTES LEAST MOST NEWLINE EVENT`. Count and size are running ones, this event included, so that nothing is
ever counted. `LEAST` and `MOST` say by how much (ms) an event was ever taken later than its own time, so that those of some
time are found without reading all.
"""

from typing import Final, NamedTuple

from penstock.services.events.event import Event
from penstock.services.events.names import time_of
from penstock.storage.primitives import Primitives, Record

DAY_MS: Final = 86_400_000
_LOG: Final = "events/archive/"
_SECOND_MS: Final = 1_000


class Extent(NamedTuple):
    """What an archive holds."""

    events: int
    size: int
    """Bytes."""


class _Head(NamedTuple):
    events: int
    size: int
    least: int
    most: int


def log_of(archive_arn: str) -> str:
    """The log of an archive."""
    return _LOG + archive_arn


async def append(tx: Primitives, archive_arn: str, event: Event, days: int, now: int) -> None:
    """Add an event, and remove those that were kept for so many days; 0 keeps them for ever."""
    log = log_of(archive_arn)
    bounds = await tx.log.bounds(log)
    late = now - time_of(event.document["time"])
    last = _Head(0, 0, late, late) if bounds is None else _head(bounds[1])
    head = _Head(
        last.events + 1, last.size + len(event.body), min(last.least, late), max(last.most, late)
    )
    await tx.log.append(log, [(now, " ".join(map(str, head)).encode() + b"\n" + event.body)])
    if days and bounds is not None and bounds[0].at < now - days * DAY_MS:
        await tx.log.trim(log, now - days * DAY_MS)


async def extent(given: Primitives, archive_arn: str) -> Extent:
    """How much there is."""
    bounds = await given.log.bounds(log_of(archive_arn))
    if bounds is None:
        return Extent(0, 0)
    first, last = _head(bounds[0]), _head(bounds[1])
    return Extent(last.events - first.events + 1, last.size - first.size + len(event_of(bounds[0])))


async def read(
    given: Primitives,
    archive_arn: str,
    start: int,
    end: int,
    after: tuple[int, int],
    limit: int,
) -> list[Record]:
    """Up to so many records beyond the place `after`, among which are all events of a time (ms, both included)."""
    log = log_of(archive_arn)
    bounds = await given.log.bounds(log)
    if bounds is None:
        return []
    head = _head(bounds[1])
    # The time of an event is told in seconds.
    first = (start - _SECOND_MS + head.least, 0)
    return await given.log.read_by_time(
        log, after=max(first, after), before=(end + head.most + 1, 0), limit=limit
    )


def event_of(record: Record) -> bytes:
    """The event of a record, as JSON."""
    return record.data.partition(b"\n")[2]


def _head(record: Record) -> _Head:
    return _Head(*map(int, record.data.partition(b"\n")[0].split()))
