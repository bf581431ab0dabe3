"""Carries out operations on stacks: a state machine whose state is the stack's status.

Each phase works from what is stored and ends by moving the stack to the next status, so an operation that a restart
interrupted goes on by running the phase again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from penstock.api import Context
from penstock.clock import Clock, SystemClock, finished_by
from penstock.core.errors import AwsError, Conflict, Unavailable
from penstock.core.ids import Ids
from penstock.core.template.graph import creation_order
from penstock.services.cloudformation.deployment import Deployments
from penstock.services.cloudformation.stack import Document, Stacks, deployed, in_progress
from penstock.services.cloudformation.work import Site, StepFailed, Worker

_log: Final = logging.getLogger("penstock.cloudformation")
_CREATED: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


class Executor:
    """Runs operations in the background, one task a stack."""

    def __init__(
        self, stacks: Stacks, ids: Ids, clock: Clock, deployments: Deployments, worker: Worker
    ) -> None:
        self._stacks = stacks
        self._ids = ids
        self._clock = clock
        self._deployments = deployments
        self._worker = worker
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._phases: Mapping[str, Callable[[Document], Awaitable[None]]] = {
            "CREATE_IN_PROGRESS": self._create,
            "ROLLBACK_IN_PROGRESS": self._rollback,
            "UPDATE_IN_PROGRESS": self._update,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
            "UPDATE_ROLLBACK_IN_PROGRESS": self._roll_back_update,
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
            "DELETE_IN_PROGRESS": self._delete,
        }

    def start(self, stack: Document) -> None:
        """Begin to carry out what the stack's status says."""
        stack_id = stack["StackId"]
        task = asyncio.create_task(self._run(stack), name=f"cloudformation {stack['StackName']}")
        self._tasks[stack_id] = task
        task.add_done_callback(lambda done: self._forget(stack_id, done))

    def _forget(self, stack_id: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(stack_id) is task:
            del self._tasks[stack_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the work on stack %s ended early", stack_id, exc_info=error)

    async def restore(self) -> None:
        """Go on with the operations that a restart interrupted."""
        for stack in await self._stacks.unfinished():
            self.start(stack)

    async def settled(self, stack_id: str, within_ms: int) -> None:
        """Return when the stack's operation is over, or when the caller, who lives in the machine's time, has waited enough."""
        task = self._tasks.get(stack_id)
        if task is not None:
            machine = SystemClock()
            await finished_by(machine, task, machine.now() + within_ms)

    async def idle(self) -> None:
        """Return when no operation is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        """Stop; `restore` of the next start goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, stack: Document) -> None:
        while in_progress(stack):
            status = stack["StackStatus"]
            try:
                await self._phases[status](stack)
            except Unavailable:
                # The store is going away; what is stored says where to go on.
                return
            except AwsError as error:
                await self._move(stack, _failed(status), error.message)
            except Exception:  # noqa: BLE001 - the supervisor of a stack's task: it must end in a status
                _log.exception("%s of stack %s", status, stack["StackId"])
                reason = "Internal Failure: Penstock's log says how"
                await self._move(stack, _failed(status), reason)

    async def _move(self, stack: Document, status: str, reason: str | None = None) -> None:
        while True:
            try:
                await self._stacks.transition(stack, status, self._clock.now(), reason)
                return
            except Conflict:
                await self._stacks.catch_up(stack)

    async def _site(self, stack: Document, member: str) -> tuple[Site, dict[str, Document]]:
        ctx = context_of(stack, self._clock.now(), self._ids.uuid())
        resources = await self._stacks.resources(stack)
        deployment = stack[member]
        evaluator = await self._deployments.evaluator(ctx, stack, deployment, deployed(resources))
        site = Site(ctx=ctx, stack=stack, deployment=deployment, evaluator=evaluator)
        return site, resources

    async def _create(self, stack: Document) -> None:
        site, resources = await self._site(stack, "current")
        try:
            for order, name in enumerate(creation_order(site.evaluator.active())):
                held = resources.get(name)
                if held is None or held["ResourceStatus"] != "CREATE_COMPLETE":
                    resources[name] = await self._worker.make(site, name, order, held)
                    site.evaluator.see(deployed(resources))
            await self._settle_resources(stack, resources)
            await self._give_outputs(site)
        except (StepFailed, AwsError) as error:
            await self._abandon_creation(stack, error)
            return
        await self._move(stack, "CREATE_COMPLETE")

    async def _abandon_creation(self, stack: Document, error: StepFailed | AwsError) -> None:
        reason = _reason("create", error)
        choice = stack.get("OnFailure", "ROLLBACK")
        if choice == "DO_NOTHING":
            await self._move(stack, "CREATE_FAILED", reason)
        elif choice == "DELETE":
            await self._move(stack, "DELETE_IN_PROGRESS", f"{reason} Delete requested by user.")
        else:
            reason = f"{reason.removesuffix('.')}. Rollback requested by user."
            await self._move(stack, "ROLLBACK_IN_PROGRESS", reason)

    async def _rollback(self, stack: Document) -> None:
        site, resources = await self._site(stack, "current")
        failed = await self._remove_all(site, resources.values(), created=False)
        if failed:
            await self._move(stack, "ROLLBACK_FAILED", _failed_to_delete(failed))
        else:
            stack["imports"] = []
            await self._move(stack, "ROLLBACK_COMPLETE")

    async def _delete(self, stack: Document) -> None:
        site, resources = await self._site(stack, "current")
        failed = await self._remove_all(site, resources.values(), created=True)
        if failed:
            await self._move(stack, "DELETE_FAILED", _failed_to_delete(failed))
            return
        stack["DeletionTime"] = self._clock.now()
        stack["exports"] = {}
        await self._move(stack, "DELETE_COMPLETE")

    async def _remove_all(
        self, site: Site, resources: Iterable[Document], *, created: bool
    ) -> list[str]:
        """Remove resources, the last made first. Returns the logical ids of those that stay against the will."""
        failed = []
        kept = ("Retain", "RetainExceptOnCreate") if created else ("Retain",)
        spared = site.stack.get("RetainResources", [])
        for resource in sorted(resources, key=lambda document: -document["order"]):
            name = resource["LogicalResourceId"]
            if resource["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_SKIPPED"):
                continue
            retained = resource["deletion_policy"] in kept and bool(resource["PhysicalResourceId"])
            try:
                await self._worker.remove(site, resource, retained=retained or name in spared)
            except StepFailed:
                failed.append(name)
        return failed

    async def _update(self, stack: Document) -> None:
        site, resources = await self._site(stack, "pending")
        try:
            for order, name in enumerate(creation_order(site.evaluator.active())):
                held = resources.get(name)
                if held is None or _unmade(held):
                    resources[name] = await self._worker.make(site, name, order, held)
                elif "before" not in held or held["ResourceStatus"] not in _CREATED:
                    await self._worker.change(site, name, order, held)
                site.evaluator.see(deployed(resources))
            await self._give_outputs(site)
        except (StepFailed, AwsError) as error:
            reason = _reason("create" if _was_new(error, resources) else "update", error)
            if stack.get("DisableRollback"):
                await self._move(stack, "UPDATE_FAILED", reason)
            else:
                await self._move(stack, "UPDATE_ROLLBACK_IN_PROGRESS", reason)
            return
        stack["current"], stack["pending"] = stack["pending"], None
        await self._move(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")

    async def _roll_back_update(self, stack: Document) -> None:
        site, resources = await self._site(stack, "current")
        try:
            for resource in resources.values():
                if "before" in resource:
                    await self._worker.restore(site, resource)
        except StepFailed as error:
            await self._move(stack, "UPDATE_ROLLBACK_FAILED", _reason("update", error))
            return
        stack["pending"] = None
        site.evaluator.see(deployed(resources))
        await self._give_outputs(site)
        await self._move(stack, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")

    async def _clean_up(self, stack: Document) -> None:
        """Remove what the template no longer has and what replacements left; failures do not undo the update."""
        site, resources = await self._site(stack, "current")
        wanted = site.evaluator.active()
        for resource in sorted(resources.values(), key=lambda document: -document["order"]):
            name = resource["LogicalResourceId"]
            try:
                if name in wanted:
                    await self._worker.discard(site, resource)
                else:
                    retained = resource["deletion_policy"] not in ("Delete", "RetainExceptOnCreate")
                    retained = retained or (
                        resource["deletion_policy"] == "RetainExceptOnCreate"
                        and "before" not in resource
                    )
                    await self._worker.remove(site, resource, retained=retained)
                    await self._stacks.drop_resource(stack, name)
            except StepFailed:
                # AWS: a cleanup that fails leaves the resource behind and the update complete (CloudFormation guide,
                # "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS").
                if name not in wanted:
                    await self._stacks.drop_resource(stack, name)
        finished = stack["StackStatus"].removesuffix("_CLEANUP_IN_PROGRESS")
        await self._move(stack, finished)

    async def _settle_resources(self, stack: Document, resources: dict[str, Document]) -> None:
        """Nothing to return to: the resources of a created stack are in force."""
        for resource in resources.values():
            resource.pop("before", None)
            await self._stacks.put_resource(stack, resource)

    async def _give_outputs(self, site: Site) -> None:
        """Evaluate the outputs and exports into the stack.

        Raises ValidationError for an export that is taken, and for the change of one that another stack imports.
        """
        stack, template = site.stack, site.deployment["template"]
        outputs, exports = [], {}
        taken = await self._stacks.exports(site.ctx)
        for name, declared in (template.get("Outputs") or {}).items():
            if "Condition" in declared and not site.evaluator.condition(declared["Condition"]):
                continue
            value = site.evaluator.evaluate(declared["Value"])
            if isinstance(value, dict):
                message = "Template format error: The Value field of every Outputs member must evaluate to a String."
                raise AwsError("ValidationError", message, status=400)
            output: dict[str, Any] = {"OutputKey": name, "OutputValue": _text(value)}
            if "Description" in declared:
                output["Description"] = declared["Description"]
            if "Export" in declared:
                export = str(site.evaluator.evaluate(declared["Export"]["Name"]))
                owner = taken.get(export, ("", stack["StackId"]))[1]
                if owner != stack["StackId"]:
                    message = f"Export with name {export} is already exported by stack {owner.split('/')[1]}."
                    raise AwsError("ValidationError", message, status=400)
                output["ExportName"] = export
                exports[export] = output["OutputValue"]
            outputs.append(output)
        had = stack["exports"]
        changed = {name for name in had if name in exports and had[name] != exports[name]}
        await self._stacks.require_unused(site.ctx, stack, changed, "updated")
        await self._stacks.require_unused(site.ctx, stack, had.keys() - exports, "deleted")
        # A resource that a resumed operation found done was not evaluated by this evaluator.
        site.evaluator.evaluate(site.evaluator.active())
        stack["outputs"], stack["exports"] = outputs, exports
        stack["imports"] = sorted(site.evaluator.imported)


def context_of(stack: Document, now: int, request_id: str) -> Context:
    """The context in which a stack's work is done."""
    caller = {name: value for name, value in stack["caller"].items() if name != "role"}
    return Context(now=now, request_id=request_id, **caller)


def _reason(verb: str, error: StepFailed | AwsError) -> str:
    if isinstance(error, StepFailed):
        return f"The following resource(s) failed to {verb}: [{error.logical_id}]."
    return error.message


def _was_new(error: StepFailed | AwsError, resources: Mapping[str, Document]) -> bool:
    if not isinstance(error, StepFailed):
        return False
    held = resources.get(error.logical_id)
    return held is None or _unmade(held)


def _unmade(resource: Document) -> bool:
    """Whether a resource of a stack's update is yet to be created."""
    fresh = resource.get("before") is None and resource.get("begun", False)
    return fresh or not resource["PhysicalResourceId"]


def _failed_to_delete(names: list[str]) -> str:
    return f"The following resource(s) failed to delete: [{', '.join(names)}]. "


def _failed(status: str) -> str:
    """Where a phase ends that could not even begin."""
    if "CLEANUP" in status:
        return status.removesuffix("_CLEANUP_IN_PROGRESS")
    return status.removesuffix("_IN_PROGRESS") + "_FAILED"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
