"""The SQS service: queues, messages and move tasks on one store."""

from typing import Any

from penstock.api import Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.delivery.sources import QueueSource
from penstock.services.sqs.messages import Messages
from penstock.services.sqs.moves import Moves
from penstock.services.sqs.queue import QueueRecord
from penstock.services.sqs.queues import TABLE, Queues
from penstock.services.sqs.receipts import Receipts
from penstock.storage.primitives import LeaseTerms, Store


class Sqs:
    """Builds the service and what others need of it: a source for deliveries from a queue."""

    def __init__(self, store: Store, ids: Ids, clock: Clock, receipt_key: bytes) -> None:
        self._store = store
        self._queues = Queues(store)
        self._receipts = Receipts(receipt_key)
        self._messages = Messages(store, self._queues, self._receipts, ids, clock)
        self._moves = Moves(store, self._queues, ids, clock)
        self.service = Service("sqs", operations_of(self._queues, self._messages, self._moves))

    async def restore(self) -> None:
        """Resume what a restart interrupted."""
        await self._moves.restore()

    def release(self) -> None:
        """Answer everyone who waits for messages, so that nobody waits for a server that stops."""
        self._messages.release()

    async def close(self) -> None:
        """Stop background work."""
        await self._moves.close()

    def source(self, queue_arn: str) -> QueueSource:
        """Deliveries from a queue, on the queue's own terms at the time."""

        async def terms(now: int) -> LeaseTerms | None:
            queue = await self._queues.by_arn(queue_arn)
            return None if queue is None else await self._queues.lease_terms(queue, None, now)

        return QueueSource(self._store, queue_arn, terms)

    async def overview(self, now: int) -> list[dict[str, Any]]:
        """Every queue with its depth and the age of its oldest message (ms), for operators."""
        rows = await self._store.table.scan(TABLE, limit=100_000)
        result = []
        for row in rows:
            queue = QueueRecord.load(row.document, row.version)
            counts = await self._store.queue.count(queue.arn, now)
            result.append(
                {
                    "name": queue.name,
                    "arn": queue.arn,
                    "visible": counts.visible,
                    "in_flight": counts.leased,
                    "delayed": counts.delayed,
                    "oldest_ms": 0
                    if counts.oldest_sent_at is None
                    else now - counts.oldest_sent_at,
                    "dead_letter": queue.dead_letter,
                }
            )
        return result

    def handle(self, queue_arn: str, receipt: str) -> str:
        """The receipt handle that a function sees in an event."""
        return self._receipts.seal(queue_arn, receipt)
