"""How those targets take events whose services the fan-out does not know."""

from collections.abc import Mapping
from typing import Final

import orjson

from penstock.api import Context, Dispatcher
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.fanout import Delivery, Sender, put_log_events
from penstock.storage.primitives import Leased


async def _to_logs(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    # AWS: a stream of its own for each delivery, named by a UUID (seen in the console).
    entry = _log_event(message.body, ctx.now)
    await put_log_events(dispatcher, ctx, delivery.to, message.id, [entry])


def _log_event(body: bytes, now: int) -> tuple[int, str]:
    """Instant (ms) and message of a payload, which may say itself what it is."""
    try:
        given = orjson.loads(body)
    except ValueError:
        given = None
    # AWS: a transformed input has to be an instant and a message (EventBridge guide, "CloudWatch Logs targets").
    if isinstance(given, dict) and set(given) == {"timestamp", "message"}:
        timestamp = given["timestamp"]
        if isinstance(timestamp, int):
            text = given["message"]
            text = text if isinstance(text, str) else orjson.dumps(text).decode()
            return timestamp, text
    return now, body.decode()


async def _to_stream(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    request = {"StreamARN": delivery.to, "Data": message.body, **delivery.request}
    await dispatcher.call(ctx, "kinesis", "PutRecord", request)


async def _to_firehose(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    name = parse_arn(delivery.to).resource.removeprefix("deliverystream/")
    request = {"DeliveryStreamName": name, "Record": {"Data": message.body}}
    await dispatcher.call(ctx, "firehose", "PutRecord", request)


async def _to_state_machine(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    # A delivery that comes twice is one execution.
    request = {"stateMachineArn": delivery.to, "name": message.id, "input": message.body.decode()}
    try:
        await dispatcher.call(ctx, "stepfunctions", "StartExecution", request)
    except AwsError as error:
        if error.code != "ExecutionAlreadyExists":
            raise


SENDERS: Final[Mapping[str, Sender]] = {
    "firehose": _to_firehose,
    "kinesis": _to_stream,
    "logs": _to_logs,
    "states": _to_state_machine,
}
