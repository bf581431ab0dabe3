"""REST APIs of API Gateway: the API, what it is made of, and its deployments.

Property names are those of the API with a capital, so most requests are made by `_lowered`.
"""

from dataclasses import replace
from typing import Any, Final

import orjson

from penstock.services.cloudformation.resource import (
    Made,
    ResourceType,
    Target,
    answers,
    keep,
    tag_map,
    there,
)
from penstock.services.cloudformation.shapes import apigateway

_API: Final = (
    "ApiKeySourceType",
    "BinaryMediaTypes",
    "Description",
    "DisableExecuteApiEndpoint",
    "EndpointConfiguration",
    "MinimumCompressionSize",
    "Name",
    "Policy",
)
_METHOD: Final = (
    "ApiKeyRequired",
    "AuthorizationScopes",
    "AuthorizationType",
    "AuthorizerId",
    "OperationName",
    "RequestModels",
    "RequestParameters",
    "RequestValidatorId",
)
_STAGE: Final = (
    "CacheClusterEnabled",
    "CacheClusterSize",
    "DeploymentId",
    "Description",
    "DocumentationVersion",
    "StageName",
    "TracingEnabled",
    "Variables",
)
_STAGE_PATCHED: Final = {
    "DeploymentId": "/deploymentId",
    "Description": "/description",
    "TracingEnabled": "/tracingEnabled",
}


def _lowered(properties: dict[str, Any]) -> dict[str, Any]:
    """The first level of names as the API spells them."""
    return {name[0].lower() + name[1:]: value for name, value in properties.items()}


def _replace(path: str, value: Any) -> dict[str, str]:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"op": "replace", "path": path, "value": text}


def _api_request(target: Target) -> dict[str, Any]:
    request = _lowered(target.given(_API))
    if "apiKeySourceType" in request:
        request["apiKeySource"] = request.pop("apiKeySourceType")
    if "endpointConfiguration" in request:
        request["endpointConfiguration"] = _lowered(request["endpointConfiguration"])
    if isinstance(request.get("policy"), dict):
        request["policy"] = orjson.dumps(request["policy"]).decode()
    return request


async def _create_api(target: Target) -> Made:
    """An API has an id of the service's making, so its tags say whose it is; a definition is put into it."""
    request = _api_request(target)
    api_id = await _made_api(target) if target.resumed else None
    if api_id is None:
        first = {
            "name": target.name(),
            **request,
            "tags": tag_map(target.properties) | _own(target),
        }
        if kinds := _import_parameters(target).get("endpointConfigurationTypes"):
            first.setdefault("endpointConfiguration", {"types": kinds.split(",")})
        api_id = (await target.call("apigateway", "CreateRestApi", first))["id"]
    await target.hold(api_id)
    if "Body" in target.properties or "BodyS3Location" in target.properties:
        definition = {"restApiId": api_id, "mode": "overwrite", "body": await _body(target)}
        definition["parameters"] = _import_parameters(target)
        if "FailOnWarnings" in target.properties:
            definition["failOnWarnings"] = target.properties["FailOnWarnings"]
        await target.call("apigateway", "PutRestApi", definition)
        if patches := _api_patches(target, request):
            update = {"restApiId": api_id, "patchOperations": patches}
            await target.call("apigateway", "UpdateRestApi", update)
    return await _api(target, api_id)


async def _retag(target: Target, path: str) -> None:
    if not target.changed("Tags"):
        return
    resource = {"resourceArn": f"arn:aws:apigateway:{target.ctx.region}::{path}"}
    if removed := target.tags_removed():
        await target.call("apigateway", "UntagResource", {**resource, "tagKeys": removed})
    if tags := tag_map(target.properties):
        await target.call("apigateway", "TagResource", {**resource, "tags": tags})


def _own(target: Target) -> dict[str, str]:
    # AWS: what a stack makes has these tags (CloudFormation guide, "Resource tag").
    return {
        "aws:cloudformation:stack-id": target.stack_id,
        "aws:cloudformation:stack-name": target.stack_name,
        "aws:cloudformation:logical-id": target.logical_id,
    }


async def _made_api(target: Target) -> str | None:
    """The API that an interrupted attempt made, if it came so far."""
    request: dict[str, Any] = {"limit": 500}
    while True:
        listed = await target.call("apigateway", "GetRestApis", request)
        for api in listed["items"]:
            own = _own(target).items() <= (api.get("tags") or {}).items()
            if own and api["id"] != target.replaces:
                return str(api["id"])
        if not listed.get("position"):
            return None
        request["position"] = listed["position"]


async def _update_api(target: Target) -> Made:
    api_id = target.physical_id
    await _retag(target, f"/restapis/{api_id}")
    defined = bool(target.given(("Body", "BodyS3Location")))
    if defined and target.changed("Body", "BodyS3Location", "Parameters", "Mode"):
        # AWS: an update from a template overwrites unless told to merge (CloudFormation guide, RestApi Mode).
        request = {
            "restApiId": api_id,
            "mode": target.properties.get("Mode", "overwrite"),
            "body": await _body(target),
            "parameters": _import_parameters(target),
        }
        await target.call("apigateway", "PutRestApi", request)
        if request["mode"] == "overwrite":
            target = replace(target, previous={})
    patches = _api_patches(target, _api_request(target))
    if patches:
        update = {"restApiId": api_id, "patchOperations": patches}
        await target.call("apigateway", "UpdateRestApi", update)
    return await _api(target, api_id)


def _api_patches(target: Target, request: dict[str, Any]) -> list[dict[str, str]]:
    patches = []
    for name in ("name", "description", "policy", "disableExecuteApiEndpoint", "apiKeySource"):
        if name in request and target.changed(name[0].upper() + name[1:], "ApiKeySourceType"):
            patches.append(_replace(f"/{name}", request[name]))
    for media_type in request.get("binaryMediaTypes", []):
        if media_type not in target.previous.get("BinaryMediaTypes", []):
            patches.append({"op": "add", "path": _media(media_type)})
    for media_type in target.previous.get("BinaryMediaTypes", []):
        if media_type not in request.get("binaryMediaTypes", []):
            patches.append({"op": "remove", "path": _media(media_type)})
    return patches


def _media(media_type: str) -> str:
    return "/binaryMediaTypes/" + media_type.replace("~", "~0").replace("/", "~1")


def _import_parameters(target: Target) -> dict[str, str]:
    return dict(target.properties.get("Parameters", {}))


async def _body(target: Target) -> bytes:
    """The definition: in the template, or a file of S3."""
    if "Body" in target.properties:
        given = target.properties["Body"]
        return given.encode() if isinstance(given, str) else orjson.dumps(given)
    place = target.properties["BodyS3Location"]
    request = {"Bucket": place["Bucket"], "Key": place["Key"]}
    if "Version" in place:
        request["VersionId"] = place["Version"]
    body: bytes = (await target.call("s3", "GetObject", request))["Body"]
    return body


async def _api(target: Target, api_id: str) -> Made:
    listed = await target.call("apigateway", "GetResources", {"restApiId": api_id, "limit": 500})
    root = next((item["id"] for item in listed["items"] if item["path"] == "/"), "")
    return Made(api_id, {"RestApiId": api_id, "RootResourceId": root})


async def _delete_api(target: Target) -> None:
    await target.call("apigateway", "DeleteRestApi", {"restApiId": target.physical_id})


async def _create_resource(target: Target) -> Made:
    request = _lowered(target.properties)
    created = await _made_resource(target) if target.resumed else None
    if created is None:
        created = await target.call("apigateway", "CreateResource", request)
    return Made(created["id"], {"ResourceId": created["id"]})


async def _made_resource(target: Target) -> dict[str, Any] | None:
    """The resource at the place, where there is one at most."""
    request = {"restApiId": target.properties["RestApiId"], "limit": 500}
    place = _lowered(target.given(("ParentId", "PathPart")))
    listed = await answers(target, "apigateway", "GetResources", request) or {"items": []}
    return next((item for item in listed["items"] if place.items() <= item.items()), None)


async def _resource_found(target: Target) -> bool:
    return await _made_resource(target) is not None


async def _delete_resource(target: Target) -> None:
    api_id = target.properties["RestApiId"]
    request = {"restApiId": api_id, "resourceId": target.physical_id}
    await target.call("apigateway", "DeleteResource", request)


async def _put_method(target: Target) -> Made:
    properties = target.properties
    place = _place(target)
    if target.physical_id or target.resumed:
        await target.drop("apigateway", "DeleteMethod", place)
    method = _lowered(target.given(_METHOD))
    method.setdefault("authorizationType", "NONE")
    await target.call("apigateway", "PutMethod", {**place, **method})
    for response in properties.get("MethodResponses", []):
        await target.call("apigateway", "PutMethodResponse", {**place, **_lowered(response)})
    if "Integration" in properties:
        await _put_integration(target, place, dict(properties["Integration"]))
    return Made(target.physical_id or target.name())


async def _put_integration(
    target: Target, place: dict[str, str], integration: dict[str, Any]
) -> None:
    responses = integration.pop("IntegrationResponses", [])
    request = _lowered(integration)
    await target.call("apigateway", "PutIntegration", {**place, **request})
    for response in responses:
        await target.call("apigateway", "PutIntegrationResponse", {**place, **_lowered(response)})


async def _delete_method(target: Target) -> None:
    await target.call("apigateway", "DeleteMethod", _place(target))


def _place(target: Target) -> dict[str, str]:
    return _lowered(target.given(("RestApiId", "ResourceId", "HttpMethod")))


async def _create_deployment(target: Target) -> Made:
    """A new deployment. One that an interrupted attempt made cannot be told apart; it stays, unused, till the API goes."""
    request = _lowered(target.given(("RestApiId", "Description", "StageName")))
    created = await target.call("apigateway", "CreateDeployment", request)
    return Made(created["id"], {"DeploymentId": created["id"]})


async def _update_deployment(target: Target) -> Made:
    if target.changed("Description"):
        patch = _replace("/description", target.properties.get("Description", ""))
        request = {"restApiId": target.properties["RestApiId"], "deploymentId": target.physical_id}
        request["patchOperations"] = [patch]
        await target.call("apigateway", "UpdateDeployment", request)
    return Made(target.physical_id, {"DeploymentId": target.physical_id})


async def _delete_deployment(target: Target) -> None:
    api_id = target.properties["RestApiId"]
    request = {"restApiId": api_id, "deploymentId": target.physical_id}
    if "StageName" in target.properties:
        stage = {"restApiId": api_id, "stageName": target.properties["StageName"]}
        told = await answers(target, "apigateway", "GetStage", stage) or {}
        # The deployment that took its place has the stage now.
        if told.get("deploymentId") == target.physical_id:
            await target.drop("apigateway", "DeleteStage", stage)
    await target.call("apigateway", "DeleteDeployment", request)


async def _create_stage(target: Target) -> Made:
    request = {**_lowered(target.given(_STAGE)), "restApiId": target.properties["RestApiId"]}
    if tags := tag_map(target.properties):
        request["tags"] = tags
    await target.make("apigateway", "CreateStage", request)
    await target.hold(target.properties["StageName"])
    patches = _setting_patches(target)
    if patches:
        await _patch_stage(target, patches)
    return Made(target.properties["StageName"])


async def _update_stage(target: Target) -> Made:
    patches = [
        _replace(path, target.properties.get(name, False if name == "TracingEnabled" else ""))
        for name, path in _STAGE_PATCHED.items()
        if target.changed(name)
    ]
    wanted, had = target.properties.get("Variables", {}), target.previous.get("Variables", {})
    patches += [_replace(f"/variables/{name}", wanted[name]) for name in wanted]
    patches += [
        {"op": "remove", "path": f"/variables/{name}"} for name in had if name not in wanted
    ]
    patches += _setting_removals(target) + _setting_patches(target)
    if patches:
        await _patch_stage(target, patches)
    await _retag(target, f"/restapis/{target.properties['RestApiId']}/stages/{target.physical_id}")
    return Made(target.physical_id)


async def _patch_stage(target: Target, patches: list[dict[str, str]]) -> None:
    place = _lowered(target.given(("RestApiId", "StageName")))
    await target.call("apigateway", "UpdateStage", {**place, "patchOperations": patches})


def _setting_patches(target: Target) -> list[dict[str, str]]:
    """Method settings and access logs, which stages take as patches only."""
    patches = []
    paths = {
        "LoggingLevel": "logging/loglevel",
        "DataTraceEnabled": "logging/dataTrace",
        "MetricsEnabled": "metrics/enabled",
        "ThrottlingBurstLimit": "throttling/burstLimit",
        "ThrottlingRateLimit": "throttling/rateLimit",
        "CachingEnabled": "caching/enabled",
        "CacheTtlInSeconds": "caching/ttlInSeconds",
        "CacheDataEncrypted": "caching/dataEncrypted",
    }
    if target.changed("MethodSettings"):
        for setting in target.properties.get("MethodSettings", []):
            for name, path in paths.items():
                if name in setting:
                    patches.append(_replace(f"{_setting_place(setting)}/{path}", setting[name]))
    if target.changed("AccessLogSetting") and "AccessLogSetting" in target.properties:
        log = target.properties["AccessLogSetting"]
        if "DestinationArn" in log:
            patches.append(_replace("/accessLogSettings/destinationArn", log["DestinationArn"]))
        if "Format" in log:
            patches.append(_replace("/accessLogSettings/format", log["Format"]))
    return patches


def _setting_place(setting: dict[str, Any]) -> str:
    resource = setting.get("ResourcePath", "/*")
    resource = resource.removeprefix("/").replace("~", "~0").replace("/", "~1") or "~1"
    return f"/{resource}/{setting.get('HttpMethod', '*')}"


def _setting_removals(target: Target) -> list[dict[str, str]]:
    """Take the settings of before away; those that remain are set again after."""
    if not target.changed("MethodSettings"):
        return []
    places = dict.fromkeys(map(_setting_place, target.previous.get("MethodSettings", [])))
    return [{"op": "remove", "path": place} for place in places]


async def _delete_stage(target: Target) -> None:
    place = _lowered(target.given(("RestApiId", "StageName")))
    await target.call("apigateway", "DeleteStage", place)


async def _put_account(target: Target) -> Made:
    if "CloudWatchRoleArn" in target.properties:
        patch = _replace("/cloudwatchRoleArn", target.properties["CloudWatchRoleArn"])
        await target.call("apigateway", "UpdateAccount", {"patchOperations": [patch]})
    physical_id = target.physical_id or target.name()
    return Made(physical_id, {"Id": physical_id})


async def _create_model(target: Target) -> Made:
    request = _lowered(target.properties)
    request.setdefault("name", f"{target.logical_id}{target.suffix}")
    request.setdefault("contentType", "application/json")
    if isinstance(request.get("schema"), dict):
        request["schema"] = orjson.dumps(request["schema"]).decode()
    await target.make("apigateway", "CreateModel", request)
    return Made(request["name"])


async def _delete_model(target: Target) -> None:
    request = {"restApiId": target.properties["RestApiId"], "modelName": target.physical_id}
    await target.call("apigateway", "DeleteModel", request)


async def _create_validator(target: Target) -> Made:
    request = _lowered(target.properties)
    request.setdefault("name", target.name())
    # Several may have one name: one that the template gives tells nothing of who made it.
    told = target.resumed and "Name" not in target.properties
    created = await _made_validator(target, request["name"]) if told else None
    if created is None:
        created = await target.call("apigateway", "CreateRequestValidator", request)
    return Made(created["id"], {"RequestValidatorId": created["id"]})


async def _made_validator(target: Target, name: str) -> dict[str, Any] | None:
    request = {"restApiId": target.properties["RestApiId"], "limit": 500}
    listed = await target.call("apigateway", "GetRequestValidators", request)
    return next((item for item in listed["items"] if item.get("name") == name), None)


async def _delete_validator(target: Target) -> None:
    api_id = target.properties["RestApiId"]
    request = {"restApiId": api_id, "requestValidatorId": target.physical_id}
    await target.call("apigateway", "DeleteRequestValidator", request)


ROWS: Final = (
    ResourceType(
        name="AWS::ApiGateway::RestApi",
        shape=apigateway.REST_API,
        immutable=frozenset({"EndpointConfiguration", "MinimumCompressionSize"}),
        create=_create_api,
        update=_update_api,
        delete=_delete_api,
        tags="list",
    ),
    ResourceType(
        name="AWS::ApiGateway::Resource",
        shape=apigateway.RESOURCE,
        create=_create_resource,
        delete=_delete_resource,
        identity=("PathPart", "RestApiId", "ParentId"),
        found=_resource_found,
    ),
    ResourceType(
        name="AWS::ApiGateway::Method",
        shape=apigateway.METHOD,
        immutable=frozenset({"HttpMethod", "ResourceId", "RestApiId"}),
        create=_put_method,
        update=_put_method,
        delete=_delete_method,
        identity=("HttpMethod", "RestApiId", "ResourceId"),
        found=there(
            "apigateway",
            "GetMethod",
            restApiId="RestApiId",
            resourceId="ResourceId",
            httpMethod="HttpMethod",
        ),
    ),
    ResourceType(
        name="AWS::ApiGateway::Deployment",
        shape=apigateway.DEPLOYMENT,
        immutable=frozenset({"RestApiId", "StageName"}),
        create=_create_deployment,
        update=_update_deployment,
        delete=_delete_deployment,
    ),
    ResourceType(
        name="AWS::ApiGateway::Stage",
        shape=apigateway.STAGE,
        immutable=frozenset(
            {"RestApiId", "StageName", "CacheClusterEnabled", "CacheClusterSize"}
            | {"DocumentationVersion"}
        ),
        fixed=frozenset({"AccessLogSetting"}),
        create=_create_stage,
        update=_update_stage,
        delete=_delete_stage,
        identity=("StageName", "RestApiId"),
        found=there("apigateway", "GetStage", restApiId="RestApiId", stageName="StageName"),
        tags="list",
    ),
    ResourceType(
        name="AWS::ApiGateway::Account",
        shape=apigateway.ACCOUNT,
        create=_put_account,
        update=_put_account,
        # AWS: the account's setting stays when the resource goes (CloudFormation guide, ApiGateway Account).
        delete=keep,
    ),
    ResourceType(
        name="AWS::ApiGateway::Model",
        shape=apigateway.MODEL,
        create=_create_model,
        delete=_delete_model,
        identity=("Name", "RestApiId"),
        found=there("apigateway", "GetModel", restApiId="RestApiId", modelName="Name"),
    ),
    ResourceType(
        name="AWS::ApiGateway::RequestValidator",
        shape=apigateway.REQUEST_VALIDATOR,
        create=_create_validator,
        delete=_delete_validator,
    ),
)
