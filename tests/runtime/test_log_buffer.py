"""Log lines on their way to the sink."""

import asyncio

from penstock.runtime.log_buffer import LogBuffer
from penstock.runtime.model import LogLine
from tests.runtime.bench import ListSink

BUSY = ("123456789012", "eu-west-1", "/aws/lambda/busy", "stream")
QUIET = ("123456789012", "eu-west-1", "/aws/lambda/quiet", "stream")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_quiet_stream_does_not_wait_for_a_busy_one() -> None:
    """Whoever calls a function looks for its log at once, whatever its neighbours print."""

    async def scenario() -> None:
        sink = ListSink()
        buffer = LogBuffer(sink, lambda: None)
        buffer.add(BUSY, [LogLine(1, "one")])
        await settle()
        assert ["one"] == [line.message for line in sink.lines]
        buffer.add(BUSY, [LogLine(2, "two")])
        buffer.add(QUIET, [LogLine(3, "three")])
        await settle()
        assert ["one", "two", "three"] == [line.message for line in sink.lines]
        await buffer.close()

    asyncio.run(scenario())


def test_lines_that_are_being_written_are_waited_for() -> None:
    """Neither who flushes nor who closes may leave lines behind that are on their way."""

    async def scenario(how: str) -> None:
        sink = ListSink()
        sink.open.clear()
        buffer = LogBuffer(sink, lambda: None)
        buffer.add(BUSY, [LogLine(1, "one")])
        await settle()
        leaving = asyncio.ensure_future(getattr(buffer, how)())
        await settle()
        assert not leaving.done()
        sink.open.set()
        await leaving
        assert ["one"] == [line.message for line in sink.lines]
        await buffer.close()

    for how in ("flush", "close"):
        asyncio.run(scenario(how))
