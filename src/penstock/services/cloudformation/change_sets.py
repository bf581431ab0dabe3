"""Change sets: what a deployment would do, shown before it is done."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.template.graph import creation_order
from penstock.core.template.node import invalid
from penstock.core.template.parameter import shown_values
from penstock.core.template.plan import Action, Change, Wanted, plan
from penstock.services.cloudformation.deployment import Deployments
from penstock.services.cloudformation.operations import UNBUILT, Operations
from penstock.services.cloudformation.resource import ResourceType
from penstock.services.cloudformation.stack import Document, Stacks, deployed
from penstock.storage.primitives import Store

_CHANGE_SETS: Final = "cloudformation/change-sets"
_NAME: Final = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_PATIENCE_MS: Final = 3_000
_NO_CHANGES: Final = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSets:
    """Operations on change sets. A document has the API's members plus `deployment`, `changes` and `request`."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        stacks: Stacks,
        deployments: Deployments,
        operations: Operations,
        types: Mapping[str, ResourceType],
    ) -> None:
        self._store = store
        self._ids = ids
        self._stacks = stacks
        self._deployments = deployments
        self._operations = operations
        self._types = types

    @operation(
        "CreateChangeSet",
        refuses=[
            *UNBUILT,
            "ResourcesToImport",
            "IncludeNestedStacks",
            "ImportExistingResources",
            "DeploymentMode",
        ],
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Work out what a deployment would do; a new stack waits in REVIEW_IN_PROGRESS."""
        name, kind = request["ChangeSetName"], request.get("ChangeSetType", "UPDATE")
        if _NAME.fullmatch(name) is None:
            raise invalid(
                f"1 validation error detected: Value '{name}' at 'changeSetName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
            )
        if kind == "IMPORT":
            raise refuse("ChangeSetType IMPORT")
        stack, fresh = await self._subject(ctx, request, kind)
        known = None if fresh else await self._load(stack, name)
        # AWS: a change set is removed once it is executed (CloudFormation guide, "Execute a change set").
        if known is not None and known["ExecutionStatus"] != "EXECUTE_COMPLETE":
            message = f"ChangeSet {name} cannot be created due to a mismatch with existing attribute Template"
            raise AwsError("AlreadyExistsException", message, status=400)
        deployment = await self._deployments.prepare(ctx, request, stack["current"], reviewed=True)
        self._deployments.foresee(ctx, stack, deployment)
        change_set = await self._described(ctx, stack, deployment, request)
        if fresh:
            await self._operations.enter(ctx, stack, "REVIEW_IN_PROGRESS")
        await self._save(stack, change_set)
        return {"Id": change_set["ChangeSetId"], "StackId": stack["StackId"]}

    async def _subject(self, ctx: Context, request: Request, kind: str) -> tuple[Document, bool]:
        """The stack of a new change set, and whether it is a new one."""
        name = request["StackName"]
        if kind == "UPDATE":
            return await self._operations.updatable(ctx, name), False
        stack = await self._stacks.find(ctx, name)
        if stack is None:
            return await self._operations.new_stack(ctx, request), True
        if stack["StackStatus"] != "REVIEW_IN_PROGRESS":
            raise invalid(
                f"Stack [{name}] already exists and cannot be created again with the changeSet "
                f"[{request['ChangeSetName']}]."
            )
        return stack, False

    async def _described(
        self, ctx: Context, stack: Document, deployment: Document, request: Request
    ) -> Document:
        name = request["ChangeSetName"]
        resource = f"changeSet/{name}/{self._ids.uuid()}"
        kept = ("OnStackFailure", "RoleARN")
        change_set: Document = {
            "ChangeSetName": name,
            "ChangeSetId": make_arn("cloudformation", ctx.region, ctx.account, resource),
            "StackId": stack["StackId"],
            "StackName": stack["StackName"],
            "CreationTime": ctx.now,
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
            "deployment": deployment,
            "changes": await self._changes(ctx, stack, deployment),
            "request": {member: request[member] for member in kept if member in request},
        }
        if "Description" in request:
            change_set["Description"] = request["Description"]
        if stack["current"] is not None and not await self._operations.changes_anything(
            ctx, stack, deployment
        ):
            change_set |= {
                "Status": "FAILED",
                "ExecutionStatus": "UNAVAILABLE",
                "StatusReason": _NO_CHANGES,
            }
        return change_set

    async def _changes(
        self, ctx: Context, stack: Document, deployment: Document
    ) -> list[dict[str, Any]]:
        resources = await self._stacks.resources(stack) if stack["current"] else {}
        evaluator = await self._deployments.evaluator(ctx, stack, deployment, deployed(resources))
        active = evaluator.active()
        wanted = {
            name: Wanted(
                type=resource["Type"],
                properties=self._evaluated(
                    name,
                    resource["Type"],
                    evaluator.evaluate(resource.get("Properties") or {}),
                    deployment,
                ),
            )
            for name, resource in active.items()
        }
        have = {
            name: Wanted(
                type=resource["ResourceType"],
                properties=self._types[resource["ResourceType"]].fitting(resource["properties"]),
            )
            for name, resource in resources.items()
        }
        planned = plan(have, wanted, creation_order(active), self._replacing)
        ids = {name: resource["PhysicalResourceId"] for name, resource in resources.items()}
        return [_shown(change, ids.get(change.logical_id)) for change in planned]

    def _evaluated(
        self, name: str, kind: str, properties: Any, deployment: Document
    ) -> dict[str, Any]:
        """Properties as the executor will hand them to the row."""
        row = self._types[kind]
        typed = row.checked(name, properties)
        return row.tagged(typed, deployment["tags"])

    def _replacing(self, kind: str) -> frozenset[str]:
        return self._types[kind].replacing()

    @operation("DescribeChangeSet")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A change set with its changes."""
        _, change_set = await find_change_set(self._store, self._stacks, ctx, request)
        deployment = change_set["deployment"]
        template = deployment["template"]
        shown = {name: change_set[name] for name in change_set if name[0].isupper()}
        parameters = shown_values(template, deployment["parameters"], deployment["ssm"])
        return {
            **shown,
            "Changes": change_set["changes"],
            "Parameters": parameters,
            "Capabilities": deployment["capabilities"],
            "Tags": deployment["tags"],
            "NotificationARNs": [],
            "RollbackConfiguration": {},
            "IncludeNestedStacks": False,
        }

    @operation("ListChangeSets")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Change sets of a stack."""
        stack = await self._stacks.find(ctx, request["StackName"])
        if stack is None:
            raise invalid(f"Stack [{request['StackName']}] does not exist")
        documents = await self._every(stack)
        return {
            "Summaries": [
                {name: document[name] for name in document if name[0].isupper()}
                for document in documents
            ]
        }

    @operation("DeleteChangeSet")
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Forget a change set; no error if there is none."""
        try:
            stack, change_set = await find_change_set(self._store, self._stacks, ctx, request)
        except AwsError as error:
            if error.code == "ChangeSetNotFound" and "StackName" in request:
                return {}
            raise
        await self._drop(stack, change_set)
        return {}

    @operation("ExecuteChangeSet", refuses=["RetainExceptOnCreate"])
    async def execute(self, ctx: Context, request: Request) -> Result:
        """Begin to do what a change set shows; the stack's other change sets are void."""
        stack, change_set = await find_change_set(self._store, self._stacks, ctx, request)
        if change_set["ExecutionStatus"] != "AVAILABLE":
            status = change_set["Status"]
            raise AwsError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of [{status}]",
                status=400,
            )
        stack["ChangeSetId"] = change_set["ChangeSetId"]
        given = {**request, **change_set["request"]}
        if "OnStackFailure" in given and not given.get("DisableRollback"):
            given["OnFailure"] = given["OnStackFailure"]
        if stack["current"] is None:
            await self._operations.begin_creation(ctx, stack, change_set["deployment"], given)
        else:
            await self._operations.updatable(ctx, stack["StackId"])
            await self._operations.begin_update(ctx, stack, change_set["deployment"], given)
        for other in await self._every(stack):
            await self._drop(stack, other)
        change_set["ExecutionStatus"] = "EXECUTE_COMPLETE"
        await self._save(stack, change_set)
        # Clients look at once and then every half minute: a short deployment is over when they first look.
        await self._operations.settled(stack["StackId"], _PATIENCE_MS)
        return {}

    async def _every(self, stack: Document) -> "Sequence[Document]":
        partition = stack["StackId"].encode()
        rows = await self._store.table.range(_CHANGE_SETS, partition)
        return [orjson.loads(row.document) for row in rows]

    async def _load(self, stack: Document, name: str) -> Document | None:
        row = await self._store.table.get(_CHANGE_SETS, stack["StackId"].encode(), name.encode())
        return None if row is None else orjson.loads(row.document)

    async def _save(self, stack: Document, change_set: Document) -> None:
        sort = change_set["ChangeSetName"].encode()
        await self._store.table.put(
            _CHANGE_SETS, stack["StackId"].encode(), sort, orjson.dumps(change_set)
        )

    async def _drop(self, stack: Document, change_set: Document) -> None:
        sort = change_set["ChangeSetName"].encode()
        await self._store.table.delete(_CHANGE_SETS, stack["StackId"].encode(), sort)


async def find_change_set(
    store: Store, stacks: Stacks, ctx: Context, request: Request
) -> tuple[Document, Document]:
    """The stack and the change set that a request names, by id or by both names. Raises ChangeSetNotFound."""
    reference = request["ChangeSetName"]
    missing = AwsError("ChangeSetNotFound", f"ChangeSet [{reference}] does not exist", status=404)
    if "StackName" in request:
        stack = await stacks.load(ctx, request["StackName"])
        candidates = [stack]
    elif reference.startswith("arn:"):
        candidates = await stacks.live(ctx)
    else:
        raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
    name = reference.split("/")[1] if reference.startswith("arn:") else reference
    for stack in candidates:
        row = await store.table.get(_CHANGE_SETS, stack["StackId"].encode(), name.encode())
        if row is not None:
            change_set = orjson.loads(row.document)
            if reference in (change_set["ChangeSetId"], change_set["ChangeSetName"]):
                return stack, change_set
    raise missing


def _shown(change: Change, physical_id: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Action": change.action.value,
        "LogicalResourceId": change.logical_id,
        "ResourceType": change.type,
        "Scope": [],
        "Details": [],
    }
    if physical_id:
        shown["PhysicalResourceId"] = physical_id
    if change.action is Action.MODIFY:
        certain = set(change.replaced_by) - set(change.uncertain)
        shown["Replacement"] = "True" if certain else "Conditional" if change.uncertain else "False"
        shown["Scope"] = sorted(
            {"Tags" if name == "Tags" else "Properties" for name in change.changed}
        )
        shown["Details"] = [_detail(name, change) for name in change.changed]
    return {"Type": "Resource", "ResourceChange": shown}


def _detail(name: str, change: Change) -> dict[str, Any]:
    recreation = "Never"
    if name in change.replaced_by:
        recreation = "Conditionally" if name in change.uncertain else "Always"
    target = {"Attribute": "Tags" if name == "Tags" else "Properties", "Name": name}
    if name == "Tags":
        del target["Name"]
    return {
        "Target": {**target, "RequiresRecreation": recreation},
        "Evaluation": "Dynamic" if name in change.uncertain else "Static",
        "ChangeSource": "DirectModification",
    }
