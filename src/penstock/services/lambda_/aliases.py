"""Aliases: names for versions, with a share of the invocations for a second one."""

from typing import Any

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.page import paged
from penstock.services.lambda_.configuration import (
    check_revision,
    invalid,
    out_of_bounds,
    page_size,
)
from penstock.services.lambda_.provisioned import Provisioned
from penstock.services.lambda_.repository import (
    LATEST,
    Function,
    Ref,
    Repository,
    no_alias,
    parse_ref,
    weights_of,
)
from penstock.services.lambda_.urls import forget_url


class Aliases:
    """The operations on aliases."""

    def __init__(self, repository: Repository, provisioned: Provisioned, ids: Ids) -> None:
        self._repository = repository
        self._provisioned = provisioned
        self._ids = ids

    @operation("CreateAlias")
    async def create_alias(self, ctx: Context, request: Request) -> Result:
        """Name a version."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        name = request["Name"]
        alias = {
            "AliasArn": f"{ref.arn}:{name}",
            "Name": name,
            "FunctionVersion": request["FunctionVersion"],
            "Description": request.get("Description") or "",
            "RevisionId": self._ids.uuid(),
        }
        weights = weights_of(request)
        function = await self._check_versions(ref, alias["FunctionVersion"], weights)
        if name in function.document["aliases"]:
            raise AwsError(
                "ResourceConflictException", f"Alias already exists: {alias['AliasArn']}"
            )
        if weights:
            alias["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        await self._save(function, name, alias)
        return alias

    @operation("GetAlias")
    async def get_alias(self, ctx: Context, request: Request) -> Result:
        """An alias."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=request["Name"])
        found = await self._repository.document(ref)
        alias: Result | None = found[1]["aliases"].get(ref.qualifier) if found else None
        if alias is None:
            raise no_alias(ref)
        return alias

    @operation("UpdateAlias")
    async def update_alias(self, ctx: Context, request: Request) -> Result:
        """Point an alias elsewhere, or change its weights or description."""
        name = request["Name"]
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        found = await self._repository.document(ref)
        alias = found[1]["aliases"].get(name) if found else None
        if alias is None:
            raise AwsError("ResourceNotFoundException", f"Alias not found: {ref.arn}:{name}")
        check_revision(alias, request)
        changed = {**alias, "RevisionId": self._ids.uuid()}
        for member in ("FunctionVersion", "Description"):
            if request.get(member) is not None:
                changed[member] = request[member]
        if request.get("RoutingConfig") is not None:
            changed.pop("RoutingConfig", None)
            if weights := weights_of(request):
                changed["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        function = await self._check_versions(ref, changed["FunctionVersion"], weights_of(changed))
        await self._save(function, name, changed)
        await self._provisioned.follow(ref._replace(qualifier=name))
        return changed

    @operation("DeleteAlias")
    async def delete_alias(self, ctx: Context, request: Request) -> Result:
        """Forget a name, with what was set for it; one that is not there is no error."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.describe(ref)
        name = request["Name"]
        if name in function.document["aliases"]:
            await forget_url(self._repository, function.document["urls"].get(name))
            await self._save(function, name, None)
            await self._provisioned.stop(ref._replace(qualifier=name))
        return {}

    @operation("ListAliases")
    async def list_aliases(self, ctx: Context, request: Request) -> Result:
        """The aliases of a function, or those of one version, in order of name."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.describe(ref)
        wanted = request.get("FunctionVersion")
        found = [
            alias
            for _, alias in sorted(function.document["aliases"].items())
            if wanted is None or alias["FunctionVersion"] == wanted
        ]
        page, marker = paged(
            found, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"Aliases": page} | ({"NextMarker": marker} if marker else {})

    async def _check_versions(self, ref: Ref, version: str, weights: dict[str, float]) -> Function:
        """The function, if it has the versions that an alias is to route to."""
        if len(weights) > 1:
            raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
        if version in weights:
            raise invalid(
                f"Invalid function version {version}. "
                f"Function version {version} is already included in routing configuration."
            )
        if weights and version == LATEST:
            raise out_of_bounds(
                f"{LATEST} is not supported for an alias pointing to more than 1 version"
            )
        for number in (version, *weights):
            await self._repository.describe(ref._replace(qualifier=number))
        return await self._repository.describe(ref)

    async def _save(self, function: Function, name: str, alias: dict[str, Any] | None) -> None:
        document = function.document
        aliases = {key: known for key, known in document["aliases"].items() if key != name}
        if alias is not None:
            await self._repository.change(function, aliases={**aliases, name: alias})
            return
        members = ("policies", "event_invoke", "provisioned", "urls")
        left = {
            member: {key: kept for key, kept in document[member].items() if key != name}
            for member in members
        }
        await self._repository.change(function, aliases=aliases, **left)
