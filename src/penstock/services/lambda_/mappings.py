"""Event source mappings from SQS queues, each one subscription of the delivery engine."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import make_arn, parse_arn
from penstock.core.errors import AwsError
from penstock.delivery.model import BatchPolicy, Subscription
from penstock.services.lambda_.asynchronous import RunsFunctions
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.repository import Ref, Repository, parse_ref, scope
from penstock.services.lambda_.sqs_batch import SqsBatchPolicy, SqsBatchTarget, SqsFilter
from penstock.services.lambda_.surroundings import Surroundings

MAPPINGS: Final = "lambda/mappings"
_NOT_BUILT: Final = (
    "KMSKeyArn",
    "MetricsConfig",
    "LoggingConfig",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "DestinationConfig",
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
# AWS: a mapping starts with five concurrent batches (Lambda guide, "scaling for SQS event source mappings").
_POLLERS: Final = 5


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

    @operation("CreateEventSourceMapping", refuses=_NOT_BUILT)
    async def create_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Start to feed a queue's messages to a function."""
        source = request.get("EventSourceArn") or ""
        if not source.startswith("arn:aws:sqs:"):
            if source.startswith("arn:"):
                raise refuse(f"Lambda event sources of {parse_arn(source).service}")
            raise invalid("Unrecognized event source.")
        ref = parse_ref(ctx, request["FunctionName"])
        function = await self._repository.find(ref, missing="Function does not exist")
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
        return _described(mapping, "Creating")

    @operation("GetEventSourceMapping")
    async def get_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """A mapping."""
        document = await self._find(ctx, request["UUID"])
        return _described(document["mapping"], _state(document))

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
            found.append(_described(mapping, _state(document)))
        return {"EventSourceMappings": found}

    @operation("UpdateEventSourceMapping", refuses=_NOT_BUILT)
    async def update_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Change a mapping; batches in flight are finished as they began."""
        document = await self._find(ctx, request["UUID"])
        mapping = document["mapping"]
        mapping |= {name: request[name] for name in _MEMBERS if request.get(name) is not None}
        if request.get("FunctionName"):
            ref = parse_ref(ctx, request["FunctionName"])
            await self._repository.find(ref, missing="Function does not exist")
            mapping["FunctionArn"] = ref.qualified_arn
        _check(mapping)
        enabled = request.get("Enabled", document["enabled"])
        await self._save(ctx, mapping, enabled=enabled, tags=document["tags"])
        return _described(mapping, "Updating")

    @operation("DeleteEventSourceMapping")
    async def delete_event_source_mapping(self, ctx: Context, request: Request) -> Result:
        """Stop feeding the function."""
        document = await self._find(ctx, request["UUID"])
        uuid = document["mapping"]["UUID"]
        await self._table.delete(MAPPINGS, scope(ctx.account, ctx.region), uuid.encode())
        self._engine.discard(_subscription_id(uuid))
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
            self._engine.discard(_subscription_id(uuid))

    def _subscribe(self, mapping: dict[str, Any]) -> None:
        arn = parse_arn(mapping["FunctionArn"])
        _, name, *qualifier = arn.resource.split(":")
        ref = Ref(arn.account, arn.region, name, qualifier[0] if qualifier else None)
        limit = (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
        self._engine.add(
            Subscription(
                id=_subscription_id(mapping["UUID"]),
                source=self._sqs_source(mapping["EventSourceArn"]),
                target=SqsBatchTarget(self._repository, self._runner, self._given, mapping, ref),
                policy=SqsBatchPolicy(),
                batch=BatchPolicy(
                    size=mapping["BatchSize"],
                    window_ms=mapping["MaximumBatchingWindowInSeconds"] * 1000,
                ),
                concurrency=limit or _POLLERS,
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


def _state(document: dict[str, Any]) -> str:
    return "Enabled" if document["enabled"] else "Disabled"


def _described(mapping: dict[str, Any], state: str) -> dict[str, Any]:
    return {**mapping, "State": state, "StateTransitionReason": "USER_INITIATED"}


def _check(mapping: dict[str, Any]) -> None:
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
    SqsFilter(mapping.get("FilterCriteria"))
