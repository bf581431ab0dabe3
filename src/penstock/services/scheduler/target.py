"""Targets of schedules: which ones there are, and what they are handed."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.api import Context, Dispatcher, refuse
from penstock.core.errors import AwsError
from penstock.core.retry import DeadLetter, DoublingSchedule, Schedule
from penstock.delivery.model import Failed
from penstock.fanout import SENDERS, Delivery, Letter, Sender
from penstock.services.scheduler.record import Place, Record
from penstock.storage.primitives import Leased

_TEMPLATED: Final = frozenset(["events", "lambda", "sns", "sqs"])
_UNBUILT: Final = frozenset(
    ["codebuild", "codepipeline", "ecs", "firehose", "inspector", "kinesis", "sagemaker", "states"]
)
_UNIVERSAL: Final = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9]+):([A-Za-z0-9]+)")
# AWS: what only reads is no target (Scheduler guide, "universal targets").
_READS: Final = re.compile(
    r"(get|describe|list|poll|receive|search|scan|query|select|read|view|filter|lookup|discover|batchGet)"
)
_ATTEMPT: Final = b"<aws.scheduler.attempt-number>"


def check_target(target: dict[str, Any], dispatcher: Dispatcher) -> None:
    """Raise AwsError unless a schedule can have the target."""
    arn = target["Arn"]
    service = arn.split(":", 3)[2] if arn.startswith("arn:") and arn.count(":") >= 5 else ""
    if service in _UNBUILT:
        raise refuse(f"schedules for the service {service}")
    if service == "scheduler":
        _check_universal(arn, dispatcher)
    elif service not in _TEMPLATED:
        raise _invalid(f"Provided Arn is not in correct format: {arn}")
    _check_parameters(service, target)
    if "Input" in target and service != "sqs":
        _check_json(target["Input"])
    letters = (target.get("DeadLetterConfig") or {}).get("Arn")
    if letters is not None and letters.endswith(".fifo"):
        raise _invalid("The dead-letter queue must be a standard queue.")


def _check_universal(arn: str, dispatcher: Dispatcher) -> None:
    found = _UNIVERSAL.fullmatch(arn)
    if (
        found is None
        or _READS.match(found[2])
        or not dispatcher.has_operation(found[1], _operation_name(found[2]))
    ):
        raise _invalid(f"Provided Arn is not in correct format or is not supported: {arn}")


def _operation_name(action: str) -> str:
    return action[0].upper() + action[1:]


def _check_parameters(service: str, target: dict[str, Any]) -> None:
    fitting = {"events": "EventBridgeParameters", "sqs": "SqsParameters"}.get(service)
    for name in target:
        if name.endswith("Parameters") and name != fitting:
            raise _invalid(f"{name} cannot be given for the target {target['Arn']}.")
    if service == "events" and fitting not in target:
        raise _invalid("EventBridgeParameters must be given for a target that is an event bus.")
    group = (target.get("SqsParameters") or {}).get("MessageGroupId")
    if service == "sqs" and target["Arn"].endswith(".fifo") and not group:
        raise _invalid("MessageGroupId must be given for a target that is a FIFO queue.")


def _check_json(text: str) -> None:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid("Input is not valid JSON.") from error


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def delivery_of(
    place: Place, record: Record, base: int, execution: str, trace: str
) -> tuple[Delivery, bytes]:
    """What is to be handed over for the occurrence that was due at `base`."""
    target = record.given["Target"]
    request: dict[str, Any] = {}
    service = target["Arn"].split(":", 3)[2]
    if service == "events":
        given = target["EventBridgeParameters"]
        request = {
            "DetailType": given["DetailType"],
            "Source": given["Source"],
            "Resources": [place.arn],
        }
    elif group := (target.get("SqsParameters") or {}).get("MessageGroupId"):
        request = {"MessageGroupId": group}
    delivery = Delivery(
        to=target["Arn"],
        arn=place.arn,
        account=place.account,
        region=place.region,
        principal=target["RoleArn"],
        trace=trace,
        request=request,
        letters_to=(target.get("DeadLetterConfig") or {}).get("Arn"),
        own=target.get("RetryPolicy") or {},
    )
    moment = datetime.fromtimestamp(base / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = target.get("Input")
    if text is None:
        text = _default_input(place, execution, moment)
    # AWS: context attributes (Scheduler guide, "adding context attributes").
    for name, value in (
        ("schedule-arn", place.arn),
        ("scheduled-time", moment),
        ("execution-id", execution),
    ):
        text = text.replace(f"<aws.scheduler.{name}>", value)
    body = text.encode()
    # What is a queue's own message at once has had one attempt.
    return delivery, body.replace(_ATTEMPT, b"1") if service == "sqs" else body


def _default_input(place: Place, execution: str, moment: str) -> str:
    event = {
        "version": "0",
        "id": execution,
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": place.account,
        "time": moment,
        "region": place.region,
        "resources": [place.arn],
        "detail": "{}",
    }
    return orjson.dumps(event).decode()


def schedule_of(delivery: Delivery) -> Schedule:
    """When a schedule's target is tried again."""
    return DoublingSchedule(
        max_retries=delivery.own.get("MaximumRetryAttempts", 185),
        max_age_ms=delivery.own.get("MaximumEventAgeInSeconds", 86_400) * 1000,
    )


def letter_of(delivery: Delivery, message: Leased, failed: Failed, decision: DeadLetter) -> Letter:
    """The payload, with why it could not be delivered."""
    # AWS: the attributes of a dead letter (Scheduler guide, "configuring a dead-letter queue").
    told = {
        "ERROR_CODE": failed.kind,
        "ERROR_MESSAGE": failed.error.decode(errors="replace"),
        "EXHAUSTED_RETRY_CONDITION": decision.reason,
        "IS_PAYLOAD_TRUNCATED": "false",
        "RETRY_ATTEMPTS": str(message.leases - 1),
        "SCHEDULE_ARN": delivery.arn,
        "TARGET_ARN": delivery.to,
    }
    attributes = {
        name: {"DataType": "String", "StringValue": value} for name, value in told.items() if value
    }
    return Letter(body=message.body, attributes=attributes)


async def _to_operation(
    dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
) -> None:
    """Call any operation of a service, with the payload as its request."""
    found = _UNIVERSAL.fullmatch(delivery.to)
    assert found is not None
    name = _operation_name(found[2])
    await dispatcher.call_document(ctx, found[1], name, orjson.loads(message.body))


def _telling_the_attempt(sender: Sender) -> Sender:
    async def send(
        dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        message.body = message.body.replace(_ATTEMPT, str(message.leases).encode())
        await sender(dispatcher, ctx, delivery, message)

    return send


def senders() -> dict[str, Sender]:
    """The targets of schedules by service."""
    found = {service: SENDERS[service] for service in _TEMPLATED}
    found["scheduler"] = _to_operation
    return {service: _telling_the_attempt(sender) for service, sender in found.items()}
