"""Time to live: items of a table end some time after the instant that one of their attributes tells.

A table whose items end has, in the store, an entry for each of them in the order of those instants, written with the item.
For items that were there before, the sweeper makes the entries, some at a time. It wakes at the next instant, rounded up to
a minute, and looks at what is due. Without such items it sleeps.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.clock import Clock
from penstock.core.dynamo_value import invalid, load_item
from penstock.services.dynamodb.table import Expiry, Place, TableRecord
from penstock.services.dynamodb.tables import EXPIRING, FILLING, Tables, forget_expiry
from penstock.services.dynamodb.writes import Decided, Write, carry_out
from penstock.storage.primitives import Store

_log: Final = logging.getLogger("penstock.dynamodb")
_MINUTE: Final = 60_000
# AWS: what ended more than five years ago stays (DynamoDB guide, "Working with expired items and TTL").
_TOO_OLD_S: Final = 5 * 365 * 86_400
_CHUNK: Final = 100


class TimeToLive:
    """The operations on a table's time to live, and the sweeper."""

    def __init__(self, store: Store, tables: Tables, clock: Clock) -> None:
        self._store = store
        self._tables = tables
        self._clock = clock
        self._next: int | None = None
        """When to look again; None for not before an item is announced."""
        self._woken = asyncio.Event()
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        tables.announce = self._announce

    @operation("DescribeTimeToLive")
    async def describe_time_to_live(self, ctx: Context, request: Request) -> Result:
        """Whether items end, and which attribute tells when."""
        table = await self._tables.require(ctx, request["TableName"])
        described = {"TimeToLiveStatus": "ENABLED" if table.ttl else "DISABLED"}
        if table.ttl:
            described["AttributeName"] = table.ttl
        return {"TimeToLiveDescription": described}

    @operation("UpdateTimeToLive")
    async def update_time_to_live(self, ctx: Context, request: Request) -> Result:
        """Let items end, or no longer. The change is complete at once, so another one may follow."""
        table = await self._tables.require(ctx, request["TableName"])
        given = request["TimeToLiveSpecification"]
        enabled, attribute = given["Enabled"], given["AttributeName"]
        if table.ttl and table.ttl != attribute:
            raise invalid(
                "TimeToLive is active on a different AttributeName: current AttributeName is"
                f" {table.ttl}"
            )
        if enabled == bool(table.ttl):
            raise invalid(f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
        async with self._store.transaction() as tx:
            changed = replace(table, ttl=attribute if enabled else "")
            await self._tables.save(tx, changed)
            if enabled:
                key = changed.store_name.encode()
                await tx.table.put(EXPIRING, b"", key, changed.arn.encode())
                await tx.table.put(FILLING, b"", key, b"")
            else:
                await forget_expiry(tx, table)
        self._wake(self._clock.now())
        return {"TimeToLiveSpecification": given}

    def start(self) -> None:
        """Begin to sweep, with a look at what is due."""
        self._next = 0
        self._busy = True
        self._task = asyncio.create_task(self._run())

    def idle(self) -> bool:
        """Whether nothing is due."""
        return not self._busy

    async def close(self) -> None:
        """Sweep no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self._busy = False

    def _announce(self, seconds: int) -> None:
        """An item ends at that instant: wake by the minute that follows it."""
        self._wake(_minute_after(max(seconds * 1000, self._clock.now())))

    def _wake(self, at: int) -> None:
        if self._next is None or at < self._next:
            self._next = at
            self._woken.set()

    async def _run(self) -> None:
        while True:
            if self._next is not None and self._next <= self._clock.now():
                try:
                    await self._round()
                except Exception:  # noqa: BLE001 -- one fault must not end the sweeping; it is logged and tried again
                    _log.exception("expired items could not be removed")
                    self._next = self._clock.now() + _MINUTE
            await self._wait()

    async def _wait(self) -> None:
        """Until the next instant, or until there is an earlier one."""
        self._woken.clear()
        self._busy = False
        waits = [asyncio.ensure_future(self._woken.wait())]
        if self._next is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(self._next)))  # type: ignore[arg-type]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._busy = True

    async def _round(self) -> None:
        """Remove what is due of every table, and learn when to look again."""
        self._next = None
        now = self._clock.now() // 1000
        for row in await self._store.table.range(EXPIRING, b"", limit=100_000):
            arn = row.document.decode()
            while await self._some(arn, now):
                await self._clock.sleep_until(0)  # gives others a turn

    async def _some(self, arn: str, now: int) -> bool:
        """Do some of what there is to do for a table. Returns whether there may be more."""
        # The table is looked at each time, for others had a turn: it may be another one now.
        table = await self._tables.of_arn(arn)
        if table is None or table.expiry is None:
            return False
        expiry = table.expiry
        if await self._fill(table, expiry) or await self._sweep(table, expiry, now):
            return True
        low = Expiry.bound(now + 1)
        for first in await self._store.table.range(expiry.store_name, b"", low=low, limit=1):
            self._announce(Expiry.instant(first.sort))
        return False

    async def _fill(self, table: TableRecord, expiry: Expiry) -> bool:
        """Make the entries of some of the items that a table had already. Returns whether there may be more."""
        key = table.store_name.encode()
        async with self._store.transaction() as tx:
            reached = await tx.table.get(FILLING, b"", key)
            if reached is None:
                return False
            after = Expiry.item_place(reached.document) if reached.document else None
            rows = await tx.table.scan(table.store_name, after=after, limit=_CHUNK)
            places = [Place(row.partition, row.sort) for row in rows]
            for row, place in zip(rows, places, strict=True):
                entry = expiry.place(load_item(row.document), place)
                if entry is not None:
                    await tx.table.put(expiry.store_name, *entry, b"")
                    self._announce(Expiry.instant(entry.sort))
            if len(rows) < _CHUNK:
                await tx.table.delete(FILLING, b"", key)
            else:
                await tx.table.put(FILLING, b"", key, Expiry.sort(0, places[-1]))
        return len(rows) == _CHUNK

    async def _sweep(self, table: TableRecord, expiry: Expiry, now: int) -> bool:
        """Remove some of a table's items that ended by `now` (s). Returns whether there may be more."""
        span: dict[str, Any] = {
            "low": Expiry.bound(now - _TOO_OLD_S),
            "high": Expiry.bound(now + 1),
        }
        async with self._store.transaction() as tx:
            due = await tx.table.range(expiry.store_name, b"", limit=_CHUNK, **span)
            for entry in due:
                place = Expiry.item_place(entry.sort)
                row = await tx.table.get(table.store_name, *place)
                item = None if row is None else load_item(row.document)
                if row is None or item is None or expiry.place(item, place) != (b"", entry.sort):
                    await tx.table.delete(expiry.store_name, b"", entry.sort)
                    continue
                write = Write(table, place, lambda _: None)
                await carry_out(tx, Decided(write, item, None, b"", row.version))
        return len(due) == _CHUNK


def _minute_after(at: int) -> int:
    return (at // _MINUTE + 1) * _MINUTE
