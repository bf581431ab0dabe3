"""Notifications: which events of a bucket go where, and their way there."""

import base64
import fnmatch
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Dispatcher, Request, Result, operation
from penstock.core.arn import Arn, make_arn, parse_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.retry import DeadLetter, DoublingSchedule
from penstock.delivery.model import Failed
from penstock.fanout import Delivery, Fanout, Letter, Packed, put
from penstock.services.s3.bucket import Buckets
from penstock.services.s3.configuration import malformed
from penstock.services.s3.event import (
    EVENTS,
    Happening,
    bus_detail,
    matches,
    message,
    rules_of,
    test_message,
)
from penstock.storage.primitives import Leased, Store

Configuration = dict[str, Any]

_KINDS: Final = {
    "TopicConfigurations": ("TopicArn", "Topic", "sns"),
    "QueueConfigurations": ("QueueArn", "Queue", "sqs"),
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "CloudFunction", "lambda"),
}
_CLASHES: Final = (
    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the "
    "prefixes are overlapping for the same event type."
)
_SCHEDULE: Final = DoublingSchedule()
_S3: Final = "s3.amazonaws.com"


class Notifications:
    """The operations on a bucket's notifications, and the packing of what they send."""

    def __init__(
        self, store: Store, ids: Ids, buckets: Buckets, dispatcher: Dispatcher, fanout: Fanout
    ) -> None:
        self._store = store
        self._ids = ids
        self._buckets = buckets
        self._dispatcher = dispatcher
        self._lane = fanout.lane("s3/deliveries", lambda _: _SCHEDULE, _letter)
        self._sequence = 0

    def start(self) -> None:
        """Deliver from now on."""
        self._lane.start()

    async def pack(
        self, ctx: Context, bucket: Mapping[str, Any], happenings: Sequence[Happening]
    ) -> Packed:
        """What to put where, in the transaction of the change itself, so that everybody who asked is told."""
        configured = bucket.get("notifications")
        if not configured:
            return {}
        deliveries = []
        for happening in happenings:
            sequencer = self._next(ctx.now)
            for kind, (member, _, service) in _KINDS.items():
                for one in configured.get(kind, ()):
                    if matches(one, happening):
                        body = message(ctx, bucket, happening, one["Id"], sequencer)
                        deliveries.append((_delivery(ctx, bucket, one[member], service), body))
            if "EventBridgeConfiguration" in configured:
                deliveries.append(_event(ctx, bucket, happening, sequencer))
        return await self._lane.pack(ctx, deliveries)

    def _next(self, now: int) -> str:
        """A number that rises, in hexadecimal digits: of two changes of a key the later has the higher one."""
        self._sequence = max(self._sequence + 1, now << 12)
        return f"{self._sequence:018X}"

    @operation("PutBucketNotificationConfiguration")
    async def put_configuration(self, ctx: Context, request: Request) -> None:
        """Replace all of a bucket's notifications; its queues and topics get a test event."""
        await self._buckets.look(ctx, request)
        given = request["NotificationConfiguration"]
        configured: dict[str, Any] = {}
        for kind, (member, name, service) in _KINDS.items():
            for one in given.get(kind, ()):
                _require_arn(one[member], name, service)
                configured.setdefault(kind, []).append(self._checked(one))
        _require_distinct(list(itertools.chain(*configured.values())))
        if "EventBridgeConfiguration" in given:
            configured["EventBridgeConfiguration"] = {}
        tested: list[tuple[Delivery, bytes]] = []
        bucket = await self._buckets.find(ctx, request)
        if not request.get("SkipDestinationValidation"):
            await self._require_destinations(ctx, bucket, configured)
            body = test_message(ctx, bucket["name"])
            for kind in ("TopicConfigurations", "QueueConfigurations"):
                member, _, service = _KINDS[kind]
                for arn in dict.fromkeys(one[member] for one in configured.get(kind, ())):
                    tested.append((_delivery(ctx, bucket, arn, service), body))
        packed = await self._lane.pack(ctx, tested)
        async with self._store.transaction() as tx:
            bucket = await self._buckets.find(ctx, request, tx)
            bucket.pop("notifications", None)
            if configured:
                bucket["notifications"] = configured
            await self._buckets.save(bucket, tx)
            await put(tx, packed, ctx.now)

    @operation("GetBucketNotificationConfiguration")
    async def get_configuration(self, ctx: Context, request: Request) -> Result:
        """A bucket's notifications; nothing where there are none."""
        bucket = await self._buckets.find(ctx, request)
        return dict(bucket.get("notifications") or {})

    def _checked(self, given: Configuration) -> Configuration:
        """A configuration as it is kept: with an id, and rules by their proper names. Raises InvalidArgument."""
        if any(not {"Name", "Value"} <= rule.keys() for rule in rules_of(given)):
            raise malformed()
        rules = [{**rule, "Name": rule["Name"].capitalize()} for rule in rules_of(given)]
        for rule in rules_of(given):
            if rule["Name"].capitalize() not in ("Prefix", "Suffix"):
                raise _invalid(
                    "filter rule name must be either prefix or suffix",
                    {"ArgumentName": "FilterRule.Name", "ArgumentValue": rule["Name"]},
                )
        names = [rule["Name"] for rule in rules]
        for name in ("Prefix", "Suffix"):
            if names.count(name) > 1:
                lower = name.lower()
                raise _invalid(
                    f"Cannot specify more than one {lower} rule in a filter.",
                    {"ArgumentName": "FilterRule.Name", "ArgumentValue": lower},
                )
        for event in given["Events"]:
            if event not in EVENTS:
                raise _invalid(
                    "A specified event is not supported for notifications.",
                    {"ArgumentName": "Event", "ArgumentValue": event},
                )
        checked = {**given, "Id": given.get("Id") or self._new_id()}
        if rules:
            checked["Filter"] = {"Key": {"FilterRules": rules}}
        return checked

    def _new_id(self) -> str:
        return base64.b64encode(self._ids.uuid().encode()).decode()

    async def _require_destinations(
        self,
        ctx: Context,
        bucket: Mapping[str, Any],
        configured: Mapping[str, Sequence[Configuration]],
    ) -> None:
        failures: list[tuple[str, str]] = []
        for kind, (member, _, service) in _KINDS.items():
            for one in configured.get(kind, ()):
                arn = one[member]
                if service == "lambda":
                    if not await self._may_invoke(ctx, arn, bucket):
                        text = f"Not authorized to invoke function [{arn}]"
                        failures.append((f"{arn}, null", text))
                elif problem := await self._problem(ctx, arn, service):
                    failures.append((arn, problem))
        if failures:
            fields: dict[str, str] = {}
            for number, (name, value) in enumerate(failures, 1):
                fields |= {f"ArgumentName{number}": name, f"ArgumentValue{number}": value}
            raise _invalid("Unable to validate the following destination configurations", fields)

    async def _problem(self, ctx: Context, arn: str, service: str) -> str:
        """Why a queue or topic cannot be a destination; empty when it can."""
        where = parse_arn(arn)
        call = ctx.child(account=where.account, region=where.region)
        # AWS: only standard queues and topics (S3 user guide, "Event notification types and destinations").
        what = "queue" if service == "sqs" else "topic"
        if arn.endswith(".fifo"):
            return f"FIFO {service.upper()} {what}s are not supported."
        try:
            if service == "sqs":
                await self._dispatcher.call(
                    call, "sqs", "GetQueueUrl", {"QueueName": where.resource}
                )
            else:
                await self._dispatcher.call(call, "sns", "GetTopicAttributes", {"TopicArn": arn})
        except AwsError as error:
            if error.code == "NotImplemented":
                raise
            return f"The destination {what} does not exist"
        return ""

    async def _may_invoke(self, ctx: Context, arn: str, bucket: Mapping[str, Any]) -> bool:
        """Whether a function's policy lets S3 invoke it for the bucket."""
        where = parse_arn(arn)
        name, _, qualifier = where.resource.removeprefix("function:").partition(":")
        request = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
        call = ctx.child(account=where.account, region=where.region)
        try:
            found = await self._dispatcher.call(call, "lambda", "GetPolicy", request)
        except AwsError:
            return False
        return permits(orjson.loads(found["Policy"])["Statement"], bucket)


def permits(statements: Sequence[Mapping[str, Any]], bucket: Mapping[str, Any]) -> bool:
    """Whether a function's policy lets S3 invoke it for what happens in a bucket."""
    facts = {
        "aws:sourcearn": f"arn:aws:s3:::{bucket['name']}",
        "aws:sourceaccount": bucket["account"],
    }
    return any(
        statement["Principal"] in ("*", {"Service": _S3})
        and statement["Action"] in ("lambda:InvokeFunction", "lambda:*")
        and all(
            fnmatch.fnmatchcase(facts.get(key.lower(), ""), value)
            for tests in statement.get("Condition", {}).values()
            for key, value in tests.items()
        )
        for statement in statements
    )


def _delivery(ctx: Context, bucket: Mapping[str, Any], arn: str, service: str) -> Delivery:
    # AWS: the subject that a topic's subscribers see (recorded by LocalStack).
    request = {"Subject": "Amazon S3 Notification"} if service == "sns" else {}
    return Delivery(
        to=arn,
        arn=f"arn:aws:s3:::{bucket['name']}",
        account=bucket["account"],
        region=bucket["region"],
        principal=_S3,
        trace=ctx.trace,
        request=request,
    )


def _event(
    ctx: Context, bucket: Mapping[str, Any], happening: Happening, sequencer: str
) -> tuple[Delivery, bytes]:
    """The delivery to the default bus of the bucket's region."""
    kind, detail = bus_detail(ctx, bucket, happening, sequencer)
    bus = make_arn("events", bucket["region"], bucket["account"], "event-bus/default")
    delivery = _delivery(ctx, bucket, bus, "events")
    delivery.request.update(
        {"Source": "aws.s3", "DetailType": kind, "Resources": [delivery.arn], "Time": ctx.now}
    )
    return delivery, detail


def _letter(_: Delivery, event: Leased, __: Failed, ___: DeadLetter) -> Letter:
    """S3 has no dead-letter queues; nothing asks for this."""
    return Letter(body=event.body)


def _require_arn(text: str, name: str, service: str) -> None:
    try:
        found: Arn | None = parse_arn(text)
    except AwsError:
        found = None
    if found is None or found.service != service:
        raise _invalid("The ARN could not be parsed", {"ArgumentName": name, "ArgumentValue": text})


def _require_distinct(configurations: Sequence[Configuration]) -> None:
    """Raise where one event of one key would go two ways."""
    for first, second in itertools.combinations(configurations, 2):
        shared = any(_same(a, b) for a in first["Events"] for b in second["Events"])
        if not shared or not _meet(first, second):
            continue
        if rules_of(first) or rules_of(second):
            raise _invalid(_CLASHES)
        raise _invalid(
            "Configurations overlap. Configurations on the same bucket cannot share a common event type."
        )


def _same(first: str, second: str) -> bool:
    """Whether an event can be of both types."""
    if first == second:
        return True
    return any(
        family.endswith(":*") and one.startswith(family[:-1])
        for family, one in ((first, second), (second, first))
    )


def _meet(first: Configuration, second: Configuration) -> bool:
    """Whether a key can pass both filters."""
    one, other = (
        {rule["Name"]: rule["Value"] for rule in rules_of(each)} for each in (first, second)
    )
    heads = one.get("Prefix", ""), other.get("Prefix", "")
    tails = one.get("Suffix", ""), other.get("Suffix", "")
    return (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])) and (
        tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    )


def _invalid(text: str, fields: Mapping[str, str] | None = None) -> AwsError:
    return AwsError("InvalidArgument", text, status=400, fields=fields)
