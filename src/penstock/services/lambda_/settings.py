"""What is set beside a function's configuration: concurrency, permissions, tags, and how its events are handled."""

import copy
from typing import Any

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError, Conflict
from penstock.runtime.concurrency import UNRESERVED_MINIMUM
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.destinations import check_destination
from penstock.services.lambda_.repository import LATEST, Function, Repository, parse_ref
from penstock.services.lambda_.surroundings import Surroundings


class Settings:
    """Operations that change a function's document but not what runs."""

    def __init__(
        self,
        repository: Repository,
        given: Surroundings,
        events: AsyncInvocations,
    ) -> None:
        self._repository = repository
        self._ids = given.ids
        self._ledger = given.ledger
        self._queue_exists = given.queue_exists
        self._events = events

    # Concurrency.

    @operation("PutFunctionConcurrency")
    async def put_function_concurrency(self, ctx: Context, request: Request) -> Result:
        """Reserve a share of the account's concurrency: a guarantee and a cap."""
        function = await self._latest(ctx, request)
        amount = request["ReservedConcurrentExecutions"]
        ref = function.ref
        if not self._ledger.reserve(ref.account, ref.region, ref.name, amount):
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{UNRESERVED_MINIMUM}]."
            )
        await self._change(function, reserved=amount)
        return {"ReservedConcurrentExecutions": amount}

    @operation("GetFunctionConcurrency")
    async def get_function_concurrency(self, ctx: Context, request: Request) -> Result:
        """The reservation, if there is one."""
        amount = (await self._latest(ctx, request)).document["reserved"]
        return {} if amount is None else {"ReservedConcurrentExecutions": amount}

    @operation("DeleteFunctionConcurrency")
    async def delete_function_concurrency(self, ctx: Context, request: Request) -> Result:
        """End the reservation."""
        function = await self._latest(ctx, request)
        ref = function.ref
        self._ledger.reserve(ref.account, ref.region, ref.name, None)
        await self._change(function, reserved=None)
        return {}

    @operation("GetAccountSettings")
    async def get_account_settings(self, ctx: Context, request: Request) -> Result:
        """The limits that are enforced, and what is in use."""
        count = size = 0
        after: str | None = ""
        while after is not None:
            documents, after = await self._repository.page(ctx, after, 1000)
            count += len(documents)
            size += sum(document["config"]["CodeSize"] for document in documents)
        return {
            "AccountLimit": {
                "TotalCodeSize": 80_530_636_800,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": self._ledger.limit,
                "UnreservedConcurrentExecutions": self._ledger.unreserved(ctx.account, ctx.region),
            },
            "AccountUsage": {"TotalCodeSize": size, "FunctionCount": count},
        }

    # Permissions.

    @operation(
        "AddPermission",
        refuses=["Qualifier", "FunctionUrlAuthType", "InvokedViaFunctionUrl"],
    )
    async def add_permission(self, ctx: Context, request: Request) -> Result:
        """Add a statement to the function's resource policy."""
        function = await self._latest(ctx, request)
        policy = copy.deepcopy(function.document["policy"]) or {"statements": [], "revision": ""}
        _check_policy_revision(policy, request)
        sid = request["StatementId"]
        if any(statement["Sid"] == sid for statement in policy["statements"]):
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({sid}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement.",
            )
        statement = _statement(request, function.arn)
        policy["statements"].append(statement)
        policy["revision"] = self._ids.uuid()
        await self._change(function, policy=policy)
        return {"Statement": orjson.dumps(statement).decode()}

    @operation("RemovePermission", refuses=["Qualifier"])
    async def remove_permission(self, ctx: Context, request: Request) -> Result:
        """Take a statement out."""
        function = await self._latest(ctx, request)
        policy = function.document["policy"] or {"statements": [], "revision": ""}
        _check_policy_revision(policy, request)
        sid = request["StatementId"]
        left = [statement for statement in policy["statements"] if statement["Sid"] != sid]
        if len(left) == len(policy["statements"]):
            raise AwsError(
                "ResourceNotFoundException", f"Statement {sid} is not found in resource policy."
            )
        changed = {"statements": left, "revision": self._ids.uuid()} if left else None
        await self._change(function, policy=changed)
        return {}

    @operation("GetPolicy", refuses=["Qualifier"])
    async def get_policy(self, ctx: Context, request: Request) -> Result:
        """The resource policy."""
        policy = (await self._latest(ctx, request)).document["policy"]
        if not policy:
            raise AwsError(
                "ResourceNotFoundException", "No policy is associated with the given resource."
            )
        document = {
            "Version": "2012-10-17",
            "Id": "default",
            "Statement": policy["statements"],
        }
        return {"Policy": orjson.dumps(document).decode(), "RevisionId": policy["revision"]}

    # Tags.

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> Result:
        """Set tags of a function."""
        function = await self._tagged(ctx, request["Resource"])
        await self._change(function, tags={**function.document["tags"], **request["Tags"]})
        return {}

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a function."""
        function = await self._tagged(ctx, request["Resource"])
        gone = set(request["TagKeys"])
        tags = {key: value for key, value in function.document["tags"].items() if key not in gone}
        await self._change(function, tags=tags)
        return {}

    @operation("ListTags")
    async def list_tags(self, ctx: Context, request: Request) -> Result:
        """The tags of a function."""
        return {"Tags": (await self._tagged(ctx, request["Resource"])).document["tags"]}

    # How asynchronous events are handled.

    @operation("PutFunctionEventInvokeConfig")
    async def put_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Replace what was put for the qualifier."""
        return await self._put_event_config(ctx, request, replace=True)

    @operation("UpdateFunctionEventInvokeConfig")
    async def update_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Change what was put for the qualifier."""
        return await self._put_event_config(ctx, request, replace=False)

    @operation("GetFunctionEventInvokeConfig")
    async def get_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """What was put for the qualifier."""
        function, qualifier = await self._qualified(ctx, request)
        return _event_config(function, qualifier)

    @operation("DeleteFunctionEventInvokeConfig")
    async def delete_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Go back to the defaults."""
        function, qualifier = await self._qualified(ctx, request)
        _event_config(function, qualifier)
        left = {
            key: value
            for key, value in function.document["event_invoke"].items()
            if key != qualifier
        }
        await self._change(function, event_invoke=left)
        return {}

    @operation("ListFunctionEventInvokeConfigs")
    async def list_function_event_invoke_configs(self, ctx: Context, request: Request) -> Result:
        """What was put for any qualifier; one page."""
        function = await self._latest(ctx, request)
        found = [_event_config(function, key) for key in sorted(function.document["event_invoke"])]
        return {"FunctionEventInvokeConfigs": found}

    async def _put_event_config(self, ctx: Context, request: Request, *, replace: bool) -> Result:
        function, qualifier = await self._qualified(ctx, request)
        members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
        given = {name: request[name] for name in members if request.get(name) is not None}
        if not given:
            raise invalid("You must specify at least one of error handling or destination setting.")
        for side in ("OnSuccess", "OnFailure"):
            await check_destination(
                ((given.get("DestinationConfig") or {}).get(side) or {}).get("Destination"),
                function.ref,
                self._queue_exists,
            )
        if not replace:
            _event_config(function, qualifier)  # AWS: there must be one to update
            given = {**function.document["event_invoke"][qualifier], **given}
        config = {**given, "LastModified": ctx.now}
        every = {**function.document["event_invoke"], qualifier: config}
        changed = await self._change(function, event_invoke=every)
        return _event_config(changed, qualifier)

    async def _qualified(self, ctx: Context, request: Request) -> tuple[Function, str]:
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        await self._repository.find(ref)
        function = await self._repository.find(ref._replace(qualifier=None))
        return function, ref.qualifier or LATEST

    async def _latest(self, ctx: Context, request: Request) -> Function:
        ref = parse_ref(ctx, request["FunctionName"])
        return await self._repository.find(ref._replace(qualifier=None))

    async def _tagged(self, ctx: Context, arn: str) -> Function:
        if not parse_arn(arn).resource.startswith("function:"):
            raise refuse("tags of a Lambda resource that is not a function")
        return await self._repository.find(parse_ref(ctx, arn)._replace(qualifier=None))

    async def _change(self, function: Function, **changes: Any) -> Function:
        document = {**function.document, **changes}
        try:
            await self._repository.save(function.ref, document, function.stored)
        except Conflict:
            raise AwsError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {function.arn}",
            ) from None
        if "event_invoke" in changes:
            self._events.subscribe(function.ref, document)
        return Function(function.ref, document, 0, function.version, function.config, function.code)


def _statement(request: Request, arn: str) -> dict[str, Any]:
    principal = request["Principal"]
    who: Any = {"Service": principal}
    if principal == "*":
        who = principal
    elif principal.startswith("arn:") or principal.isdecimal():
        who = {"AWS": f"arn:aws:iam::{principal}:root" if principal.isdecimal() else principal}
    statement = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": who,
        "Action": request["Action"],
        "Resource": arn,
    }
    equals = {
        key: request[member]
        for key, member in (
            ("AWS:SourceAccount", "SourceAccount"),
            ("aws:PrincipalOrgID", "PrincipalOrgID"),
            ("lambda:EventSourceToken", "EventSourceToken"),
        )
        if request.get(member)
    }
    condition: dict[str, Any] = {}
    if equals:
        condition["StringEquals"] = equals
    if request.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": request["SourceArn"]}
    return {**statement, "Condition": condition} if condition else statement


def _check_policy_revision(policy: dict[str, Any], request: Request) -> None:
    if request.get("RevisionId") and request["RevisionId"] != policy["revision"]:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetPolicy API to retrieve the latest Revision Id",
        )


def _event_config(function: Function, qualifier: str) -> dict[str, Any]:
    config = function.document["event_invoke"].get(qualifier)
    if config is None:
        raise AwsError(
            "ResourceNotFoundException",
            f"The function {function.arn}:{qualifier} doesn't have an EventInvokeConfig",
        )
    destinations = config.get("DestinationConfig") or {}
    return {
        **config,
        "FunctionArn": f"{function.arn}:{qualifier}",
        "DestinationConfig": {
            "OnSuccess": destinations.get("OnSuccess") or {},
            "OnFailure": destinations.get("OnFailure") or {},
        },
    }
