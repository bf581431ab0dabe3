"""From a message and its subscriptions to what is put where: queues here, lanes of deliveries, the outbox."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from penstock.api import Context, Dispatcher
from penstock.core.errors import AwsError
from penstock.core.phases import AWS_MANAGED, PhasedSchedule
from penstock.core.retry import DeadLetter
from penstock.core.sns_filter import attribute_values, body_value
from penstock.core.sqs_message import binary_values
from penstock.delivery.model import Failed, Scaling
from penstock.fanout import (
    Delivery,
    Fanout,
    Lane,
    Letter,
    NotYetError,
    OwnLanes,
    Pace,
    Packed,
    add,
    put,
)
from penstock.services.sns.delivery_policy import DEFAULT_RETRY, schedule_of
from penstock.services.sns.envelope import Envelope, function_event
from penstock.services.sns.message import Message, plain_attributes
from penstock.services.sns.outbox import append, entry
from penstock.services.sns.repository import (
    PRINCIPAL,
    Repository,
    Route,
    Routes,
    lane_of,
)
from penstock.services.sns.signature import Signers
from penstock.services.sns.subscription import HTTP, SubscriptionRecord
from penstock.services.sns.topic import Topic
from penstock.storage.primitives import Leased, NewMessage, Primitives

_SHARED: Final = "sns/deliveries"
_CONFIRMATIONS: Final = "sns/confirmations"
# AWS: an endpoint has 15 seconds to answer (SNS guide, "HTTP/HTTPS notifications").
_TIMEOUT_MS: Final = 15_000
_ONE_ENDPOINT: Final = Scaling(start=16, most=16)
_HEADERS: Final = {
    "user-agent": "Amazon Simple Notification Service Agent",
    "accept-encoding": "gzip,deflate",
}
_PLAIN: Final = "text/plain; charset=UTF-8"


@dataclass(slots=True)
class Plan:
    """What one message puts where."""

    message: Message
    packed: Packed = field(default_factory=dict)
    outbox: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A message on its way to its subscribers: the routes that it takes, and what they get."""

    message: Message
    envelope: Envelope
    chosen: Sequence[Route] = ()


class Deliveries:
    """The lanes of SNS: one for all targets that are quick, one for each endpoint and each subscription with an order."""

    def __init__(self, fanout: Fanout, repository: Repository, signers: Signers) -> None:
        self._fanout = fanout
        self._repository = repository
        self._signers = signers
        self._senders = {"http": self._to_endpoint, "lambda": _to_function}
        self._shared = self._lane(_SHARED)
        self._confirmations = self._lane(_CONFIRMATIONS)
        self._own = OwnLanes(fanout.store, lambda queue: self._lane(queue, _ONE_ENDPOINT))
        self._paces: dict[str, Pace] = {}
        """By subscription with a rate."""

    def _lane(self, name: str, scaling: Scaling | None = None) -> Lane:
        if scaling is None:
            return self._fanout.lane(name, _schedule_of, _letter_of, senders=self._senders)
        return self._fanout.lane(
            name, _schedule_of, _letter_of, senders=self._senders, scaling=scaling
        )

    def start(self) -> None:
        """Deliver what everybody shares."""
        self._shared.start()
        self._confirmations.start()

    async def restore(self, now: int) -> None:
        """Go on with what waits for single subscriptions."""
        self.start()
        for record in await self._repository.everything():
            if await self._own.waiting(lane_of(record.arn), now):
                self._own.start(lane_of(record.arn))

    def reset(self) -> None:
        """Begin anew."""
        self._own.clear()
        self._paces.clear()
        self.start()

    def drop(self, subscription_arn: str) -> None:
        """A subscription is gone."""
        self._paces.pop(subscription_arn, None)
        self._own.stop(lane_of(subscription_arn))

    def draft(self, topic: Topic, message: Message) -> Draft:
        """A message of which nothing is written yet."""
        return Draft(message, Envelope(topic, message, self._signers, self._fanout.endpoint))

    async def prepare(self, routes: Routes, draft: Draft) -> None:
        """Choose among the routes, and sign what they get. While that takes time the routes may change.

        What was prepared once is not signed again: when nothing is left to sign, no other task comes in between.
        """
        draft.chosen = _chosen(routes, draft.message)
        text_for = draft.message.text_for
        for text in {text_for(route.key): None for route in draft.chosen if route.enveloped}:
            await draft.envelope.prepare(text)

    async def plan(self, ctx: Context, topic: Topic, draft: Draft) -> Plan:
        """What a message that was prepared puts where. No other task comes between this and its transaction."""
        message, enveloped = draft.message, draft.envelope.body
        plan = Plan(message)
        shared: list[tuple[Delivery, bytes]] = []
        # A message without any of these brings nothing of its own but to endpoints.
        bare = ctx.trace is None and message.group is None and not message.attributes
        for route in draft.chosen:
            protocol = route.record.protocol
            text = message.text_for(route.key) if message.texts else message.text
            body = enveloped(text, route.record.arn) if route.enveloped else text.encode()
            if route.outbox:
                plan.outbox.append(_outbox_entry(route, message, body.decode()))
                continue
            usual = bare and protocol not in HTTP
            delivery = route.delivery if usual else _delivery(ctx, topic, route, message)
            if protocol in HTTP:
                packed = await self._to_own_lane(ctx, route, delivery, body)
                plan.packed = add(plan.packed, packed)
            elif topic.fifo:
                packed = await self._in_order(ctx, delivery, body, message)
                plan.packed = add(plan.packed, packed)
            else:
                shared.append((delivery, body))
        if shared:
            plan.packed = add(plan.packed, await self._shared.pack(ctx, shared))
        return plan

    async def _to_own_lane(
        self, ctx: Context, route: Route, delivery: Delivery, body: bytes
    ) -> Packed:
        packed = await self._own.start(lane_of(delivery.arn)).pack(ctx, [(delivery, body)])
        if route.rate:
            pace = self._paces.setdefault(delivery.arn, Pace())
            for messages in packed.values():
                for message in messages:
                    message.visible_at = pace.hint(route.rate, ctx.now)
        return packed

    async def _in_order(
        self, ctx: Context, delivery: Delivery, body: bytes, message: Message
    ) -> Packed:
        """A message of a FIFO topic: it must not overtake those that wait for the same subscription."""
        queue = lane_of(delivery.arn)
        if not await self._own.waiting(queue, ctx.now):
            packed = await self._shared.pack(ctx, [(delivery, body)])
            if _SHARED not in packed:
                return packed
        self._own.start(queue)
        kept = NewMessage(
            id=self._fanout.ids.uuid(),
            body=body,
            attributes=delivery.encode(),
            visible_at=ctx.now,
            group=message.group,
        )
        return {queue: [kept]}

    async def confirm(
        self, ctx: Context, topic: Topic, record: SubscriptionRecord, body: bytes, kind: str
    ) -> Packed:
        """A message that asks an HTTP endpoint to confirm."""
        headers = _headers(kind, orjson.loads(body)["MessageId"], topic.arn, _PLAIN)
        if kind != "SubscriptionConfirmation":
            headers["x-amz-sns-subscription-arn"] = record.arn
        delivery = Delivery(
            to=record.endpoint,
            arn=record.arn,
            account=topic.account,
            region=topic.region,
            principal=PRINCIPAL,
            own={"headers": headers},
        )
        return await self._confirmations.pack(ctx, [(delivery, body)])

    async def _to_endpoint(
        self, dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        if rate := delivery.own.get("rate"):
            again = self._paces.setdefault(delivery.arn, Pace()).take(rate, ctx.now)
            if again is not None:
                raise NotYetError(again)
        headers = {**_HEADERS, **delivery.own["headers"]}
        if delivery.trace is not None:
            headers["x-amzn-trace-id"] = delivery.trace
        answer = await self._fanout.outbound.send(
            "POST", delivery.to, headers, message.body, timeout_ms=_TIMEOUT_MS
        )
        if 200 <= answer.status < 300:
            return
        # AWS: 4xx but 429 is for good, everything else may pass (SNS guide, "message delivery retries").
        status = answer.status if 400 <= answer.status < 500 else 503
        raise AwsError(
            f"HTTP_{answer.status}", f"{delivery.to} answered {answer.status}.", status=status
        )


async def carry_out(tx: Primitives, plans: Sequence[Plan], account: str, now: int) -> None:
    """Put what plans say."""
    packed: Packed = {}
    outbox: list[bytes] = []
    for plan in plans:
        packed = add(packed, plan.packed)
        outbox += plan.outbox
    await put(tx, packed, now)
    if outbox:
        await append(tx, account, outbox, now)


def _chosen(routes: Routes, message: Message) -> Sequence[Route]:
    """The routes whose filters the message passes; what they look at is read once."""
    if not routes.filtered:
        return routes.routes
    seen: dict[str, Any] = {}
    chosen = []
    for route in routes.routes:
        test = route.filter
        if test is not None:
            if test.scope not in seen:
                seen[test.scope] = (
                    body_value(message.text)
                    if test.scope == "MessageBody"
                    else attribute_values(message.attributes)
                )
            if not test.matches(seen[test.scope]):
                continue
        chosen.append(route)
    return chosen


def _delivery(ctx: Context, topic: Topic, route: Route, message: Message) -> Delivery:
    """The delivery of a message by a route: the route's own, as far as the message brings nothing."""
    protocol = route.record.protocol
    if protocol in HTTP:
        return route.delivery.for_event(ctx.trace, own=_own_of_http(topic, route, message))
    if protocol != "sqs":
        return route.delivery.for_event(ctx.trace)
    if message.group is None and not (route.raw and message.attributes):
        return route.delivery.for_event(ctx.trace)
    own: dict[str, Any] = {}
    request: dict[str, Any] = {}
    if route.raw and message.attributes:
        request["MessageAttributes"] = plain_attributes(message.attributes)
    ordered = route.record.endpoint.endswith(".fifo")
    # AWS: a standard queue learns the group from a standard topic alone (recorded by LocalStack).
    if message.group is not None and (ordered or not topic.fifo):
        request["MessageGroupId"] = message.group
    if message.dedup is not None:
        own = {"group": message.group, "dedup": message.dedup}
        if ordered:
            request["MessageDeduplicationId"] = message.dedup
    return route.delivery.for_event(ctx.trace, request, own)


def _own_of_http(topic: Topic, route: Route, message: Message) -> dict[str, Any]:
    """What the sender to an endpoint needs."""
    headers = _headers("Notification", message.id, topic.arn, route.content_type)
    headers["x-amz-sns-subscription-arn"] = route.record.arn
    if route.raw:
        headers["x-amz-sns-rawdelivery"] = "true"
    own: dict[str, Any] = {"headers": headers}
    if route.retry != DEFAULT_RETRY:
        own["retry"] = route.retry
    if route.rate:
        own["rate"] = route.rate
    return own


def _headers(kind: str, id_: str, topic_arn: str, content_type: str) -> dict[str, str]:
    return {
        "content-type": content_type,
        "x-amz-sns-message-type": kind,
        "x-amz-sns-message-id": id_,
        "x-amz-sns-topic-arn": topic_arn,
    }


def _outbox_entry(route: Route, message: Message, text: str) -> bytes:
    record = route.record
    return entry(
        record.protocol,
        record.endpoint,
        text,
        subject=message.subject,
        id_=message.id,
        topic=record.topic_arn,
        subscription=record.arn,
        attributes=plain_attributes(message.attributes),
    )


def _schedule_of(delivery: Delivery) -> PhasedSchedule:
    if delivery.service == "http":
        own = delivery.own
        return schedule_of(own.get("retry", DEFAULT_RETRY), paced="rate" in own)
    return AWS_MANAGED


def _letter_of(delivery: Delivery, message: Leased, failed: Failed, decision: DeadLetter) -> Letter:
    """AWS: a dead letter is what would have been delivered (recorded by LocalStack)."""
    ordered = (delivery.letters_to or "").endswith(".fifo")
    group = delivery.own.get("group") or message.id
    return Letter(
        body=message.body,
        attributes=binary_values(delivery.request.get("MessageAttributes") or {}),
        group=group if ordered else None,
        dedup=delivery.own.get("dedup", message.id) if ordered else None,
    )


async def _to_function(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    event = function_event(message.body, delivery.arn)
    request = {"FunctionName": delivery.to, "InvocationType": "Event", "Payload": event}
    await dispatcher.call(ctx, "lambda", "Invoke", request)
