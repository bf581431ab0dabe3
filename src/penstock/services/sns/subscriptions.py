"""Operations on subscriptions."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.sns.confirmation import Confirmations
from penstock.services.sns.paging import make_token, read_token
from penstock.services.sns.platforms import Platforms
from penstock.services.sns.problem import ARN_PARTS, check_arn, invalid, missing
from penstock.services.sns.replay import Replays
from penstock.services.sns.repository import Repository, place_of
from penstock.services.sns.sms import ENDPOINT
from penstock.services.sns.subscription import (
    HTTP,
    MAIL,
    SubscriptionRecord,
    is_same,
    read_attributes,
    shown_attributes,
    with_attribute,
)
from penstock.services.sns.topic import Topic
from penstock.services.sns.topics import Topics
from penstock.storage.primitives import Store

_PAGE: Final = 100
# AWS: limits (SNS quotas).
_MOST_FILTERS: Final = 200
_MOST_OF_FIFO: Final = 100


class Subscriptions:
    """Subscriptions by their ARN."""

    def __init__(  # noqa: PLR0913 -- the parts that a subscription touches
        self,
        *,
        store: Store,
        ids: Ids,
        topics: Topics,
        repository: Repository,
        confirmations: Confirmations,
        platforms: Platforms,
        replays: Replays,
    ) -> None:
        self._store = store
        self._ids = ids
        self._topics = topics
        self._repository = repository
        self._confirmations = confirmations
        self._platforms = platforms
        self._replays = replays

    @operation("Subscribe", in_part=["Attributes.SubscriptionRoleArn", "Protocol: firehose"])
    async def subscribe(self, ctx: Context, request: Request) -> Result:
        """Subscribe an endpoint; one that is subscribed with the same attributes is answered."""
        while True:
            try:
                return await self._subscribe(ctx, request)
            except Conflict:
                # Somebody else subscribed or confirmed it while a signature was made: look again.
                continue

    async def _subscribe(self, ctx: Context, request: Request) -> Result:
        protocol, endpoint = request["Protocol"], request.get("Endpoint") or ""
        if protocol == "firehose":
            raise refuse("subscriptions of Firehose to SNS")
        if protocol not in _ENDPOINTS:
            raise invalid(f"Amazon SNS does not support this protocol string: {protocol}")
        topic = await self._topics.find(ctx, request["TopicArn"])
        await self._check_endpoint(topic, protocol, endpoint)
        given = request.get("Attributes") or {}
        attributes = read_attributes(topic, endpoint, given)
        id_ = _id_of(topic.arn, protocol, endpoint)
        existing = await self._repository.subscription(f"{topic.arn}:{id_}")
        if existing is not None and not existing.gone(ctx.now):
            if not is_same(existing, attributes):
                raise invalid(
                    "Attributes Reason: Subscription already exists with different attributes"
                )
            if existing.pending:
                await self._confirmations.ask(ctx, topic, existing)
            return _told(existing, request)
        await self._check_limits(topic, attributes)
        record = SubscriptionRecord(
            arn=f"{topic.arn}:{id_}",
            protocol=protocol,
            endpoint=endpoint,
            owner=ctx.account,
            principal=ctx.principal,
            attributes=attributes,
            created_at=ctx.now,
            pending=protocol in HTTP or protocol in MAIL,
            version=0 if existing is None else existing.version,
        )
        if record.pending:
            await self._confirmations.ask(ctx, topic, record)
        else:
            await self._store_replaying(ctx, topic, record)
        return _told(record, request)

    @operation("Unsubscribe")
    async def unsubscribe(self, ctx: Context, request: Request) -> None:
        """End a subscription; one that is not there is no error."""
        arn = request.get("SubscriptionArn") or ""
        _check_subscription_arn(arn)
        record = await self._repository.subscription(arn)
        if record is None:
            return
        topic = await self._repository.topic(record.topic_arn)
        unsigned = not ctx.principal
        if unsigned and record.locked:
            raise AwsError(
                "AuthorizationErrorException", "The subscription is ended by its owner alone."
            )
        farewell = None
        if unsigned and topic is not None and record.protocol in (*HTTP, *MAIL):
            farewell = await self._confirmations.farewell(ctx, topic, record)
        async with self._store.transaction() as tx:
            # What was there before the signature may have changed, or be gone.
            current = await self._repository.subscription(arn, tx)
            topic = await self._repository.topic(record.topic_arn, tx)
            if current is None:
                return
            await self._repository.delete(current, tx)
            if topic is not None:
                topic.deleted += 1
                await self._repository.put_topic(topic, tx=tx)
                if farewell is not None:
                    await self._confirmations.send(tx, farewell, ctx.now)
        self._repository.on_delete(arn)

    @operation("GetSubscriptionAttributes")
    async def get_attributes(self, ctx: Context, request: Request) -> Result:
        """The attributes."""
        record = await self._find(ctx, request)
        topic = await self._repository.topic(record.topic_arn)
        return {"Attributes": shown_attributes(record, topic)}

    @operation("SetSubscriptionAttributes", in_part=["AttributeName: SubscriptionRoleArn"])
    async def set_attributes(self, ctx: Context, request: Request) -> None:
        """Set one attribute; without a value it is as if it had never been set."""
        record = await self._find(ctx, request)
        topic = await self._repository.topic(record.topic_arn)
        if topic is None:
            raise missing("Topic")
        name, value = request["AttributeName"], request.get("AttributeValue") or ""
        before = record.attributes
        record.attributes = with_attribute(topic, record.endpoint, before, name, value)
        # The policy whose replay goes on is a request that was sent again.
        if name == "ReplayPolicy" and not (record.replay and record.attributes == before):
            await self._store_replaying(ctx, topic, record)
        else:
            await self._repository.put(record)

    async def _store_replaying(
        self, ctx: Context, topic: Topic, record: SubscriptionRecord
    ) -> None:
        work = self._replays.plan(topic, record, ctx.now)
        async with self._store.transaction() as tx:
            await self._repository.put(record, tx)
            await self._replays.begin(tx, work, ctx.now)
        if work:
            self._replays.start()

    @operation("ListSubscriptions")
    async def list_subscriptions(self, ctx: Context, request: Request) -> Result:
        """Subscriptions to all topics, a hundred at a time."""
        after = read_token(request.get("NextToken"))
        found = await self._repository.of_account(ctx.account, ctx.region, after, _PAGE + 1)
        more = {"NextToken": make_token(place_of(found[_PAGE - 1]))} if len(found) > _PAGE else {}
        return {"Subscriptions": _listed(found[:_PAGE], ctx.now), **more}

    @operation("ListSubscriptionsByTopic")
    async def list_by_topic(self, ctx: Context, request: Request) -> Result:
        """The subscriptions of a topic, a hundred at a time."""
        topic = await self._topics.find(ctx, request["TopicArn"])
        after = read_token(request.get("NextToken"))
        found = await self._repository.of_topic(topic.arn, after, _PAGE + 1)
        more = {"NextToken": make_token(found[_PAGE - 1].id)} if len(found) > _PAGE else {}
        return {"Subscriptions": _listed(found[:_PAGE], ctx.now), **more}

    async def _find(self, ctx: Context, request: Request) -> SubscriptionRecord:
        arn = check_arn("SubscriptionArn", request["SubscriptionArn"])
        if len(arn.split(":")) != ARN_PARTS + 1:
            raise invalid("SubscriptionArn Reason: An ARN must have at least 6 elements")
        record = await self._repository.subscription(arn)
        if record is None or record.gone(ctx.now):
            raise missing("Subscription")
        return record

    async def _check_endpoint(self, topic: Topic, protocol: str, endpoint: str) -> None:
        fault = _ENDPOINTS[protocol](endpoint)
        if fault is not None:
            raise fault
        if protocol == "application" and not await self._platforms.exists(endpoint):
            raise invalid(f"Endpoint Reason: Endpoint does not exist for endpoint {endpoint}")
        if endpoint.endswith(".fifo") and protocol == "sqs" and not topic.fifo:
            # AWS: the words stand twice (recorded by LocalStack).
            raise invalid(
                "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed"
                " to standard SNS topics"
            )
        if topic.fifo and protocol != "sqs":
            # AWS: FIFO topics deliver to queues alone (SNS guide, "message delivery details"); the words are ours.
            raise invalid(
                "Endpoint Reason: Please use an SQS queue: FIFO topics deliver to no other"
            )

    async def _check_limits(self, topic: Topic, attributes: dict[str, str]) -> None:
        if not topic.fifo and "FilterPolicy" not in attributes:
            return
        records = await self._repository.of_topic(topic.arn)
        if topic.fifo and len(records) >= _MOST_OF_FIFO:
            raise AwsError(
                "SubscriptionLimitExceededException",
                f"Subscription limit exceeded for topic: {topic.arn}",
            )
        filtered = sum("FilterPolicy" in record.attributes for record in records)
        if "FilterPolicy" in attributes and filtered >= _MOST_FILTERS:
            raise AwsError(
                "FilterPolicyLimitExceededException",
                "Filter policy limit exceeded for the topic.",
            )


def _id_of(topic_arn: str, protocol: str, endpoint: str) -> str:
    """The id of a subscription: one for each endpoint, so that it is found again by what it is."""
    digest = hashlib.sha256(f"{topic_arn}\n{protocol}\n{endpoint}".encode()).hexdigest()
    return "-".join(
        (digest[:8], digest[8:12], f"4{digest[12:15]}", f"8{digest[15:18]}", digest[18:30])
    )


def _is_arn_of(text: str, service: str) -> bool:
    parts = text.split(":")
    return len(parts) >= ARN_PARTS and parts[0] == "arn" and parts[2] == service


def _no_queue(endpoint: str) -> AwsError | None:
    return None if _is_arn_of(endpoint, "sqs") else invalid("SQS endpoint ARN")


def _no_function(endpoint: str) -> AwsError | None:
    return None if _is_arn_of(endpoint, "lambda") else invalid("Lambda endpoint ARN")


def _no_url(endpoint: str, scheme: str) -> AwsError | None:
    if endpoint.startswith(f"{scheme}://"):
        return None
    return invalid("Endpoint must match the specified protocol")


def _no_mail(endpoint: str) -> AwsError | None:
    good = 3 <= len(endpoint) <= 320 and "@" in endpoint[1:-1]
    return None if good else invalid("Email address")


def _no_phone(endpoint: str) -> AwsError | None:
    if ENDPOINT.fullmatch(endpoint):
        return None
    return AwsError("InvalidParameterException", f"Invalid SMS endpoint: {endpoint}")


_ENDPOINTS: Final[Mapping[str, Callable[[str], AwsError | None]]] = {
    "application": lambda _: None,
    "email": _no_mail,
    "email-json": _no_mail,
    "http": lambda endpoint: _no_url(endpoint, "http"),
    "https": lambda endpoint: _no_url(endpoint, "https"),
    "lambda": _no_function,
    "sms": _no_phone,
    "sqs": _no_queue,
}
"""By protocol: what is wrong with an endpoint."""


def _check_subscription_arn(arn: str) -> None:
    if not arn:
        raise invalid("SubscriptionArn Reason: no value for required parameter")
    check_arn("SubscriptionArn", arn)
    if len(arn.split(":")) != ARN_PARTS + 1:
        raise invalid("SubscriptionId")


def _told(record: SubscriptionRecord, request: Request) -> Result:
    if record.pending and not request.get("ReturnSubscriptionArn"):
        return {"SubscriptionArn": "pending confirmation"}
    return {"SubscriptionArn": record.arn}


def _listed(records: list[SubscriptionRecord], now: int) -> list[dict[str, str]]:
    return [
        {
            "SubscriptionArn": "PendingConfirmation" if record.pending else record.arn,
            "Owner": record.owner,
            "Protocol": record.protocol,
            "Endpoint": record.endpoint,
            "TopicArn": record.topic_arn,
        }
        for record in records
        if not record.gone(now)
    ]
