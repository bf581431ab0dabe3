"""Receives that may be repeated: what a call with a ReceiveRequestAttemptId was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from penstock.storage.primitives import Leased, Store

TABLE: Final = "sqs/attempts"
# AWS: an attempt id is good for five minutes (API reference, ReceiveMessage).
_WINDOW_MS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Repeated:
    """The messages of the first call, and when that was (ms)."""

    messages: Sequence[Leased]
    received_at: int


class Attempts:
    """Documents by queue and attempt id, for as long as they count."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def repeat(self, queue: str, id_: str, until: int, now: int) -> Repeated | None:
        """The messages of the attempt, hidden anew until `until`.

        None when there was no such attempt in the window, or one of its messages was deleted, or its visibility changed.
        """
        row = await self._store.table.get(TABLE, queue.encode(), id_.encode())
        if row is None:
            return None
        attempt = orjson.loads(row.document)
        if attempt["at"] <= now - _WINDOW_MS:
            return None
        messages = await self._store.queue.renew(
            queue, attempt["receipts"], attempt["until"], until, now
        )
        if messages is None:
            return None
        await self._save(queue, id_, {**attempt, "until": until})
        return Repeated(messages, attempt["at"])

    async def keep(
        self, queue: str, id_: str, messages: Sequence[Leased], until: int, now: int
    ) -> None:
        """Remember what a call was given."""
        receipts = [message.receipt for message in messages]
        await self._save(queue, id_, {"at": now, "until": until, "receipts": receipts})

    async def forget(self, now: int) -> None:
        """Remove the attempts that no longer count."""
        for row in await self._store.table.scan(TABLE):
            if orjson.loads(row.document)["at"] <= now - _WINDOW_MS:
                await self._store.table.delete(TABLE, row.partition, row.sort, expect=row.version)

    async def _save(self, queue: str, id_: str, attempt: dict[str, object]) -> None:
        await self._store.table.put(TABLE, queue.encode(), id_.encode(), orjson.dumps(attempt))
