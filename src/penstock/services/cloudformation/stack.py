"""Stacks as they are kept: a document a stack, a document a resource, a log of events.

A stack document has CloudFormation's own members plus `version` (that of the row it was read from, 0 for a new one; not stored), `current` (the deployment in force), `pending` (the one an update is bringing),
`caller` (who the work is done for), `outputs` and `exports`. A resource document has its record and, during an update,
`before`: the record to return to (null for a resource that the update made).
"""

from collections.abc import Collection
from typing import Any, Final

import orjson

from penstock.api import Context
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.template.node import Deployed, invalid
from penstock.storage.primitives import Row, Store

STACKS: Final = "cloudformation/stacks"
_DELETED: Final = "cloudformation/deleted"
_NAMES: Final = "cloudformation/names"
_RESOURCES: Final = "cloudformation/resources"
PROTECTION: Final = "EnableTerminationProtection"
_STACK_TYPE: Final = "AWS::CloudFormation::Stack"
Document = dict[str, Any]


class Stacks:
    """Loads and saves stacks, their resources and events."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids

    async def find(self, ctx: Context, reference: str) -> Document | None:
        """A stack by its id, also when deleted, or a live one by name."""
        partition, stack_id = _partition(ctx), reference.encode()
        if not reference.startswith("arn:"):
            row = await self._store.table.get(_NAMES, partition, stack_id)
            if row is None:
                return None
            stack_id = row.document
        row = await self._store.table.get(STACKS, partition, stack_id)
        if row is None:
            row = await self._store.table.get(_DELETED, partition, stack_id)
        return None if row is None else _read(row)

    async def load(self, ctx: Context, reference: str) -> Document:
        """A stack. Raises ValidationError."""
        stack = await self.find(ctx, reference)
        if stack is None:
            message = f"Stack with id {reference} does not exist"
            raise AwsError("ValidationError", message, status=400)
        return stack

    async def every(self, ctx: Context) -> list[Document]:
        """Every stack, deleted ones included, newest first."""
        stacks = [*await self._all(STACKS, ctx), *await self._all(_DELETED, ctx)]
        return sorted(stacks, key=lambda stack: stack["CreationTime"], reverse=True)

    async def live(self, ctx: Context) -> list[Document]:
        """Every stack that is not deleted, newest first."""
        stacks = await self._all(STACKS, ctx)
        return sorted(stacks, key=lambda stack: stack["CreationTime"], reverse=True)

    async def _all(self, table: str, ctx: Context) -> list[Document]:
        rows = await self._store.table.range(table, _partition(ctx), limit=100_000)
        return [_read(row) for row in rows]

    async def unfinished(self) -> list[Document]:
        """Stacks of every account on which an operation was under way."""
        found: list[Document] = []
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(STACKS, after=after):
            found += [stack for stack in map(_read, rows) if in_progress(stack)]
            after = (rows[-1].partition, rows[-1].sort)
        return found

    async def save(self, stack: Document) -> None:
        """Keep a stack; its name stands for it while it lives. Raises `Conflict` if it changed since it was read."""
        partition = f"{stack['caller']['account']}/{stack['caller']['region']}".encode()
        stack_id, name = stack["StackId"].encode(), stack["StackName"].encode()
        read = stack["version"]
        document = orjson.dumps({key: stack[key] for key in stack if key != "version"})
        async with self._store.transaction() as tx:
            if stack["StackStatus"] == "DELETE_COMPLETE":
                await tx.table.delete(STACKS, partition, stack_id, expect=read)
                await tx.table.delete(_NAMES, partition, name)
                version = await tx.table.put(_DELETED, partition, stack_id, document)
            else:
                if not read:
                    await tx.table.put(_NAMES, partition, name, stack_id, expect=0)
                version = await tx.table.put(STACKS, partition, stack_id, document, expect=read)
        stack["version"] = version

    async def catch_up(self, stack: Document) -> None:
        """Take over what a user may change while an operation is under way."""
        partition = f"{stack['caller']['account']}/{stack['caller']['region']}".encode()
        row = await self._store.table.get(STACKS, partition, stack["StackId"].encode())
        if row is not None:
            fresh = _read(row)
            stack["version"] = fresh["version"]
            if PROTECTION in fresh:
                stack[PROTECTION] = fresh[PROTECTION]

    async def transition(
        self, stack: Document, status: str, now: int, reason: str | None = None
    ) -> None:
        """Move a stack to a status and record the event. Raises `Conflict` as `save` does."""
        stack["StackStatus"] = status
        stack.pop("StackStatusReason", None)
        if reason is not None:
            stack["StackStatusReason"] = reason
        await self.save(stack)
        event = {
            "EventId": self._ids.uuid(),
            "LogicalResourceId": stack["StackName"],
            "PhysicalResourceId": stack["StackId"],
            "ResourceType": _STACK_TYPE,
            "ResourceStatus": status,
        }
        await self._record(stack, event, now, reason)

    async def resources(self, stack: Document) -> dict[str, Document]:
        """Resource documents by logical id."""
        rows = await self._store.table.range(_RESOURCES, stack["StackId"].encode(), limit=10_000)
        documents = [orjson.loads(row.document) for row in rows]
        documents.sort(key=lambda document: document["order"])
        return {document["LogicalResourceId"]: document for document in documents}

    async def put_resource(self, stack: Document, resource: Document) -> None:
        """Keep a resource document without an event."""
        sort = resource["LogicalResourceId"].encode()
        await self._store.table.put(
            _RESOURCES, stack["StackId"].encode(), sort, orjson.dumps(resource)
        )

    async def drop_resource(self, stack: Document, logical_id: str) -> None:
        """Forget a resource."""
        partition = stack["StackId"].encode()
        await self._store.table.delete(_RESOURCES, partition, logical_id.encode())

    async def mark(
        self, stack: Document, resource: Document, status: str, now: int, reason: str | None = None
    ) -> None:
        """Move a resource to a status, keep it and record the event.

        What a replacement left behind (`left`) has events only: the document is that of its successor.
        """
        resource["ResourceStatus"] = status
        resource["LastUpdatedTimestamp"] = now
        resource.pop("ResourceStatusReason", None)
        if reason is not None:
            resource["ResourceStatusReason"] = reason
        if "left" not in resource:
            await self.put_resource(stack, resource)
        event = {
            "EventId": f"{resource['LogicalResourceId']}-{status}-{self._ids.uuid()}",
            "LogicalResourceId": resource["LogicalResourceId"],
            "PhysicalResourceId": resource["PhysicalResourceId"],
            "ResourceType": resource["ResourceType"],
            "ResourceStatus": status,
            "ResourceProperties": orjson.dumps(resource.get("properties", {})).decode(),
        }
        await self._record(stack, event, now, reason)

    async def events(self, stack: Document, after: int, limit: int) -> tuple[list[Document], int]:
        """Events, newest first, from the sequence `after` (0: the newest); and where to go on (0: the end)."""
        records = await self._store.log.read(
            _events(stack), after=after, limit=limit + 1, reverse=True
        )
        following = records[limit - 1].sequence if len(records) > limit else 0
        return [orjson.loads(record.data) for record in records[:limit]], following

    async def _record(self, stack: Document, event: Document, now: int, reason: str | None) -> None:
        event |= {"StackId": stack["StackId"], "StackName": stack["StackName"], "Timestamp": now}
        if reason is not None:
            event["ResourceStatusReason"] = reason
        if stack.get("ClientRequestToken"):
            event["ClientRequestToken"] = stack["ClientRequestToken"]
        await self._store.log.append(_events(stack), [(now, orjson.dumps(event))])

    async def exports(self, ctx: Context) -> dict[str, tuple[str, str]]:
        """Export name to (value, id of the stack that exports it)."""
        found = {}
        for stack in await self.live(ctx):
            for name, value in stack.get("exports", {}).items():
                found[name] = (value, stack["StackId"])
        return found

    async def require_unused(
        self, ctx: Context, stack: Document, exports: Collection[str], fate: str
    ) -> None:
        """Raise ValidationError if another stack imports one of these exports, which are to be `fate`."""
        if not exports:
            return
        for other in await self.live(ctx):
            for export in other.get("imports", []):
                if export in exports and other["StackId"] != stack["StackId"]:
                    user = other["StackName"]
                    raise invalid(f"Export {export} cannot be {fate} as it is in use by {user}")


def in_progress(stack: Document) -> bool:
    """Whether an operation is under way."""
    status: str = stack["StackStatus"]
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def deployed(resources: dict[str, Document]) -> dict[str, Deployed]:
    """What templates may ask of the resources that exist."""
    return {
        name: Deployed(resource["ref"], resource["attributes"])
        for name, resource in resources.items()
        if resource["PhysicalResourceId"] and not resource.get("begun")
    }


def _read(row: Row) -> Document:
    document: Document = orjson.loads(row.document)
    document["version"] = row.version
    return document


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _events(stack: Document) -> str:
    return f"cloudformation/events/{stack['StackId']}"
