"""Layers: archives that functions share, in numbered versions, each with a policy of its own.

A function keeps the digests of what it uses, so that deleting a version takes nothing away from those who have it.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import Arn, make_arn, parse_arn
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.lambda_.code_url import CodeUrls
from penstock.services.lambda_.configuration import (
    check_compatible_runtime,
    check_layer_runtimes,
    invalid,
    page_size,
    timestamp,
)
from penstock.services.lambda_.policy import (
    check_policy_revision,
    no_policy,
    permits,
    policy_text,
    principal_of,
    with_statement,
    without_statement,
)
from penstock.services.lambda_.repository import scope
from penstock.storage.primitives import Store

LAYERS: Final = "lambda/layers"
LAYER_VERSIONS: Final = "lambda/layer-versions"
# AWS: Lambda quotas, "function layers".
_MOST: Final = 5
_ABSENT: Final = "The resource you requested does not exist."
_OPTIONAL: Final = ("CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")


@dataclass(frozen=True, slots=True)
class UsedLayer:
    """A layer version as a function uses it: its package's digest, size and unpacked size."""

    arn: str
    digest: str
    size: int
    unpacked: int


class Layers:
    """The operations on layers. A version's document: `version` (as boto3 shapes it), `code` and `policy`."""

    def __init__(self, store: Store, urls: CodeUrls, ids: Ids) -> None:
        self._store = store
        self._table = store.table
        self._code = urls.code
        self._urls = urls
        self._ids = ids

    @operation("PublishLayerVersion")
    async def publish_layer_version(self, ctx: Context, request: Request) -> Result:
        """Store an archive under the next number."""
        check_layer_runtimes(request.get("CompatibleRuntimes") or ())
        arn = _layer_arn(ctx, request["LayerName"])
        package = await self._code.accept(ctx, request["Content"])
        content = {"CodeSha256": package.sha256, "CodeSize": package.size}
        version: dict[str, Any] = {
            "Content": content,
            "LayerArn": str(arn),
            "Description": request.get("Description") or "",
            "CreatedDate": timestamp(ctx.now),
        }
        version |= {name: request[name] for name in _OPTIONAL if request.get(name) is not None}
        code = {"digest": package.digest, "size": package.size, "unpacked": package.unpacked}
        document = {"version": version, "code": code, "policy": None}
        await self._number(arn, document)
        return await self._told(ctx, document)

    async def _number(self, arn: Arn, document: dict[str, Any]) -> None:
        """Give a version the next number and store it."""
        where, name = scope(arn.account, arn.region), arn.name.encode()
        version = document["version"]
        while True:
            row = await self._table.get(LAYERS, where, name)
            number = (orjson.loads(row.document)["counter"] if row else 0) + 1
            version |= {"Version": number, "LayerVersionArn": f"{arn}:{number}"}
            counter = orjson.dumps({"counter": number})
            try:
                async with self._store.transaction() as tx:
                    expect = row.version if row else 0
                    await tx.table.put(LAYERS, where, name, counter, expect=expect)
                    await tx.table.put(
                        LAYER_VERSIONS, _partition(arn), _sort(number), orjson.dumps(document)
                    )
            except Conflict:
                continue
            return

    @operation("GetLayerVersion")
    async def get_layer_version(self, ctx: Context, request: Request) -> Result:
        """A version, and where to download it."""
        arn = _layer_arn(ctx, request["LayerName"])
        return await self._version(ctx, arn, request["VersionNumber"])

    @operation("GetLayerVersionByArn")
    async def get_layer_version_by_arn(self, ctx: Context, request: Request) -> Result:
        """As GetLayerVersion."""
        layer, _, number = request["Arn"].rpartition(":")
        return await self._version(ctx, parse_arn(layer), int(number))

    @operation("DeleteLayerVersion")
    async def delete_layer_version(self, ctx: Context, request: Request) -> Result:
        """Forget a version; functions that use it go on."""
        arn = _layer_arn(ctx, request["LayerName"])
        number = _checked(request["VersionNumber"])
        await self._table.delete(LAYER_VERSIONS, _partition(arn), _sort(number))
        return {}

    @operation("ListLayerVersions")
    async def list_layer_versions(self, ctx: Context, request: Request) -> Result:
        """The versions of a layer that are compatible, newest first."""
        check_compatible_runtime(request)
        arn = _layer_arn(ctx, request["LayerName"])
        marker = request.get("Marker")
        if marker and not marker.isdecimal():
            raise invalid("Invalid Marker.")
        rows = await self._table.range(
            LAYER_VERSIONS,
            _partition(arn),
            high=_sort(int(marker) + 1) if marker else None,
            limit=10_000,
            reverse=True,
        )
        found = [_listed(orjson.loads(row.document)) for row in rows]
        found = [version for version in found if _fits(version, request)]
        size = page_size(request)
        result: Result = {"LayerVersions": found[:size]}
        if len(found) > size:
            result["NextMarker"] = str(found[size]["Version"])
        return result

    @operation("ListLayers")
    async def list_layers(self, ctx: Context, request: Request) -> Result:
        """Every layer with its newest compatible version, in order of name."""
        check_compatible_runtime(request)
        size = page_size(request)
        rows = await self._table.range(
            LAYERS,
            scope(ctx.account, ctx.region),
            low=(request.get("Marker") or "").encode(),
            limit=10_000,
        )
        found: list[dict[str, Any]] = []
        for row in rows:
            name = row.sort.decode()
            arn = _layer_arn(ctx, name)
            newest = await self._newest(arn, request)
            if newest is None:
                continue
            if len(found) == size:
                return {"Layers": found, "NextMarker": name}
            found.append({"LayerName": name, "LayerArn": str(arn), "LatestMatchingVersion": newest})
        return {"Layers": found}

    async def _newest(self, arn: Arn, request: Request) -> dict[str, Any] | None:
        rows = await self._table.range(LAYER_VERSIONS, _partition(arn), limit=10_000, reverse=True)
        versions = (_listed(orjson.loads(row.document)) for row in rows)
        return next((version for version in versions if _fits(version, request)), None)

    @operation("AddLayerVersionPermission")
    async def add_layer_version_permission(self, ctx: Context, request: Request) -> Result:
        """Let other accounts use a version."""
        arn, number, stored, document = await self._permitted(ctx, request)
        revision = self._ids.uuid()
        statement: dict[str, Any] = {
            "Sid": request["StatementId"],
            "Effect": "Allow",
            "Principal": principal_of(request["Principal"]),
            "Action": request["Action"],
            "Resource": f"{arn}:{number}",
        }
        if request.get("OrganizationId"):
            equals = {"aws:PrincipalOrgID": request["OrganizationId"]}
            statement["Condition"] = {"StringEquals": equals}
        changed = with_statement(document["policy"], statement, revision)
        _check_revision(document, request)
        await self._set_policy(arn, number, stored, {**document, "policy": changed})
        return {"Statement": orjson.dumps(statement).decode(), "RevisionId": revision}

    @operation("RemoveLayerVersionPermission")
    async def remove_layer_version_permission(self, ctx: Context, request: Request) -> Result:
        """Take a statement out."""
        arn, number, stored, document = await self._permitted(ctx, request)
        _check_revision(document, request)
        policy = without_statement(document["policy"], request["StatementId"], self._ids.uuid())
        await self._set_policy(arn, number, stored, {**document, "policy": policy})
        return {}

    @operation("GetLayerVersionPolicy")
    async def get_layer_version_policy(self, ctx: Context, request: Request) -> Result:
        """The policy of a version."""
        _, _, _, document = await self._permitted(ctx, request)
        policy = document["policy"]
        if not policy:
            raise no_policy()
        return {"Policy": policy_text(policy), "RevisionId": policy["revision"]}

    async def use(self, ctx: Context, arns: list[str]) -> list[UsedLayer]:
        """What a function of the caller gets when it refers to layer versions. Raises AwsError."""
        if len(arns) > _MOST:
            raise invalid(f"Cannot reference more than {_MOST} layers.")
        found = [await self._used(ctx, text) for text in arns]
        seen: dict[str, str] = {}
        for text in arns:
            layer = text.rpartition(":")[0]
            if layer in seen:
                raise invalid(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. "
                    f"{seen[layer]} and {text} are versions of the same layer."
                )
            seen[layer] = text
        return found

    async def _used(self, ctx: Context, text: str) -> UsedLayer:
        layer, _, number = text.rpartition(":")
        arn = parse_arn(layer)
        if arn.region != ctx.region:
            raise invalid(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {ctx.region}."
            )
        found = await self._find(arn, int(number))
        if found is None:
            raise invalid(f"Layer version {text} does not exist.")
        document = found[1]
        if arn.account != ctx.account and not permits(
            document["policy"], ctx.account, "GetLayerVersion"
        ):
            raise AwsError(
                "AccessDeniedException",
                f"User: {ctx.principal} is not authorized to perform: lambda:GetLayerVersion on resource: {text} "
                "because no resource-based policy allows the lambda:GetLayerVersion action",
            )
        code = document["code"]
        return UsedLayer(text, code["digest"], code["size"], code["unpacked"])

    async def code_size(self, ctx: Context) -> int:
        """How many bytes the account's layers take."""
        total = 0
        for layer in await self._table.range(
            LAYERS, scope(ctx.account, ctx.region), limit=1_000_000
        ):
            rows = await self._table.range(
                LAYER_VERSIONS, _partition(_layer_arn(ctx, layer.sort.decode())), limit=10_000
            )
            total += sum(orjson.loads(row.document)["code"]["size"] for row in rows)
        return total

    async def _version(self, ctx: Context, arn: Arn, number: int) -> Result:
        found = await self._find(arn, _checked(number))
        if found is None:
            raise AwsError("ResourceNotFoundException", _ABSENT)
        return await self._told(ctx, found[1])

    async def _told(self, ctx: Context, document: dict[str, Any]) -> Result:
        version: Result = document["version"]
        location = await self._urls.url(ctx, document["code"]["digest"])
        return {**version, "Content": {**version["Content"], "Location": location}}

    async def _find(self, arn: Arn, number: int) -> tuple[int, dict[str, Any]] | None:
        row = await self._table.get(LAYER_VERSIONS, _partition(arn), _sort(number))
        return None if row is None else (row.version, orjson.loads(row.document))

    async def _permitted(
        self, ctx: Context, request: Request
    ) -> tuple[Arn, int, int, dict[str, Any]]:
        arn, number = _layer_arn(ctx, request["LayerName"]), request["VersionNumber"]
        found = await self._find(arn, _checked(number))
        if found is None:
            message = f"Layer version {arn}:{number} does not exist."
            raise AwsError("ResourceNotFoundException", message)
        return arn, number, *found

    async def _set_policy(
        self, arn: Arn, number: int, stored: int, document: dict[str, Any]
    ) -> None:
        await self._table.put(
            LAYER_VERSIONS,
            _partition(arn),
            _sort(number),
            orjson.dumps(document),
            expect=stored,
        )


def _check_revision(document: dict[str, Any], request: Request) -> None:
    current = (document["policy"] or {}).get("revision")
    check_policy_revision(current, request.get("RevisionId"), "GetLayerPolicy")


def _layer_arn(ctx: Context, name: str) -> Arn:
    if name.startswith("arn:"):
        return parse_arn(name)
    return parse_arn(make_arn("lambda", ctx.region, ctx.account, f"layer:{name}"))


def _checked(number: int) -> int:
    if number < 1:
        raise invalid("Layer Version Cannot be less than 1")
    return number


def _listed(document: dict[str, Any]) -> dict[str, Any]:
    hidden = ("Content", "LayerArn")
    return {name: text for name, text in document["version"].items() if name not in hidden}


def _fits(version: dict[str, Any], request: Request) -> bool:
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    return (not runtime or runtime in version.get("CompatibleRuntimes", ())) and (
        not architecture or architecture in version.get("CompatibleArchitectures", ())
    )


def _partition(arn: Arn) -> bytes:
    return f"{arn.account}/{arn.region}/{arn.name}".encode()


def _sort(number: int) -> bytes:
    return f"{number:010d}".encode()
