"""Publishing: one transaction puts a message wherever it goes."""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.sqs_message import DEDUP_MS, sequence_number
from penstock.services.sns.archive import dedup_of, keep
from penstock.services.sns.deliveries import Deliveries, Draft, Plan, carry_out
from penstock.services.sns.envelope import PLACEHOLDER
from penstock.services.sns.message import MAX_BYTES, Message, read_message, size_of
from penstock.services.sns.outbox import append, entry
from penstock.services.sns.platforms import Platforms
from penstock.services.sns.problem import check_arn, invalid, missing
from penstock.services.sns.rates import PublishRates
from penstock.services.sns.repository import Repository, Routes
from penstock.services.sns.sms import Sms
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import NewMessage, Primitives, Store

_MOST_ENTRIES: Final = 10
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_EXPIRE_AT_ONCE: Final = 1000


class Publishing:
    """Publish and PublishBatch."""

    def __init__(
        self,
        *,
        store: Store,
        ids: Ids,
        repository: Repository,
        deliveries: Deliveries,
        platforms: Platforms,
        sms: Sms,
    ) -> None:
        self._store = store
        self._ids = ids
        self._repository = repository
        self._deliveries = deliveries
        self._platforms = platforms
        self._sms = sms
        self._rates = PublishRates()

    @operation("Publish")
    async def publish(self, ctx: Context, request: Request) -> Result:
        """Send a message to a topic, an endpoint or a telephone."""
        if "PhoneNumber" in request:
            return await self._to_phone(ctx, request)
        arn = request.get("TopicArn")
        parameter = "TopicArn"
        if arn is None and "TargetArn" in request:
            arn, parameter = request["TargetArn"], "TargetArn"
            if ":endpoint/" in arn:
                return await self._to_device(ctx, request)
        routes = await self._routes(ctx, arn, parameter)
        message = read_message(request, routes.topic, self._ids.uuid(), ctx.now)
        await self.send(ctx, routes, [message])
        return _told(message)

    @operation("PublishBatch")
    async def publish_batch(self, ctx: Context, request: Request) -> Result:
        """Send up to ten messages; each is answered for itself."""
        routes = await self._routes(ctx, request.get("TopicArn"), "TopicArn")
        entries = request["PublishBatchRequestEntries"]
        _check_batch(entries)
        # AWS: what one entry lacks fails the whole request (recorded by LocalStack).
        messages = [read_message(one, routes.topic, self._ids.uuid(), ctx.now) for one in entries]
        await self.send(ctx, routes, messages)
        successful = [
            {"Id": one["Id"], **_told(message)}
            for one, message in zip(entries, messages, strict=True)
        ]
        return {"Successful": successful, "Failed": []}

    async def _routes(self, ctx: Context, arn: str | None, parameter: str) -> Routes:
        arn = check_arn(parameter, arn)
        if arn.split(":")[3] != ctx.region:
            raise invalid(parameter)
        routes = await self._repository.routes(arn)
        if routes is None:
            raise missing("Topic")
        return routes

    async def send(self, ctx: Context, routes: Routes, messages: Sequence[Message]) -> None:
        """Put messages wherever they go, all or none. Messages of FIFO topics get their sequence, or their original's."""
        topic = routes.topic
        if topic.fifo:
            self._rates.take(topic, [message.group or "" for message in messages], ctx.now)
            for message in messages:
                message.sequence = PLACEHOLDER
                if message.dedup is None:
                    message.dedup = hashlib.sha256(message.text.encode()).hexdigest()
        topic, drafts = await self._prepared(routes, messages)
        plans = [await self._deliveries.plan(ctx, topic, draft) for draft in drafts]
        async with self._store.transaction() as tx:
            if topic.fifo:
                plans = await self._numbered(tx, topic, plans, ctx.now)
            await carry_out(tx, plans, topic.account, ctx.now)
            if topic.archived_since and plans:
                await keep(tx, topic, [plan.message for plan in plans], ctx.now)

    async def _prepared(
        self, routes: Routes, messages: Sequence[Message]
    ) -> tuple[Topic, list[Draft]]:
        """The topic as it is now, and messages signed for everybody who is subscribed now."""
        drafts = [self._deliveries.draft(routes.topic, message) for message in messages]
        if len(drafts) > 1:
            # Signatures are made by threads, as many at once as there are.
            await asyncio.gather(*(self._deliveries.prepare(routes, draft) for draft in drafts))
        else:
            await self._deliveries.prepare(routes, drafts[0])
        while (current := await self._repository.routes(routes.topic.arn)) is not routes:
            if current is None:
                raise missing("Topic")
            routes = current
            for draft in drafts:
                await self._deliveries.prepare(routes, draft)
        return routes.topic, drafts

    async def _numbered(
        self, tx: Primitives, topic: Topic, plans: Sequence[Plan], now: int
    ) -> list[Plan]:
        """Give each message its sequence. Returns the plans of those that are not repeated."""
        queue = dedup_of(topic.arn)
        # AWS: at the scope of the group a message is a repetition within its group alone (SNS guide, "FIFO throughput").
        marks = [
            NewMessage(
                id=plan.message.id,
                body=b"",
                visible_at=now,
                dedup=f"{plan.message.group}\n{plan.message.dedup}"
                if topic.grouped
                else plan.message.dedup,
            )
            for plan in plans
        ]
        stored = await tx.queue.put(queue, marks, now, dedup_since=now - DEDUP_MS)
        # The marks themselves are needed no more: the store remembers their keys.
        await tx.queue.expire(queue, now, _EXPIRE_AT_ONCE)
        fresh = []
        for plan, one in zip(plans, stored, strict=True):
            number = sequence_number(one.sequence)
            plan.message.id, plan.message.sequence = one.id, number
            if not one.duplicate:
                _number(plan, number)
                fresh.append(plan)
        return fresh

    async def _to_phone(self, ctx: Context, request: Request) -> Result:
        await self._sms.check(ctx, request["PhoneNumber"])
        message = read_message(request, None, self._ids.uuid(), ctx.now)
        sent = entry("sms", request["PhoneNumber"], message.text_for("sms"), id_=message.id)
        async with self._store.transaction() as tx:
            await append(tx, ctx.account, [sent], ctx.now)
        return {"MessageId": message.id}

    async def _to_device(self, ctx: Context, request: Request) -> Result:
        platform = await self._platforms.check_target(request["TargetArn"])
        message = read_message(request, None, self._ids.uuid(), ctx.now)
        text = message.text_for(platform)
        sent = entry("application", request["TargetArn"], text, id_=message.id)
        async with self._store.transaction() as tx:
            await append(tx, ctx.account, [sent], ctx.now)
        return {"MessageId": message.id}


def _number(plan: Plan, number: str) -> None:
    """Write the sequence into the envelopes, which stand there without it."""
    before = b'"SequenceNumber" : "%b"' % PLACEHOLDER.encode()
    after = b'"SequenceNumber" : "%b"' % number.encode()
    for messages in plan.packed.values():
        for message in messages:
            message.body = message.body.replace(before, after, 1)


def _told(message: Message) -> Result:
    if message.sequence is None:
        return {"MessageId": message.id}
    return {"MessageId": message.id, "SequenceNumber": message.sequence}


def _check_batch(entries: Sequence[Request]) -> None:
    if not entries:
        raise AwsError(
            "EmptyBatchRequestException", "The batch request doesn't contain any entries."
        )
    if len(entries) > _MOST_ENTRIES:
        raise AwsError(
            "TooManyEntriesInBatchRequestException",
            "The batch request contains more entries than permissible.",
        )
    ids = [one["Id"] for one in entries]
    for id_ in ids:
        if len(id_) > 80:
            raise AwsError(
                "InvalidBatchEntryIdException",
                f"The Id of a batch entry in the batch request is too long: {id_}",
            )
        if not _ENTRY_ID.fullmatch(id_):
            raise AwsError(
                "InvalidBatchEntryIdException",
                "The Id of a batch entry in the batch request contains an impermissible"
                f" character: {id_}",
            )
    if len(set(ids)) < len(ids):
        raise AwsError(
            "BatchEntryIdsNotDistinctException",
            "Two or more batch entries in the request have the same Id.",
        )
    if sum(map(size_of, entries)) > MAX_BYTES:
        raise AwsError(
            "BatchRequestTooLongException",
            "The length of all the messages put together is more than the limit.",
        )
