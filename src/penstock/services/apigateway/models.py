"""The operations on models, request validators and gateway responses."""

import re
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.ids import Ids
from penstock.services.apigateway.gateway_response import DEFAULTS, default_response
from penstock.services.apigateway.patch import Kind, apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    conflict,
    not_found,
    page,
)

_VALIDATOR: Final[dict[str, Kind]] = {
    "name": "text",
    "validateRequestBody": "boolean",
    "validateRequestParameters": "boolean",
}
_GATEWAY_RESPONSE: Final[dict[str, Kind]] = {
    "statusCode": "text",
    "responseParameters": "map",
    "responseTemplates": "map",
}


class Models:
    """Models: JSON schemas of bodies."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("CreateModel")
    async def create_model(self, ctx: Context, request: Request) -> Result:
        """A new model."""
        name = request["name"]
        if not name.isalnum():
            raise bad_request("Model name must be alphanumeric: " + name)
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            if name in api["models"]:
                raise conflict("Model name already exists for this REST API")
            model = api["models"][name] = {"id": self._ids.token(6)}
            for member in ("name", "description", "schema", "contentType"):
                if request.get(member):
                    model[member] = request[member]
            _check_schema(model)
        return model

    @operation("GetModel", refuses=["flatten"])
    async def get_model(self, ctx: Context, request: Request) -> Result:
        """One model."""
        return _model(await self._repository.api(ctx, request["restApiId"]), request)

    @operation("GetModels")
    async def get_models(self, ctx: Context, request: Request) -> Result:
        """A page of models."""
        api = await self._repository.api(ctx, request["restApiId"])
        return page(list(api["models"].values()), request)

    @operation("UpdateModel")
    async def update_model(self, ctx: Context, request: Request) -> Result:
        """Change a model by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            model = _model(api, request)
            apply(model, request, {"description": "text", "schema": "text"})
            _check_schema(model)
        return model

    @operation("DeleteModel")
    async def delete_model(self, ctx: Context, request: Request) -> None:
        """Remove a model that no method refers to."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            name = _model(api, request)["name"]
            for resource in api["resources"].values():
                for verb, method in resource["resourceMethods"].items():
                    if name in (method.get("requestModels") or {}).values():
                        raise conflict(
                            f"Cannot delete model '{name}', is referenced in method request:"
                            f" /{resource['path']}/{verb}"
                        )
            del api["models"][name]


def _model(api: Document, request: Request) -> Document:
    model: Document | None = api["models"].get(request["modelName"])
    if model is None:
        raise not_found(f"Invalid model name specified: {request['modelName']}")
    return model


def _check_schema(model: dict[str, Any]) -> None:
    try:
        orjson.loads(model.get("schema") or "{}")
    except orjson.JSONDecodeError:
        raise bad_request(
            "Invalid model specified: Validation Result: warnings : [], errors :"
            " [Invalid model schema specified. Unable to parse schema]"
        ) from None


class Validators:
    """Request validators: which parts of a request are checked."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("CreateRequestValidator")
    async def create_request_validator(self, ctx: Context, request: Request) -> Result:
        """A new validator."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            return add_validator(api, self._ids, request)

    @operation("GetRequestValidator")
    async def get_request_validator(self, ctx: Context, request: Request) -> Result:
        """One validator."""
        return _validator(await self._repository.api(ctx, request["restApiId"]), request)

    @operation("GetRequestValidators")
    async def get_request_validators(self, ctx: Context, request: Request) -> Result:
        """A page of validators."""
        api = await self._repository.api(ctx, request["restApiId"])
        return page(list(api["validators"].values()), request)

    @operation("UpdateRequestValidator")
    async def update_request_validator(self, ctx: Context, request: Request) -> Result:
        """Change a validator by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            validator = _validator(api, request)
            apply(validator, request, _VALIDATOR)
        return validator

    @operation("DeleteRequestValidator")
    async def delete_request_validator(self, ctx: Context, request: Request) -> None:
        """Remove a validator."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            del api["validators"][_validator(api, request)["id"]]


def add_validator(api: Document, ids: Ids, given: dict[str, Any]) -> Document:
    """Add a validator to an API."""
    validator: Document = {
        "id": ids.token(6),
        "name": given.get("name") or "",
        "validateRequestBody": bool(given.get("validateRequestBody")),
        "validateRequestParameters": bool(given.get("validateRequestParameters")),
    }
    api["validators"][validator["id"]] = validator
    return validator


def _validator(api: Document, request: Request) -> Document:
    validator: Document | None = api["validators"].get(request["requestValidatorId"])
    if validator is None:
        raise not_found("Invalid Request Validator identifier specified")
    return validator


class GatewayResponses:
    """Gateway responses: what is answered when a request does not get as far as its integration's answer."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @operation("PutGatewayResponse")
    async def put_gateway_response(self, ctx: Context, request: Request) -> Result:
        """Customise a type of response."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            made = add_gateway_response(api, _kind(request), request)
        return made

    @operation("GetGatewayResponse")
    async def get_gateway_response(self, ctx: Context, request: Request) -> Result:
        """A type of response, customised or AWS's own."""
        api = await self._repository.api(ctx, request["restApiId"])
        kind = _kind(request)
        return api["gatewayResponses"].get(kind) or default_response(kind)

    @operation("GetGatewayResponses")
    async def get_gateway_responses(self, ctx: Context, request: Request) -> Result:
        """Every type of response."""
        api = await self._repository.api(ctx, request["restApiId"])
        own = api["gatewayResponses"]
        return page([own.get(kind) or default_response(kind) for kind in DEFAULTS], request)

    @operation("UpdateGatewayResponse")
    async def update_gateway_response(self, ctx: Context, request: Request) -> Result:
        """Change a type of response by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            kind = _kind(request)
            response = api["gatewayResponses"].get(kind) or default_response(kind)
            apply(response, request, _GATEWAY_RESPONSE)
            response["defaultResponse"] = False
            api["gatewayResponses"][kind] = response
        return response

    @operation("DeleteGatewayResponse")
    async def delete_gateway_response(self, ctx: Context, request: Request) -> None:
        """Go back to AWS's own response."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            if api["gatewayResponses"].pop(_kind(request), None) is None:
                raise not_found("Gateway response type not defined on api")


def add_gateway_response(api: Document, kind: str, given: dict[str, Any]) -> Document:
    """Customise a type of response of an API."""
    if kind not in DEFAULTS:
        raise bad_request(f"Invalid gateway response type: {kind}")
    status = given.get("statusCode")
    if status and not re.fullmatch(r"[1-5]\d\d", status):
        raise bad_request(f"Invalid status code specified: {status}")
    made: Document = default_response(kind)
    made["defaultResponse"] = False
    for name in ("statusCode", "responseParameters", "responseTemplates"):
        if given.get(name):
            made[name] = given[name]
    api["gatewayResponses"][kind] = made
    return made


def _kind(request: Request) -> str:
    kind: str = request["responseType"]
    if kind not in DEFAULTS:
        raise bad_request(f"Invalid gateway response type: {kind}")
    return kind
