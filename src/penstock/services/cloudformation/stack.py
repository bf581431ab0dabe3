"""Stacks as they are kept: a document a stack, a document a resource, a log of events.

A stack document has CloudFormation's own members plus `current` (the deployment in force), `pending` (the one an update is bringing),
`caller` (who the work is done for), `outputs` and `exports`. A resource document has its record and, during an update,
`before`: the record to return to (null for a resource that the update made).
"""

from typing import Any, Final

import orjson

from penstock.api import Context
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.template.node import Deployed
from penstock.storage.primitives import Store

STACKS: Final = "cloudformation/stacks"
_NAMES: Final = "cloudformation/names"
_RESOURCES: Final = "cloudformation/resources"
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
        return None if row is None else orjson.loads(row.document)

    async def load(self, ctx: Context, reference: str) -> Document:
        """A stack. Raises ValidationError."""
        stack = await self.find(ctx, reference)
        if stack is None:
            message = f"Stack with id {reference} does not exist"
            raise AwsError("ValidationError", message, status=400)
        return stack

    async def every(self, ctx: Context) -> list[Document]:
        """Every stack, deleted ones included, newest first."""
        rows = await self._store.table.range(STACKS, _partition(ctx), limit=100_000)
        stacks = [orjson.loads(row.document) for row in rows]
        return sorted(stacks, key=lambda stack: stack["CreationTime"], reverse=True)

    async def unfinished(self) -> list[Document]:
        """Stacks of every account on which an operation was under way."""
        found: list[Document] = []
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(STACKS, after=after):
            documents = (orjson.loads(row.document) for row in rows)
            found += [stack for stack in documents if in_progress(stack)]
            after = (rows[-1].partition, rows[-1].sort)
        return found

    async def save(self, stack: Document) -> None:
        """Keep a stack; its name stands for it while it lives."""
        partition = f"{stack['caller']['account']}/{stack['caller']['region']}".encode()
        stack_id, name = stack["StackId"].encode(), stack["StackName"].encode()
        async with self._store.transaction() as tx:
            await tx.table.put(STACKS, partition, stack_id, orjson.dumps(stack))
            if stack["StackStatus"] == "DELETE_COMPLETE":
                await tx.table.delete(_NAMES, partition, name)
            else:
                await tx.table.put(_NAMES, partition, name, stack_id)

    async def transition(
        self, stack: Document, status: str, now: int, reason: str | None = None
    ) -> None:
        """Move a stack to a status and record the event."""
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
        """Move a resource to a status, keep it and record the event."""
        resource["ResourceStatus"] = status
        resource["LastUpdatedTimestamp"] = now
        resource.pop("ResourceStatusReason", None)
        if reason is not None:
            resource["ResourceStatusReason"] = reason
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
        for stack in await self.every(ctx):
            if stack["StackStatus"] != "DELETE_COMPLETE":
                for name, value in stack.get("exports", {}).items():
                    found[name] = (value, stack["StackId"])
        return found


def in_progress(stack: Document) -> bool:
    """Whether an operation is under way."""
    status: str = stack["StackStatus"]
    return status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS"


def deployed(resources: dict[str, Document]) -> dict[str, Deployed]:
    """What templates may ask of the resources that exist."""
    return {
        name: Deployed(resource["ref"], resource["attributes"])
        for name, resource in resources.items()
        if resource["PhysicalResourceId"]
    }


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _events(stack: Document) -> str:
    return f"cloudformation/events/{stack['StackId']}"
