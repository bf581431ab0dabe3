"""SNS without HTTP: what happens while a signature or a key is being made, and what a stop leaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from penstock.api import Context
from penstock.clock import quiet
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.sns import Sns
from penstock.services.sns.repository import Repository
from penstock.services.sns.signature import Signers
from penstock.storage.primitives import Store
from penstock.storage.sqlite import SqliteStore
from tests.aws.direct import fanout_over

ACCOUNT = "000000000000"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:t"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:q"
URL = f"http://127.0.0.1:4566/{ACCOUNT}/q"
# Nobody listens there.
HOOK = "http://127.0.0.1:9/hook"


class Direct:
    """SNS and SQS on a store, called as operations."""

    def __init__(self, store: Store) -> None:
        self.store = store
        fanout, sqs, self.engine = fanout_over(store, Ids())
        self.clock, self.outbound = fanout.clock, fanout.outbound
        self.sns = Sns(fanout)
        self._services = {"sns": self.sns.service, "sqs": sqs.service}

    def call(
        self, service: str, operation: str, principal: str = "somebody", **request: Any
    ) -> Coroutine[Any, Any, Any]:
        """An operation, to be awaited."""
        ctx = Context(
            account=ACCOUNT,
            region="us-east-1",
            now=self.clock.now(),
            request_id="r",
            principal=principal,
        )
        handler: Any = self._services[service].operations[operation]
        coroutine: Coroutine[Any, Any, Any] = handler(ctx, request)
        return coroutine

    async def meanwhile(
        self, signs: Coroutine[Any, Any, Any], *others: Coroutine[Any, Any, Any]
    ) -> Any:
        """What `signs` returns when the others are done while a thread signs for it."""
        # The key is there: what is waited for is a signature.
        task = asyncio.ensure_future(signs)
        await asyncio.sleep(0)
        assert not task.done()
        for other in others:
            await other
        return await task

    async def waiting(self, queue: str) -> int:
        """How many messages a queue of the store has."""
        counts = await self.store.queue.count(queue, self.clock.now())
        return counts.visible + counts.leased + counts.delayed

    async def close(self) -> None:
        """Deliver no more."""
        await self.engine.close()
        await self.outbound.close()


@asynccontextmanager
async def direct() -> AsyncIterator[Direct]:
    """SNS and SQS with a topic, a queue and a key."""
    store = await SqliteStore.open(":memory:")
    made = Direct(store)
    await made.call("sns", "CreateTopic", Name="t")
    await made.call("sqs", "CreateQueue", QueueName="q")
    await made.sns._signers.get()
    try:
        yield made
    finally:
        await made.close()
        await store.close()


def run(scenario: Callable[[Direct], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario."""

    async def whole() -> None:
        async with direct() as given:
            await scenario(given)

    asyncio.run(whole())


async def token_of(given: Direct) -> str:
    """The token of the one subscription that waits."""
    (row,) = await given.store.table.scan("sns/tokens")
    return row.partition.decode()


def test_a_queue_deleted_while_a_message_is_signed() -> None:
    """It gets no message: there is a delivery, for the dead-letter queue to know of."""

    async def scenario(given: Direct) -> None:
        await given.call("sns", "Subscribe", TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
        await given.meanwhile(
            given.call("sns", "Publish", TopicArn=TOPIC, Message="m"),
            given.call("sqs", "DeleteQueue", QueueUrl=URL),
        )
        assert await given.waiting(QUEUE) == 0
        assert await given.waiting("sns/deliveries") == 1

    run(scenario)


def test_a_webhook_that_leaves_while_a_message_is_signed() -> None:
    """It gets no message, and nothing waits for it."""

    async def scenario(given: Direct) -> None:
        arn = await hooked(given)
        await given.meanwhile(
            given.call("sns", "PublishBatch", TopicArn=TOPIC, PublishBatchRequestEntries=batch()),
            given.call("sns", "Unsubscribe", SubscriptionArn=arn),
        )
        assert await given.waiting(f"sns/deliveries/{arn}") == 0

    run(scenario)


def test_a_queue_subscribed_while_a_message_is_signed() -> None:
    """It gets the message whose routes were looked at again."""

    async def scenario(given: Direct) -> None:
        await hooked(given)
        await given.meanwhile(
            given.call("sns", "Publish", TopicArn=TOPIC, Message="m"),
            given.call("sns", "Subscribe", TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE),
        )
        assert await given.waiting(QUEUE) == 1

    run(scenario)


def test_a_topic_deleted_while_a_message_is_signed() -> None:
    """There is nothing to publish to."""

    async def scenario(given: Direct) -> None:
        await given.call("sns", "Subscribe", TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
        code = await refused(
            given.meanwhile(
                given.call("sns", "Publish", TopicArn=TOPIC, Message="m"),
                given.call("sns", "DeleteTopic", TopicArn=TOPIC),
            )
        )
        assert code == "NotFoundException"
        assert await given.waiting(QUEUE) == 0

    run(scenario)


def test_a_replay_goes_on_after_a_stop() -> None:
    """Every message comes once and in order, though the request that asks for it was sent again."""

    async def scenario(given: Direct) -> None:
        subscription = await archived(given, 250)
        replaying = {
            "SubscriptionArn": subscription,
            "AttributeName": "ReplayPolicy",
            "AttributeValue": '{"PointType": "Timestamp", "StartingPoint": "2020-01-01T00:00:00Z"}',
        }
        await given.call("sns", "SetSubscriptionAttributes", **replaying)
        await given.call("sns", "SetSubscriptionAttributes", **replaying)
        assert await status_of(given, subscription) == "In progress"
        await given.close()
        assert await given.waiting("sns/replays") == 1
        assert await given.waiting(QUEUE) < 250

        after = Direct(given.store)
        await after.sns.restore()
        await quiet(after.engine.idle)
        assert await status_of(after, subscription) == "Completed"
        got = []
        while len(got) < await after.waiting(QUEUE):
            found = await after.call("sqs", "ReceiveMessage", QueueUrl=URL, MaxNumberOfMessages=10)
            got += [message["Body"] for message in found["Messages"]]
        assert got == [str(number) for number in range(250)]
        await after.close()

    run(scenario)


def test_another_replay_takes_the_place_of_one() -> None:
    """A policy that is taken away, or names no instant, replays nothing more."""

    async def scenario(given: Direct) -> None:
        subscription = await archived(given, 3)
        replaying = {"SubscriptionArn": subscription, "AttributeName": "ReplayPolicy"}
        policy = '{"PointType": "Timestamp", "StartingPoint": "%s"}'
        broken = given.call(
            "sns", "SetSubscriptionAttributes", **replaying, AttributeValue=policy % "soon"
        )
        assert await refused(broken) == "InvalidParameterException"
        for value in (policy % "2020-01-01T00:00:00Z", "{}"):
            await given.call("sns", "SetSubscriptionAttributes", **replaying, AttributeValue=value)
        await quiet(given.engine.idle)
        assert await given.waiting("sns/replays") == 0
        assert await given.waiting(QUEUE) == 0
        assert await status_of(given, subscription) is None

    run(scenario)


def subscribing(given: Direct) -> Coroutine[Any, Any, Any]:
    """A webhook's subscription, which is asked to confirm."""
    return given.call("sns", "Subscribe", TopicArn=TOPIC, Protocol="http", Endpoint=HOOK)


def test_a_farewell_does_not_outlive_its_topic() -> None:
    """Its token brings nobody back to a topic that is gone, nor to one that was made again."""

    async def scenario(given: Direct) -> None:
        arn = await hooked(given)
        await given.call("sns", "Unsubscribe", principal="", SubscriptionArn=arn)
        token = await token_of(given)
        await given.call("sns", "DeleteTopic", TopicArn=TOPIC)
        confirm = {"TopicArn": TOPIC, "Token": token}
        code = await refused(given.call("sns", "ConfirmSubscription", **confirm))
        assert code == "InvalidParameterException"
        await given.clock.sleep_until(given.clock.now() + 2)
        await given.call("sns", "CreateTopic", Name="t")
        code = await refused(given.call("sns", "ConfirmSubscription", **confirm))
        assert code == "InvalidParameterException"
        assert not await given.store.table.size("sns/subscriptions")

    run(scenario)


def test_a_topic_deleted_while_a_confirmation_is_signed() -> None:
    """There is nothing to subscribe to, and no subscription is left behind."""

    async def scenario(given: Direct) -> None:
        gone = given.call("sns", "DeleteTopic", TopicArn=TOPIC)
        code = await refused(given.meanwhile(subscribing(given), gone))
        assert code == "NotFoundException"
        assert not await given.store.table.size("sns/subscriptions")
        assert not await given.store.table.size("sns/tokens")

    run(scenario)


def test_two_equal_subscriptions_at_once() -> None:
    """Both are answered; one token is good."""

    async def scenario(given: Direct) -> None:
        answers = await asyncio.gather(subscribing(given), subscribing(given))
        assert [one["SubscriptionArn"] for one in answers] == ["pending confirmation"] * 2
        await given.call("sns", "ConfirmSubscription", TopicArn=TOPIC, Token=await token_of(given))

    run(scenario)


def test_a_topic_changed_while_a_farewell_is_signed() -> None:
    """The subscription is ended, and the topic keeps what it was told."""

    async def scenario(given: Direct) -> None:
        arn = await hooked(given)
        await given.meanwhile(
            given.call("sns", "Unsubscribe", principal="", SubscriptionArn=arn),
            given.call("sns", "TagResource", ResourceArn=TOPIC, Tags=[{"Key": "k", "Value": "v"}]),
        )
        assert not await given.store.table.size("sns/subscriptions")
        tags = await given.call("sns", "ListTagsForResource", ResourceArn=TOPIC)
        assert tags == {"Tags": [{"Key": "k", "Value": "v"}]}

    run(scenario)


def test_nobody_is_told_of_a_removal_that_was_undone() -> None:
    """A lane stops when its subscription is gone for good, not when a transaction fails."""

    async def scenario(given: Direct) -> None:
        arn = await hooked(given)
        repository, told = Repository(given.store), list[str]()
        repository.on_delete = told.append
        record = await repository.subscription(arn)
        topic = await repository.topic(TOPIC)
        assert record is not None
        assert topic is not None
        with contextlib.suppress(Conflict):
            async with given.store.transaction() as tx:
                await repository.delete(record, tx)
                await repository.put_topic(topic, tx=tx, expect=topic.version + 1)
        assert await repository.subscription(arn) is not None
        assert told == []
        await repository.delete_topic(topic, [record])
        assert told == [arn]

    run(scenario)


def test_a_key_is_made_beside_everything_else() -> None:
    """Whoever asks first for a signature holds up nobody, and there is one key for all."""

    async def whole() -> None:
        store = await SqliteStore.open(":memory:")
        signers = Signers(store)
        asked = asyncio.gather(signers.get(), Signers(store).get())
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        one, other = await asked
        assert turns > 5
        assert one.certificate == other.certificate
        assert (await Signers(store).get()).certificate == one.certificate
        await store.close()

    asyncio.run(whole())


async def archived(given: Direct, count: int) -> str:
    """A FIFO topic that has archived so many messages; a queue's subscription, which got none of them."""
    topic = f"{TOPIC}.fifo"
    attributes = {
        "FifoTopic": "true",
        "ContentBasedDeduplication": "true",
        "ArchivePolicy": '{"MessageRetentionPeriod": "30"}',
    }
    await given.call("sns", "CreateTopic", Name="t.fifo", Attributes=attributes)
    for number in range(count):
        await given.call(
            "sns", "Publish", TopicArn=topic, Message=str(number), MessageGroupId=str(number)
        )
    made = await given.call(
        "sns",
        "Subscribe",
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=QUEUE,
        Attributes={"RawMessageDelivery": "true"},
    )
    return str(made["SubscriptionArn"])


async def status_of(given: Direct, subscription: str) -> str | None:
    """The ReplayStatus."""
    shown = await given.call("sns", "GetSubscriptionAttributes", SubscriptionArn=subscription)
    status: str | None = shown["Attributes"].get("ReplayStatus")
    return status


async def hooked(given: Direct) -> str:
    """A confirmed webhook's subscription."""
    await given.call("sns", "Subscribe", TopicArn=TOPIC, Protocol="http", Endpoint=HOOK)
    confirmed = await given.call(
        "sns", "ConfirmSubscription", TopicArn=TOPIC, Token=await token_of(given)
    )
    return str(confirmed["SubscriptionArn"])


def batch() -> list[dict[str, str]]:
    """Entries of a batch."""
    return [{"Id": str(number), "Message": str(number)} for number in range(3)]


async def refused(call: Coroutine[Any, Any, Any]) -> str:
    """The code of the error that a call ends in."""
    try:
        await call
    except AwsError as error:
        return error.code
    return ""
