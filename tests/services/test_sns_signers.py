"""SNS's signers and the threads that they sign in."""

import asyncio
import threading

from penstock.services.sns.signature import Signers
from penstock.storage.sqlite import SqliteStore


def threads() -> list[str]:
    """The threads that sign."""
    return [one.name for one in threading.enumerate() if one.name.startswith("penstock-signer")]


def test_threads_end_with_the_service() -> None:
    """Who opens and closes Penstock in a process of their own, as a test does, keeps nothing of it."""

    async def scenario() -> None:
        store = await SqliteStore.open(":memory:")
        signers = Signers(store)
        signers.close()
        signer = await signers.get()
        assert await signer.sign("2", [("Message", "hello")])
        assert threads()

        signers.close()
        signers.close()
        await store.close()

    before = threads()
    asyncio.run(scenario())
    assert before == threads()
