"""Handing an event to its target, by the public operation of the target's service."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from penstock.api import Context, Dispatcher
from penstock.clock import Clock
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError, PenstockError
from penstock.core.sqs_message import binary_values
from penstock.delivery.model import Delivered, Failed, Outcome, Throttled
from penstock.fanout.delivery import Delivery
from penstock.fanout.letters import Letters
from penstock.storage.primitives import Leased

_log: Final = logging.getLogger("penstock.fanout")

Sender: TypeAlias = Callable[[Dispatcher, Context, Delivery, Leased], Awaitable[None]]
"""Hands one event over. Raises AwsError when the target refuses: a status of 429, 5xx or a code of `PASSING` may pass.

A field `RetryAfterMs` of the error tells for how long the target asked to be left alone.
"""


class NotYetError(Exception):
    """What a sender raises when its target may not be called before `until` (ms): this was no attempt."""

    def __init__(self, until: int) -> None:
        super().__init__(f"not before {until}")
        self.until = until


# What a service says when it could not do something now; whatever else it says it will say again.
PASSING: Final = frozenset(
    [
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)
_NOT_BUILT: Final = 501


class HandOver:
    """A delivery target that finds the sender for each message by the service of its ARN."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: Clock,
        endpoint: str,
        senders: Mapping[str, Sender],
        letters: Letters,
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._endpoint = endpoint
        self._senders = senders
        self._letters = letters

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Hand over the batch's one event."""
        (message,) = batch
        delivery = Delivery.of(message)
        if delivery.letters_to:
            # Whoever decides about the message cannot look, whatever comes of it.
            await self._letters.look(delivery.letters_to)
        return await self._outcome(delivery, message)

    async def _outcome(self, delivery: Delivery, message: Leased) -> Outcome:
        try:
            await self._sender(delivery)(
                self._dispatcher, self._context(delivery, message), delivery, message
            )
        except NotYetError as error:
            return Throttled(str(error), until=error.until)
        except AwsError as error:
            return Failed(
                error.message.encode(),
                error.status or 400,
                kind=error.code,
                final=_final(error),
                wait_ms=error.fields.get("RetryAfterMs", 0),
            )
        except PenstockError as error:
            return Failed(str(error).encode(), 500, kind="InternalFailure")
        except Exception as error:  # noqa: BLE001 -- a fault of ours must not make a delivery immortal: the schedule ends it
            _log.exception("%s could not be handed to %s", delivery.arn, delivery.to)
            return Failed(repr(error).encode(), 500, kind="InternalFailure")
        return Delivered()

    def _sender(self, delivery: Delivery) -> Sender:
        sender = self._senders.get(delivery.service)
        if sender is None:
            raise AwsError("NotImplemented", f"There is no way to deliver to {delivery.to}.")
        return sender

    def _context(self, delivery: Delivery, message: Leased) -> Context:
        """The target's account and region, on behalf of the sender."""
        account, region = delivery.account, delivery.region
        if delivery.to.startswith("arn:"):
            where = parse_arn(delivery.to)
            account, region = where.account or account, where.region or region
        return Context(
            account=account,
            region=region,
            now=self._clock.now(),
            request_id=message.id,
            principal=delivery.principal,
            principal_id=delivery.account,
            endpoint=self._endpoint,
            trace=delivery.trace,
        )


def _final(error: AwsError) -> bool:
    status = error.status or 400
    if status == _NOT_BUILT:
        return True
    return error.code not in PASSING and status < 500 and status != 429


def beside_body(delivery: Delivery) -> dict[str, Any]:
    """What the SendMessage request of a delivery to a queue says beside the queue and the body."""
    return _with_attributes(delivery.request) if delivery.request else delivery.request


def _with_attributes(request: dict[str, Any]) -> dict[str, Any]:
    attributes = request.get("MessageAttributes")
    return {**request, "MessageAttributes": binary_values(attributes)} if attributes else request


async def _to_queue(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    where = parse_arn(delivery.to)
    request = {
        "MessageBody": message.body.decode(),
        **beside_body(delivery),
        "QueueUrl": f"{ctx.endpoint}/{where.account}/{where.resource}",
    }
    await dispatcher.call(ctx, "sqs", "SendMessage", request)


async def _to_function(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    request = {"FunctionName": delivery.to, "InvocationType": "Event", "Payload": message.body}
    await dispatcher.call(ctx, "lambda", "Invoke", {**request, **delivery.request})


async def _to_topic(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    request = {"TopicArn": delivery.to, "Message": message.body.decode()}
    await dispatcher.call(ctx, "sns", "Publish", {**request, **_with_attributes(delivery.request)})


async def _to_bus(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    entry = {
        "Detail": message.body.decode(),
        "EventBusName": delivery.to,
        "Time": message.sent_at,
        **delivery.request,
    }
    result = await dispatcher.call(ctx, "events", "PutEvents", {"Entries": [entry]})
    if result.get("FailedEntryCount"):
        (failed,) = result["Entries"]
        raise AwsError(failed.get("ErrorCode", "InternalFailure"), failed.get("ErrorMessage", ""))


async def _to_bucket(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    request = {"Bucket": parse_arn(delivery.to).resource, "Body": message.body}
    await dispatcher.call(ctx, "s3", "PutObject", {**request, **delivery.request})


SENDERS: Final[Mapping[str, Sender]] = {
    "events": _to_bus,
    "lambda": _to_function,
    "s3": _to_bucket,
    "sns": _to_topic,
    "sqs": _to_queue,
}
"""The services that take events from others. A lane may add its own (HTTP endpoints, API destinations, ...)."""
