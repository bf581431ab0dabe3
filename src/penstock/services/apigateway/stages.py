"""The operations on stages: names under which deployments are served, with variables and limits."""

import re
from collections.abc import Mapping
from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.services.apigateway.patch import Kind, apply, operations_in, typed, unescape
from penstock.services.apigateway.repository import (
    Document,
    Releases,
    Repository,
    bad_request,
    conflict,
    not_found,
)

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VALUE: Final = re.compile(r"[A-Za-z0-9\-._~:/?#&=,]+")
_OWN: Final = frozenset({"apiId", "account", "region"})
_PATHS: Final[dict[str, Kind]] = {
    "deploymentId": "text",
    "description": "text",
    "variables": "map",
    "accessLogSettings": "refused",
    "cacheClusterEnabled": "refused",
    "cacheClusterSize": "refused",
    "canarySettings": "refused",
    "clientCertificateId": "refused",
    "documentationVersion": "refused",
}
# What a method setting's path means, its type, and the values that ask for nothing.
_SETTINGS: Final[Mapping[str, tuple[str, tuple[Any, ...]]]] = {
    "logging/loglevel": ("loggingLevel", ("OFF",)),
    "logging/dataTrace": ("dataTraceEnabled", (False,)),
    "metrics/enabled": ("metricsEnabled", (False,)),
    "caching/enabled": ("cachingEnabled", (False,)),
    "caching/dataEncrypted": ("cacheDataEncrypted", (False,)),
    "caching/ttlInSeconds": ("cacheTtlInSeconds", ("300",)),
    "throttling/burstLimit": ("throttlingBurstLimit", ()),
    "throttling/rateLimit": ("throttlingRateLimit", ()),
}
_DEFAULTS: Final = {
    "metricsEnabled": False,
    "dataTraceEnabled": False,
    "throttlingBurstLimit": 5000,
    "throttlingRateLimit": 10000.0,
    "cachingEnabled": False,
    "cacheTtlInSeconds": 300,
    "cacheDataEncrypted": False,
    "requireAuthorizationForCacheControl": True,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}


def new_stage(ctx: Context, api_id: str, name: str) -> Document:
    """A stage without a deployment."""
    return {
        "apiId": api_id,
        "account": ctx.account,
        "region": ctx.region,
        "stageName": name,
        "deploymentId": "",
        "cacheClusterEnabled": False,
        "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {},
        "tracingEnabled": False,
        "createdDate": ctx.now,
        "lastUpdatedDate": ctx.now,
    }


def refuse_tracing(request: Mapping[str, Any]) -> None:
    """Raises `AwsError` for a stage that shall be traced: there is no X-Ray to trace it."""
    if request.get("tracingEnabled"):
        raise refuse("tracingEnabled of a stage")


def check_stage(stage: Document) -> None:
    """Whether names and variables are ones that AWS takes. Raises `AwsError`."""
    if not _NAME.fullmatch(stage["stageName"]):
        raise bad_request("Stage name only allows a-zA-Z0-9_-")
    for name, value in (stage.get("variables") or {}).items():
        if not re.fullmatch(r"\w+", name, re.ASCII):
            raise bad_request(f"Stage variable name only allows a-zA-Z0-9_: {name}")
        if not _VALUE.fullmatch(value):
            raise bad_request(
                "Invalid stage variable value: "
                f"{value}. Please use values with alphanumeric characters and the symbols ' ', -', '.',"
                " '_', ':', '/', '?', '&', '=', and ','."
            )


def _view(stage: Document) -> Result:
    return {name: value for name, value in stage.items() if name not in _OWN}


class Stages:
    """See the module."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @operation(
        "CreateStage",
        refuses=[
            "canarySettings",
            "cacheClusterEnabled",
            "cacheClusterSize",
            "documentationVersion",
        ],
        in_part=["tracingEnabled: true"],
    )
    async def create_stage(self, ctx: Context, request: Request) -> Result:
        """A name under which a deployment is served."""
        api_id, name = request["restApiId"], request["stageName"]
        refuse_tracing(request)
        async with self._repository.releasing(ctx, api_id) as (_, releases):
            if await releases.stage_row(api_id, name) is not None:
                raise conflict("Stage already exists")
            await _check_deployment(releases, api_id, request["deploymentId"])
            stage = new_stage(ctx, api_id, name)
            for member in ("deploymentId", "description", "variables", "tags"):
                if request.get(member):
                    stage[member] = request[member]
            check_stage(stage)
            await releases.put_stage(stage)
        return _view(stage)

    @operation("GetStage")
    async def get_stage(self, ctx: Context, request: Request) -> Result:
        """One stage."""
        await self._repository.api(ctx, request["restApiId"])
        return _view(await stage_of(self._repository.releases, request))

    @operation("GetStages")
    async def get_stages(self, ctx: Context, request: Request) -> Result:
        """The stages of an API, or those that point to a deployment."""
        await self._repository.api(ctx, request["restApiId"])
        wanted = request.get("deploymentId")
        stages = await self._repository.releases.stages(request["restApiId"])
        return {"item": [_view(s) for s in stages if not wanted or s["deploymentId"] == wanted]}

    @operation(
        "UpdateStage",
        in_part=[
            "method settings other than throttling",
            "patches of access logs, caches, canaries, client certificates and documentation",
            "tracingEnabled: true",
        ],
    )
    async def update_stage(self, ctx: Context, request: Request) -> Result:
        """Change a stage by patches."""
        async with self._repository.releasing(ctx, request["restApiId"]) as (_, releases):
            stage = await stage_of(releases, request)
            for change in operations_in(request):
                if change.get("path") == "/tracingEnabled":
                    refuse_tracing(
                        {"tracingEnabled": typed(change.get("value") or "false", "boolean")}
                    )
                elif not _set_method(stage, change):
                    apply(stage, {"patchOperations": [change]}, _PATHS)
            await _check_deployment(releases, request["restApiId"], stage.get("deploymentId") or "")
            check_stage(stage)
            stage["lastUpdatedDate"] = ctx.now
            await releases.put_stage(stage)
        return _view(stage)

    @operation("DeleteStage")
    async def delete_stage(self, ctx: Context, request: Request) -> None:
        """Stop serving under a name."""
        async with self._repository.releasing(ctx, request["restApiId"]) as (_, releases):
            stage = await stage_of(releases, request)
            await releases.remove_stage(stage["apiId"], stage["stageName"])


async def stage_of(releases: Releases, request: Request) -> Document:
    """The stage that `restApiId` and `stageName` of a request name. Raises `AwsError`."""
    for stage in await releases.stages(request["restApiId"]):
        if stage["stageName"] == request["stageName"]:
            return stage
    raise not_found("Invalid stage identifier specified")


async def _check_deployment(releases: Releases, api_id: str, identifier: str) -> None:
    if identifier not in {each["id"] for each in await releases.deployments(api_id)}:
        raise bad_request("Deployment id does not exist")


def _set_method(stage: Document, change: Mapping[str, str]) -> bool:
    """Carry out a patch of a method setting, `/{resource}/{method}/{setting}`; false when it is none."""
    parts = (change.get("path") or "").removeprefix("/").split("/")
    if len(parts) != 4 and not (len(parts) == 2 and change["op"] == "remove"):
        return False
    if parts[0] in _PATHS:
        return False
    key = f"{parts[0]}/{parts[1]}"
    if len(parts) == 2:
        stage["methodSettings"].pop(key, None)
        return True
    path = f"{parts[2]}/{parts[3]}"
    if path not in _SETTINGS:
        raise bad_request(f"Invalid patch path {change.get('path')}")
    name, idle = _SETTINGS[path]
    settings = stage["methodSettings"].setdefault(key, dict(_DEFAULTS))
    if change["op"] == "remove":
        settings[name] = _DEFAULTS.get(name)
        return True
    value = _setting(name, change.get("value") or "")
    if idle and value not in idle:
        raise refuse(f"the method setting {name}")
    settings[name] = value
    return True


def _setting(name: str, value: str) -> Any:
    if name == "throttlingRateLimit":
        try:
            return float(value)
        except ValueError:
            raise bad_request(f"Invalid rate limit: {value}") from None
    if name == "throttlingBurstLimit":
        return typed(value, "integer")
    return value if name in ("loggingLevel", "cacheTtlInSeconds") else typed(value, "boolean")


def throttle_of(stage: Document, path: str, verb: str) -> tuple[float, int] | None:
    """The rate and burst that a stage sets for a method; None when the account's alone bind."""
    settings = {_plain(key): value for key, value in stage["methodSettings"].items()}
    found = settings.get(f"{path.lstrip('/')}/{verb}") or settings.get("*/*")
    if found is None:
        return None
    return found["throttlingRateLimit"], found["throttlingBurstLimit"]


def _plain(key: str) -> str:
    """A setting's key as `resource/METHOD`, the resource without its first slash."""
    resource, _, verb = key.rpartition("/")
    return f"{unescape(resource).lstrip('/')}/{verb}"
