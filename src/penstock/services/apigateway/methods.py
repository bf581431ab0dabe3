"""The operations on methods and their responses."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.services.apigateway.patch import Kind, apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    conflict,
    method_of,
    not_found,
    resource_of,
    response_of,
)

VERBS: Final = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "ANY")
_PLACES: Final = frozenset(
    {"querystring", "header", "path", "multivalueheader", "multivaluequerystring"}
)
_PATHS: Final[dict[str, Kind]] = {
    "authorizationType": "text",
    "requestParameters": "flags",
    "requestModels": "map",
    "requestValidatorId": "text",
    "operationName": "text",
    "apiKeyRequired": "boolean",
    "authorizerId": "refused",
    "authorizationScopes": "refused",
}
_RESPONSE_PATHS: Final[dict[str, Kind]] = {"responseParameters": "flags", "responseModels": "map"}


def new_method(api: Document, verb: str, given: dict[str, Any]) -> Document:
    """A method from the members of PutMethod. Raises `AwsError` where AWS does, and for what is not built."""
    if verb not in VERBS:
        raise bad_request(f"Invalid HttpMethod specified. Valid options are {','.join(VERBS)}")
    method: Document = {
        "httpMethod": verb,
        "authorizationType": given.get("authorizationType") or "NONE",
        "apiKeyRequired": bool(given.get("apiKeyRequired")),
    }
    for name in ("operationName", "requestValidatorId", "requestParameters", "requestModels"):
        if given.get(name):
            method[name] = given[name]
    check_method(api, method)
    return method


def check_method(api: Document, method: Document) -> None:
    """Whether a method is one that can be served. Raises `AwsError`."""
    kind = method["authorizationType"]
    if kind != "NONE":
        raise refuse(f"the authorization type {kind}")
    if method["apiKeyRequired"]:
        raise refuse("API keys (apiKeyRequired)")
    validator = method.get("requestValidatorId")
    if validator and validator not in api["validators"]:
        raise bad_request("Invalid Request Validator identifier specified")
    names = set()
    for parameter in method.get("requestParameters", {}):
        parts = parameter.split(".", 3)
        if len(parts) != 4 or parts[:2] != ["method", "request"] or parts[2] not in _PLACES:
            raise bad_request(
                f"Invalid mapping expression specified: Validation Result: warnings : [], errors :"
                f" [Invalid mapping expression specified: {parameter}]"
            )
        if parts[3] in names:
            raise bad_request("Parameter names must be unique across querystring, header and path")
        names.add(parts[3])
    for model in method.get("requestModels", {}).values():
        if model not in api["models"]:
            raise bad_request("Invalid model identifier specified: " + model)


class Methods:
    """See the module."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @operation(
        "PutMethod",
        refuses=["authorizerId", "authorizationScopes"],
        in_part=["apiKeyRequired: true", "authorizationType: other than NONE"],
    )
    async def put_method(self, ctx: Context, request: Request) -> Result:
        """A new method of a resource."""
        verb = request["httpMethod"].upper()
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            methods = resource_of(api, request["resourceId"])["resourceMethods"]
            method = new_method(api, verb, request)
            if verb in methods:
                raise conflict("Method already exists for this resource")
            methods[verb] = method
        return method

    @operation("GetMethod")
    async def get_method(self, ctx: Context, request: Request) -> Result:
        """A method with its integration."""
        return method_of(await self._repository.api(ctx, request["restApiId"]), request)

    @operation(
        "UpdateMethod", in_part=["apiKeyRequired: true", "authorizationType: other than NONE"]
    )
    async def update_method(self, ctx: Context, request: Request) -> Result:
        """Change a method by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            method = method_of(api, request)
            apply(method, request, _PATHS)
            check_method(api, method)
        return method

    @operation("DeleteMethod")
    async def delete_method(self, ctx: Context, request: Request) -> None:
        """Remove a method."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            method = method_of(api, request)
            resource = resource_of(api, request["resourceId"])
            del resource["resourceMethods"][method["httpMethod"]]

    @operation("PutMethodResponse")
    async def put_method_response(self, ctx: Context, request: Request) -> Result:
        """Declare a status that a method may answer with."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            responses = method_of(api, request).setdefault("methodResponses", {})
            if request["statusCode"] in responses:
                raise conflict("Response already exists for this resource")
            response = responses[request["statusCode"]] = method_response(
                request["statusCode"], request
            )
        return response

    @operation("GetMethodResponse")
    async def get_method_response(self, ctx: Context, request: Request) -> Result:
        """One declared response."""
        method = method_of(await self._repository.api(ctx, request["restApiId"]), request)
        return response_of(method.get("methodResponses", {}), request)

    @operation("UpdateMethodResponse")
    async def update_method_response(self, ctx: Context, request: Request) -> Result:
        """Change a declared response by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            response = response_of(method_of(api, request).get("methodResponses", {}), request)
            apply(response, request, _RESPONSE_PATHS)
        return response

    @operation("DeleteMethodResponse")
    async def delete_method_response(self, ctx: Context, request: Request) -> None:
        """Remove a declared response."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            responses = method_of(api, request).get("methodResponses", {})
            if responses.pop(request["statusCode"], None) is None:
                raise not_found("Invalid Response status code specified")


def method_response(status: str, given: dict[str, Any]) -> Document:
    """A method response from the members of PutMethodResponse."""
    response: Document = {"statusCode": status}
    for name in ("responseParameters", "responseModels"):
        if given.get(name):
            response[name] = given[name]
    return response
