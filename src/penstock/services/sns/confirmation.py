"""Confirming subscriptions: confirmation messages with a token, and what a token does."""

import re
from dataclasses import dataclass, field
from typing import Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.fanout import Packed, put
from penstock.services.sns.deliveries import Deliveries
from penstock.services.sns.envelope import confirm_url, confirmation
from penstock.services.sns.outbox import append, entry
from penstock.services.sns.problem import ARN_PARTS, invalid, missing
from penstock.services.sns.repository import TOKENS, Repository
from penstock.services.sns.signature import Signers
from penstock.services.sns.subscription import HTTP, PENDING_MS, SubscriptionRecord
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Primitives, Store

_TOKEN_BITS: Final = 1152
_TOKEN: Final = re.compile(r"[0-9a-f]+")


@dataclass(slots=True)
class ConfirmationMessage:
    """A message that asks for confirmation, ready to be sent, and what its token will be good for."""

    token: str
    document: bytes
    account: str
    packed: Packed = field(default_factory=dict)
    outbox: list[bytes] = field(default_factory=list)


class Confirmations:
    """Asks endpoints whether they want what they were subscribed to."""

    def __init__(
        self,
        *,
        store: Store,
        ids: Ids,
        repository: Repository,
        deliveries: Deliveries,
        signers: Signers,
        endpoint: str,
    ) -> None:
        self._store = store
        self._ids = ids
        self._repository = repository
        self._deliveries = deliveries
        self._signers = signers
        self._endpoint = endpoint

    async def ask(self, ctx: Context, topic: Topic, record: SubscriptionRecord) -> None:
        """Store a subscription that waits for its confirmation, and ask for it.

        Raises Conflict when somebody has written it meanwhile, and AwsError when the topic is gone.
        """
        before = record.token
        record.token = self._token()
        told = (
            f"You have chosen to subscribe to the topic {topic.arn}.\nTo confirm the subscription,"
            " visit the SubscribeURL included in this message."
        )
        message = await self._message(
            ctx, topic, record, kind="SubscriptionConfirmation", told=told
        )
        async with self._store.transaction() as tx:
            if await self._repository.topic(topic.arn, tx) is None:
                raise missing("Topic")
            if before:
                await tx.table.delete(TOKENS, before.encode(), b"")
            await self._repository.put(record, tx)
            await self.send(tx, message, ctx.now)
        self._repository.forget(topic.arn)

    async def farewell(
        self, ctx: Context, topic: Topic, record: SubscriptionRecord
    ) -> ConfirmationMessage:
        """The message to an endpoint whose subscription somebody without credentials ends: its token undoes it."""
        told = (
            f"You have chosen to deactivate subscription {record.arn}.\nTo cancel this operation and"
            " restore the subscription, visit the SubscribeURL included in this message."
        )
        gone = SubscriptionRecord.load(record.dump(), 0)
        gone.token = self._token()
        return await self._message(
            ctx, topic, gone, kind="UnsubscribeConfirmation", told=told, gone=gone.dump()
        )

    async def send(self, tx: Primitives, message: ConfirmationMessage, now: int) -> None:
        """Put a message on its way."""
        await tx.table.put(TOKENS, message.token.encode(), b"", message.document)
        await put(tx, message.packed, now)
        if message.outbox:
            await append(tx, message.account, message.outbox, now)

    async def _message(
        self,
        ctx: Context,
        topic: Topic,
        record: SubscriptionRecord,
        *,
        kind: str,
        told: str,
        gone: bytes | None = None,
    ) -> ConfirmationMessage:
        id_ = self._ids.uuid()
        document = orjson.dumps(
            {
                "subscription": record.arn,
                "at": ctx.now,
                "gone": None if gone is None else gone.decode(),
            }
        )
        message = ConfirmationMessage(record.token, document, topic.account)
        if record.protocol in HTTP:
            body = await confirmation(
                topic,
                await self._signers.get(),
                self._endpoint,
                kind=kind,
                told=told,
                token=record.token,
                id_=id_,
                at=ctx.now,
            )
            message.packed = await self._deliveries.confirm(ctx, topic, record, body, kind)
        else:
            link = confirm_url(self._endpoint, topic.arn, record.token)
            message.outbox.append(
                entry(
                    record.protocol,
                    record.endpoint,
                    told,
                    subject=f"AWS Notification - {kind}",
                    id_=id_,
                    topic=topic.arn,
                    subscription=record.arn,
                    link=link,
                )
            )
        return message

    def _token(self) -> str:
        return f"{self._ids.random.getrandbits(_TOKEN_BITS):0{_TOKEN_BITS // 4}x}"

    @operation("ConfirmSubscription")
    async def confirm_subscription(self, ctx: Context, request: Request) -> Result:
        """Confirm a subscription by the token that its endpoint was sent."""
        token, arn = request["Token"], request["TopicArn"]
        if not _TOKEN.fullmatch(token):
            raise AwsError("InvalidParameterException", "Invalid token")
        row = await self._store.table.get(TOKENS, token.encode(), b"")
        document = None if row is None else orjson.loads(row.document)
        if document is None or ctx.now >= document["at"] + PENDING_MS:
            raise invalid("Token")
        subscription_arn: str = document["subscription"]
        parts = arn.split(":")
        # AWS: only the region of the topic's ARN is looked at (recorded by LocalStack).
        if len(parts) != ARN_PARTS or parts[3] != subscription_arn.split(":")[3]:
            raise invalid("Topic")
        topic = await self._repository.topic(subscription_arn.rpartition(":")[0])
        record = await self._repository.subscription(subscription_arn)
        # A topic that was made again knows nothing of those who left the one before.
        left = topic is not None and topic.created_at <= document["at"]
        if record is None and left and document["gone"] is not None:
            record = SubscriptionRecord.load(document["gone"].encode(), 0)
            record.pending = True
        if record is None:
            raise invalid("Token")
        if record.pending:
            record.pending = False
            record.authenticated = bool(ctx.principal)
            record.locked = (
                record.authenticated and request.get("AuthenticateOnUnsubscribe") == "true"
            )
            await self._repository.put(record)
        return {"SubscriptionArn": subscription_arn}
