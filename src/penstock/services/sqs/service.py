"""The SQS service: queues, messages and move tasks on one store."""

from functools import partial
from typing import Any

from penstock.api import Context, Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.delivery.sources import QueueSource
from penstock.fanout import Take
from penstock.services.sqs.attempt import Attempts
from penstock.services.sqs.expiry import Expiry
from penstock.services.sqs.messages import Messages
from penstock.services.sqs.moves import Moves
from penstock.services.sqs.permission import Permissions
from penstock.services.sqs.queue import QueueRecord
from penstock.services.sqs.queues import Queues
from penstock.services.sqs.receipts import Receipts
from penstock.services.sqs.tags import Tags
from penstock.storage.primitives import LeaseTerms, Store


class Sqs:
    """Builds the service and what others need of it: a source for deliveries from a queue."""

    def __init__(self, store: Store, ids: Ids, clock: Clock, receipt_key: bytes) -> None:
        self._store = store
        self._queues = Queues(store)
        self._receipts = Receipts(receipt_key)
        attempts = Attempts(store)
        self._messages = Messages(store, self._queues, self._receipts, attempts, ids, clock)
        self._moves = Moves(store, self._queues, ids, clock)
        self._expiry = Expiry(store, self._queues, attempts, clock)
        self._queues.on_create = self._expiry.start
        operations = operations_of(
            self._queues, self._messages, self._moves, Permissions(self._queues), Tags(self._queues)
        )
        self.service = Service("sqs", operations)

    async def restore(self) -> None:
        """Resume what a restart interrupted."""
        await self._moves.restore()
        self._expiry.start()

    def release(self) -> None:
        """Answer everyone who waits for messages, so that nobody waits for a server that stops."""
        self._messages.release()

    async def close(self) -> None:
        """Stop background work."""
        await self._moves.close()
        await self._expiry.close()

    def source(self, queue_arn: str) -> QueueSource:
        """Deliveries from a queue, on the queue's own terms at the time."""

        async def terms(now: int) -> LeaseTerms | None:
            queue = await self._queues.by_arn(queue_arn)
            return None if queue is None else await self._queues.lease_terms(queue, None, now)

        return QueueSource(queue_arn, terms)

    async def exists(self, queue_arn: str) -> bool:
        """Whether there is a queue of an ARN."""
        return await self._queues.by_arn(queue_arn) is not None

    async def intake(self, queue_arn: str, now: int) -> Take | None:
        """How a queue takes messages from those who put them themselves; see `Messages.take`. None without such a queue."""
        queue = await self._queues.by_arn(queue_arn)
        return None if queue is None else partial(self._messages.take, queue, now)

    async def overview(self, ctx: Context) -> list[dict[str, Any]]:
        """Every queue of the caller's account and region with its depth and the age of its oldest message (ms)."""
        return [
            await self._overview(queue, ctx.now)
            for queue in await self._queues.of(ctx.account, ctx.region)
        ]

    async def _overview(self, queue: QueueRecord, now: int) -> dict[str, Any]:
        counts = await self._store.queue.count(queue.arn, now)
        oldest = counts.oldest_sent_at
        return {
            "name": queue.name,
            "arn": queue.arn,
            "visible": counts.visible,
            "in_flight": counts.leased,
            "delayed": counts.delayed,
            "oldest_ms": 0 if oldest is None else now - oldest,
            "dead_letter": queue.dead_letter,
        }

    def handle(self, queue_arn: str, receipt: str) -> str:
        """The receipt handle that a function sees in an event."""
        return self._receipts.seal(queue_arn, receipt, 0)
