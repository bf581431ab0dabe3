"""Operations on templates: fetch, summarize, validate."""

from typing import Any

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.template.capability import transforms
from penstock.core.template.node import Template, invalid
from penstock.core.template.parameter import declarations
from penstock.services.cloudformation.change_sets import find_change_set
from penstock.services.cloudformation.deployment import Deployments
from penstock.services.cloudformation.stack import Stacks
from penstock.storage.primitives import Store


class Templates:
    """Read-only operations on templates."""

    def __init__(self, store: Store, stacks: Stacks, deployments: Deployments) -> None:
        self._store = store
        self._stacks = stacks
        self._deployments = deployments

    @operation("GetTemplate")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A stack's or a change set's template, as given or after its transforms."""
        if "ChangeSetName" in request:
            stack, change_set = await find_change_set(self._store, self._stacks, ctx, request)
            deployment = change_set["deployment"]
        else:
            if "StackName" not in request:
                raise invalid("Either Stack Name or ChangeSet Name must be specified.")
            stack = await self._stacks.load(ctx, request["StackName"])
            deployment = stack["current"]
        if deployment is None:
            # AWS: a stack under review answers with an empty body (recorded from CreateChangeSet).
            return {"TemplateBody": "{}", "StagesAvailable": ["Original"]}
        if request.get("TemplateStage", "Original") == "Original":
            body = deployment["body"]
        else:
            body = orjson.dumps(deployment["template"]).decode()
        return {"TemplateBody": body, "StagesAvailable": ["Original", "Processed"]}

    @operation("GetTemplateSummary", refuses=["StackSetName", "CallAs"])
    async def summary(self, ctx: Context, request: Request) -> Result:
        """What a template declares and needs."""
        if "StackName" in request:
            stack = await self._stacks.load(ctx, request["StackName"])
            if stack["current"] is None:
                raise invalid(f"Stack {stack['StackName']} has no template")
            text = stack["current"]["body"]
        else:
            text = await self._deployments.body(ctx, request)
        template, capabilities, reason = await self._deployments.summary(ctx, text)
        resources = template.get("Resources") or {}
        result = _summary(template, capabilities, reason)
        result["Parameters"] = declarations(template)
        result["ResourceTypes"] = list(dict.fromkeys(item["Type"] for item in resources.values()))
        if "AWSTemplateFormatVersion" in template:
            result["Version"] = str(template["AWSTemplateFormatVersion"])
        if "Metadata" in template:
            result["Metadata"] = orjson.dumps(template["Metadata"]).decode()
        return result

    @operation("ValidateTemplate")
    async def validate(self, ctx: Context, request: Request) -> Result:
        """Raise ValidationError for a template that is wrong; else what it declares and needs."""
        text = await self._deployments.body(ctx, request)
        try:
            template, capabilities, reason = await self._deployments.summary(ctx, text)
        except AwsError as error:
            raise invalid(error.message) from error
        result = _summary(template, capabilities, reason)
        members = ("ParameterKey", "DefaultValue", "NoEcho", "Description")
        result["Parameters"] = [
            {name: entry[name] for name in members if name in entry}
            for entry in declarations(template)
        ]
        return result


def _summary(template: Template, capabilities: list[str], reason: str) -> dict[str, Any]:
    result: dict[str, Any] = {"DeclaredTransforms": transforms(template)}
    if capabilities:
        result |= {"Capabilities": capabilities, "CapabilitiesReason": reason}
    if "Description" in template:
        result["Description"] = template["Description"]
    return result
