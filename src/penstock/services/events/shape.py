"""A target as events meet it: what it is given of them, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from penstock.core.arn import parse_arn
from penstock.core.input_transformer import TransformError, compile_transformer, dumps
from penstock.core.json_path import MISSING, compile_path
from penstock.fanout import Delivery
from penstock.services.events.documents import Document
from penstock.services.events.event import Event
from penstock.services.events.names import BusKey, time_text

Shape: TypeAlias = Callable[[Event, Mapping[str, Any]], bytes]
"""What a target gets, from the event and the transformer's predefined values. Raises TransformError."""
_RETRIES: Final = 185
_MAX_AGE_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Target:
    """A target, compiled from its document."""

    id: str
    arn: str
    service: str
    shape: Shape | None
    """None for the event as it is."""
    document: Document
    delivery: Delivery
    """Of an event that brings nothing of its own."""
    usual: bool
    """Whether events bring nothing but, it may be, a trace header."""

    @property
    def is_bus(self) -> bool:
        """Whether it is a bus rather than an API destination."""
        return self.service == "events" and ":api-destination/" not in self.arn


def compile_target(bus: BusKey, rule_arn: str, document: Document) -> Target:
    """A rule's target from what PutTargets stored."""
    policy = document.get("RetryPolicy", {})
    service = parse_arn(document["Arn"]).service
    delivery = Delivery(
        to=document["Arn"],
        arn=rule_arn,
        account=bus.account,
        region=bus.region,
        # Who sends: the target's role, or EventBridge.
        principal=document.get("RoleArn", "events.amazonaws.com"),
        request=_request(service, document),
        letters_to=document.get("DeadLetterConfig", {}).get("Arn"),
        own={
            "retries": policy.get("MaximumRetryAttempts", _RETRIES),
            "max_age_ms": policy.get("MaximumEventAgeInSeconds", _MAX_AGE_S) * 1000,
        },
    )
    shape = _shape(document)
    return Target(
        id=document["Id"],
        arn=document["Arn"],
        service=service,
        shape=shape,
        document=document,
        delivery=delivery,
        usual=shape is None and service != "kinesis",
    )


def _request(service: str, document: Document) -> dict[str, Any]:
    match service:
        case "sqs":
            return dict(document.get("SqsParameters", {}))
        case "events" | "execute-api":
            return dict(document.get("HttpParameters", {}))
    return {}


def _shape(document: Document) -> Shape | None:
    if "Input" in document:
        constant = document["Input"].encode()
        return lambda event, predefined: constant
    if "InputPath" in document:
        return _by_path(document["InputPath"])
    if "InputTransformer" in document:
        given = document["InputTransformer"]
        transformer = compile_transformer(given["InputTemplate"], given.get("InputPathsMap", {}))
        return lambda event, predefined: transformer.apply(event.document, predefined)
    return None


def _by_path(text: str) -> Shape:
    path = compile_path(text)

    def shape(event: Event, predefined: Mapping[str, Any]) -> bytes:
        found = path.find(event.document)
        if found is MISSING:
            raise TransformError(f"The event has nothing at {text}.")
        return dumps(found)

    return shape


def predefined_values(event: Event, rule_arn: str, rule: str, now: int) -> dict[str, Any]:
    """What every transformer may name."""
    document = event.document
    # AWS: the event without its detail, and with `detailType` (recorded); the JSON form is the event as it is.
    brief = {
        "detailType" if name == "detail-type" else name: value
        for name, value in document.items()
        if name != "detail"
    }
    return {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule,
        "aws.events.event.ingestion-time": time_text(now),
        "aws.events.event": brief,
        "aws.events.event.json": document,
    }
