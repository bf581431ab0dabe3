"""Operations that begin work on a stack: create, update, delete, protect."""

import re
from typing import Any, Final

from penstock.api import Context, Dispatcher, Request, Result, operation, refuse
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.core.template.node import invalid
from penstock.services.cloudformation.deployment import Deployments
from penstock.services.cloudformation.executor import Executor
from penstock.services.cloudformation.stack import (
    PROTECTION,
    Document,
    Stacks,
    deployed,
    in_progress,
)

_NAME: Final = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
UNBUILT: Final = (
    "ResourceTypes",
    "StackPolicyBody",
    "StackPolicyURL",
    "StackPolicyDuringUpdateBody",
    "StackPolicyDuringUpdateURL",
    "RetainExceptOnCreate",
)
# AWS: only stacks at rest in one of these can be updated (CloudFormation guide, "stack status codes").
_UPDATABLE: Final = frozenset(
    {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"}
)


class Operations:
    """Operations on stacks that the executor carries out."""

    def __init__(
        self,
        ids: Ids,
        stacks: Stacks,
        deployments: Deployments,
        executor: Executor,
        dispatcher: Dispatcher,
    ) -> None:
        self._ids = ids
        self._stacks = stacks
        self._deployments = deployments
        self._executor = executor
        self._dispatcher = dispatcher

    @operation("CreateStack", refuses=[*UNBUILT, "TimeoutInMinutes"])
    async def create(self, ctx: Context, request: Request) -> Result:
        """Check a template and begin to create its stack."""
        name = request["StackName"]
        existing = await self._stacks.find(ctx, name)
        if existing is not None:
            raise AwsError("AlreadyExistsException", f"Stack [{name}] already exists", status=400)
        stack = await self.new_stack(ctx, request)
        deployment = await self._deployments.prepare(ctx, request, None, reviewed=False)
        await self.begin_creation(ctx, stack, deployment, request)
        return {"StackId": stack["StackId"]}

    async def new_stack(self, ctx: Context, request: Request) -> Document:
        """The document of a stack that is not there yet. Raises ValidationError."""
        name = request["StackName"]
        if _NAME.fullmatch(name) is None:
            raise invalid(
                f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
        _require_built(request)
        return {
            "StackId": make_arn(
                "cloudformation", ctx.region, ctx.account, f"stack/{name}/{self._ids.uuid()}"
            ),
            "StackName": name,
            "CreationTime": ctx.now,
            "caller": await self._caller(ctx, request),
            "version": 0,
            "current": None,
            "pending": None,
            "outputs": [],
            "exports": {},
        }

    async def begin_creation(
        self, ctx: Context, stack: Document, deployment: Document, request: Request
    ) -> None:
        """Check the deployment in its stack and start to create it."""
        imports = self._deployments.foresee(ctx, stack, deployment)
        if request.get("DisableRollback") and "OnFailure" in request:
            raise invalid("You can specify either DisableRollback or OnFailure, but not both.")
        rollback = "DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK"
        stack["OnFailure"] = request.get("OnFailure", rollback)
        stack["current"] = deployment
        # What it is about to read stays meanwhile.
        stack["imports"] = sorted(imports)
        if PROTECTION in request:
            stack[PROTECTION] = request[PROTECTION]
        await self._begin(ctx, stack, request, "CREATE_IN_PROGRESS")

    @operation("UpdateStack", refuses=UNBUILT)
    async def update(self, ctx: Context, request: Request) -> Result:
        """Check a template and begin to bring the stack to it. Raises ValidationError when nothing would change."""
        stack = await self.updatable(ctx, request["StackName"])
        _require_built(request)
        deployment = await self._deployments.prepare(ctx, request, stack["current"], reviewed=False)
        if not await self.changes_anything(ctx, stack, deployment):
            raise invalid("No updates are to be performed.")
        await self.begin_update(ctx, stack, deployment, request)
        return {"StackId": stack["StackId"]}

    async def updatable(self, ctx: Context, reference: str) -> Document:
        """A stack that can be updated. Raises ValidationError."""
        stack = await self._stacks.find(ctx, reference)
        if stack is None or stack["StackStatus"] == "REVIEW_IN_PROGRESS":
            raise invalid(f"Stack [{reference}] does not exist")
        if stack["StackStatus"] not in _UPDATABLE:
            status = stack["StackStatus"]
            raise invalid(f"Stack:{stack['StackId']} is in {status} state and can not be updated.")
        return stack

    async def changes_anything(self, ctx: Context, stack: Document, deployment: Document) -> bool:
        """Whether a deployment differs from the one in force: resources, outputs, tags, values."""
        current = stack["current"]
        members = ("template", "parameters", "ssm", "tags")
        if stack["StackStatus"] == "UPDATE_FAILED":
            return True
        if all(current[member] == deployment[member] for member in members):
            return False
        resources = deployed(await self._stacks.resources(stack))
        sides = []
        for side in (current, deployment):
            evaluator = await self._deployments.evaluator(ctx, stack, side, resources)
            outputs = side["template"].get("Outputs") or {}
            live = {
                name: output
                for name, output in outputs.items()
                if "Condition" not in output or evaluator.condition(output["Condition"])
            }
            sides.append(
                (evaluator.evaluate(evaluator.active()), evaluator.evaluate(live), side["tags"])
            )
        return sides[0] != sides[1]

    async def begin_update(
        self, ctx: Context, stack: Document, deployment: Document, request: Request
    ) -> None:
        """Start to bring a stack to a deployment."""
        imports = self._deployments.foresee(ctx, stack, deployment)
        stack["pending"] = deployment
        stack["imports"] = sorted(imports.union(stack.get("imports", [])))
        stack["LastUpdatedTime"] = ctx.now
        stack["DisableRollback"] = bool(request.get("DisableRollback"))
        stack["caller"] = await self._caller(ctx, request, stack)
        await self._begin(ctx, stack, request, "UPDATE_IN_PROGRESS")

    async def _begin(self, ctx: Context, stack: Document, request: Request, status: str) -> None:
        stack["ClientRequestToken"] = request.get("ClientRequestToken")
        await self.enter(ctx, stack, status)
        self._executor.start(stack)

    async def settled(self, stack_id: str, within_ms: int) -> None:
        """Return when what was begun on a stack is over, or when the caller has waited enough."""
        await self._executor.settled(stack_id, within_ms)

    async def enter(self, ctx: Context, stack: Document, status: str) -> None:
        """Move a stack as its user asked, unless another request came first: the checks before took time."""
        try:
            await self._stacks.transition(stack, status, ctx.now, "User Initiated")
        except Conflict:
            fresh = await self._stacks.find(ctx, stack["StackName"])
            if fresh is not None and fresh["StackId"] != stack["StackId"]:
                message = f"Stack [{stack['StackName']}] already exists"
                raise AwsError("AlreadyExistsException", message, status=400) from None
            state = "DELETE_COMPLETE" if fresh is None else fresh["StackStatus"]
            message = f"Stack:{stack['StackId']} is in {state} state and can not be updated."
            raise invalid(message) from None

    @operation("DeleteStack")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Begin to delete a stack; no error if there is none."""
        stack = await self._stacks.find(ctx, request["StackName"])
        if stack is None or stack["StackStatus"] in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
            return
        name = stack["StackName"]
        if request.get("DeletionMode", "STANDARD") != "STANDARD":
            raise refuse(f"DeletionMode {request['DeletionMode']}")
        if stack.get(PROTECTION):
            raise invalid(
                f"Stack [{name}] cannot be deleted while TerminationProtection is enabled"
            )
        if in_progress(stack):
            status = stack["StackStatus"]
            raise invalid(
                f"Stack [{stack['StackId']}] is in {status} state and can not be deleted."
            )
        if stack["current"] is None:
            await self.enter(ctx, stack, "DELETE_COMPLETE")
            return
        await self._stacks.require_unused(ctx, stack, stack["exports"], "deleted")
        spared = request.get("RetainResources", [])
        if spared and stack["StackStatus"] != "DELETE_FAILED":
            raise invalid(
                f"Invalid operation on stack [{stack['StackId']}]. Specify RetainResources only when stack is in "
                "DELETE_FAILED state."
            )
        stack["RetainResources"] = spared
        stack["caller"] = await self._caller(ctx, request, stack)
        await self._begin(ctx, stack, request, "DELETE_IN_PROGRESS")

    @operation("UpdateTerminationProtection")
    async def protect(self, ctx: Context, request: Request) -> Result:
        """Allow or forbid the deletion of a stack."""
        while True:
            stack = await self._stacks.load(ctx, request["StackName"])
            if stack["StackStatus"] == "DELETE_COMPLETE":
                raise invalid(f"Stack [{request['StackName']}] does not exist")
            stack[PROTECTION] = request[PROTECTION]
            try:
                await self._stacks.save(stack)
            except Conflict:
                continue
            return {"StackId": stack["StackId"]}

    async def _caller(
        self, ctx: Context, request: Request, stack: Document | None = None
    ) -> dict[str, Any]:
        """Who the stack's work is done for: the role given now or before, else the caller."""
        caller = {
            "account": ctx.account,
            "region": ctx.region,
            "principal": ctx.principal,
            "principal_id": ctx.principal_id,
            "endpoint": ctx.endpoint,
        }
        role = request.get("RoleARN") or (stack or {}).get("caller", {}).get("role")
        if role is None:
            return caller
        try:
            name = role.rsplit("/", 1)[-1]
            found = await self._dispatcher.call(ctx, "iam", "GetRole", {"RoleName": name})
        except AwsError as error:
            raise invalid(f"Role {role} is invalid or cannot be assumed") from error
        session = f"arn:aws:sts::{ctx.account}:assumed-role/{name}/AWSCloudFormation"
        role_id = f"{found['Role']['RoleId']}:AWSCloudFormation"
        return {**caller, "principal": session, "principal_id": role_id, "role": role}


def _require_built(request: Request) -> None:
    """Refuse what would have to be done and is not, unless it asks for nothing."""
    if request.get("NotificationARNs"):
        raise refuse("NotificationARNs")
    if request.get("RollbackConfiguration", {}).get("RollbackTriggers"):
        raise refuse("RollbackTriggers")
    if request.get("DeploymentConfig", {}).get("Mode", "STANDARD") != "STANDARD":
        raise refuse("DeploymentConfig Mode")
