"""Topics and subscriptions in the store, and what publishing needs of them, kept compiled until something changes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from penstock.core.sns_filter import Filter
from penstock.fanout import Delivery
from penstock.services.sns.archive import dedup_of
from penstock.services.sns.delivery_policy import effective_policy
from penstock.services.sns.subscription import HTTP, MAIL, SubscriptionRecord
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Primitives, Row, Store

TOPICS: Final = "sns/topics"
SUBSCRIPTIONS: Final = "sns/subscriptions"
TOKENS: Final = "sns/tokens"
PRINCIPAL: Final = "sns.amazonaws.com"
_PLAIN_TEXT: Final = ("email", "sms", "application")
"""Protocols without envelopes."""
_PAGE: Final = 1000
_MOST_ROUTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Route:
    """A confirmed subscription, ready to be published to."""

    record: SubscriptionRecord
    filter: Filter | None
    raw: bool
    enveloped: bool
    """Whether the subscriber gets a notification's envelope rather than its text."""
    outbox: bool
    """Whether nothing leaves this machine: what the subscriber would get is kept to be looked at."""
    key: str
    """By which key a message structure has the text: the protocol, or the device's platform."""
    delivery: Delivery
    """Of a message that brings nothing of its own."""
    retry: dict[str, object] | None
    """Of HTTP: the healthyRetryPolicy that holds."""
    content_type: str
    """Of HTTP."""
    rate: int
    """Of HTTP: so many deliveries a second at most; 0 for any number."""


@dataclass(frozen=True, slots=True)
class Routes:
    """A topic and where its messages go."""

    topic: Topic
    routes: tuple[Route, ...]
    filtered: bool
    """Whether any of the routes takes some messages only."""
    epoch: int


class Repository:
    """Reads and writes records. Whoever writes through a transaction of their own calls `forget` afterwards."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._routes: dict[str, Routes] = {}
        self._changes = 0
        self.on_delete: Callable[[str], None] = _nobody
        """Told the ARN of each subscription that was removed."""

    def forget(self, topic_arn: str) -> None:
        """Something of the topic has changed."""
        self._changes += 1
        self._routes.pop(topic_arn, None)

    def forget_all(self) -> None:
        """Everything has changed."""
        self._changes += 1
        self._routes.clear()

    async def topic(self, arn: str, tx: Primitives | None = None) -> Topic | None:
        """A topic by its ARN."""
        row = await (tx or self._store).table.get(TOPICS, *_topic_key(arn))
        return None if row is None else Topic.load(row.document, row.version)

    async def topics(self, account: str, region: str, after: str, limit: int) -> list[Topic]:
        """Topics in order of their names, from the one after a name on."""
        low = after.encode() + b"\0" if after else b""
        rows = await self._store.table.range(
            TOPICS, f"{account}/{region}".encode(), low=low, limit=limit
        )
        return [Topic.load(row.document, row.version) for row in rows]

    async def put_topic(
        self, topic: Topic, *, tx: Primitives | None = None, expect: int | None = None
    ) -> None:
        """Store a topic; unless told otherwise, over the version that was read. Raises Conflict."""
        expected = topic.version if expect is None else expect
        key = _topic_key(topic.arn)
        await (tx or self._store).table.put(TOPICS, *key, topic.dump(), expect=expected)
        self.forget(topic.arn)

    async def delete_topic(self, topic: Topic, subscriptions: list[SubscriptionRecord]) -> None:
        """Remove a topic with its subscriptions, and what it knows of its messages."""
        async with self._store.transaction() as tx:
            await tx.table.delete(TOPICS, *_topic_key(topic.arn))
            for record in subscriptions:
                await self.delete(record, tx)
            await tx.queue.purge(dedup_of(topic.arn))
        self.forget(topic.arn)
        for record in subscriptions:
            self.on_delete(record.arn)

    async def subscription(
        self, arn: str, tx: Primitives | None = None
    ) -> SubscriptionRecord | None:
        """A subscription by its ARN."""
        row = await (tx or self._store).table.get(SUBSCRIPTIONS, *_subscription_key(arn))
        return None if row is None else SubscriptionRecord.load(row.document, row.version)

    async def put(self, record: SubscriptionRecord, tx: Primitives | None = None) -> None:
        """Store a subscription over the version that was read (0: a new one). Raises Conflict."""
        key = _subscription_key(record.arn)
        where = tx or self._store
        await where.table.put(SUBSCRIPTIONS, *key, record.dump(), expect=record.version)
        self.forget(record.topic_arn)

    async def delete(self, record: SubscriptionRecord, tx: Primitives) -> None:
        """Remove a subscription, with its token and what waits for its endpoint. Once that is stored call `on_delete`."""
        await tx.table.delete(SUBSCRIPTIONS, *_subscription_key(record.arn))
        if record.token:
            await tx.table.delete(TOKENS, record.token.encode(), b"")
        await tx.queue.purge(lane_of(record.arn))
        self.forget(record.topic_arn)

    async def of_topic(
        self, topic_arn: str, after: str = "", limit: int | None = None
    ) -> list[SubscriptionRecord]:
        """The subscriptions of a topic in order of their ids, from the one after an id on."""
        partition, name = _topic_key(topic_arn)
        start = name + b"/"
        low = start + after.encode() + b"\0" if after else start
        return await self._range(partition, low, name + b"0", limit)

    async def of_account(
        self, account: str, region: str, after: str, limit: int
    ) -> list[SubscriptionRecord]:
        """Subscriptions to all topics, from the one after a place on."""
        low = after.encode() + b"\0" if after else b""
        return await self._range(f"{account}/{region}".encode(), low, None, limit)

    async def everything(self) -> list[SubscriptionRecord]:
        """Every subscription there is."""
        found: list[SubscriptionRecord] = []
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(SUBSCRIPTIONS, after=after, limit=_PAGE):
            found += map(_load, rows)
            after = rows[-1].partition, rows[-1].sort
        return found

    async def routes(self, topic_arn: str) -> Routes | None:
        """A topic with its confirmed subscriptions, compiled; None when there is no such topic."""
        known = self._routes.get(topic_arn)
        # What was lost before it was on disk must not be remembered.
        if known is not None and known.epoch == self._store.epoch:
            return known
        changes = self._changes
        topic = await self.topic(topic_arn)
        if topic is None:
            return None
        records = await self.of_topic(topic_arn)
        routes = tuple(_compile(topic, record) for record in records if not record.pending)
        filtered = any(route.filter is not None for route in routes)
        found = Routes(topic, routes, filtered, self._store.epoch)
        if changes == self._changes:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[topic_arn] = found
        return found

    async def _range(
        self, partition: bytes, low: bytes, high: bytes | None, limit: int | None
    ) -> list[SubscriptionRecord]:
        found: list[SubscriptionRecord] = []
        while True:
            count = _PAGE if limit is None else min(_PAGE, limit - len(found))
            rows = await self._store.table.range(
                SUBSCRIPTIONS, partition, low=low, high=high, limit=count
            )
            found += map(_load, rows)
            if len(rows) < count or len(found) == limit:
                return found
            low = rows[-1].sort + b"\0"


def _nobody(_: str) -> None:
    """Nobody wants to know."""


def place_of(record: SubscriptionRecord) -> str:
    """Where a subscription is among those of its account."""
    return _subscription_key(record.arn)[1].decode()


def lane_of(subscription_arn: str) -> str:
    """The lane of a subscription that must not hold up others."""
    return f"sns/deliveries/{subscription_arn}"


def _load(row: Row) -> SubscriptionRecord:
    return SubscriptionRecord.load(row.document, row.version)


def _compile(topic: Topic, record: SubscriptionRecord) -> Route:
    retry, content_type, rate = None, "", 0
    if record.protocol in HTTP:
        policy = effective_policy(
            topic.attributes.get("DeliveryPolicy"), record.attributes.get("DeliveryPolicy")
        )
        retry = policy["healthyRetryPolicy"]
        content_type = policy["requestPolicy"]["headerContentType"]
        rate = (policy["throttlePolicy"] or {}).get("maxReceivesPerSecond", 0)
    delivery = Delivery(
        to=record.endpoint,
        arn=record.arn,
        account=topic.account,
        region=topic.region,
        principal=PRINCIPAL,
        letters_to=record.letters_to,
    )
    device = record.protocol == "application"
    return Route(
        record=record,
        filter=record.filter(),
        raw=record.raw,
        enveloped=not record.raw and record.protocol not in _PLAIN_TEXT,
        outbox=record.protocol in _PLAIN_TEXT or record.protocol in MAIL,
        key=record.endpoint.split("/")[1] if device else record.protocol,
        delivery=delivery,
        retry=retry,
        content_type=content_type,
        rate=rate,
    )


def _topic_key(arn: str) -> tuple[bytes, bytes]:
    parts = arn.split(":")
    return f"{parts[4]}/{parts[3]}".encode(), parts[5].encode()


def _subscription_key(arn: str) -> tuple[bytes, bytes]:
    topic_arn, _, id_ = arn.rpartition(":")
    partition, name = _topic_key(topic_arn)
    return partition, name + b"/" + id_.encode()
