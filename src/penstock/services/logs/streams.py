"""Log groups and streams as they are stored, and the sink that functions write to.

A group is a document of `logs/groups`, a stream one of `logs/streams`; a stream's events are a log of the store, each the
instant of the event with `[ingested_at, message]`. What is past the group's retention is trimmed when a stream is read.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from penstock.clock import Clock
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError, Conflict
from penstock.runtime.model import LogLine
from penstock.storage.primitives import Record, Store

GROUPS: Final = "logs/groups"
STREAMS: Final = "logs/streams"
_DAY_MS: Final = 86_400_000


def scope(account: str, region: str) -> bytes:
    """The partition of an account's groups in a region."""
    return f"{account}/{region}".encode()


class Streams:
    """Groups and streams by name. Instants in ms."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def group(self, account: str, region: str, name: str) -> dict[str, Any]:
        """A group's document. Raises ResourceNotFoundException."""
        row = await self.store.table.get(GROUPS, scope(account, region), name.encode())
        if row is None:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        document: dict[str, Any] = orjson.loads(row.document)
        return document

    async def save_group(
        self, account: str, region: str, document: dict[str, Any], expect: int | None = None
    ) -> None:
        """Store a group's document; with `expect` 0 only a new one. Raises Conflict."""
        await self.store.table.put(
            GROUPS,
            scope(account, region),
            document["logGroupName"].encode(),
            orjson.dumps(document),
            expect=expect,
        )

    async def add_group(
        self, account: str, region: str, name: str, now: int, tags: dict[str, str] | None = None
    ) -> None:
        """Store a new group. Raises Conflict."""
        arn = make_arn("logs", region, account, f"log-group:{name}")
        document = {
            "logGroupName": name,
            "creationTime": now,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "tags": tags or {},
        }
        await self.save_group(account, region, document, 0)

    async def add_stream(self, account: str, region: str, group: str, name: str, now: int) -> None:
        """Store a new stream. Raises Conflict."""
        document = {
            "logStreamName": name,
            "creationTime": now,
            "arn": make_arn("logs", region, account, f"log-group:{group}:log-stream:{name}"),
        }
        await self.store.table.put(
            STREAMS,
            self._streams(account, region, group),
            name.encode(),
            orjson.dumps(document),
            expect=0,
        )

    async def stream(self, account: str, region: str, group: str, name: str) -> dict[str, Any]:
        """A stream's document. Raises ResourceNotFoundException."""
        row = await self.store.table.get(
            STREAMS, self._streams(account, region, group), name.encode()
        )
        if row is None:
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        document: dict[str, Any] = orjson.loads(row.document)
        return document

    async def has_stream(self, account: str, region: str, group: str, name: str) -> bool:
        """Whether there is a stream."""
        where = self._streams(account, region, group)
        return await self.store.table.get(STREAMS, where, name.encode()) is not None

    async def streams(
        self, account: str, region: str, group: str, prefix: str = "", limit: int = 100_000
    ) -> list[dict[str, Any]]:
        """The streams whose names begin with `prefix`, in order of name."""
        rows = await self.store.table.range(
            STREAMS,
            self._streams(account, region, group),
            low=prefix.encode(),
            high=prefix.encode() + b"\xff" if prefix else None,
            limit=limit,
        )
        return [orjson.loads(row.document) for row in rows]

    async def drop_stream(self, account: str, region: str, group: str, name: str) -> None:
        """Remove a stream and its events."""
        await self.store.table.delete(STREAMS, self._streams(account, region, group), name.encode())
        await self.store.log.drop(self.log(account, region, group, name))

    async def drop_group(self, account: str, region: str, name: str) -> None:
        """Remove a group and its streams."""
        for stream in await self.streams(account, region, name):
            await self.drop_stream(account, region, name, stream["logStreamName"])
        await self.store.table.delete(GROUPS, scope(account, region), name.encode())

    async def append(self, log: str, events: Sequence[tuple[int, str]], ingested_at: int) -> int:
        """Append (instant, message) pairs to a stream's log. Returns the sequence of the last."""
        return await self.store.log.append(
            log, [(at, orjson.dumps([ingested_at, message])) for at, message in events]
        )

    async def trim(self, log: str, group: dict[str, Any], now: int) -> None:
        """Remove what is past the group's retention."""
        days = group.get("retentionInDays")
        if days is None:
            return
        cutoff = now - days * _DAY_MS
        # A read that finds nothing to remove stays a read.
        if await self.store.log.read_by_time(log, before=(cutoff, 0), limit=1):
            await self.store.log.trim(log, cutoff)

    @staticmethod
    def log(account: str, region: str, group: str, stream: str) -> str:
        """The name of a stream's log. Neither a group nor a stream has a colon in its name."""
        return f"logs/{account}/{region}/{group}:{stream}"

    @staticmethod
    def _streams(account: str, region: str, group: str) -> bytes:
        return f"{account}/{region}/{group}".encode()


def event_of(record: Record) -> dict[str, Any]:
    """A stored event as the API gives it."""
    ingested_at, message = orjson.loads(record.data)
    return {"timestamp": record.at, "message": message, "ingestionTime": ingested_at}


class StoreLogSink:
    """A LogSink: lines become events of a stream, which is made with its group when it is new."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._streams = Streams(store)
        self._clock = clock

    async def write(
        self, account: str, region: str, group: str, stream: str, lines: Sequence[LogLine]
    ) -> None:
        """Append lines to a stream."""
        now = self._clock.now()
        if not await self._streams.has_stream(account, region, group, stream):
            await self._make(account, region, group, stream, now)
        log = Streams.log(account, region, group, stream)
        await self._streams.append(log, [(line.at, line.message) for line in lines], now)

    async def _make(self, account: str, region: str, group: str, stream: str, now: int) -> None:
        try:
            await self._streams.group(account, region, group)
        except AwsError:
            await _once(self._streams.add_group(account, region, group, now))
        await _once(self._streams.add_stream(account, region, group, stream, now))


async def _once(creation: Any) -> None:
    """Create, or find that another writer was quicker."""
    try:
        await creation
    except Conflict:
        return
