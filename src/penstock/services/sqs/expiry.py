"""What is over: messages beyond their retention, attempts and names of deleted queues."""

import asyncio
import logging
from typing import Final

from penstock.clock import Clock
from penstock.core.errors import PenstockError
from penstock.services.sqs.attempt import Attempts
from penstock.services.sqs.queues import Queues
from penstock.storage.primitives import Store

_log: Final = logging.getLogger("penstock.sqs")
# The shortest retention: nothing stays on disk for twice as long as it should.
_ROUND_MS: Final = 60_000
_STEP: Final = 1_000


class Expiry:
    """A round a minute through the queues.

    Nobody is ever handed a message that has expired; this gives back the room of those that nobody asked for.
    """

    def __init__(self, store: Store, queues: Queues, attempts: Attempts, clock: Clock) -> None:
        self._store = store
        self._queues = queues
        self._attempts = attempts
        self._clock = clock
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run(), name="sqs expiry")

    async def close(self) -> None:
        """Stop; `start` begins again."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
            self._rounds = None

    async def _run(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _ROUND_MS)
            try:
                await self._round()
            except PenstockError:
                _log.exception("a round of expiry failed; the next one makes up for it")

    async def _round(self) -> None:
        now = self._clock.now()
        await self._attempts.forget(now)
        await self._queues.forget_deleted(now)
        async for page in self._queues.pages():
            for record in page:
                before = now - record.retention_ms
                while await self._store.queue.expire(record.arn, before, _STEP) == _STEP:
                    await self._others()
            await self._others()

    async def _others(self) -> None:
        """Give everybody else a turn: a step takes milliseconds, and so does a page."""
        await self._clock.sleep_until(0)
