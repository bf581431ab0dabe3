"""What a pipe is as it is stored, and which ones there may be."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.json_path import PathError
from penstock.core.pattern import PatternError
from penstock.core.pipe_template import compile_pipe_template
from penstock.delivery.sqs_event import SqsFilter

PIPES: Final = "pipes/pipes"
RUNNING: Final = "RUNNING"
STOPPED: Final = "STOPPED"
_SOURCES: Final = {"sqs": "SqsQueueParameters"}
_TARGETS: Final = {
    "api-destination": "HttpParameters",
    "events": "EventBridgeEventBusParameters",
    "execute-api": "HttpParameters",
    "lambda": "LambdaFunctionParameters",
    "logs": "CloudWatchLogsParameters",
    "sns": None,
    "sqs": "SqsQueueParameters",
}
DESTINATION: Final = "api-destination"
"""API destinations are EventBridge's, as buses are: in the tables here they are a service of their own."""
_ENRICHMENTS: Final = {
    DESTINATION: "HttpParameters",
    "execute-api": "HttpParameters",
    "lambda": None,
}
_COMMON: Final = frozenset(["FilterCriteria", "InputTemplate"])
# AWS: how many events a target or an enrichment takes at once; functions take what 6 MB hold (EventBridge guide,
# "Pipes batching").
_AT_ONCE: Final = {
    DESTINATION: 1,
    "events": 10,
    "execute-api": 1,
    "logs": 10_000,
    "sns": 10,
    "sqs": 10,
}
_MOST_AT_ONCE: Final = 10_000


@dataclass(slots=True, kw_only=True)
class Pipe:
    """A stored pipe. `given` has the members of the request that describe it."""

    name: str
    arn: str
    given: dict[str, Any]
    desired: str
    created_at: int
    modified_at: int
    tags: dict[str, str]

    def dump(self) -> bytes:
        """The document for the table."""
        return orjson.dumps(self)

    @staticmethod
    def load(document: bytes) -> "Pipe":
        """The pipe of a stored document."""
        return Pipe(**orjson.loads(document))

    @property
    def batch_size(self) -> int:
        """How many messages are taken together, at most."""
        # AWS: ten unless told otherwise (EventBridge guide, "Amazon SQS as a source").
        return min(int(self._source("BatchSize", 10)), self.largest_batch)

    @property
    def largest_batch(self) -> int:
        """How many messages may be taken together: what both enrichment and target take at once."""
        enrichment = self.given.get("Enrichment")
        return min(self.target_takes, taken_at_once(enrichment) if enrichment else _MOST_AT_ONCE)

    @property
    def target_takes(self) -> int:
        """How many events the target takes at once."""
        return taken_at_once(self.given["Target"])

    @property
    def told_size(self) -> int:
        """BatchSize; 0 if it was not told."""
        return int(self._source("BatchSize", 0))

    @property
    def waits_its_turn(self) -> bool:
        """Whether the target is called at a rate, so that an event may have to wait."""
        return service_of(self.given["Target"]) == DESTINATION

    @property
    def window_ms(self) -> int:
        """How long a batch is awaited."""
        return int(self._source("MaximumBatchingWindowInSeconds", 0)) * 1000

    @property
    def filters(self) -> dict[str, Any]:
        """FilterCriteria."""
        found: dict[str, Any] = (self.given.get("SourceParameters") or {}).get(
            "FilterCriteria"
        ) or {}
        return found

    def parameters(self, side: str, name: str) -> dict[str, Any]:
        """One structure of `TargetParameters` or `EnrichmentParameters`."""
        found: dict[str, Any] = (self.given.get(side) or {}).get(name) or {}
        return found

    def template(self, side: str) -> str | None:
        """The InputTemplate of one side."""
        return (self.given.get(side) or {}).get("InputTemplate") or None

    def _source(self, name: str, default: int) -> int:
        parameters = (self.given.get("SourceParameters") or {}).get("SqsQueueParameters") or {}
        return int(parameters.get(name, default))


def check_pipe(pipe: Pipe) -> None:
    """Raise AwsError unless there may be such a pipe."""
    given = pipe.given
    source = _service(given["Source"], "Source")
    if source not in _SOURCES:
        raise refuse(f"pipes from the service {source}")
    _check_parameters(given.get("SourceParameters"), _SOURCES[source], "SourceParameters")
    target = _service(given["Target"], "Target")
    if target not in _TARGETS:
        raise refuse(f"pipes to {given['Target']}")
    _check_parameters(given.get("TargetParameters"), _TARGETS[target], "TargetParameters")
    _check_group(pipe, target)
    if given.get("Enrichment"):
        enrichment = _service(given["Enrichment"], "Enrichment")
        if enrichment not in _ENRICHMENTS:
            raise refuse(f"pipes through {given['Enrichment']}")
        fitting = _ENRICHMENTS[enrichment]
        _check_parameters(given.get("EnrichmentParameters"), fitting, "EnrichmentParameters")
    _check_batch(pipe)
    try:
        SqsFilter(pipe.filters)
    except PatternError as error:
        raise invalid(f"Invalid filter pattern definition. {error}") from error
    for side in ("EnrichmentParameters", "TargetParameters"):
        _check_template(pipe.template(side))


def invalid(message: str) -> AwsError:
    """The error for a pipe that cannot be."""
    return AwsError("ValidationException", message)


def service_of(arn: str) -> str:
    """The service of a target or an enrichment, as the tables here name it. Raises AwsError."""
    parsed = parse_arn(arn)
    return DESTINATION if parsed.resource.startswith(f"{DESTINATION}/") else parsed.service


def taken_at_once(arn: str) -> int:
    """How many events a target or an enrichment takes at once."""
    return _AT_ONCE.get(service_of(arn), _MOST_AT_ONCE)


def _service(arn: str, what: str) -> str:
    try:
        return service_of(arn)
    except AwsError as error:
        raise invalid(f"{what} is not a valid ARN: {arn}") from error


def _check_parameters(given: dict[str, Any] | None, fitting: str | None, side: str) -> None:
    for name in given or {}:
        if name not in _COMMON and name != fitting:
            raise invalid(f"{side}.{name} cannot be given for this pipe.")


def _check_group(pipe: Pipe, target: str) -> None:
    parameters = pipe.parameters("TargetParameters", "SqsQueueParameters")
    if (
        target == "sqs"
        and pipe.given["Target"].endswith(".fifo")
        and not parameters.get("MessageGroupId")
    ):
        raise invalid("MessageGroupId is required for a target that is a FIFO queue.")


def _check_batch(pipe: Pipe) -> None:
    if pipe.told_size > pipe.largest_batch:
        raise invalid(f"BatchSize must not be greater than {pipe.largest_batch} for this pipe.")
    fifo = pipe.given["Source"].endswith(".fifo")
    if fifo and pipe.window_ms:
        raise invalid("Batching window is not supported for FIFO queues.")
    if fifo and pipe.told_size > 10:
        raise invalid("The maximum batch size for FIFO queues is 10.")
    if pipe.told_size > 10 and not pipe.window_ms:
        raise invalid(
            "MaximumBatchingWindowInSeconds must be greater than 0 if BatchSize is greater than 10."
        )


def _check_template(template: str | None) -> None:
    try:
        compile_pipe_template(template or "")
    except PathError as error:
        raise invalid(f"Invalid InputTemplate: {error}") from error
    except KeyError as error:
        raise invalid(f"Invalid InputTemplate: {error.args[0]} is no reserved variable.") from error
