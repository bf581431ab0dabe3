"""Message move tasks: the redrive of dead letters, in the background, resumed after a restart."""

import asyncio
import base64
import logging
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.clock import Clock
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError, PenstockError
from penstock.core.ids import Ids
from penstock.core.sqs_message import decode_attributes
from penstock.services.sqs.queue import QueueRecord
from penstock.services.sqs.queues import Queues
from penstock.storage.primitives import LeaseTerms, NewMessage, Primitives, Store

_log: Final = logging.getLogger("penstock.sqs")
TABLE: Final = "sqs/moves"
_CHUNK: Final = 10


class Moves:
    """Tasks in a table by the source's ARN, and one asyncio task for each that runs."""

    def __init__(self, store: Store, queues: Queues, ids: Ids, clock: Clock) -> None:
        self._store = store
        self._queues = queues
        self._ids = ids
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    async def restore(self) -> None:
        """Go on with the tasks that a restart interrupted."""
        after = None
        while rows := await self._store.table.scan(TABLE, after=after):
            for row in rows:
                task = orjson.loads(row.document)
                if task["status"] in ("RUNNING", "CANCELLING"):
                    self._start(task)
            after = (rows[-1].partition, rows[-1].sort)

    async def close(self) -> None:
        """Stop; running tasks go on after the next start."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    @operation("StartMessageMoveTask")
    async def start_message_move_task(self, ctx: Context, request: Request) -> Result:
        """Begin to move messages from a dead-letter queue, back or to `DestinationArn`."""
        source = await self._require(request.get("SourceArn"), "SourceArn")
        destination = request.get("DestinationArn")
        if destination:
            await self._require(destination, "DestinationArn")
        rate = request.get("MaxNumberOfMessagesPerSecond")
        if rate is not None and not 1 <= rate <= 500:
            raise AwsError(
                "InvalidParameterValueException",
                f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid."
                " Reason: You must enter a value that's between 1 and 500.",
            )
        if not await self._queues.sources_of(source.arn):
            raise AwsError(
                "InvalidParameterValueException",
                "Source queue must be configured as a Dead Letter Queue.",
            )
        if any(task["status"] == "RUNNING" for task in await self._tasks(source.arn)):
            raise AwsError(
                "InvalidParameterValueException",
                "There is already a task running. Only one active task is allowed"
                " for a source queue arn at a given time.",
            )
        counts = await self._store.queue.count(source.arn, ctx.now)
        task = {
            "id": self._ids.uuid(),
            "source": source.arn,
            "destination": destination,
            "rate": rate,
            "status": "RUNNING",
            "moved": 0,
            "to_move": counts.visible + counts.leased + counts.delayed,
            "started_at": ctx.now,
            "reason": None,
        }
        await self._save(self._store, task)
        self._start(task)
        return {"TaskHandle": _handle(task)}

    @operation("ListMessageMoveTasks")
    async def list_message_move_tasks(self, ctx: Context, request: Request) -> Result:
        """The latest tasks of a source, newest first."""
        source = await self._require(request.get("SourceArn"), "SourceArn")
        limit = request.get("MaxResults", 1)
        if not 1 <= limit <= 10:
            raise AwsError(
                "InvalidParameterValueException",
                f"Value {limit} for parameter MaxResults is invalid. Reason: Must be between 1 and 10, if provided.",
            )
        tasks = sorted(await self._tasks(source.arn), key=lambda t: -t["started_at"])
        return {"Results": [_shown(task) for task in tasks[:limit]]}

    @operation("CancelMessageMoveTask")
    async def cancel_message_move_task(self, ctx: Context, request: Request) -> Result:
        """Stop a task after the chunk it is moving."""
        task_id, source_arn = _parse_handle(request.get("TaskHandle") or "")
        await self._require(source_arn, "SourceArn")
        found = [t for t in await self._tasks(source_arn) if t["id"] == task_id]
        if not found:
            raise AwsError("ResourceNotFoundException", "Task does not exist.")
        task = found[0]
        if task["status"] != "RUNNING":
            raise AwsError("InvalidParameterValueException", "Only active tasks can be cancelled.")
        task["status"] = "CANCELLING"
        await self._save(self._store, task)
        return {"ApproximateNumberOfMessagesMoved": task["moved"]}

    async def _require(self, arn: str | None, parameter: str) -> QueueRecord:
        if not arn:
            raise AwsError(
                "MissingRequiredParameterException",
                f"The request must contain the parameter {parameter}.",
            )
        try:
            record = await self._queues.by_arn(arn)
        except AwsError:
            record = None
        if record is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"The resource that you specified for the {parameter} parameter doesn't exist.",
            )
        return record

    def _start(self, task: dict[str, Any]) -> None:
        running = asyncio.create_task(self._run(task["source"], task["id"]))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _run(self, source: str, id_: str) -> None:
        """Move chunk after chunk; what was moved and how much is one transaction."""
        while True:
            (task,) = [t for t in await self._tasks(source) if t["id"] == id_]
            try:
                async with self._store.transaction() as tx:
                    await self._step(tx, task)
                    await self._save(tx, task)
                await self._store.durable()
            except PenstockError:
                _log.exception("message move task %s stops until the next start", id_)
                return
            if task["status"] != "RUNNING":
                return
            rate = task["rate"]
            pause = min(_CHUNK, rate) * 1000 // rate if rate else 0
            await self._clock.sleep_until(self._clock.now() + pause)

    async def _step(self, tx: Primitives, task: dict[str, Any]) -> None:
        """Move one chunk, or set the status that ends the task."""
        if task["status"] == "CANCELLING":
            task["status"] = "CANCELLED"
            return
        now = self._clock.now()
        terms = LeaseTerms(until=now + 60_000)
        chunk = await tx.queue.lease(
            task["source"], min(_CHUNK, task["rate"] or _CHUNK), terms, now
        )
        if not chunk:
            task["status"] = "COMPLETED"
            return
        for message in chunk:
            destination = task["destination"] or message.source
            target = await self._queues.by_arn(destination) if destination else None
            if target is None:
                task["status"] = "FAILED"
                task["reason"] = "AWS.SimpleQueueService.NonExistentQueue"
                await tx.queue.extend(task["source"], message.receipt, now, now)
                continue
            # AWS: a redriven message gets a new id and enqueue time (developer guide, "dead-letter queue redrive").
            moved = NewMessage(
                id=self._ids.uuid(),
                body=message.body,
                attributes=message.attributes,
                visible_at=now,
                group=message.group,
                tenant=decode_attributes(message.attributes).tenant,
                dedup=message.dedup,
            )
            await tx.queue.put(target.arn, [moved], now, dedup_since=None)
            await tx.queue.settle(task["source"], message.receipt, now)
            task["moved"] += 1

    async def _tasks(self, source: str) -> list[dict[str, Any]]:
        rows = await self._store.table.range(TABLE, source.encode())
        return [orjson.loads(row.document) for row in rows]

    async def _save(self, store: Primitives, task: dict[str, Any]) -> None:
        await store.table.put(
            TABLE, task["source"].encode(), task["id"].encode(), orjson.dumps(task)
        )


def _handle(task: dict[str, Any]) -> str:
    return base64.b64encode(
        orjson.dumps({"taskId": task["id"], "sourceArn": task["source"]})
    ).decode()


def _parse_handle(handle: str) -> tuple[str, str]:
    try:
        document = orjson.loads(base64.b64decode(handle, validate=True))
        parse_arn(document["sourceArn"])
        return str(document["taskId"]), str(document["sourceArn"])
    except (ValueError, KeyError, TypeError, AwsError):
        raise AwsError(
            "InvalidParameterValueException", "Value for parameter TaskHandle is invalid."
        ) from None


def _shown(task: dict[str, Any]) -> Result:
    result: Result = {
        "Status": task["status"],
        "SourceArn": task["source"],
        "ApproximateNumberOfMessagesMoved": task["moved"],
        "ApproximateNumberOfMessagesToMove": task["to_move"],
        "StartedTimestamp": task["started_at"],
    }
    if task["status"] == "RUNNING":
        result["TaskHandle"] = _handle(task)
    if task["destination"]:
        result["DestinationArn"] = task["destination"]
    if task["rate"]:
        result["MaxNumberOfMessagesPerSecond"] = task["rate"]
    if task["reason"]:
        result["FailureReason"] = task["reason"]
    return result
