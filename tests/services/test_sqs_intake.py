"""What a queue takes from those who put messages themselves: the same as SendMessage does."""

import asyncio
from collections.abc import Sequence

from penstock.api import Context
from penstock.clock import SystemClock
from penstock.core.ids import Ids
from penstock.services.sqs import Sqs
from penstock.storage.primitives import NewMessage
from penstock.storage.sqlite import SqliteStore

ACCOUNT = "000000000000"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q.fifo"


async def _taken() -> tuple[Sequence[NewMessage | None], object]:
    """What a FIFO queue takes of 302 messages, the eighth of which cannot be, and what a queue does that is not there."""
    store = await SqliteStore.open(":memory:")
    try:
        sqs = Sqs(store, Ids(), SystemClock(), b"0" * 32)
        ctx = Context(account=ACCOUNT, region="us-east-1", now=0, request_id="r")
        create = sqs.service.operations["CreateQueue"]
        await create(ctx, {"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}})
        requests = [{"MessageGroupId": "g", "MessageDeduplicationId": str(n)} for n in range(301)]
        bodies = [b"\0" if n == 7 else b"x" for n in range(301)]
        take = await sqs.intake(QUEUE, 0)
        assert take is not None
        taken = [
            take(body, request, "s", None)
            for body, request in zip([*bodies, b"x"], [*requests, requests[0]], strict=True)
        ]
        gone = await sqs.intake(QUEUE.removesuffix(".fifo"), 0)
        return taken, gone
    finally:
        await store.close()


def test_what_a_queue_would_refuse_is_not_taken() -> None:
    """Too many calls, a message that does not fit and a queue that is not there stop none of the others."""
    taken, gone = asyncio.run(_taken())

    # AWS: 300 calls a second (developer guide, "Amazon SQS message quotas").
    assert [7, 301] == [n for n, message in enumerate(taken) if message is None]
    assert gone is None
