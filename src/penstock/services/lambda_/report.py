"""Records and dead letters on their way to services other than SQS.

What a function's event leaves for SNS, EventBridge, S3 or another function is a message of one durable queue, written
in the transaction that settles the event. One subscription takes them and calls the service by its public operation.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.api import Context, Dispatcher
from penstock.clock import Clock
from penstock.core.arn import Arn, parse_arn
from penstock.core.errors import AwsError, PenstockError
from penstock.core.retry import (
    AsyncRetryPolicy,
    DeadLetter,
    Decision,
    Drop,
    Settle,
    after_throttle,
)
from penstock.delivery.model import Delivered, Failed, Outcome, Scaling, Subscription, Throttled
from penstock.delivery.sources import QueueSource
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage, Store

DESTINATIONS: Final = "lambda/destinations"
_LEASE_MS: Final = 30_000
_RETRIES: Final = AsyncRetryPolicy()
_AT_ONCE: Final = Scaling(start=8, most=8)
# What a service says when it could not do something now; whatever else it says it will say again.
_PASSING: Final = frozenset(
    [
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestLimitExceeded",
        "ServiceException",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottlingException",
        "TooManyRequestsException",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a record or a dead letter goes, and on whose behalf. The body of the message is what it says."""

    to: str
    function: str
    """The ARN of the function, with the qualifier it was invoked by."""
    role: str
    trace: str
    condition: str
    attributes: dict[str, Any] | None = None
    """Of a dead letter: its message attributes, as SQS and SNS have them."""


def reports(store: Store, dispatcher: Dispatcher, clock: Clock) -> Subscription:
    """The subscription that delivers reports."""

    async def terms(now: int) -> LeaseTerms:
        return LeaseTerms(until=now + _LEASE_MS)

    return Subscription(
        id=DESTINATIONS,
        source=QueueSource(DESTINATIONS, terms),
        target=ReportTarget(dispatcher, clock),
        policy=ReportPolicy(),
        scaling=_AT_ONCE,
        renew_ms=_LEASE_MS,
    )


class ReportTarget:
    """Calls the service of a report's ARN."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Tell one report."""
        (message,) = batch
        report = Report(**orjson.loads(message.attributes))
        where, function = parse_arn(report.to), parse_arn(report.function)
        ctx = Context(
            account=where.account or function.account,
            region=where.region or function.region,
            now=self._clock.now(),
            request_id=message.id,
            principal=report.role,
            principal_id=function.account,
            trace=report.trace,
        )
        try:
            await _TELLERS[where.service](self._dispatcher, ctx, report, message)
        except AwsError as error:
            text = f"{report.to}: {error.code}: {error.message}"
            if error.code in _PASSING:
                return Throttled(text)
            return Failed(text.encode())
        except PenstockError as error:
            return Throttled(str(error))
        return Delivered()


class ReportPolicy:
    """A service that is throttled or at fault is asked again as events are; what it refuses is lost, as on AWS."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """A report goes back to the queue."""
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Settle, retry or drop."""
        match outcome:
            case Throttled(reason=reason):
                again = after_throttle(
                    _RETRIES, throttles=message.leases, enqueued_at=message.sent_at, now=now
                )
                return Drop(reason) if isinstance(again, DeadLetter) else again
            case Failed(error=error):
                return Drop(error.decode())
        return Settle()

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> list[tuple[str, NewMessage]]:
        """Nothing."""
        return []


async def _tell_function(
    dispatcher: Dispatcher, ctx: Context, report: Report, message: Leased
) -> None:
    request = {
        "FunctionName": report.to,
        "InvocationType": "Event",
        "Payload": message.body,
    }
    await dispatcher.call(ctx, "lambda", "Invoke", request)


async def _tell_topic(
    dispatcher: Dispatcher, ctx: Context, report: Report, message: Leased
) -> None:
    request: dict[str, Any] = {"TopicArn": report.to, "Message": message.body.decode()}
    if report.attributes:
        request["MessageAttributes"] = report.attributes
    await dispatcher.call(ctx, "sns", "Publish", request)


async def _tell_bus(dispatcher: Dispatcher, ctx: Context, report: Report, message: Leased) -> None:
    success = "Success" if report.condition == "Success" else "Failure"
    entry = {
        "Time": message.sent_at,
        "Source": "lambda",
        "Resources": [report.to, report.function],
        "DetailType": f"Lambda Function Invocation Result - {success}",
        "Detail": message.body.decode(),
        "EventBusName": report.to,
    }
    result = await dispatcher.call(ctx, "events", "PutEvents", {"Entries": [entry]})
    if result.get("FailedEntryCount"):
        (failed,) = result["Entries"]
        raise AwsError(failed.get("ErrorCode", "InternalFailure"), failed.get("ErrorMessage", ""))


async def _tell_bucket(
    dispatcher: Dispatcher, ctx: Context, report: Report, message: Leased
) -> None:
    instant = datetime.fromtimestamp(message.sent_at / 1000, UTC)
    name = parse_arn(report.function).resource.split(":")[1]
    # AWS: aws/lambda/async/FUNCTION/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID (Lambda guide, "destinations"). The UUID is the
    # report's own, so that one told twice is one object.
    key = f"aws/lambda/async/{name}/{instant:%Y/%m/%d}/{instant:%Y-%m-%dT%H.%M.%S}-{message.id}"
    request = {"Bucket": parse_arn(report.to).resource, "Key": key, "Body": message.body}
    await dispatcher.call(ctx, "s3", "PutObject", request)


_TELLERS: Final[Mapping[str, Callable[[Dispatcher, Context, Report, Leased], Awaitable[None]]]] = {
    "lambda": _tell_function,
    "sns": _tell_topic,
    "events": _tell_bus,
    "s3": _tell_bucket,
}


async def find_recipient(dispatcher: Dispatcher, ctx: Context, arn: Arn) -> None:
    """Ask the service of an ARN for what it names. Raises AwsError when it is not there, or no such service is built."""
    where = ctx.child(account=arn.account or ctx.account, region=arn.region or ctx.region)
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "lambda": ("GetFunctionConfiguration", {"FunctionName": str(arn)}),
        "sns": ("GetTopicAttributes", {"TopicArn": str(arn)}),
        "events": ("DescribeEventBus", {"Name": arn.name}),
        "s3": ("HeadBucket", {"Bucket": arn.resource}),
    }
    operation, request = requests[arn.service]
    await dispatcher.call(where, arn.service, operation, request)
