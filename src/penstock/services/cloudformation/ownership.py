"""What is a stack's own: only what it made itself may it change, roll back and delete.

Creations of several services answer with what is there, or overwrite it. So, before a resource with a name of the
template's choice is begun, the name is claimed for it and nothing may have it. That is known before the resource's
document says `begun`: what has the name when a restart goes on is then what the interrupted attempt made. The claim
keeps other stacks from beginning the same meanwhile; once the resource is there, it speaks for itself.
"""

from typing import Final

import orjson

from penstock.core.errors import AwsError, Conflict
from penstock.services.cloudformation.resource import ResourceType, Target
from penstock.services.cloudformation.stack import Stacks
from penstock.storage.primitives import Store

_CLAIMS: Final = "cloudformation/claims"
_UNDER_WAY: Final = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS")


class Ownership:
    """Decides whether a resource may be created."""

    def __init__(self, store: Store, stacks: Stacks) -> None:
        self._store = store
        self._stacks = stacks

    async def begin(self, row: ResourceType, target: Target) -> bool:
        """Before a creation; whether it takes over what is there. Raises AlreadyExists."""
        identifier = row.identifier(target.properties)
        if identifier is None or row.found is None:
            return False
        if row.adopts:
            return await row.found(target)
        if not await self._claim(row, target, identifier):
            raise _exists(row, identifier)
        try:
            found = await row.found(target)
        except AwsError:
            await self.end(row, target)
            raise
        if found:
            await self.end(row, target)
            raise _exists(row, identifier)
        return False

    async def end(self, row: ResourceType, target: Target) -> None:
        """After a creation, whatever came of it."""
        identifier = row.identifier(target.properties)
        if identifier is not None and row.found is not None and not row.adopts:
            await self._store.table.delete(_CLAIMS, *_place(row, target, identifier))

    async def _claim(self, row: ResourceType, target: Target, identifier: str) -> bool:
        partition, sort = _place(row, target, identifier)
        claim = orjson.dumps([target.stack_id, target.logical_id])
        held = await self._store.table.get(_CLAIMS, partition, sort)
        if held is not None and held.document != claim and await self._valid(held.document):
            return False
        version = 0 if held is None else held.version
        try:
            await self._store.table.put(_CLAIMS, partition, sort, claim, expect=version)
        except Conflict:
            return False
        return True

    async def _valid(self, claim: bytes) -> bool:
        """Whether the creation that a claim is for goes on: a stop may have left it behind."""
        stack_id, logical_id = orjson.loads(claim)
        resources = await self._stacks.resources({"StackId": stack_id})
        return resources.get(logical_id, {}).get("ResourceStatus") in _UNDER_WAY


def _place(row: ResourceType, target: Target, identifier: str) -> tuple[bytes, bytes]:
    return f"{target.ctx.account}/{target.ctx.region}".encode(), f"{row.name}/{identifier}".encode()


def _exists(row: ResourceType, identifier: str) -> AwsError:
    # AWS: in these words, whatever the service says (CloudFormation CLI, CfnAlreadyExistsException).
    message = f"Resource of type '{row.name}' with identifier '{identifier}' already exists."
    return AwsError("AlreadyExists", message, status=400)
