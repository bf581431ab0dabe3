"""What is remembered of the URLs that clients call queues by."""

import asyncio
import tracemalloc

from penstock.api import Context
from penstock.clock import SystemClock
from penstock.core.ids import Ids
from penstock.services.sqs import Sqs
from penstock.storage.sqlite import SqliteStore

ACCOUNT = "000000000000"


async def _kept(length: int) -> int:
    """How many bytes are held after a queue was called by twenty URLs of such a length."""
    store = await SqliteStore.open(":memory:")
    try:
        sqs = Sqs(store, Ids(), SystemClock(), b"0" * 32)
        ctx = Context(account=ACCOUNT, region="us-east-1", now=0, request_id="r")
        operations = sqs.service.operations
        await operations["CreateQueue"](ctx, {"QueueName": "q"})
        tracemalloc.start()
        for host in range(20):
            url = f"http://{host:x>{length}}/{ACCOUNT}/q"
            await operations["ReceiveMessage"](ctx, {"QueueUrl": url})
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        await store.close()


def test_long_urls_are_not_kept() -> None:
    """Any text may stand before a queue's account and name: a client must not fill the memory by it."""
    assert asyncio.run(_kept(100_000)) < 1_000_000
