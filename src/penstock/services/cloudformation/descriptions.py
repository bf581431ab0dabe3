"""Operations that tell of stacks: their state, events, resources, exports."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.template.node import invalid
from penstock.core.template.parameter import shown_values
from penstock.services.cloudformation.stack import Document, Stacks

_PAGE: Final = 100
_DRIFT: Final = {"StackDriftStatus": "NOT_CHECKED"}
_RESOURCE_DRIFT: Final = {"StackResourceDriftStatus": "NOT_CHECKED"}
_STATE: Final = (
    "LogicalResourceId",
    "PhysicalResourceId",
    "ResourceType",
    "ResourceStatus",
    "ResourceStatusReason",
)


class Descriptions:
    """Read-only operations on stacks."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    @operation("DescribeStacks")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """One stack, or every live one. Raises ValidationError."""
        if "StackName" in request:
            return {"Stacks": [_stack(await self._stacks.load(ctx, request["StackName"]))]}
        stacks = await self._stacks.live(ctx)
        return _page([_stack(stack) for stack in stacks], request, "Stacks")

    @operation("ListStacks")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Summaries of stacks, deleted ones included."""
        wanted = request.get("StackStatusFilter")
        stacks = [
            _summary(stack)
            for stack in await self._stacks.every(ctx)
            if not wanted or stack["StackStatus"] in wanted
        ]
        return _page(stacks, request, "StackSummaries")

    @operation("DescribeStackEvents")
    async def events(self, ctx: Context, request: Request) -> Result:
        """What happened, newest first."""
        name = request["StackName"]
        stack = await self._stacks.find(ctx, name)
        if stack is None:
            raise invalid(f"Stack [{name}] does not exist")
        events, following = await self._stacks.events(stack, _position(request), _PAGE)
        return {"StackEvents": events, **({"NextToken": str(following)} if following else {})}

    @operation("DescribeStackResource")
    async def resource(self, ctx: Context, request: Request) -> Result:
        """One resource. Raises ValidationError."""
        stack = await self._find(ctx, request["StackName"])
        name = request["LogicalResourceId"]
        resource = (await self._stacks.resources(stack)).get(name)
        if resource is None:
            raise invalid(f"Resource {name} does not exist for stack {stack['StackName']}")
        detail = _resource(stack, resource, "LastUpdatedTimestamp")
        return {"StackResourceDetail": detail}

    @operation("DescribeStackResources")
    async def resources(self, ctx: Context, request: Request) -> Result:
        """Resources of a stack, or of the stack that a physical resource belongs to."""
        stack = await self._owner(ctx, request)
        wanted = request.get("LogicalResourceId")
        found = [
            _resource(stack, resource, "Timestamp")
            for name, resource in (await self._stacks.resources(stack)).items()
            if wanted in (None, name)
        ]
        return {"StackResources": found}

    @operation("ListStackResources")
    async def list_resources(self, ctx: Context, request: Request) -> Result:
        """Summaries of a stack's resources."""
        stack = await self._find(ctx, request["StackName"])
        found = []
        for resource in (await self._stacks.resources(stack)).values():
            summary = _resource(stack, resource, "LastUpdatedTimestamp")
            del summary["StackId"], summary["StackName"]
            found.append(summary)
        return _page(found, request, "StackResourceSummaries")

    @operation("ListExports")
    async def exports(self, ctx: Context, request: Request) -> Result:
        """Exported outputs of the region."""
        exports = await self._stacks.exports(ctx)
        listed = [
            {"ExportingStackId": stack_id, "Name": name, "Value": value}
            for name, (value, stack_id) in sorted(exports.items())
        ]
        return _page(listed, request, "Exports")

    @operation("ListImports")
    async def imports(self, ctx: Context, request: Request) -> Result:
        """Names of the stacks that import an export. Raises ValidationError when there are none."""
        name = request["ExportName"]
        users = [
            stack["StackName"]
            for stack in await self._stacks.live(ctx)
            if name in stack.get("imports", [])
        ]
        if not users:
            raise invalid(f"Export '{name}' is not imported by any stack.")
        return _page(users, request, "Imports")

    async def _find(self, ctx: Context, reference: str) -> Document:
        stack = await self._stacks.find(ctx, reference)
        if stack is None:
            raise invalid(f"Stack '{reference}' does not exist")
        return stack

    async def _owner(self, ctx: Context, request: Request) -> Document:
        if "StackName" in request:
            return await self._find(ctx, request["StackName"])
        wanted = request.get("PhysicalResourceId")
        for stack in await self._stacks.live(ctx):
            resources = await self._stacks.resources(stack)
            if any(held["PhysicalResourceId"] == wanted for held in resources.values()):
                return stack
        raise invalid(f"Stack for {wanted} does not exist")


def _stack(stack: Document) -> dict[str, Any]:
    names = (
        "StackId",
        "StackName",
        "CreationTime",
        "LastUpdatedTime",
        "DeletionTime",
        "StackStatus",
        "StackStatusReason",
        "ChangeSetId",
    )
    shown = {name: stack[name] for name in names if name in stack}
    shown |= {
        "DisableRollback": stack.get("OnFailure") == "DO_NOTHING",
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "EnableTerminationProtection": stack.get("EnableTerminationProtection", False),
        "DriftInformation": _DRIFT,
    }
    if "role" in stack["caller"]:
        shown["RoleARN"] = stack["caller"]["role"]
    if stack["outputs"]:
        shown["Outputs"] = stack["outputs"]
    deployment = stack["pending"] or stack["current"]
    if deployment is None:
        return {**shown, "Tags": []}
    template = deployment["template"]
    if "Description" in template:
        shown["Description"] = template["Description"]
    parameters = shown_values(template, deployment["parameters"], deployment["ssm"])
    if parameters:
        shown["Parameters"] = parameters
    if deployment["capabilities"]:
        shown["Capabilities"] = deployment["capabilities"]
    return {**shown, "Tags": deployment["tags"]}


def _summary(stack: Document) -> dict[str, Any]:
    names = (
        "StackId",
        "StackName",
        "CreationTime",
        "LastUpdatedTime",
        "DeletionTime",
        "StackStatus",
        "StackStatusReason",
    )
    shown = {name: stack[name] for name in names if name in stack}
    description = (stack["current"] or {}).get("template", {}).get("Description")
    if description:
        shown["TemplateDescription"] = description
    return {**shown, "DriftInformation": _DRIFT}


def _resource(stack: Document, resource: Document, timestamp: str) -> dict[str, Any]:
    shown = {name: resource[name] for name in _STATE if resource.get(name)}
    return {
        **shown,
        "StackId": stack["StackId"],
        "StackName": stack["StackName"],
        timestamp: resource["LastUpdatedTimestamp"],
        "DriftInformation": _RESOURCE_DRIFT,
    }


def _position(request: Request) -> int:
    """Where a NextToken says to go on. Raises ValidationError for one that was never given out."""
    token = request.get("NextToken", "0")
    if not (token.isascii() and token.isdigit() and len(token) < 18):
        raise invalid("NextToken is invalid")
    return int(token)


def _page(items: Any, request: Request, member: str) -> Result:
    start = _position(request)
    result: Result = {member: items[start : start + _PAGE]}
    if start + _PAGE < len(items):
        result["NextToken"] = str(start + _PAGE)
    return result
