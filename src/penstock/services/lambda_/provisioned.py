"""Provisioned concurrency: environments of a version that are initialised before anybody invokes it.

What was asked for is in the function's document, by qualifier. What has become of it is known to the process that keeps
the environments, and begins anew with it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError, PenstockError
from penstock.core.page import paged
from penstock.runtime.concurrency import UNRESERVED_MINIMUM
from penstock.runtime.model import FunctionSpec
from penstock.services.lambda_.configuration import invalid, out_of_bounds, page_size, timestamp
from penstock.services.lambda_.invocation import Runner
from penstock.services.lambda_.repository import (
    LATEST,
    Function,
    Ref,
    Repository,
    no_alias,
    not_found,
    parse_ref,
)
from penstock.services.lambda_.surroundings import Surroundings

_INIT_FAILURE: Final = "FUNCTION_ERROR_INIT_FAILURE"


@dataclass(slots=True)
class _Kept:
    """What is kept for one qualifier."""

    version: str
    amount: int
    ready: int = 0
    status: str = "IN_PROGRESS"
    reason: str | None = None
    spec: FunctionSpec | None = None
    task: "asyncio.Task[None] | None" = None


class Provisioned:
    """The operations on provisioned concurrency, and the environments that follow from them."""

    def __init__(self, repository: Repository, runner: Runner, given: Surroundings) -> None:
        self._repository = repository
        self._runner = runner
        self._runtime = given.runtime
        self._ledger = given.ledger
        self._clock = given.clock
        self._kept: dict[Ref, _Kept] = {}
        self._ending: set[asyncio.Future[None]] = set()

    @operation("PutProvisionedConcurrencyConfig")
    async def put_provisioned_concurrency_config(self, ctx: Context, request: Request) -> Result:
        """Begin to keep environments of a version, or of an alias's main version."""
        ref = parse_ref(ctx, request["FunctionName"], request["Qualifier"])
        if ref.qualifier == LATEST:
            raise invalid(
                "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
            )
        function = await self._find(ref)
        _check_overlap(function)
        amount = request["ProvisionedConcurrentExecutions"]
        self._claim(function, amount)
        config = {"requested": amount, "modified": timestamp(ctx.now)}
        await self._save(function, config)
        self._start(function, amount)
        return _told(config, None)

    @operation("GetProvisionedConcurrencyConfig")
    async def get_provisioned_concurrency_config(self, ctx: Context, request: Request) -> Result:
        """What was asked for, and how far it is."""
        ref = _published(ctx, request)
        function = await self._find(ref)
        config = function.document["provisioned"].get(ref.qualifier)
        if config is None:
            raise AwsError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )
        return _told(config, self._kept.get(ref))

    @operation("ListProvisionedConcurrencyConfigs")
    async def list_provisioned_concurrency_configs(self, ctx: Context, request: Request) -> Result:
        """What was asked for under any qualifier of a function."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.describe(ref)
        found = []
        for qualifier, config in sorted(function.document["provisioned"].items()):
            own = ref._replace(qualifier=qualifier)
            found.append({"FunctionArn": own.qualified_arn, **_told(config, self._kept.get(own))})
        page, marker = paged(
            found, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"ProvisionedConcurrencyConfigs": page} | ({"NextMarker": marker} if marker else {})

    @operation("DeleteProvisionedConcurrencyConfig")
    async def delete_provisioned_concurrency_config(self, ctx: Context, request: Request) -> Result:
        """Let the environments go; where none are kept, this is no error."""
        ref = _published(ctx, request)
        await self.end(await self._find(ref), str(ref.qualifier))
        return {}

    async def end(self, function: Function, qualifier: str) -> None:
        """Forget what was asked for under a qualifier, and let its environments go."""
        ref = function.ref._replace(qualifier=qualifier)
        if qualifier in function.document["provisioned"]:
            await self._save(await self._repository.describe(ref), None)
        await self.stop(ref)

    async def end_all(self, function: Function) -> None:
        """Let every environment of a function that goes away go."""
        for qualifier in function.document["provisioned"]:
            await self.stop(function.ref._replace(qualifier=qualifier))

    async def stop(self, ref: Ref) -> None:
        """Let environments go, and give their places back."""
        kept = self._kept.pop(ref, None)
        if kept is None:
            return
        if kept.task is not None:
            kept.task.cancel()
        self._ledger.provision(ref.account, ref.region, ref.name, kept.version, 0)
        if kept.spec is not None:
            await self._runtime.provision(kept.spec, 0)

    async def follow(self, ref: Ref) -> None:
        """Go after an alias that points to another version now."""
        kept = self._kept.get(ref)
        if kept is None:
            return
        function = await self._repository.describe(ref)
        if function.version != kept.version:
            await self.stop(ref)
            self._claim(function, kept.amount)
            self._start(function, kept.amount)

    async def restore(self, ref: Ref, document: Mapping[str, Any]) -> None:
        """Begin anew, with a function that was stored."""
        for qualifier, config in document["provisioned"].items():
            function = await self._repository.describe(ref._replace(qualifier=qualifier))
            self._claim(function, config["requested"])
            self._start(function, config["requested"])

    def reset(self) -> None:
        """Begin to let everything go; the ledger forgets by itself."""
        for ref in list(self._kept):
            task = asyncio.ensure_future(self.stop(ref))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _find(self, ref: Ref) -> Function:
        if await self._repository.document(ref) is None:
            raise no_alias(ref) if ref.is_alias else not_found(ref)
        return await self._repository.describe(ref)

    async def _save(self, function: Function, config: dict[str, Any] | None) -> None:
        qualifier = function.ref.qualifier
        known = function.document["provisioned"].items()
        kept = {key: value for key, value in known if key != qualifier}
        if config is not None:
            kept[qualifier] = config
        await self._repository.change(function, provisioned=kept)

    def _claim(self, function: Function, amount: int) -> None:
        """Take places from the ledger. Raises AwsError where there are not as many."""
        ref, version = function.ref, function.version
        if self._ledger.provision(ref.account, ref.region, ref.name, version, amount):
            return
        if function.document["reserved"] is not None:
            raise invalid(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
            )
        unreserved = self._ledger.unreserved(ref.account, ref.region)
        if amount > unreserved:
            raise out_of_bounds(
                f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}]."
            )
        raise out_of_bounds(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
            f"minimum value of [{UNRESERVED_MINIMUM}]."
        )

    def _start(self, function: Function, amount: int) -> None:
        """Keep environments from now on."""
        before = self._kept.get(function.ref)
        kept = self._kept[function.ref] = _Kept(function.version, amount)
        if before is not None:
            kept.spec = before.spec
            if before.task is not None:
                before.task.cancel()
        kept.task = asyncio.create_task(self._keep(function, kept))

    async def _keep(self, function: Function, kept: _Kept) -> None:
        """Keep environments, and make new ones whenever the role's credentials in them are half spent."""
        while True:
            try:
                prepared = await self._runner.prepared(function, self._clock.now())
                kept.ready = await self._runtime.provision(prepared.spec, kept.amount)
            except PenstockError as error:
                self._fail(function.ref, kept, str(error))
                return
            if kept.ready < kept.amount:
                await self._runtime.provision(prepared.spec, 0)
                self._fail(function.ref, kept, _INIT_FAILURE)
                return
            old, kept.spec, kept.status = kept.spec, prepared.spec, "READY"
            if old is not None and old.key != prepared.spec.key:
                await self._runtime.provision(old, 0)
            await self._clock.sleep_until(prepared.until)

    def _fail(self, ref: Ref, kept: _Kept, reason: str) -> None:
        kept.status, kept.reason, kept.ready, kept.spec = "FAILED", reason, 0, None
        self._ledger.provision(ref.account, ref.region, ref.name, kept.version, 0)


def _published(ctx: Context, request: Request) -> Ref:
    ref = parse_ref(ctx, request["FunctionName"], request["Qualifier"])
    if ref.qualifier == LATEST:
        raise invalid("The function resource provided must be an alias or a published version.")
    return ref


def _check_overlap(function: Function) -> None:
    """AWS: a version is provisioned by itself or through one alias."""
    configs, aliases = function.document["provisioned"], function.document["aliases"]
    if function.ref.is_alias:
        if function.version in configs:
            raise AwsError(
                "ResourceConflictException",
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            )
        return
    naming = (aliases[name]["FunctionVersion"] for name in configs if name in aliases)
    if function.version in naming:
        raise AwsError(
            "ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias"
        )


def _told(config: Mapping[str, Any], kept: _Kept | None) -> Result:
    ready = kept.ready if kept is not None else 0
    result: Result = {
        "RequestedProvisionedConcurrentExecutions": config["requested"],
        "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready,
        "Status": kept.status if kept is not None else "IN_PROGRESS",
        "LastModified": config["modified"],
    }
    if kept is not None and kept.reason is not None:
        result["StatusReason"] = kept.reason
    return result
