"""What is set beside a function's configuration, and for the account: concurrency, recursion, updates of the runtime."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.runtime.concurrency import UNRESERVED_MINIMUM
from penstock.services.lambda_.configuration import invalid, out_of_bounds
from penstock.services.lambda_.layers import Layers
from penstock.services.lambda_.repository import LATEST, Function, Repository, parse_ref
from penstock.services.lambda_.surroundings import Surroundings

# AWS: Lambda quotas; what counts here is enforced (the package's size, the concurrency), or the disk's to give.
_LIMITS: Final = {
    "TotalCodeSize": 80_530_636_800,
    "CodeSizeUnzipped": 262_144_000,
    "CodeSizeZipped": 52_428_800,
}


class Settings:
    """Operations that change a function's document but not what runs."""

    def __init__(self, repository: Repository, layers: Layers, given: Surroundings) -> None:
        self._repository = repository
        self._layers = layers
        self._ledger = given.ledger

    @operation("PutFunctionConcurrency")
    async def put_function_concurrency(self, ctx: Context, request: Request) -> Result:
        """Reserve a share of the account's concurrency: a guarantee and a cap."""
        ref = parse_ref(ctx, request["FunctionName"])
        if ref.qualifier is not None:
            raise invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        # AWS: the text names `$LATEST` here (recorded).
        missing = f"Function not found: {ref.arn}:{LATEST}"
        function = await self._repository.describe(ref, missing=missing)
        amount = request["ReservedConcurrentExecutions"]
        provisioned = self._ledger.provisioned(ref.account, ref.region, ref.name)
        if amount < provisioned:
            raise out_of_bounds(
                f" ReservedConcurrentExecutions  {amount} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}]."
            )
        if not self._ledger.reserve(ref.account, ref.region, ref.name, amount):
            raise out_of_bounds(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{UNRESERVED_MINIMUM}]."
            )
        await self._repository.change(function, reserved=amount)
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
        await self._repository.change(function, reserved=None)
        return {}

    @operation("GetAccountSettings")
    async def get_account_settings(self, ctx: Context, request: Request) -> Result:
        """The limits, and what is in use."""
        count, size = 0, await self._layers.code_size(ctx)
        after: str | None = ""
        while after is not None:
            documents, after = await self._repository.page(ctx, after, 1000)
            count += len(documents)
            size += sum([await self._code_size(ctx, document) for document in documents])
        concurrency = {
            "ConcurrentExecutions": self._ledger.limit,
            "UnreservedConcurrentExecutions": self._ledger.unreserved(ctx.account, ctx.region),
        }
        return {
            "AccountLimit": {**_LIMITS, **concurrency},
            "AccountUsage": {"TotalCodeSize": size, "FunctionCount": count},
        }

    async def _code_size(self, ctx: Context, document: dict[str, Any]) -> int:
        """What a function and its versions take."""
        config = document["config"]
        size: int = config["CodeSize"]
        if document["counter"]:
            versions = await self._repository.versions(parse_ref(ctx, config["FunctionName"]))
            size += sum(version["CodeSize"] for version in versions)
        return size

    @operation("PutFunctionRecursionConfig")
    async def put_function_recursion_config(self, ctx: Context, request: Request) -> Result:
        """Whether a function that calls itself without end is stopped."""
        function = await self._latest(ctx, request)
        await self._repository.change(function, recursion=request["RecursiveLoop"])
        return {"RecursiveLoop": request["RecursiveLoop"]}

    @operation("GetFunctionRecursionConfig")
    async def get_function_recursion_config(self, ctx: Context, request: Request) -> Result:
        """What was put, or that it is stopped."""
        return {"RecursiveLoop": (await self._latest(ctx, request)).document["recursion"]}

    @operation("PutRuntimeManagementConfig", in_part=["UpdateRuntimeOn: other than Auto"])
    async def put_runtime_management_config(self, ctx: Context, request: Request) -> Result:
        """Runtimes are those of this machine, which its owner updates: only Auto is what happens."""
        if request["UpdateRuntimeOn"] != "Auto":
            raise refuse(f"Lambda's UpdateRuntimeOn {request['UpdateRuntimeOn']}")
        return await self._management(ctx, request)

    @operation("GetRuntimeManagementConfig")
    async def get_runtime_management_config(self, ctx: Context, request: Request) -> Result:
        """Always Auto."""
        return await self._management(ctx, request)

    async def _management(self, ctx: Context, request: Request) -> Result:
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        function = await self._repository.describe(ref)
        arn = f"{ref.arn}:{function.version}"
        return {"UpdateRuntimeOn": "Auto", "FunctionArn": arn}

    async def _latest(self, ctx: Context, request: Request) -> Function:
        ref = parse_ref(ctx, request["FunctionName"])
        return await self._repository.describe(ref._replace(qualifier=None))
