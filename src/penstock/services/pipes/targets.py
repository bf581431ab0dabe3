"""How the targets of pipes take events: in batches where their operations do."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from penstock.api import Context, Dispatcher, Result
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.pipe_template import resolved
from penstock.fanout import Delivery, put_log_events
from penstock.services.pipes.definition import DESTINATION, Pipe


@dataclass(frozen=True, slots=True)
class Events:
    """Events with the payloads that are made of them."""

    pairs: Sequence[tuple[Any, bytes]]

    def array(self) -> bytes:
        """The payloads as one JSON array; a text that is no JSON becomes a string."""
        return b"[" + b",".join(_as_json(payload) for _, payload in self.pairs) + b"]"


CallHttp: TypeAlias = Callable[[Context, Delivery, bytes], Awaitable[bytes]]
"""Calls an API destination or a stage, with a body. Gives the answer's body. Raises AwsError."""
Taken: TypeAlias = "bytes | list[int]"
Send: TypeAlias = Callable[[Dispatcher, Context, Pipe, Events], Awaitable[Taken]]
"""Hands so many events over as the target takes at once. Gives what a function answered, or the indices of the events that were not taken.

Raises AwsError when none was."""


def senders(call: CallHttp) -> Mapping[str, Send]:
    """The targets by service. `call` reaches those that speak HTTP."""

    async def to_http(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
        ((event, payload),) = events.pairs
        delivery = http_delivery(pipe, ctx, pipe.given["Target"], "TargetParameters", event)
        await call(ctx, delivery, payload)
        return []

    return {
        DESTINATION: to_http,
        "execute-api": to_http,
        "events": _to_bus,
        "lambda": _to_function,
        "logs": _to_logs,
        "sns": _to_topic,
        "sqs": _to_queue,
    }


def http_delivery(pipe: Pipe, ctx: Context, to: str, side: str, event: Any) -> Delivery:
    """A call of an API destination or a stage; parameters of HTTP may be paths."""
    given = pipe.parameters(side, "HttpParameters")
    request: dict[str, Any] = {
        name: {key: resolved(value, event) for key, value in (given.get(name) or {}).items()}
        for name in ("HeaderParameters", "QueryStringParameters")
    }
    values = given.get("PathParameterValues") or []
    request["PathParameterValues"] = [resolved(value, event) for value in values]
    return Delivery(
        to=to,
        arn=pipe.arn,
        account=ctx.account,
        region=ctx.region,
        principal=ctx.principal,
        trace=ctx.trace,
        request=request,
    )


def _as_json(payload: bytes) -> bytes:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.dumps(payload.decode())
    return payload


async def _to_function(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
    parameters = pipe.parameters("TargetParameters", "LambdaFunctionParameters")
    request = {"FunctionName": pipe.given["Target"], "Payload": events.array()}
    if parameters.get("InvocationType") == "FIRE_AND_FORGET":
        await dispatcher.call(ctx, "lambda", "Invoke", {**request, "InvocationType": "Event"})
        return []
    answer = await dispatcher.call(ctx, "lambda", "Invoke", request)
    if answer.get("FunctionError"):
        raise AwsError("InternalException", "The target function failed.")
    payload: bytes = answer.get("Payload") or b""
    return payload


async def _to_queue(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
    where = parse_arn(pipe.given["Target"])
    parameters = pipe.parameters("TargetParameters", "SqsQueueParameters")
    entries = []
    for index, (event, payload) in enumerate(events.pairs):
        entry: dict[str, Any] = {"Id": str(index), "MessageBody": payload.decode()}
        for name in ("MessageGroupId", "MessageDeduplicationId"):
            if text := parameters.get(name):
                entry[name] = resolved(text, event)
        entries.append(entry)
    url = f"{ctx.endpoint}/{where.account}/{where.resource}"
    there = ctx.child(account=where.account, region=where.region)

    request = {"QueueUrl": url, "Entries": entries}
    return _failed(await dispatcher.call(there, "sqs", "SendMessageBatch", request))


async def _to_topic(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
    entries = [
        {"Id": str(index), "Message": payload.decode()}
        for index, (_, payload) in enumerate(events.pairs)
    ]
    topic = pipe.given["Target"]
    where = parse_arn(topic)
    there = ctx.child(account=where.account, region=where.region)

    request = {"TopicArn": topic, "PublishBatchRequestEntries": entries}
    return _failed(await dispatcher.call(there, "sns", "PublishBatch", request))


def _failed(result: Result) -> list[int]:
    return [int(one["Id"]) for one in result.get("Failed") or ()]


async def _to_bus(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
    parameters = pipe.parameters("TargetParameters", "EventBridgeEventBusParameters")
    entries = [_entry(pipe, parameters, event, payload) for event, payload in events.pairs]
    where = parse_arn(pipe.given["Target"])
    there = ctx.child(account=where.account, region=where.region)
    result = await dispatcher.call(there, "events", "PutEvents", {"Entries": entries})
    return [index for index, one in enumerate(result["Entries"]) if one.get("ErrorCode")]


def _entry(pipe: Pipe, parameters: dict[str, Any], event: Any, payload: bytes) -> dict[str, Any]:
    # AWS: source and detail type of a pipe's own (EventBridge guide, "Pipes targets").
    kind = parse_arn(pipe.given["Source"]).service
    entry = {
        "EventBusName": pipe.given["Target"],
        "Source": resolved(parameters.get("Source", f"Pipe {pipe.name}"), event),
        "DetailType": resolved(parameters.get("DetailType", f"Event from aws:{kind}"), event),
        "Detail": payload.decode(),
        "Resources": [resolved(one, event) for one in parameters.get("Resources", ())],
    }
    if (text := parameters.get("Time")) and (instant := resolved(text, event)).isdigit():
        entry["Time"] = int(instant)
    return entry


async def _to_logs(dispatcher: Dispatcher, ctx: Context, pipe: Pipe, events: Events) -> Taken:
    parameters = pipe.parameters("TargetParameters", "CloudWatchLogsParameters")
    by_stream: dict[str, list[tuple[int, tuple[int, str]]]] = {}
    for index, (event, payload) in enumerate(events.pairs):
        stream = resolved(parameters.get("LogStreamName", pipe.name), event)
        instant = resolved(parameters.get("Timestamp", ""), event)
        at = int(instant) if instant.isdigit() else ctx.now
        by_stream.setdefault(stream, []).append((index, (at, payload.decode())))
    failed: list[int] = []
    for stream, entries in by_stream.items():
        given = [entry for _, entry in entries]
        try:
            refused = await put_log_events(dispatcher, ctx, pipe.given["Target"], stream, given)
        except AwsError:
            refused = list(range(len(given)))
            if len(failed) + len(refused) == len(events.pairs):
                raise
        failed += [entries[index][0] for index in refused]
    return failed
