"""One step on one resource: evaluate its properties, call its row of the table, keep what came of it.

Every step leaves a resource document from which the next one, or a restart, can go on. A document with `begun` is of
a resource that may or may not have been created: its suffix and properties are stored before the service is called, so that a restart finds the
resource by the name it was to have. Nothing had that name before (`ownership`), so what has it then is the stack's own.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from penstock.api import Context, Dispatcher, Result, refuse
from penstock.clock import Clock, SystemClock
from penstock.core.errors import AwsError, Unavailable
from penstock.core.ids import Ids
from penstock.core.template.evaluate import Evaluator
from penstock.core.template.plan import difference
from penstock.services.cloudformation.ownership import Ownership
from penstock.services.cloudformation.resource import (
    Made,
    Properties,
    ResourceType,
    Target,
    is_gone,
    is_taken,
)
from penstock.services.cloudformation.stack import Document, Stacks

_log: Final = logging.getLogger("penstock.cloudformation")
# What makes a resource what it is: kept in `before` while an update may have to return to it.
_RECORD: Final = (
    "PhysicalResourceId",
    "ResourceType",
    "suffix",
    "properties",
    "ref",
    "attributes",
    "adopted",
)
_REPLACING: Final = (
    "Requested update requires the creation of a new physical resource; hence creating one."
)
_DYNAMIC: Final = re.compile(r"\{\{resolve:([a-z-]+):([^}]+)\}\}")
_STABILIZE_TRIES: Final = 600
_STABILIZE_MS: Final = 100


class StepFailed(Exception):
    """A resource could not be brought where it should be; its document and event say why."""

    def __init__(self, logical_id: str, reason: str) -> None:
        super().__init__(f"{logical_id}: {reason}")
        self.logical_id = logical_id
        self.reason = reason


@dataclass(slots=True, kw_only=True)
class Site:
    """Where steps happen: a stack, for its caller, with the evaluator of the deployment being brought."""

    ctx: Context
    stack: Document
    deployment: Document
    evaluator: Evaluator


class Worker:
    """Makes, changes, restores and removes single resources."""

    def __init__(
        self,
        stacks: Stacks,
        ids: Ids,
        clock: Clock,
        dispatcher: Dispatcher,
        types: Mapping[str, ResourceType],
        ownership: Ownership,
    ) -> None:
        self._stacks = stacks
        self._ids = ids
        self._clock = clock
        self._dispatcher = dispatcher
        self._types = types
        # Functions start in the machine's time, also while the system's own stands still.
        self._machine = SystemClock()
        self._ownership = ownership

    async def make(self, site: Site, name: str, order: int, resource: Document | None) -> Document:
        """Create a resource that is not there yet. Raises StepFailed."""
        declared = site.evaluator.active()[name]
        if resource is None:
            resource = {
                "LogicalResourceId": name,
                "PhysicalResourceId": "",
                "ResourceType": declared["Type"],
                "order": order,
                "suffix": self._ids.upper_token(12),
                "properties": {},
                "ref": "",
                "attributes": {},
                "adopted": False,
                "before": None,
            }
        stopped = resource.get("ResourceStatus") == "CREATE_IN_PROGRESS"
        _take_policies(resource, declared)
        if not stopped:
            await self._stacks.mark(site.stack, resource, "CREATE_IN_PROGRESS", self._clock.now())

        async def step() -> None:
            if not stopped:
                await self._withdraw(site, resource)
            row, properties = await self._wanted(site, name)
            await self._create(site, row, resource, properties)
            initiated = "Resource creation Initiated"
            now = self._clock.now()
            await self._stacks.mark(site.stack, resource, "CREATE_IN_PROGRESS", now, initiated)

        await self._attempt(site, resource, "CREATE_FAILED", step)
        await self._stacks.mark(site.stack, resource, "CREATE_COMPLETE", self._clock.now())
        return resource

    async def change(self, site: Site, name: str, order: int, resource: Document) -> None:
        """Bring a resource to the deployment's properties, in place or by a new one. Raises StepFailed."""
        declared = site.evaluator.active()[name]
        _take_policies(resource, declared)
        resource["order"] = order
        changes: list[str] = []

        async def compare() -> tuple[ResourceType, Properties]:
            if resource["ResourceStatus"] != "UPDATE_IN_PROGRESS":
                await self._withdraw(site, resource)
            row, properties = await self._wanted(site, name)
            if resource["ResourceType"] != row.name:
                changes.append("Type")
                return row, properties
            previous = row.fitting(resource["properties"])
            changes.extend(difference(previous, properties))
            if not resource.get("begun"):
                row.require_possible(previous, properties, changes)
            return row, properties

        untouched = "before" not in resource
        resource.setdefault("before", _record(resource))
        row, properties = await self._attempt(site, resource, "UPDATE_FAILED", compare)
        begun = bool(resource.get("begun"))
        if not changes and not begun:
            if untouched:
                del resource["before"]
            await self._stacks.put_resource(site.stack, resource)
            return
        replaced = begun or resource["ResourceType"] != row.name
        replaced = replaced or not row.replacing().isdisjoint(changes)
        resource["attempted"] = None if replaced else properties
        if replaced and not begun:
            resource["suffix"] = self._ids.upper_token(12)
        now = self._clock.now()
        reason = _REPLACING if replaced else None
        await self._stacks.mark(site.stack, resource, "UPDATE_IN_PROGRESS", now, reason)

        async def step() -> None:
            if replaced:
                await self._create(site, row, resource, properties)
            else:
                await self._update(site, row, resource, properties, resource["properties"])

        await self._attempt(site, resource, "UPDATE_FAILED", step)
        await self._stacks.mark(site.stack, resource, "UPDATE_COMPLETE", self._clock.now())

    async def restore(self, site: Site, resource: Document) -> None:
        """Return a resource to its record from before the update. Raises StepFailed."""
        before = resource["before"]
        if before is None:
            return
        resource.pop("begun", None)
        if before["PhysicalResourceId"] != resource["PhysicalResourceId"]:
            made = _record(resource)
            resource.update(before)
            resource["before"] = made
            await self._stacks.mark(site.stack, resource, "UPDATE_COMPLETE", self._clock.now())
            return
        attempted = resource.pop("attempted", None)
        await self._stacks.mark(site.stack, resource, "UPDATE_IN_PROGRESS", self._clock.now())
        if attempted is not None:

            async def step() -> None:
                row = self._types[resource["ResourceType"]]
                await self._update(site, row, resource, before["properties"], attempted)

            await self._attempt(site, resource, "UPDATE_FAILED", step)
        resource.update(before)
        del resource["before"]
        await self._stacks.mark(site.stack, resource, "UPDATE_COMPLETE", self._clock.now())

    async def discard(self, site: Site, resource: Document) -> None:
        """Remove what a replacement left behind, and forget the record from before. Raises StepFailed."""
        before = resource.get("before")
        if before and before["PhysicalResourceId"] != resource["PhysicalResourceId"]:
            left = {**resource, **before, "left": True}
            if resource.get("replace_policy") not in ("Retain", "Snapshot"):
                now = self._clock.now()
                status = resource["ResourceStatus"]
                await self._stacks.mark(site.stack, left, "DELETE_IN_PROGRESS", now)
                await self._attempt(site, left, "DELETE_FAILED", lambda: self._delete(site, left))
                await self._stacks.mark(site.stack, left, "DELETE_COMPLETE", self._clock.now())
                resource["ResourceStatus"] = status
        resource.pop("before", None)
        resource.pop("attempted", None)
        await self._stacks.put_resource(site.stack, resource)

    async def remove(self, site: Site, resource: Document, *, retained: bool) -> None:
        """Delete a resource, or leave it when it is retained. Raises StepFailed."""
        if retained:
            await self._stacks.mark(site.stack, resource, "DELETE_SKIPPED", self._clock.now())
            return
        await self._stacks.mark(site.stack, resource, "DELETE_IN_PROGRESS", self._clock.now())
        before = resource.get("before")
        if before and before["PhysicalResourceId"] != resource["PhysicalResourceId"]:
            left = {**resource, **before}
            await self._attempt(site, resource, "DELETE_FAILED", lambda: self._delete(site, left))
            resource["before"] = None
        if resource["PhysicalResourceId"]:
            await self._attempt(
                site, resource, "DELETE_FAILED", lambda: self._delete(site, resource)
            )
        await self._stacks.mark(site.stack, resource, "DELETE_COMPLETE", self._clock.now())

    async def _wanted(self, site: Site, name: str) -> tuple[ResourceType, Properties]:
        """The row of a resource and the properties that the deployment gives it."""
        declared = site.evaluator.active()[name]
        row = self._types[declared["Type"]]
        evaluated = site.evaluator.evaluate(declared.get("Properties") or {})
        properties = row.checked(name, await self._resolved(site, evaluated))
        properties = row.tagged(properties, site.deployment["tags"])
        return row, properties

    async def _resolved(self, site: Site, value: Any) -> Any:
        """The value with its dynamic references replaced."""
        if isinstance(value, dict):
            return {key: await self._resolved(site, item) for key, item in value.items()}
        if isinstance(value, list):
            return [await self._resolved(site, item) for item in value]
        if not isinstance(value, str) or "{{resolve:" not in value:
            return value
        text = value
        for match in _DYNAMIC.finditer(value):
            if match.group(1) != "ssm":
                raise refuse(f"dynamic references to {match.group(1)}")
            found = await self._call(site)("ssm", "GetParameter", {"Name": match.group(2)})
            text = text.replace(match.group(0), found["Parameter"]["Value"])
        return text

    async def _create(
        self, site: Site, row: ResourceType, resource: Document, properties: Properties
    ) -> None:
        replaced = (resource.get("before") or {}).get("PhysicalResourceId", "")
        resumed = bool(resource.get("begun"))
        target = self._target(site, resource, properties, {}, "")
        if not resumed:
            adopted = await self._ownership.begin(row, target)
            resource |= {"begun": True, "ResourceType": row.name, "properties": properties}
            resource["adopted"] = adopted
            await self._stacks.put_resource(site.stack, resource)
        try:
            made = await row.create(replace(target, replaces=replaced, resumed=resumed))
        except Unavailable:
            raise
        except Exception:
            await self._ownership.end(row, target)
            raise
        await self._ownership.end(row, target)
        _take(resource, made, properties)
        del resource["begun"]

    async def _withdraw(self, site: Site, resource: Document) -> None:
        """Undo an attempt to create that failed: what it left is removed, and the record from before is in force."""
        if not resource.pop("begun", False):
            return
        before = resource.get("before")
        if resource["PhysicalResourceId"] != (before or {}).get("PhysicalResourceId", ""):
            await self._delete(site, resource)
        if before:
            resource.update(before)
        else:
            resource["PhysicalResourceId"] = ""
            resource["suffix"] = self._ids.upper_token(12)

    async def _update(
        self,
        site: Site,
        row: ResourceType,
        resource: Document,
        properties: Properties,
        previous: Properties,
    ) -> None:
        if row.update is None:
            raise AwsError("ValidationError", f"{row.name} cannot be changed in place", status=400)
        physical_id = resource["PhysicalResourceId"]
        target = self._target(
            site, resource, row.fitting(properties), row.fitting(previous), physical_id
        )
        _take(resource, await row.update(target), properties)

    async def _delete(self, site: Site, resource: Document) -> None:
        if resource["adopted"]:
            return
        row = self._types[resource["ResourceType"]]
        properties = row.fitting(resource["properties"])
        physical_id = resource["PhysicalResourceId"]
        try:
            await row.delete(self._target(site, resource, properties, properties, physical_id))
        except AwsError as error:
            if not is_gone(error):
                raise

    async def _attempt(
        self, site: Site, resource: Document, failed: str, step: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Run a step; a failure becomes the resource's status and StepFailed."""
        try:
            return await step()
        except Unavailable:
            # Nobody knows what was kept: the next start goes on from what is stored.
            raise
        except AwsError as error:
            reason = self._reason(error)
        except Exception:  # noqa: BLE001 - a stack must not hang on what a row did not foresee
            token = self._ids.uuid()
            name, stack_id = resource["LogicalResourceId"], site.stack["StackId"]
            _log.exception("%s of stack %s (RequestToken %s)", name, stack_id, token)
            reason = _handler_said(
                f"Penstock failed; its log says how, at {token}", token, "InternalFailure"
            )
        await self._stacks.mark(site.stack, resource, failed, self._clock.now(), reason)
        raise StepFailed(resource["LogicalResourceId"], reason)

    def _reason(self, error: AwsError) -> str:
        text = error.message or error.code
        if error.code == "ValidationError":
            return text
        return _handler_said(text, self._ids.uuid(), _handler_code(error))

    def _target(
        self,
        site: Site,
        resource: Document,
        properties: Properties,
        previous: Properties,
        physical_id: str,
    ) -> Target:
        async def hold(made: str) -> None:
            resource["PhysicalResourceId"] = made
            await self._stacks.put_resource(site.stack, resource)

        return Target(
            ctx=site.ctx,
            call=self._call(site),
            settle=self._settle,
            hold=hold,
            stack_name=site.stack["StackName"],
            stack_id=site.stack["StackId"],
            logical_id=resource["LogicalResourceId"],
            suffix=resource["suffix"],
            properties=properties,
            previous=previous,
            physical_id=physical_id,
        )

    def _call(self, site: Site) -> Any:
        async def call(service: str, operation: str, request: dict[str, Any]) -> Result:
            ctx = site.ctx.child(now=self._clock.now(), request_id=self._ids.uuid())
            return await self._dispatcher.call(ctx, service, operation, request)

        return call

    async def _settle(self, check: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(_STABILIZE_TRIES):
            if await check():
                return
            await self._machine.sleep_until(self._machine.now() + _STABILIZE_MS)
        raise AwsError("NotStabilized", "The resource did not stabilize in time.")


def _record(resource: Document) -> Document:
    return {name: resource[name] for name in _RECORD}


def _take(resource: Document, made: Made, properties: Properties) -> None:
    resource["PhysicalResourceId"] = made.physical_id
    resource["ref"] = made.physical_id if made.ref is None else made.ref
    resource["attributes"] = made.attributes
    resource["properties"] = properties


def _take_policies(resource: Document, declared: Mapping[str, Any]) -> None:
    resource["deletion_policy"] = declared.get("DeletionPolicy", "Delete")
    resource["replace_policy"] = declared.get("UpdateReplacePolicy", "Delete")


def _handler_said(text: str, token: str, code: str) -> str:
    return f'Resource handler returned message: "{text}" (RequestToken: {token}, HandlerErrorCode: {code})'


def _handler_code(error: AwsError) -> str:
    if is_gone(error):
        return "NotFound"
    if "Exist" in error.code or is_taken(error):
        return "AlreadyExists"
    # An error without a status of its own has that of its service's model, which is one of the caller's.
    own = (error.status or 400) >= 500
    return "GeneralServiceException" if own else "InvalidRequest"
