"""Event source mappings from SQS queues, each one subscription of the delivery engine.

A document is `mapping` (as boto3 shapes it), `enabled` and `tags`. A mapping's state is what is stored, and whether
batches that began before it was disabled or deleted are still in flight: that is known to the process alone.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import make_arn, parse_arn
from penstock.core.errors import AwsError
from penstock.core.pattern import PatternError
from penstock.delivery.model import BatchPolicy, Scaling, Subscription
from penstock.delivery.sqs_event import SqsBatchPolicy, SqsFilter, record_size
from penstock.services.lambda_.asynchronous import RunsFunctions
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.repository import Function, Ref, Repository, parse_ref, scope
from penstock.services.lambda_.sqs_batch import SqsBatchSource, SqsBatchTarget
from penstock.services.lambda_.surroundings import Surroundings

MAPPINGS: Final = "lambda/mappings"
_NOT_BUILT: Final = (
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
    "ParallelizationFactor",
    "StartingPositionTimestamp",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "ProvisionedPollerConfig",
)
_MEMBERS: Final = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FunctionResponseTypes",
    "ScalingConfig",
    "FilterCriteria",
)
# AWS: a mapping starts with five concurrent batches, adds up to 300 a minute while messages wait, up to 1,250 (Lambda
# guide, "scaling for SQS event source mappings"). More than sixteen functions a core would only wait for one another.
_POLLERS: Final = Scaling(
    start=5, per_minute=300, most=min(1_250, max(5, 16 * (os.cpu_count() or 1)))
)


class Mappings:
    """The operations on event source mappings."""

    def __init__(self, repository: Repository, runner: RunsFunctions, given: Surroundings) -> None:
        self._repository = repository
        self._table = repository.store.table
        self._runner = runner
        self._engine = given.engine
        self._dispatcher = given.dispatcher
        self._sqs_source = given.sqs_source
        self._ids = given.ids
        self._given = given
        self._fed: set[str] = set()
        """Mappings that take messages."""
        self._in_flight: set[str] = set()
        """Mappings that were stopped while batches were in flight."""
        self._deleting: dict[str, tuple[bytes, dict[str, Any]]] = {}
        """Those of them that were deleted: whose they were, and their last document."""

    @operation(
        "CreateEventSourceMapping",
        refuses=_NOT_BUILT,
        in_part=["EventSourceArn: other than a queue"],
    )
    async def create_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Start to feed a queue's messages to a function."""
        source = request.get("EventSourceArn") or ""
        if not source.startswith("arn:aws:sqs:"):
            if source.startswith("arn:"):
                raise refuse(f"Lambda event sources of {parse_arn(source).service}")
            raise invalid("Unrecognized event source.")
        if request.get("StartingPosition"):
            # AWS: told of by boto/boto3#1613.
            raise invalid("StartingPosition is not valid for SQS event sources.")
        _check_destinations(request)
        ref = parse_ref(ctx, request["FunctionName"])
        function = await self._function(ref)
        mapping: dict[str, Any] = {
            "UUID": self._ids.uuid(),
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "EventSourceArn": source,
            "FunctionArn": ref.qualified_arn,
            "FunctionResponseTypes": [],
        }
        mapping["EventSourceMappingArn"] = make_arn(
            "lambda", ctx.region, ctx.account, f"event-source-mapping:{mapping['UUID']}"
        )
        mapping |= {name: request[name] for name in _MEMBERS if request.get(name) is not None}
        _check(mapping)
        await self._check_queue(ctx, source, function.config["Timeout"])
        for known in await self._all_of(ctx):
            if (known["EventSourceArn"], known["FunctionArn"]) == (source, ref.qualified_arn):
                raise AwsError(
                    "ResourceConflictException",
                    f'An event source mapping with SQS arn (" {source} ") and function (" {ref.name} ") already '
                    f"exists. Please update or delete the existing mapping with UUID {known['UUID']}",
                )
        enabled = request.get("Enabled", True)
        await self._save(ctx, mapping, enabled=enabled, tags=request.get("Tags") or {})
        # AWS: recorded; one that is not enabled is Disabled at once.
        return _described(mapping, "Creating" if enabled else "Disabled")

    @operation("GetEventSourceMapping")
    async def get_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """A mapping."""
        uuid = request["UUID"]
        whose, deleted = self._deleting.get(uuid, (b"", {}))
        if whose == scope(ctx.account, ctx.region):
            return _described(deleted["mapping"], "Deleting")
        document = await self._find(ctx, uuid)
        return _described(document["mapping"], self._state(document))

    @operation("ListEventSourceMappings")
    async def list_event_source_mappings(self, ctx: Context, request: Request) -> Result:
        """The mappings of a queue, of a function, or all."""
        wanted_source = request.get("EventSourceArn")
        name = request.get("FunctionName")
        wanted_function = parse_ref(ctx, name).qualified_arn if name else None
        rows = await self._table.range(
            MAPPINGS,
            scope(ctx.account, ctx.region),
            low=(request.get("Marker") or "").encode(),
            limit=10_000,
        )
        size = min(int(request.get("MaxItems") or 100), 100)
        found: list[dict[str, Any]] = []
        for row in rows:
            document = orjson.loads(row.document)
            mapping = document["mapping"]
            if wanted_source not in (None, mapping["EventSourceArn"]):
                continue
            if wanted_function not in (None, mapping["FunctionArn"]):
                continue
            if len(found) == size:
                return {"EventSourceMappings": found, "NextMarker": row.sort.decode()}
            found.append(_described(mapping, self._state(document)))
        return {"EventSourceMappings": found}

    @operation("UpdateEventSourceMapping", refuses=_NOT_BUILT)
    async def update_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Change a mapping; batches in flight are finished as they began."""
        _check_destinations(request)
        document = await self._find(ctx, request["UUID"])
        mapping = document["mapping"]
        mapping |= {name: request[name] for name in _MEMBERS if request.get(name) is not None}
        if request.get("FunctionName"):
            ref = parse_ref(ctx, request["FunctionName"])
            function = await self._function(ref)
            await self._check_queue(ctx, mapping["EventSourceArn"], function.config["Timeout"])
            mapping["FunctionArn"] = ref.qualified_arn
        _check(mapping)
        before, enabled = document["enabled"], request.get("Enabled", document["enabled"])
        await self._save(ctx, mapping, enabled=enabled, tags=document["tags"])
        if before == enabled:
            return _described(mapping, "Updating")
        return _described(mapping, "Enabling" if enabled else "Disabling")

    @operation("DeleteEventSourceMapping")
    async def delete_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Stop feeding the function."""
        document = await self._find(ctx, request["UUID"])
        uuid, whose = document["mapping"]["UUID"], scope(ctx.account, ctx.region)
        await self._table.delete(MAPPINGS, whose, uuid.encode())
        self._stop(uuid)
        if uuid in self._in_flight:
            self._deleting[uuid] = (whose, document)
        return _described(document["mapping"], "Deleting")

    async def restore(self) -> None:
        """Start the subscriptions of every stored mapping."""
        after: tuple[bytes, bytes] | None = None
        while rows := await self._table.scan(MAPPINGS, after=after):
            for row in rows:
                document = orjson.loads(row.document)
                if document["enabled"]:
                    self._subscribe(document["mapping"])
            after = (rows[-1].partition, rows[-1].sort)

    async def _save(
        self, ctx: Context, mapping: dict[str, Any], *, enabled: bool, tags: dict[str, str]
    ) -> None:
        mapping["LastModified"] = ctx.now
        document = {"mapping": mapping, "enabled": enabled, "tags": tags}
        uuid = mapping["UUID"]
        await self._table.put(
            MAPPINGS, scope(ctx.account, ctx.region), uuid.encode(), orjson.dumps(document)
        )
        if enabled:
            self._subscribe(mapping)
        else:
            self._stop(uuid)

    def _stop(self, uuid: str) -> None:
        """Take nothing more; `_drained` is told when what is in flight is settled."""
        if uuid in self._fed:
            self._fed.discard(uuid)
            self._in_flight.add(uuid)
            self._engine.discard(_subscription_id(uuid))

    def _drained(self, uuid: str) -> None:
        self._fed.discard(uuid)
        self._in_flight.discard(uuid)
        self._deleting.pop(uuid, None)

    def _places_for(self, ref: Ref) -> int:
        """As many batches as the function may run at once: more would be throttled."""
        reserved = self._given.ledger.reserved(ref.account, ref.region, ref.name)
        return reserved or _POLLERS.most

    def _state(self, document: dict[str, Any]) -> str:
        if document["enabled"]:
            return "Enabled"
        return "Disabling" if document["mapping"]["UUID"] in self._in_flight else "Disabled"

    def _subscribe(self, mapping: dict[str, Any]) -> None:
        arn = parse_arn(mapping["FunctionArn"])
        _, name, *qualifier = arn.resource.split(":")
        ref = Ref(arn.account, arn.region, name, qualifier[0] if qualifier else None)
        uuid, most = mapping["UUID"], (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
        queue = self._sqs_source(mapping["EventSourceArn"])
        source = SqsBatchSource(self._repository, queue, mapping, ref)
        self._in_flight.discard(uuid)
        self._fed.add(uuid)
        self._engine.add(
            Subscription(
                id=_subscription_id(uuid),
                source=source,
                target=SqsBatchTarget(self._repository, self._runner, self._given, mapping, ref),
                policy=SqsBatchPolicy(lambda: source.timeout_ms),
                batch=BatchPolicy(
                    size=mapping["BatchSize"],
                    window_ms=mapping["MaximumBatchingWindowInSeconds"] * 1000,
                    weigh=record_size,
                ),
                scaling=_scaling(most, lambda: self._places_for(ref)),
                on_drained=lambda: self._drained(uuid),
                arns=frozenset(
                    mapping[name]
                    for name in ("EventSourceArn", "FunctionArn", "EventSourceMappingArn")
                ),
            )
        )

    async def _find(self, ctx: Context, uuid: str) -> dict[str, Any]:
        row = await self._table.get(MAPPINGS, scope(ctx.account, ctx.region), uuid.encode())
        if row is None:
            raise AwsError(
                "ResourceNotFoundException", "The resource you requested does not exist."
            )
        document: dict[str, Any] = orjson.loads(row.document)
        return document

    async def _all_of(self, ctx: Context) -> list[dict[str, Any]]:
        rows = await self._table.range(MAPPINGS, scope(ctx.account, ctx.region), limit=10_000)
        return [orjson.loads(row.document)["mapping"] for row in rows]

    async def _function(self, ref: Ref) -> Function:
        """The function that a mapping shall feed. Raises InvalidParameterValueException."""
        try:
            return await self._repository.describe(ref)
        except AwsError as error:
            # AWS: here that is no missing resource but a wrong parameter (recorded by LocalStack).
            raise invalid("Function does not exist") from error

    async def _check_queue(self, ctx: Context, source: str, timeout: int) -> None:
        arn = parse_arn(source)
        where = ctx.child(account=arn.account, region=arn.region)
        try:
            url = await self._dispatcher.call(
                where, "sqs", "GetQueueUrl", {"QueueName": arn.resource}
            )
            answer = await self._dispatcher.call(
                where,
                "sqs",
                "GetQueueAttributes",
                {"QueueUrl": url["QueueUrl"], "AttributeNames": ["VisibilityTimeout"]},
            )
        except AwsError as error:
            raise invalid(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
                "SQS Error Message: The specified queue does not exist."
            ) from error
        visibility = int(answer["Attributes"]["VisibilityTimeout"])
        if visibility < timeout:
            raise invalid(
                f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
            )


def _subscription_id(uuid: str) -> str:
    return f"lambda/mapping/{uuid}"


def _scaling(most: int | None, cap: Callable[[], int]) -> Scaling:
    """The curve of every mapping, below its MaximumConcurrency."""
    most = min(_POLLERS.most, most or _POLLERS.most)
    return replace(_POLLERS, start=min(_POLLERS.start, most), most=most, cap=cap)


def _described(mapping: dict[str, Any], state: str) -> dict[str, Any]:
    return {**mapping, "State": state, "StateTransitionReason": "USER_INITIATED"}


def _check_destinations(request: Request) -> None:
    """Refuse what only mappings of streams have."""
    if request.get("DestinationConfig"):
        raise invalid(
            "Unsupported DestinationConfig parameter for given event source mapping type."
        )


def _check(mapping: dict[str, Any]) -> None:
    """Refuse what no mapping can be; what is empty is as if it were not there."""
    for name, member in (("ScalingConfig", "MaximumConcurrency"), ("FilterCriteria", "Filters")):
        if name in mapping and not mapping[name].get(member):
            del mapping[name]
    size, window = mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]
    if mapping["EventSourceArn"].endswith(".fifo"):
        if window:
            raise invalid("Batching window is not supported for FIFO queues.")
        if size > 10:
            raise invalid("The maximum batch size for FIFO queues is 10.")
    if size > 10 and not window:
        raise invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    try:
        SqsFilter(mapping.get("FilterCriteria"))
    except PatternError as error:
        raise invalid("Invalid filter pattern definition.") from error
