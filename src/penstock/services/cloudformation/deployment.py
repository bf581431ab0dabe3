"""Deployments: a template with its parameters, ready to be executed. Plain documents, so that they outlive a restart.

`body` is the text as given, `template` what is executed (after transforms), `parameters` the values by name, `ssm` the values looked
up for parameters of the SSM type, `tags` and `capabilities` as given.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from penstock.api import Context, Dispatcher, Request, refuse
from penstock.core.errors import AwsError
from penstock.core.template.capability import needed, require_capabilities, transforms
from penstock.core.template.check import check_sections, check_template, check_types
from penstock.core.template.evaluate import Evaluator, Scope
from penstock.core.template.graph import creation_order
from penstock.core.template.loops import EXTENSIONS, expand_loops, without_loops
from penstock.core.template.node import Deployed, Template, invalid
from penstock.core.template.parameter import given_values, ssm_names, typed_values
from penstock.core.template.parse import parse_template
from penstock.services.cloudformation import sam
from penstock.services.cloudformation.attributes import attributes_of
from penstock.services.cloudformation.names import is_aws_type
from penstock.services.cloudformation.resource import ResourceType
from penstock.services.cloudformation.stack import Document, Stacks

# AWS: 51,200 bytes in the request, 1 MB from S3 (CloudFormation guide, quotas).
_MAX_BODY: Final = 51_200
_MAX_OBJECT: Final = 1_000_000
_PATH_STYLE: Final = re.compile(r"s3[.-].*|localhost|[\d.]+|\[.*\]")


class Deployments:
    """Makes deployments of requests, and evaluators of deployments."""

    def __init__(
        self, dispatcher: Dispatcher, stacks: Stacks, types: Mapping[str, ResourceType]
    ) -> None:
        self._dispatcher = dispatcher
        self._stacks = stacks
        self._types = types

    async def body(self, ctx: Context, request: Request, previous: Document | None = None) -> str:
        """The text of the template that a request gives. Raises ValidationError."""
        if "TemplateBody" in request:
            text: str = request["TemplateBody"]
            if len(text.encode()) > _MAX_BODY:
                raise invalid(
                    f"1 validation error detected: Value '{text}' at 'templateBody' failed to satisfy constraint: "
                    f"Member must have length less than or equal to {_MAX_BODY}"
                )
            return text
        if "TemplateURL" in request:
            return await self._fetch(ctx, request["TemplateURL"])
        if request.get("UsePreviousTemplate") and previous is not None:
            kept: str = previous["body"]
            return kept
        raise invalid("Either Template URL or Template Body must be specified.")

    async def prepare(
        self, ctx: Context, request: Request, previous: Document | None, *, reviewed: bool
    ) -> Document:
        """The deployment that a request describes, checked. `reviewed` says that a change set shows what transforms did."""
        text = await self.body(ctx, request, previous)
        template = await _parsed(text)
        extended = EXTENSIONS in transforms(template)
        _refuse_includes(template)
        check_sections(without_loops(template) if extended else template)
        held = None if previous is None else previous["parameters"]
        macros = transforms(template)
        unknown = [name for name in macros if name not in (sam.TRANSFORM, EXTENSIONS)]
        if unknown:
            raise refuse(f"the transform {unknown[0]}")
        given = request.get("Capabilities", [])
        expanded = [name for name in macros if name == sam.TRANSFORM]
        if not expanded and not extended:
            check_template(template)
        parameters = given_values(template, request.get("Parameters", []), held)
        ssm = await self._look_up(ctx, template, parameters)
        if extended:
            template = expand_loops(template, typed_values(template, parameters, ssm))
            check_sections(template)
        if expanded:
            if not reviewed and "CAPABILITY_AUTO_EXPAND" not in given:
                require_capabilities(template, given, expanded=expanded)
            typed = typed_values(template, parameters, ssm)
            template = await sam.expand(template, typed, ctx.region)
        template.pop("Transform", None)
        check_template(template)
        require_capabilities(template, given)
        self._require_types(template)
        creation_order(template["Resources"])
        tags = request.get("Tags", [] if previous is None else previous["tags"])
        return {
            "body": text,
            "template": template,
            "parameters": parameters,
            "ssm": ssm,
            "tags": tags,
            "capabilities": given,
        }

    async def summary(self, ctx: Context, text: str) -> tuple[Template, list[str], str]:
        """A template, the capabilities it needs, and why."""
        template = await _parsed(text)
        extended = EXTENSIONS in transforms(template)
        _refuse_includes(template)
        check_sections(without_loops(template) if extended else template)
        if extended:
            values = _defaults(template)
            template = expand_loops(template, values, known=False)
            check_sections(template)
            if values.keys() != (template.get("Parameters") or {}).keys():
                # What its loops make cannot be told yet.
                return (template, *needed(template))
        if sam.TRANSFORM in transforms(template):
            names = [*needed(template)[0], "CAPABILITY_AUTO_EXPAND"]
            if any(
                str(resource.get("Type")).startswith("AWS::Serverless::Function")
                for resource in (template.get("Resources") or {}).values()
            ):
                names = ["CAPABILITY_IAM", *names]
            names = list(dict.fromkeys(names))
            reason = f"The following transform requires capabilities: [{sam.TRANSFORM}]"
            return template, names, reason
        check_template(template)
        self._require_types(template)
        return (template, *needed(template))

    async def evaluator(
        self, ctx: Context, stack: Document, deployment: Document, resources: Mapping[str, Deployed]
    ) -> Evaluator:
        """An evaluator of a deployment among `resources`."""
        exports = await self._stacks.exports(ctx)
        found = {name: value for name, (value, _) in exports.items()}
        return self._evaluator(ctx, stack, deployment, resources, found)

    def foresee(self, ctx: Context, stack: Document, deployment: Document) -> set[str]:
        """Evaluate a deployment as far as that can be before anything is made. Raises ValidationError.

        Returns the names of what it imports.
        """
        # AWS: an export that is not there fails the stack, not the request (CloudFormation guide, Fn::ImportValue).
        evaluator = self._evaluator(ctx, stack, deployment, {}, None)
        evaluator.rules()
        evaluator.evaluate(evaluator.active())
        for output in (deployment["template"].get("Outputs") or {}).values():
            if "Condition" not in output or evaluator.condition(output["Condition"]):
                evaluator.evaluate(output)
        return evaluator.imported

    def _evaluator(
        self,
        ctx: Context,
        stack: Document,
        deployment: Document,
        resources: Mapping[str, Deployed],
        exports: Mapping[str, str] | None,
    ) -> Evaluator:
        template = deployment["template"]
        scope = Scope(
            template=template,
            parameters=typed_values(template, deployment["parameters"], deployment["ssm"]),
            pseudo={
                "AWS::AccountId": ctx.account,
                "AWS::NotificationARNs": [],
                "AWS::Partition": "aws",
                "AWS::Region": ctx.region,
                "AWS::StackId": stack["StackId"],
                "AWS::StackName": stack["StackName"],
                "AWS::URLSuffix": "amazonaws.com",
            },
            resources=resources,
            exports=exports,
        )
        return Evaluator(scope)

    def _require_types(self, template: Template) -> None:
        kinds = (resource["Type"] for resource in template["Resources"].values())
        unmade = sorted({kind for kind in kinds if kind not in self._types})
        unknown = [kind for kind in unmade if not is_aws_type(kind)]
        if unknown:
            raise invalid(
                f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]"
            )
        if unmade:
            raise invalid(
                f"Template format error: Penstock does not implement the resource types [{', '.join(unmade)}] yet."
            )
        check_types(template, attributes_of)

    async def _look_up(
        self, ctx: Context, template: Template, parameters: Mapping[str, str]
    ) -> dict[str, str]:
        found = {}
        for name, parameter in ssm_names(template, parameters).items():
            try:
                answer = await self._dispatcher.call(
                    ctx, "ssm", "GetParameter", {"Name": parameter}
                )
            except AwsError as error:
                raise invalid(
                    f"Unable to fetch parameters [{parameter}] from parameter store for this account."
                ) from error
            found[name] = answer["Parameter"]["Value"]
        return found

    async def _fetch(self, ctx: Context, url: str) -> str:
        place = _object_of(url)
        try:
            answer = await self._dispatcher.call(ctx, "s3", "GetObject", place)
        except AwsError as error:
            raise invalid(f"S3 error: {error.message}") from error
        if len(answer["Body"]) > _MAX_OBJECT:
            raise invalid(f"Template may not exceed {_MAX_OBJECT} bytes in size.")
        body: bytes = answer["Body"]
        return body.decode()


async def _parsed(text: str) -> Template:
    # A large template takes seconds to read: the event loop must not wait for it.
    return await asyncio.to_thread(parse_template, text)


def _refuse_includes(node: Any) -> None:
    """Raise an error for a transform in the middle of a template, which may stand wherever a member may."""
    if isinstance(node, dict):
        if "Fn::Transform" in node:
            asked = node["Fn::Transform"]
            name = asked.get("Name") if isinstance(asked, dict) else None
            raise refuse(f"the transform {name}" if name else "Fn::Transform")
        for value in node.values():
            _refuse_includes(value)
    elif isinstance(node, list):
        for value in node:
            _refuse_includes(value)


def _defaults(template: Template) -> dict[str, Any]:
    """The values of the parameters that have one of their own."""
    declared = template.get("Parameters") or {}
    own = {name: one for name, one in declared.items() if "Default" in one}
    values = given_values({"Parameters": own}, [], None)
    looked_up = ssm_names({"Parameters": own}, values)
    plain = {name: value for name, value in values.items() if name not in looked_up}
    return typed_values(template, plain, {})


def _object_of(url: str) -> dict[str, Any]:
    """`Bucket`, `Key` and perhaps `VersionId` of an S3 address, in path style or with the bucket as host."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if _PATH_STYLE.fullmatch(host):
        bucket, _, key = path.partition("/")
    else:
        bucket, key = re.split(r"\.s3[.-]|\.localhost$", host)[0], path
    if parts.scheme not in ("http", "https") or not bucket or not key:
        raise invalid("TemplateURL must be a supported URL.")
    place = {"Bucket": bucket, "Key": key}
    if versions := parse_qs(parts.query).get("versionId"):
        place["VersionId"] = versions[0]
    return place
