"""What SQS does as time passes, in a Penstock whose clock is the test's."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.api import Context
from penstock.clock import VirtualClock
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.sqs import Sqs
from penstock.storage.primitives import LeaseTerms
from penstock.storage.sqlite import SqliteStore

HOUR = 3600
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
HIGH = {**FIFO, "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}


class World:
    """The service on a store of its own; `call` is what a client would ask."""

    def __init__(self, store: SqliteStore, clock: VirtualClock) -> None:
        self.store = store
        self.clock = clock
        self.sqs = Sqs(store, Ids(1), clock, b"k" * 32)

    async def call(self, operation: str, /, **request: Any) -> Any:
        ctx = Context(
            account="000000000000",
            region="us-east-1",
            now=self.clock.now(),
            request_id="r",
            principal_id="AIDA",
        )
        return await self.sqs.service.operations[operation](ctx, request)

    async def queue(self, name: str, **attributes: str) -> str:
        answer = await self.call("CreateQueue", QueueName=name, Attributes=attributes)
        return str(answer["QueueUrl"])

    async def send(self, url: str, *bodies: str, **options: Any) -> None:
        for body in bodies:
            await self.call("SendMessage", QueueUrl=url, MessageBody=body, **options)

    async def receive(self, url: str, limit: int = 10, **options: Any) -> list[Any]:
        answer = await self.call(
            "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=limit, **options
        )
        return list(answer.get("Messages", ()))

    async def bodies(self, url: str, limit: int = 10, **options: Any) -> list[str]:
        return [message["Body"] for message in await self.receive(url, limit, **options)]

    async def numbers(self, url: str) -> tuple[int, int, int]:
        answer = await self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])
        start = "ApproximateNumberOfMessages"
        return tuple(int(answer["Attributes"][start + n]) for n in ("", "NotVisible", "Delayed"))  # type: ignore[return-value]

    async def refusal(self, operation: str, /, **request: Any) -> tuple[str, str]:
        with pytest.raises(AwsError) as caught:
            await self.call(operation, **request)
        return caught.value.code, caught.value.message

    async def settle(self) -> None:
        for _ in range(3):
            # A flush of a data folder is real work, which no virtual clock awaits.
            await self.store.durable()
            for _ in range(10):
                await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(int(seconds * 1000), self.settle)


@asynccontextmanager
async def world(
    folder: Path | str = ":memory:", clock: VirtualClock | None = None
) -> AsyncIterator[World]:
    """A service that was restored as after a start."""
    store = await SqliteStore.open(folder)
    one = World(store, clock or VirtualClock())
    await one.sqs.restore()
    yield one
    await one.sqs.close()
    await store.close()


def scenario(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in a world of its own."""

    async def run() -> None:
        async with world() as one:
            await test(one)

    def wrapped() -> None:
        asyncio.run(run())

    wrapped.__doc__ = test.__doc__
    return wrapped


@scenario
async def test_retention(w: World) -> None:
    """A message is there for as long as the queue says, and neither handed out nor counted afterwards."""
    url = await w.queue("q", MessageRetentionPeriod="60")
    await w.send(url, "old")
    await w.advance(30)
    await w.send(url, "new")
    await w.advance(30.5)

    assert (1, 0, 0) == await w.numbers(url)
    assert ["new"] == await w.bodies(url)


@scenario
async def test_expired_messages_leave_the_disk(w: World) -> None:
    """What nobody asks for is removed within a minute or so."""
    url = await w.queue("q", MessageRetentionPeriod="60")
    await w.send(url, *"abc")
    await w.advance(180)

    counts = await w.store.queue.count("arn:aws:sqs:us-east-1:000000000000:q", w.clock.now())
    assert 0 == counts.visible


@scenario
async def test_a_shorter_retention_applies_to_what_is_there(w: World) -> None:
    """The attribute is the queue's, not the message's."""
    url = await w.queue("q")
    await w.send(url, "x")
    await w.advance(HOUR)
    await w.call("SetQueueAttributes", QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})

    assert [] == await w.bodies(url)


@scenario
async def test_in_flight_limit(w: World) -> None:
    """A short poll of a standard queue with 120,000 messages in flight is told; room is made by deleting."""
    url = await w.queue("q")
    arn = "arn:aws:sqs:us-east-1:000000000000:q"
    batch = [{"Id": str(n), "MessageBody": "x"} for n in range(10)]
    for _ in range(12_001):
        await w.call("SendMessageBatch", QueueUrl=url, Entries=batch)
    (first,) = await w.receive(url, 1)
    terms = LeaseTerms(until=w.clock.now() + 30_000)
    await w.store.queue.lease(arn, 119_995, terms, w.clock.now())

    assert 4 == len(await w.receive(url))
    assert (10, 120_000, 0) == await w.numbers(url)
    assert "OverLimit" == (await w.refusal("ReceiveMessage", QueueUrl=url))[0]
    poll = asyncio.create_task(w.receive(url, WaitTimeSeconds=1))
    await w.settle()
    await w.advance(1)
    assert [] == await poll
    await w.call("DeleteMessage", QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert 1 == len(await w.receive(url))
    await w.advance(30)
    assert 10 == len(await w.receive(url))


@scenario
async def test_fifo_throughput(w: World) -> None:
    """A FIFO queue takes 300 calls a second of each action, whatever their batches hold."""
    url = await w.queue("q.fifo", **FIFO)
    entries = [{"Id": str(n), "MessageBody": str(n), "MessageGroupId": f"g{n}"} for n in range(10)]
    for n in range(150):
        await w.send(url, f"one{n}", MessageGroupId="g")
        await w.call("SendMessageBatch", QueueUrl=url, Entries=entries)
    request = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g"}

    assert ("RequestThrottled", "Request is throttled.") == await w.refusal(
        "SendMessage", **request
    )
    assert 1 == len(await w.receive(url, 1))
    await w.advance(0.1)
    for n in range(30):
        await w.send(url, f"later{n}", MessageGroupId="g")
    assert "RequestThrottled" == (await w.refusal("SendMessage", **request))[0]


@scenario
async def test_high_throughput_fifo(w: World) -> None:
    """In high throughput mode the rate is each group's own."""
    url = await w.queue("q.fifo", **HIGH)
    for group in "ab":
        for n in range(300):
            await w.send(url, str(n), MessageGroupId=group)

    request = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "a"}
    assert "RequestThrottled" == (await w.refusal("SendMessage", **request))[0]
    for _ in range(400):
        await w.receive(url, 1)


@scenario
async def test_names_of_deleted_queues(w: World) -> None:
    """A name is free again a minute after its queue was deleted."""
    url = await w.queue("q")
    await w.call("DeleteQueue", QueueUrl=url)
    await w.advance(59.9)

    assert (
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ) == await w.refusal("CreateQueue", QueueName="q")
    await w.advance(0.1)
    assert url == await w.queue("q")


@scenario
async def test_purge_once_a_minute(w: World) -> None:
    """A purge may be repeated a minute later."""
    url = await w.queue("q")
    await w.call("PurgeQueue", QueueUrl=url)
    await w.advance(59.9)

    assert (
        "PurgeQueueInProgress",
        "Only one PurgeQueue operation on q is allowed every 60 seconds.",
    ) == await w.refusal("PurgeQueue", QueueUrl=url)
    await w.advance(0.1)
    await w.call("PurgeQueue", QueueUrl=url)


@scenario
async def test_attempts(w: World) -> None:
    """A receive whose answer was lost is asked again and gives the same messages, hidden anew."""
    url = await w.queue("q.fifo", **FIFO)
    await w.send(url, *"abc", MessageGroupId="g")
    again = {"ReceiveRequestAttemptId": "one"}
    first = await w.receive(url, 2, **again)
    await w.advance(20)

    assert first == await w.receive(url, 2, **again)
    assert [] == await w.receive(url, 2, ReceiveRequestAttemptId="another")
    await w.advance(20)
    assert first == await w.receive(url, 2, **again)
    await w.call("DeleteMessage", QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"])
    assert [] == await w.receive(url, 2, **again)
    await w.advance(31)
    assert ["b", "c"] == await w.bodies(url, 2, **again)


@scenario
async def test_attempts_end(w: World) -> None:
    """After five minutes, or when a message's visibility was changed, an attempt id is as good as new."""
    url = await w.queue("q.fifo", VisibilityTimeout="600", **FIFO)
    await w.send(url, "a", MessageGroupId="g")
    await w.send(url, "b", MessageGroupId="h")
    again = {"ReceiveRequestAttemptId": "one"}
    (first,) = await w.receive(url, 1, **again)
    await w.call(
        "ChangeMessageVisibility",
        QueueUrl=url,
        ReceiptHandle=first["ReceiptHandle"],
        VisibilityTimeout=900,
    )

    assert ["b"] == await w.bodies(url, 1, **again)
    await w.advance(300)
    assert [] == await w.bodies(url, 1, **again)


@scenario
async def test_attempts_are_for_fifo_queues(w: World) -> None:
    """On a standard queue there is nothing that an attempt id could mean."""
    url = await w.queue("q")

    code, message = await w.refusal("ReceiveMessage", QueueUrl=url, ReceiveRequestAttemptId="x")
    assert "InvalidParameterValueException" == code
    assert message.startswith("Value x for parameter ReceiveRequestAttemptId is invalid.")


@pytest.mark.parametrize(
    ("attributes", "other_group_is_a_duplicate"), [(FIFO, True), (HIGH, False)]
)
def test_deduplication_window(
    tmp_path: Path, attributes: dict[str, str], other_group_is_a_duplicate: bool
) -> None:
    """For five minutes a copy is answered and not stored: by content or id, in the queue or the group, also when the
    first one has been deleted and the server restarted."""

    async def run() -> None:
        clock = VirtualClock()
        async with world(tmp_path, clock) as w:
            url = await w.queue("q.fifo", **attributes)
            await w.send(url, "content", MessageGroupId="g")
            await w.send(url, "first", MessageGroupId="g", MessageDeduplicationId="id")
            for message in await w.receive(url):
                handle = message["ReceiptHandle"]
                await w.call("DeleteMessage", QueueUrl=url, ReceiptHandle=handle)
            await w.advance(299)
        async with world(tmp_path, clock) as w:
            await w.send(url, "content", MessageGroupId="g")
            await w.send(url, "second", MessageGroupId="g", MessageDeduplicationId="id")
            assert [] == await w.bodies(url)
            await w.send(url, "content", MessageGroupId="h")
            assert other_group_is_a_duplicate is ([] == await w.bodies(url))
            await w.advance(2)
            await w.send(url, "content", MessageGroupId="g")
            await w.send(url, "third", MessageGroupId="g", MessageDeduplicationId="id")
            assert ["content", "third"] == await w.bodies(url)

    asyncio.run(run())


@scenario
async def test_fair_queues(w: World) -> None:
    """A tenant's ten messages come before the ten thousand of another that were sent earlier."""
    url = await w.queue("q")
    noisy = [{"Id": str(n), "MessageBody": "noisy", "MessageGroupId": "noisy"} for n in range(10)]
    for _ in range(1_000):
        await w.call("SendMessageBatch", QueueUrl=url, Entries=noisy)
    await w.send(url, *["quiet"] * 10, MessageGroupId="quiet")

    received = [body for _ in range(4) for body in await w.bodies(url)]
    assert 10 == received.count("quiet")
    assert 10 == len(await w.bodies(url))
    assert (9_960, 50, 0) == await w.numbers(url)


async def redriven(w: World, **options: Any) -> tuple[str, str]:
    """Ten dead letters and a task that moves them back. Returns the sources' URL and the dead-letter queue's ARN."""
    dead = "arn:aws:sqs:us-east-1:000000000000:dead"
    await w.queue("dead")
    policy = f'{{"deadLetterTargetArn":"{dead}","maxReceiveCount":1}}'
    url = await w.queue("q", RedrivePolicy=policy, VisibilityTimeout="0")
    await w.send(url, *"0123456789")
    await w.receive(url)
    assert [] == await w.receive(url)
    await w.call("StartMessageMoveTask", SourceArn=dead, **options)
    await w.settle()
    return url, dead


@scenario
async def test_move_task_at_a_rate(w: World) -> None:
    """A task moves no more a second than it was told to, and says how far it is."""
    url, dead = await redriven(w, MaxNumberOfMessagesPerSecond=2)

    assert (2, 0, 0) == await w.numbers(url)
    await w.advance(2)
    assert (6, 0, 0) == await w.numbers(url)
    (task,) = (await w.call("ListMessageMoveTasks", SourceArn=dead))["Results"]
    assert ("RUNNING", 6, 10, 2) == (
        task["Status"],
        task["ApproximateNumberOfMessagesMoved"],
        task["ApproximateNumberOfMessagesToMove"],
        task["MaxNumberOfMessagesPerSecond"],
    )
    await w.call("CancelMessageMoveTask", TaskHandle=task["TaskHandle"])
    await w.advance(10)
    assert (6, 0, 0) == await w.numbers(url)
    (task,) = (await w.call("ListMessageMoveTasks", SourceArn=dead))["Results"]
    assert "CANCELLED" == task["Status"]
    assert "TaskHandle" not in task


def test_move_task_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A task that a stop interrupted is finished by the next start."""

    async def run() -> None:
        clock = VirtualClock()
        async with world(tmp_path, clock) as w:
            url, dead = await redriven(w, MaxNumberOfMessagesPerSecond=1)
        async with world(tmp_path, clock) as w:
            await w.settle()
            await w.advance(60)
            assert (10, 0, 0) == await w.numbers(url)
            (task,) = (await w.call("ListMessageMoveTasks", SourceArn=dead))["Results"]
            assert ("COMPLETED", 10) == (task["Status"], task["ApproximateNumberOfMessagesMoved"])

    asyncio.run(run())


@scenario
async def test_twelve_hours_at_most(w: World) -> None:
    """However often it is extended, a message is hidden for twelve hours from its receipt at most."""
    url = await w.queue("q")
    await w.send(url, "x")
    (message,) = await w.receive(url)
    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    await w.call("ChangeMessageVisibility", VisibilityTimeout=12 * HOUR, **change)
    await w.advance(11 * HOUR)

    assert (
        "InvalidParameterValueException",
        "Value 3601 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for"
        " the message is beyond the limit [43200 seconds]",
    ) == await w.refusal("ChangeMessageVisibility", VisibilityTimeout=HOUR + 1, **change)
    await w.call("ChangeMessageVisibility", VisibilityTimeout=HOUR, **change)


@scenario
async def test_waiting_costs_nothing(w: World) -> None:
    """Two thousand that wait use no processor time, also while a message is in flight; an arrival wakes just one."""
    url = await w.queue("q")
    await w.send(url, "in flight")
    await w.receive(url, VisibilityTimeout=30)
    polls = [asyncio.create_task(w.receive(url, WaitTimeSeconds=20)) for _ in range(2_000)]
    await w.settle()

    used = time.process_time()
    await w.advance(10)
    for _ in range(1_000):  # turns of the event loop, in each of which a waiter could do something
        await asyncio.sleep(0)
    assert 0.1 > time.process_time() - used
    used = time.process_time()
    await w.send(url, "x")
    await w.settle()
    assert 1 == sum(poll.done() for poll in polls)
    assert 0.1 > time.process_time() - used
    await w.advance(10)
    assert 1 == sum(len(poll.result()) for poll in polls)


@scenario
async def test_everything_that_becomes_visible_finds_a_waiter(w: World) -> None:
    """The one that watches the time tells the others what they wait for."""
    url = await w.queue("q")
    await w.send(url, *"abc", DelaySeconds=5)
    polls = [asyncio.create_task(w.bodies(url, 1, WaitTimeSeconds=20)) for _ in range(5)]
    await w.settle()
    polls[0].cancel()
    await w.advance(5)

    assert ["a", "b", "c"] == sorted(poll.result()[0] for poll in polls[1:] if poll.done())
    await w.send(url, "d")
    await w.settle()
    assert 4 == sum(poll.done() and not poll.cancelled() for poll in polls)
