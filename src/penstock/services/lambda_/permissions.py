"""Who else may invoke: the resource policies of a function, of its versions and of its aliases."""

import re
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.policy import (
    check_policy_revision,
    policy_text,
    principal_of,
    with_statement,
    without_statement,
)
from penstock.services.lambda_.repository import (
    LATEST,
    Function,
    Ref,
    Repository,
    not_found,
    parse_ref,
)

_QUALIFIER: Final = re.compile(r"\d+|[a-zA-Z0-9-_]+")


class Permissions:
    """The operations on resource policies."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("AddPermission")
    async def add_permission(self, ctx: Context, request: Request) -> Result:
        """Add a statement to the policy of a function, a version or an alias."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        if ref.qualifier == LATEST:
            raise invalid("We currently do not support adding policies for $LATEST.")
        principal = principal_of(request["Principal"])
        function, policy = await self._find(ref)
        _check_revision(function, policy, request)
        statement = _statement(request, principal, ref.qualified_arn)
        changed = with_statement(policy, statement, self._ids.uuid())
        await self._save(function, changed)
        return {"Statement": orjson.dumps(statement).decode()}

    @operation("RemovePermission")
    async def remove_permission(self, ctx: Context, request: Request) -> Result:
        """Take a statement out."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        if await self._repository.document(ref) is None:
            message = f"No policy found for: {ref.qualified_arn}"
            raise AwsError("ResourceNotFoundException", message)
        function, policy = await self._find(ref)
        changed = without_statement(policy, request["StatementId"], self._ids.uuid())
        _check_revision(function, policy, request)
        await self._save(function, changed)
        return {}

    @operation("GetPolicy")
    async def get_policy(self, ctx: Context, request: Request) -> Result:
        """The policy of a function, a version or an alias."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        missing = "The resource you requested does not exist."
        function = await self._repository.describe(ref, missing=missing)
        policy = function.document["policies"].get(ref.qualifier or "")
        if not policy:
            raise AwsError("ResourceNotFoundException", missing)
        return {"Policy": policy_text(policy), "RevisionId": policy["revision"]}

    async def _find(self, ref: Ref) -> tuple[Function, dict[str, Any] | None]:
        if ref.qualifier is not None and not _QUALIFIER.fullmatch(ref.qualifier):
            raise not_found(ref)
        function = await self._repository.describe(ref)
        return function, function.document["policies"].get(ref.qualifier or "")

    async def _save(self, function: Function, policy: dict[str, Any] | None) -> None:
        policies = dict(function.document["policies"])
        qualifier = function.ref.qualifier or ""
        if policy is None:
            del policies[qualifier]
        else:
            policies[qualifier] = policy
        await self._repository.change(function, policies=policies)


def _check_revision(function: Function, policy: dict[str, Any] | None, request: Request) -> None:
    """AWS: where there is no policy yet, the revision is that of the alias, or of the version."""
    ref = function.ref
    alias = function.document["aliases"].get(ref.qualifier)
    current = (policy or {}).get("revision") or (alias or function.config)["RevisionId"]
    check_policy_revision(current, request.get("RevisionId"), "GetPolicy")


def _statement(request: Request, principal: Any, arn: str) -> dict[str, Any]:
    statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": request["Action"],
        "Resource": arn,
    }
    condition: dict[str, Any] = {}
    equals = {
        key: request[member]
        for key, member in (
            ("AWS:SourceAccount", "SourceAccount"),
            ("lambda:EventSourceToken", "EventSourceToken"),
            ("lambda:FunctionUrlAuthType", "FunctionUrlAuthType"),
            ("aws:PrincipalOrgID", "PrincipalOrgID"),
        )
        if request.get(member)
    }
    if equals:
        condition["StringEquals"] = equals
    if request.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    if "InvokedViaFunctionUrl" in request:
        invoked = "true" if request["InvokedViaFunctionUrl"] else "false"
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": invoked}
    return {**statement, "Condition": condition} if condition else statement
