"""The targets of rules, as requests give them."""

import json
import re
from typing import Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.input_transformer import TransformError, compile_transformer
from penstock.core.json_path import PathError, compile_path
from penstock.services.events.documents import Document, page
from penstock.services.events.index import RuleIndexes
from penstock.services.events.names import bus_key
from penstock.services.events.rules import Rules
from penstock.storage.primitives import Store

# AWS: five targets a rule (EventBridge quotas).
_MOST: Final = 5
_INPUTS: Final = ("Input", "InputPath", "InputTransformer")
# The services that take events, by the name in ARNs, and the model name of the one that has to be here.
_SERVICES: Final = {
    "events": "events",
    "execute-api": "apigateway",
    "firehose": "firehose",
    "kinesis": "kinesis",
    "lambda": "lambda",
    "logs": "logs",
    "sns": "sns",
    "sqs": "sqs",
    "states": "stepfunctions",
}
# What follows the account in the ARNs of some of them.
_FORMS: Final = {
    "events": re.compile(r"event-bus/.+|api-destination/[^/]+/[^/]+"),
    "execute-api": re.compile(r"[^/]+/[^/]+/[^/]+(/.*)?"),
}
_UNBUILT: Final = (
    "AppSyncParameters",
    "BatchParameters",
    "EcsParameters",
    "RedshiftDataParameters",
    "RunCommandParameters",
    "SageMakerPipelineParameters",
)


class Targets:
    """Operations on targets. They are kept in their rule's document."""

    def __init__(
        self, store: Store, rules: Rules, indexes: RuleIndexes, built: frozenset[str]
    ) -> None:
        self._store = store
        self._rules = rules
        self._indexes = indexes
        self._built = built
        """Model names of the services that are here."""

    @operation(
        "PutTargets", in_part=["Targets of services that are not built, and their parameters"]
    )
    async def put(self, ctx: Context, request: Request) -> Result:
        """Add targets to a rule, or replace those of the same id."""
        bus = bus_key(ctx, request.get("EventBusName"))
        given: list[Document] = request["Targets"]
        for target in given:
            self._check(target)
        async with self._store.transaction() as tx:
            rule = await self._rules.find(tx, bus, request["Rule"])
            kept = {target["Id"]: target for target in rule["Targets"]}
            kept.update({target["Id"]: target for target in given})
            if len(kept) > _MOST:
                raise AwsError(
                    "LimitExceededException",
                    "The requested resource exceeds the maximum number allowed.",
                )
            rule["Targets"] = list(kept.values())
            await self._rules.keep(tx, bus, rule)
        self._indexes.forget(bus)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    @operation("RemoveTargets")
    async def remove(self, ctx: Context, request: Request) -> Result:
        """Take targets from a rule. Ids that it does not have are no errors."""
        bus = bus_key(ctx, request.get("EventBusName"))
        gone = set(request["Ids"])
        async with self._store.transaction() as tx:
            rule = await self._rules.find(tx, bus, request["Rule"])
            rule["Targets"] = [target for target in rule["Targets"] if target["Id"] not in gone]
            await self._rules.keep(tx, bus, rule)
        self._indexes.forget(bus)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    @operation("ListTargetsByRule")
    async def list_targets(self, ctx: Context, request: Request) -> Result:
        """A rule's targets."""
        bus = bus_key(ctx, request.get("EventBusName"))
        rule = await self._rules.find(self._store, bus, request["Rule"])
        return page(rule["Targets"], request, "Targets")

    def _check(self, target: Document) -> None:
        for name in _UNBUILT:
            if name in target:
                raise refuse(f"{name} of targets")
        arn = _arn(target["Arn"])
        _check_resource(target["Arn"])
        model = _SERVICES.get(arn)
        if model is None or model not in self._built:
            raise refuse(f"the target {target['Arn']}")
        if sum(name in target for name in _INPUTS) > 1:
            raise AwsError(
                "ValidationException",
                f"Only one of Input, InputPath, or InputTransformer must be provided for target {target['Id']}.",
            )
        if arn == "events" and ":event-bus/" in target["Arn"]:
            for name in _INPUTS:
                if name in target:
                    raise refuse(f"{name} of an event bus target")
        _check_group(target)
        _check_letters(target)
        _check_input(target)


def _arn(text: str) -> str:
    """The service of a target's ARN."""
    try:
        return parse_arn(text).service
    except AwsError as error:
        raise _malformed(text) from error


def _malformed(arn: str) -> AwsError:
    # AWS: refuses the whole request in these words (hashicorp/terraform-provider-aws#37773).
    return AwsError(
        "ValidationException",
        f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format.",
    )


def _check_resource(text: str) -> None:
    """Refuse what can never be called: neither a bus nor a destination with its id, a stage without a method."""
    arn = parse_arn(text)
    form = _FORMS.get(arn.service)
    if form is not None and form.fullmatch(arn.resource) is None:
        raise _malformed(text)


def _check_group(target: Document) -> None:
    """AWS: a FIFO queue needs a message group, and the request is refused in these words (hashicorp/terraform#20263)."""
    arn = parse_arn(target["Arn"])
    fifo = arn.service == "sqs" and arn.resource.endswith(".fifo")
    if fifo and not target.get("SqsParameters", {}).get("MessageGroupId"):
        raise AwsError(
            "ValidationException",
            f"Parameter(s) SqsParameters must be specified for target: {target['Id']}.",
        )


def _check_letters(target: Document) -> None:
    """AWS: dead letters go to a standard queue (EventBridge guide, "using dead-letter queues")."""
    arn = target.get("DeadLetterConfig", {}).get("Arn")
    if arn is not None and (not arn.startswith("arn:aws:sqs:") or arn.endswith(".fifo")):
        raise AwsError(
            "ValidationException",
            "Parameter DeadLetterConfig.Arn is not valid. Reason: Not the ARN of a standard queue.",
        )


def _check_input(target: Document) -> None:
    id_ = target["Id"]
    try:
        if "Input" in target:
            json.loads(target["Input"])
    except ValueError as error:
        raise AwsError(
            "ValidationException", f"JSON syntax error in Input for target {id_}."
        ) from error
    try:
        if path := target.get("InputPath"):
            compile_path(path)
        if transformer := target.get("InputTransformer"):
            compile_transformer(transformer["InputTemplate"], transformer.get("InputPathsMap", {}))
    except TransformError as error:
        raise AwsError(
            "ValidationException",
            f"InputTemplate for target {id_} contains invalid placeholder {error}.",
        ) from error
    except PathError as error:
        raise AwsError(
            "ValidationException", f"Invalid InputPath for target {id_}: {error}"
        ) from error
