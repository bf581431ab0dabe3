"""Function URLs: their configurations, under the function itself or an alias, and how a URL's id leads back to them."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.page import paged
from penstock.services.lambda_.configuration import invalid, page_size, timestamp
from penstock.services.lambda_.repository import Function, Ref, Repository, parse_ref

URLS: Final = "lambda/urls"
PATH: Final = "/_aws/lambda-url/"
HOST: Final = ".lambda-url."
_NO_FUNCTION: Final = "Function does not exist"
_ABSENT: Final = "The resource you requested does not exist."
_ID_LENGTH: Final = 32


class Urls:
    """The operations on function URLs. A configuration is kept by qualifier, the empty string for none."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._table = repository.store.table
        self._ids = ids

    @operation("CreateFunctionUrlConfig", in_part=["InvokeMode: RESPONSE_STREAM"])
    async def create_function_url_config(self, ctx: Context, request: Request) -> Result:
        """Give a function, or an alias of it, a URL."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        _check_mode(request)
        function = await self._repository.describe(ref, missing=_NO_FUNCTION)
        if _key(ref) in function.document["urls"]:
            raise AwsError(
                "ResourceConflictException",
                f"Failed to create function url config for [functionArn = {ref.qualified_arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function",
            )
        now = timestamp(ctx.now)
        config = {
            "id": self._ids.token(_ID_LENGTH),
            "AuthType": request["AuthType"],
            "CreationTime": now,
            "LastModifiedTime": now,
            "InvokeMode": "BUFFERED",
        }
        if request.get("Cors"):
            config["Cors"] = request["Cors"]
        target = {"account": ref.account, "region": ref.region, "name": ref.name}
        target["qualifier"] = _key(ref)
        await self._table.put(URLS, config["id"].encode(), b"", orjson.dumps(target))
        await self._save(function, config)
        told = _told(ctx, ref, config)
        del told["LastModifiedTime"]
        return _as_asked(told, request)

    @operation("GetFunctionUrlConfig")
    async def get_function_url_config(self, ctx: Context, request: Request) -> Result:
        """A configuration."""
        _, config, ref = await self._find(ctx, request, _ABSENT)
        return _told(ctx, ref, config)

    @operation("UpdateFunctionUrlConfig", in_part=["InvokeMode: RESPONSE_STREAM"])
    async def update_function_url_config(self, ctx: Context, request: Request) -> Result:
        """Change members of a configuration; the URL stays."""
        _check_mode(request)
        function, config, ref = await self._find(ctx, request, _NO_FUNCTION)
        changed = {**config, "LastModifiedTime": timestamp(ctx.now)}
        for member in ("AuthType", "Cors"):
            if request.get(member) is not None:
                changed[member] = request[member]
        await self._save(function, changed)
        return _as_asked(_told(ctx, ref, changed), request)

    @operation("DeleteFunctionUrlConfig")
    async def delete_function_url_config(self, ctx: Context, request: Request) -> Result:
        """Take the URL away."""
        function, config, _ = await self._find(ctx, request, _ABSENT)
        await forget_url(self._repository, config)
        await self._save(function, None)
        return {}

    @operation("ListFunctionUrlConfigs")
    async def list_function_url_configs(self, ctx: Context, request: Request) -> Result:
        """The configurations of a function and its aliases."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.describe(ref, missing=_NO_FUNCTION)
        found = [
            _told(ctx, ref._replace(qualifier=key or None), config)
            for key, config in sorted(function.document["urls"].items())
        ]
        page, marker = paged(
            found, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"FunctionUrlConfigs": page} | ({"NextMarker": marker} if marker else {})

    async def lead(self, url_id: str) -> tuple[Function, dict[str, Any]] | None:
        """The version that a request to a URL runs, and the URL's configuration; None where there is no such URL."""
        row = await self._table.get(URLS, url_id.encode(), b"")
        if row is None:
            return None
        target = orjson.loads(row.document)
        ref = Ref(target["account"], target["region"], target["name"], target["qualifier"] or None)
        try:
            function = await self._repository.find(ref)
        except AwsError:
            return None
        config = function.document["urls"].get(target["qualifier"])
        # A function of the same name that was made anew has no claim to the URL of its forerunner.
        return (function, config) if config is not None and config["id"] == url_id else None

    async def _find(
        self, ctx: Context, request: Request, missing: str
    ) -> tuple[Function, dict[str, Any], Ref]:
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        function = await self._repository.describe(ref, missing=missing)
        config = function.document["urls"].get(_key(ref))
        if config is None:
            raise AwsError("ResourceNotFoundException", _ABSENT)
        return function, config, ref

    async def _save(self, function: Function, config: dict[str, Any] | None) -> None:
        urls = {**function.document["urls"], _key(function.ref): config}
        left = {key: value for key, value in urls.items() if value is not None}
        await self._repository.change(function, urls=left)


async def forget_url(repository: Repository, config: Mapping[str, Any] | None) -> None:
    """Let a URL lead nowhere."""
    if config is not None:
        await repository.store.table.delete(URLS, config["id"].encode(), b"")


def url_of(endpoint: str, url_id: str, region: str) -> str:
    """The URL, as who reached us by `endpoint` can use it: a name below a host's name, or a path where names may not resolve."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if host == "localhost" or ":" in host or host.replace(".", "").isdigit():
        return f"{endpoint}{PATH}{url_id}/"
    return f"{parts.scheme}://{url_id}{HOST}{region}.{parts.netloc}/"


def _check_mode(request: Mapping[str, Any]) -> None:
    if request.get("InvokeMode", "BUFFERED") != "BUFFERED":
        raise refuse("Lambda's InvokeMode RESPONSE_STREAM")


def _key(ref: Ref) -> str:
    return ref.qualifier or ""


def _told(ctx: Context, ref: Ref, config: Mapping[str, Any]) -> Result:
    told = {name: value for name, value in config.items() if name != "id"}
    told["FunctionArn"] = ref.qualified_arn
    told["FunctionUrl"] = url_of(ctx.endpoint, config["id"], ref.region)
    return told


def _as_asked(told: Result, request: Request) -> Result:
    """AWS: the answer to a change tells the mode only where the request did (recorded)."""
    if request.get("InvokeMode") is None:
        del told["InvokeMode"]
    return told
