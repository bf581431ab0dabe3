"""The events of an archive: a log, whose every record tells how many there were before it.

A record is `COUNT BYTES NEWLINE EVENT`: the running count and size with it, so that neither is ever counted.
"""

from typing import Final, NamedTuple

from penstock.storage.primitives import Primitives, Record

DAY_MS: Final = 86_400_000
_LOG: Final = "events/archive/"


class Extent(NamedTuple):
    """What an archive holds."""

    events: int
    size: int
    """Bytes."""


def log_of(archive_arn: str) -> str:
    """The log of an archive."""
    return _LOG + archive_arn


async def append(tx: Primitives, archive_arn: str, body: bytes, days: int, now: int) -> None:
    """Add an event, and remove those that were kept for so many days; 0 keeps them for ever."""
    log = log_of(archive_arn)
    bounds = await tx.log.bounds(log)
    count, size = (0, 0) if bounds is None else _running(bounds[1])
    head = f"{count + 1} {size + len(body)}\n".encode()
    await tx.log.append(log, [(now, head + body)])
    if days and bounds is not None and bounds[0].at < now - days * DAY_MS:
        await tx.log.trim(log, now - days * DAY_MS)


async def extent(given: Primitives, archive_arn: str) -> Extent:
    """How much there is."""
    bounds = await given.log.bounds(log_of(archive_arn))
    if bounds is None:
        return Extent(0, 0)
    first, last = bounds
    (first_count, first_size), (last_count, last_size) = _running(first), _running(last)
    return Extent(last_count - first_count + 1, last_size - first_size + len(event_of(first)))


def event_of(record: Record) -> bytes:
    """The event of a record, as JSON."""
    return record.data.partition(b"\n")[2]


def _running(record: Record) -> tuple[int, int]:
    count, size = record.data.partition(b"\n")[0].split()
    return int(count), int(size)
