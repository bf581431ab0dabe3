"""The operations on REST APIs and the account's settings."""

import asyncio
from typing import Any, Final

from penstock.api import Context, Dispatcher, Request, Result, operation, refuse
from penstock.core.ids import Ids
from penstock.services.apigateway import importer
from penstock.services.apigateway.integrations import check_service
from penstock.services.apigateway.patch import Kind, apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    page,
)

_PARTS: Final = frozenset({"resources", "models", "validators", "gatewayResponses"})
_PATHS: Final[dict[str, Kind]] = {
    "name": "text",
    "description": "text",
    "binaryMediaTypes": "set",
    "disableExecuteApiEndpoint": "boolean",
    "apiKeySource": "text",
    "policy": "refused",
    "minimumCompressionSize": "refused",
    "endpointConfiguration": "refused",
}
_DEFAULT_MODELS: Final = {
    "Empty": ("This is a default empty schema model", "Empty Schema", "{}"),
    "Error": (
        "This is a default error schema model",
        "Error Schema",
        '{ "message" : { "type" : "string" } }',
    ),
}


def new_api(ids: Ids, now: int) -> Document:
    """An API with nothing but its root resource and the default models."""
    root = ids.token(10)
    models = {
        name: {
            "id": ids.token(6),
            "name": name,
            "description": description,
            "contentType": "application/json",
            "schema": _default_schema(title, properties),
        }
        for name, (description, title, properties) in _DEFAULT_MODELS.items()
    }
    return {
        "id": ids.token(10),
        "createdDate": now,
        "apiKeySource": "HEADER",
        "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"},
        "disableExecuteApiEndpoint": False,
        "rootResourceId": root,
        "tags": {},
        "resources": {root: {"id": root, "path": "/", "resourceMethods": {}}},
        "models": models,
        "validators": {},
        "gatewayResponses": {},
    }


def _default_schema(title: str, properties: str) -> str:
    inner = "" if properties == "{}" else f',\n  "properties" : {properties}'
    return (
        '{\n  "$schema": "http://json-schema.org/draft-04/schema#",\n'
        f'  "title" : "{title}",\n  "type" : "object"{inner}\n}}'
    )


def view(api: Document) -> Result:
    """An API as it is answered."""
    return {name: value for name, value in api.items() if name not in _PARTS}


class RestApis:
    """See the module."""

    def __init__(self, repository: Repository, ids: Ids, dispatcher: Dispatcher) -> None:
        self._repository = repository
        self._ids = ids
        self._dispatcher = dispatcher

    @operation(
        "CreateRestApi",
        refuses=["cloneFrom", "policy", "minimumCompressionSize", "securityPolicy"],
        in_part=["apiKeySource: AUTHORIZER", "endpointConfiguration.types: PRIVATE"],
    )
    async def create_rest_api(self, ctx: Context, request: Request) -> Result:
        """A new API with a root resource."""
        if not request.get("name"):
            raise bad_request("No API name specified")
        api = new_api(self._ids, ctx.now)
        for name in ("name", "description", "version", "binaryMediaTypes", "tags"):
            if request.get(name):
                api[name] = request[name]
        if request.get("apiKeySource", "HEADER") != "HEADER":
            raise refuse("apiKeySource AUTHORIZER")
        api["disableExecuteApiEndpoint"] = bool(request.get("disableExecuteApiEndpoint"))
        if request.get("endpointConfiguration"):
            api["endpointConfiguration"].update(_endpoint(request["endpointConfiguration"]))
        await self._repository.add(ctx, api)
        return view(api)

    @operation("GetRestApi")
    async def get_rest_api(self, ctx: Context, request: Request) -> Result:
        """One API."""
        return view(await self._repository.api(ctx, request["restApiId"]))

    @operation("GetRestApis")
    async def get_rest_apis(self, ctx: Context, request: Request) -> Result:
        """A page of APIs."""
        return page([view(api) for api in await self._repository.apis(ctx)], request)

    @operation("DeleteRestApi")
    async def delete_rest_api(self, ctx: Context, request: Request) -> None:
        """Remove an API and all that belongs to it."""
        await self._repository.remove(ctx, request["restApiId"])

    @operation(
        "UpdateRestApi",
        in_part=[
            "apiKeySource: AUTHORIZER",
            "patches of endpointConfiguration, minimumCompressionSize and policy",
        ],
    )
    async def update_rest_api(self, ctx: Context, request: Request) -> Result:
        """Change an API by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            apply(api, request, _PATHS)
            if api.get("apiKeySource") != "HEADER":
                raise refuse("apiKeySource AUTHORIZER")
        return view(api)

    @operation(
        "ImportRestApi",
        in_part=[
            "authorizers and API keys in the body",
            "integrations that PutIntegration refuses",
        ],
    )
    async def import_rest_api(self, ctx: Context, request: Request) -> Result:
        """A new API from an OpenAPI or Swagger definition."""
        api = new_api(self._ids, ctx.now)
        parameters = request.get("parameters") or {}
        kinds = parameters.get("endpointConfigurationTypes")
        if kinds:
            api["endpointConfiguration"].update(_endpoint({"types": kinds.split(",")}))
        definition = await _definition(request["body"], parameters)
        self._load(api, definition)
        await self._repository.add(ctx, api)
        return view(api)

    @operation(
        "PutRestApi",
        in_part=[
            "authorizers and API keys in the body",
            "integrations that PutIntegration refuses",
        ],
    )
    async def put_rest_api(self, ctx: Context, request: Request) -> Result:
        """Merge a definition into an API, or overwrite it."""
        definition = await _definition(request["body"], request.get("parameters") or {})
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            # AWS: `merge` is the default of the API (PutRestApi reference).
            if request.get("mode", "merge") == "overwrite":
                fresh = new_api(self._ids, ctx.now)
                root = api["rootResourceId"]
                fresh["resources"] = {root: {"id": root, "path": "/", "resourceMethods": {}}}
                api.update({name: fresh[name] for name in _PARTS})
                api.pop("binaryMediaTypes", None)
            self._load(api, definition)
        return view(api)

    def _load(self, api: Document, definition: Document) -> None:
        """Bring a definition into an API. Raises `AwsError`."""
        importer.load(api, definition, self._ids)
        for resource in api["resources"].values():
            for method in resource["resourceMethods"].values():
                if "methodIntegration" in method:
                    check_service(method["methodIntegration"], self._dispatcher)

    @operation("GetAccount")
    async def get_account(self, ctx: Context, _: Request) -> Result:
        """The account's settings and limits."""
        return _account(await self._repository.account(ctx))

    @operation("UpdateAccount")
    async def update_account(self, ctx: Context, request: Request) -> Result:
        """Change the account's settings by patches."""
        account = await self._repository.account(ctx)
        apply(account, request, {"cloudwatchRoleArn": "text", "throttleSettings": "refused"})
        await self._repository.put_account(ctx, account)
        return _account(account)


async def _definition(body: bytes, parameters: dict[str, str]) -> Document:
    # A large one takes seconds to read: the event loop must not wait for it.
    return await asyncio.to_thread(importer.read, body, parameters)


def _account(document: Document) -> Result:
    # AWS: the default quotas of an account in a large region.
    throttle = {"burstLimit": 5000, "rateLimit": 10000.0}
    return {
        **document,
        "throttleSettings": throttle,
        "features": ["UsagePlans"],
        "apiKeyVersion": "4",
    }


def _endpoint(configuration: dict[str, Any]) -> dict[str, Any]:
    if "PRIVATE" in configuration.get("types", ()) or configuration.get("vpcEndpointIds"):
        raise refuse("the endpoint type PRIVATE")
    return configuration
