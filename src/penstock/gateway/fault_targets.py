"""Whom a fault may name: what takes part in deliveries, and exists."""

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from penstock.api import Context, Dispatcher
from penstock.core.arn import Arn, parse_arn
from penstock.core.errors import AwsError


class _Kind(NamedTuple):
    """A kind of resource that deliveries go from or to, and the operation that tells whether there is one."""

    service: str
    resource: re.Pattern[str]
    operation: str
    request: dict[str, str]
    """Members of the request; values are filled with the ARN and with the groups of `resource`."""


def _kind(service: str, resource: str, operation: str, **request: str) -> _Kind:
    return _Kind(service, re.compile(resource), operation, request)


_KINDS: Final = (
    _kind("lambda", r"function:.+", "GetFunctionConfiguration", FunctionName="{arn}"),
    _kind("lambda", r"event-source-mapping:(?P<id>.+)", "GetEventSourceMapping", UUID="{id}"),
    _kind("sqs", r"(?P<name>[^:/]+)", "GetQueueUrl", QueueName="{name}"),
    _kind("sns", r"[^:/]+", "GetTopicAttributes", TopicArn="{arn}"),
    _kind("sns", r"[^:/]+:[^:/]+", "GetSubscriptionAttributes", SubscriptionArn="{arn}"),
    _kind("sns", r"endpoint/.+", "GetEndpointAttributes", EndpointArn="{arn}"),
    _kind("events", r"rule/(?P<name>[^/]+)", "DescribeRule", Name="{name}"),
    _kind(
        "events",
        r"rule/(?P<bus>.+)/(?P<name>[^/]+)",
        "DescribeRule",
        Name="{name}",
        EventBusName="{bus}",
    ),
    _kind("events", r"event-bus/.+", "DescribeEventBus", Name="{arn}"),
    _kind(
        "events",
        r"api-destination/(?P<name>[^/]+)/.+",
        "DescribeApiDestination",
        Name="{name}",
    ),
    _kind(
        "scheduler",
        r"schedule/(?P<group>[^/]+)/(?P<name>[^/]+)",
        "GetSchedule",
        GroupName="{group}",
        Name="{name}",
    ),
    _kind("pipes", r"pipe/(?P<name>.+)", "DescribePipe", Name="{name}"),
    _kind("s3", r"(?P<name>[^:/]+)", "HeadBucket", Bucket="{name}"),
)
# What is a target, and is nothing that can be looked for by one name.
_UNSEEN: Final = (
    ("scheduler", re.compile(r"aws-sdk:[a-z0-9]+:[A-Za-z0-9]+")),
    ("execute-api", re.compile(r".+")),
    ("logs", re.compile(r"log-group:.+")),
)


class FaultTargets:
    """Looks for what faults name, as its account, in its region."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def check(self, ctx: Context, arns: Collection[str]) -> None:
        """Raise `AwsError` for the first that a fault cannot hit."""
        for text in dict.fromkeys(arns):
            await self._check(ctx, text)

    async def _check(self, ctx: Context, text: str) -> None:
        try:
            arn = parse_arn(text)
        except AwsError as error:
            raise _invalid(f"{text} is no ARN") from error
        if any(
            arn.service == service and form.fullmatch(arn.resource) for service, form in _UNSEEN
        ):
            return
        for kind in _KINDS:
            found = kind.resource.fullmatch(arn.resource) if arn.service == kind.service else None
            if found is not None:
                values = {"arn": text, **found.groupdict()}
                await self._look(ctx, arn, kind, values)
                return
        raise _invalid(
            f"{text} takes part in no delivery, so no fault can hit it; name a function, a queue that feeds one,"
            " an event source mapping, a pipe, a schedule, a topic or a subscription to it, a rule or its target,"
            " or a bucket that tells of changes"
        )

    async def _look(self, ctx: Context, arn: Arn, kind: _Kind, values: dict[str, str]) -> None:
        where = ctx.child(account=arn.account or ctx.account, region=arn.region or ctx.region)
        request = {name: form.format_map(values) for name, form in kind.request.items()}
        try:
            await self._dispatcher.call(where, kind.service, kind.operation, request)
        except AwsError as error:
            raise _invalid(
                f"{arn} does not exist, so no fault can hit it; create it first ({error.message})"
            ) from error


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
