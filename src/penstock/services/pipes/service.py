"""Operations on pipes. A pipe's state is what is desired, and whether batches of before are still in flight."""

import os
from collections.abc import Callable
from typing import Any, Final

from penstock.api import Context, Request, Result, Service, operation, operations_of
from penstock.core.arn import make_arn, parse_arn
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.delivery.model import BatchPolicy, Scaling, Source, Subscription
from penstock.delivery.sqs_event import SqsBatchPolicy, record_size
from penstock.fanout import Fanout
from penstock.services.pipes.definition import PIPES, RUNNING, STOPPED, Pipe, check_pipe, invalid
from penstock.services.pipes.stages import PipeTarget
from penstock.services.pipes.targets import CallHttp
from penstock.storage.primitives import Row

_DESCRIBING: Final = (
    "Description",
    "Enrichment",
    "EnrichmentParameters",
    "RoleArn",
    "Source",
    "SourceParameters",
    "Target",
    "TargetParameters",
)
_NOT_BUILT: Final = ("KmsKeyIdentifier", "LogConfiguration")
_MOST: Final = 100_000
# AWS: a synchronous execution ends after five minutes (EventBridge guide, "Pipes concepts"), and a call of an API
# destination after five seconds.
_LONGEST_MS: Final = 300_000
_CALL_MS: Final = 5_000
# As the mappings of Lambda begin and grow; more than sixteen batches a core would only wait for one another.
_SCALING: Final = Scaling(
    start=5, per_minute=300, most=min(1_000, max(5, 16 * (os.cpu_count() or 1)))
)


class Pipes:
    """Builds the service, and keeps the subscriptions of the pipes that run."""

    def __init__(
        self,
        given: Fanout,
        sqs_source: Callable[[str], Source],
        handle: Callable[[str, str], str],
        call: CallHttp,
    ) -> None:
        self._given = given
        self._call = call
        self._store = given.store
        self._sqs_source = sqs_source
        self._handle = handle
        self._fed: set[str] = set()
        """ARNs of pipes that take messages, or still have some in flight."""
        self.service = Service("pipes", operations_of(self))

    @operation(
        "CreatePipe",
        refuses=_NOT_BUILT,
        in_part=[
            "Enrichment of a service that is not built",
            "Source: other than a queue",
            "Target of a service that is not built",
        ],
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a pipe and, unless told otherwise, start it."""
        name = request["Name"]
        pipe = Pipe(
            name=name,
            arn=make_arn("pipes", ctx.region, ctx.account, f"pipe/{name}"),
            given={key: request[key] for key in _DESCRIBING if key in request},
            desired=request.get("DesiredState", RUNNING),
            created_at=ctx.now,
            modified_at=ctx.now,
            tags=request.get("Tags") or {},
        )
        check_pipe(pipe)
        await self._check_source(pipe)
        async with self._store.transaction() as tx:
            if await tx.table.get(PIPES, _partition(ctx), name.encode()) is not None:
                raise AwsError("ConflictException", f"Pipe {name} already exists.")
            await tx.table.put(PIPES, _partition(ctx), name.encode(), pipe.dump())
        self._follow(pipe)
        return _told(pipe, "CREATING")

    @operation("DescribePipe")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A pipe."""
        pipe = await self._find(ctx, request["Name"])
        tags = {"Tags": pipe.tags} if pipe.tags else {}
        return {**pipe.given, **_told(pipe, self._state(pipe)), **tags}

    @operation(
        "UpdatePipe",
        refuses=_NOT_BUILT,
        in_part=[
            "Enrichment of a service that is not built",
            "Source: other than a queue",
            "Target of a service that is not built",
        ],
    )
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change a pipe; batches in flight are finished as they began."""
        pipe = await self._find(ctx, request["Name"])
        given: dict[str, Any] = {key: request[key] for key in _DESCRIBING if key in request}
        source = pipe.given.get("SourceParameters") or {}
        if "SourceParameters" in given:
            given["SourceParameters"] = _changed_source(source, given["SourceParameters"])
        # AWS: an empty value takes away what was said before (API reference, UpdatePipe).
        pipe.given = {key: value for key, value in {**pipe.given, **given}.items() if value}
        pipe.desired = request.get("DesiredState", pipe.desired)
        check_pipe(pipe)
        await self._save(ctx, pipe)
        return _told(pipe, "UPDATING")

    @operation("DeletePipe")
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Delete a pipe. Messages that it has not taken stay in their queue."""
        pipe = await self._find(ctx, request["Name"])
        await self._store.table.delete(PIPES, _partition(ctx), pipe.name.encode())
        self._given.engine.discard(_subscription_id(pipe))
        return {**_told(pipe, "DELETING"), "DesiredState": "DELETED"}

    @operation("StartPipe")
    async def start(self, ctx: Context, request: Request) -> Result:
        """Let a pipe run."""
        return await self._turn(ctx, request["Name"], RUNNING, "STARTING")

    @operation("StopPipe")
    async def stop(self, ctx: Context, request: Request) -> Result:
        """Let a pipe take nothing more."""
        return await self._turn(ctx, request["Name"], STOPPED, "STOPPING")

    @operation("ListPipes")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Pipes by name."""
        rows = await self._store.table.range(PIPES, _partition(ctx), limit=_MOST)
        found = [
            (pipe, state)
            for pipe, state in ((one, self._state(one)) for one in map(_loaded, rows))
            if pipe.name.startswith(request.get("NamePrefix", ""))
            and pipe.given["Source"].startswith(request.get("SourcePrefix", ""))
            and pipe.given["Target"].startswith(request.get("TargetPrefix", ""))
            and request.get("DesiredState") in (None, pipe.desired)
            and request.get("CurrentState") in (None, state)
        ]
        page, token = paged(
            found,
            request.get("NextToken"),
            request.get("Limit", 100),
            invalid("Invalid NextToken."),
        )
        shown = [
            {
                **_told(pipe, state),
                **{
                    key: pipe.given[key]
                    for key in ("Source", "Target", "Enrichment")
                    if key in pipe.given
                },
            }
            for pipe, state in page
        ]
        result: Result = {"Pipes": shown}
        return result if token is None else {**result, "NextToken": token}

    @operation("TagResource")
    async def tag(self, ctx: Context, request: Request) -> Result:
        """Set tags of a pipe."""
        pipe = await self._find_arn(ctx, request["resourceArn"])
        pipe.tags = {**pipe.tags, **request["tags"]}
        await self._put(ctx, pipe)
        return {}

    @operation("UntagResource")
    async def untag(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a pipe."""
        pipe = await self._find_arn(ctx, request["resourceArn"])
        pipe.tags = {k: v for k, v in pipe.tags.items() if k not in request["tagKeys"]}
        await self._put(ctx, pipe)
        return {}

    @operation("ListTagsForResource")
    async def tags(self, ctx: Context, request: Request) -> Result:
        """Tags of a pipe."""
        return {"tags": (await self._find_arn(ctx, request["resourceArn"])).tags}

    async def restore(self) -> None:
        """Go on with every pipe that is to run."""
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(PIPES, after=after):
            for row in rows:
                self._follow(_loaded(row))
            after = (rows[-1].partition, rows[-1].sort)

    async def _turn(self, ctx: Context, name: str, desired: str, state: str) -> Result:
        pipe = await self._find(ctx, name)
        if pipe.desired == desired:
            raise AwsError("ConflictException", f"Pipe {name} is already {desired}.")
        pipe.desired = desired
        await self._save(ctx, pipe)
        return _told(pipe, state)

    async def _save(self, ctx: Context, pipe: Pipe) -> None:
        pipe.modified_at = ctx.now
        await self._put(ctx, pipe)
        self._follow(pipe)

    async def _put(self, ctx: Context, pipe: Pipe) -> None:
        await self._store.table.put(PIPES, _partition(ctx), pipe.name.encode(), pipe.dump())

    async def _find(self, ctx: Context, name: str) -> Pipe:
        row = await self._store.table.get(PIPES, _partition(ctx), name.encode())
        if row is None:
            raise AwsError("NotFoundException", f"Pipe {name} does not exist.")
        return _loaded(row)

    async def _find_arn(self, ctx: Context, arn: str) -> Pipe:
        return await self._find(ctx, parse_arn(arn).resource.removeprefix("pipe/"))

    async def _check_source(self, pipe: Pipe) -> None:
        source = pipe.given["Source"]
        if not await self._given.queue_exists(source):
            raise invalid(f"The source queue {source} does not exist.")

    def _state(self, pipe: Pipe) -> str:
        if pipe.desired == STOPPED and pipe.arn in self._fed:
            return "STOPPING"
        return pipe.desired

    def _follow(self, pipe: Pipe) -> None:
        """Run a pipe as it now is, or let it end."""
        if pipe.desired == STOPPED:
            if pipe.arn in self._fed:
                self._given.engine.discard(_subscription_id(pipe))
            return
        given = self._given
        target = PipeTarget(pipe, given, self._handle, self._call)
        takes_ms = _CALL_MS if pipe.waits_its_turn else _LONGEST_MS
        self._fed.add(pipe.arn)
        given.engine.add(
            Subscription(
                id=_subscription_id(pipe),
                source=self._sqs_source(pipe.given["Source"]),
                target=target,
                policy=SqsBatchPolicy(lambda: takes_ms),
                batch=BatchPolicy(
                    size=pipe.batch_size, window_ms=pipe.window_ms, weigh=record_size
                ),
                scaling=_SCALING,
                on_drained=lambda: self._fed.discard(pipe.arn),
                arns=frozenset((pipe.arn, pipe.given["Source"], pipe.given["Target"])),
            )
        )


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _loaded(row: Row) -> Pipe:
    return Pipe.load(row.document)


def _changed_source(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A source's parameters with changes; criteria without filters are none."""
    changed = {**before, **given}
    if not (changed.get("FilterCriteria") or {}).get("Filters"):
        changed.pop("FilterCriteria", None)
    return changed


def _subscription_id(pipe: Pipe) -> str:
    return f"pipes/{pipe.arn}"


def _told(pipe: Pipe, state: str) -> dict[str, Any]:
    return {
        "Arn": pipe.arn,
        "Name": pipe.name,
        "DesiredState": pipe.desired,
        "CurrentState": state,
        "CreationTime": pipe.created_at,
        "LastModifiedTime": pipe.modified_at,
    }
