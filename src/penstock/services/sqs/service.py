"""The SQS service: queues, messages and move tasks on one store."""

from penstock.api import Service, operations_of
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.delivery.sources import QueueSource
from penstock.services.sqs.messages import Messages, lease_terms
from penstock.services.sqs.moves import Moves
from penstock.services.sqs.queues import Queues
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
        self.service = Service(
            "sqs", operations_of(self._queues, self._messages, self._moves)
        )

    async def restore(self) -> None:
        """Resume what a restart interrupted."""
        await self._moves.restore()

    async def close(self) -> None:
        """Stop background work."""
        await self._moves.close()

    def source(self, queue_arn: str) -> QueueSource:
        """Deliveries from a queue, on the queue's own terms at the time."""

        async def terms(now: int) -> LeaseTerms | None:
            queue = await self._queues.by_arn(queue_arn)
            return None if queue is None else lease_terms(queue, None, now)

        return QueueSource(self._store, queue_arn, terms)

    def handle(self, queue_arn: str, receipt: str) -> str:
        """The receipt handle that a function sees in an event."""
        return self._receipts.seal(queue_arn, receipt)
