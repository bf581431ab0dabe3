"""A time limit: however often it is set and lifted, it is over when the last one is."""

import asyncio
from collections.abc import Callable
from time import perf_counter

from penstock.runtime.deadline import Deadline


async def over(begin: Callable[[Deadline], None]) -> float:
    """How many ms after `begin` the time is over."""
    done = asyncio.Event()
    deadline = Deadline(done.set)
    began = perf_counter()
    begin(deadline)
    async with asyncio.timeout(5):
        await done.wait()
    assert not deadline.is_set
    return (perf_counter() - began) * 1000


def test_a_later_limit_counts() -> None:
    """The first of the limits was lifted; its timer may ring, and means nothing."""

    def begin(deadline: Deadline) -> None:
        deadline.set(10)
        deadline.lift()
        assert not deadline.is_set
        deadline.set(60)

    assert 58 <= asyncio.run(over(begin))


def test_an_earlier_limit_counts() -> None:
    """A limit that is shorter than the one before does not wait for it."""

    def begin(deadline: Deadline) -> None:
        deadline.set(4000)
        deadline.lift()
        deadline.set(20)

    assert 18 <= asyncio.run(over(begin)) < 2000


def test_no_limit_is_ever_over() -> None:
    """Neither one that was lifted nor one that was let go."""
    rung: list[str] = []

    async def scenario() -> None:
        lifted = Deadline(lambda: rung.append("lifted"))
        closed = Deadline(lambda: rung.append("closed"))
        lifted.set(5)
        lifted.lift()
        closed.set(5)
        closed.close()
        await over(lambda deadline: deadline.set(30))

    asyncio.run(scenario())
    assert [] == rung
