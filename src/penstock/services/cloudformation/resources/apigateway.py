"""REST APIs of API Gateway: the API, what it is made of, and its deployments.

Property names are those of the API with a capital, so most requests are made by `_lowered`.
"""

from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.services.cloudformation.resource import (
    Made,
    ResourceType,
    Target,
    keep,
    tag_map,
)

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
_INTEGRATION: Final = frozenset(
    {
        "CacheKeyParameters",
        "CacheNamespace",
        "ConnectionId",
        "ConnectionType",
        "ContentHandling",
        "Credentials",
        "IntegrationHttpMethod",
        "IntegrationResponses",
        "PassthroughBehavior",
        "RequestParameters",
        "RequestTemplates",
        "TimeoutInMillis",
        "Type",
        "Uri",
    }
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
    request = _api_request(target)
    tags = tag_map(target.properties)
    if "Body" not in target.properties and "BodyS3Location" not in target.properties:
        request.setdefault("name", target.name())
        if tags:
            request["tags"] = tags
        api = await target.call("apigateway", "CreateRestApi", request)
        return await _api(target, api["id"])
    imported = {"body": await _body(target), "parameters": _import_parameters(target)}
    if "FailOnWarnings" in target.properties:
        imported["failOnWarnings"] = target.properties["FailOnWarnings"]
    api = await target.call("apigateway", "ImportRestApi", imported)
    patches = _api_patches(target, request)
    if patches:
        update = {"restApiId": api["id"], "patchOperations": patches}
        await target.call("apigateway", "UpdateRestApi", update)
    if tags:
        arn = f"arn:aws:apigateway:{target.ctx.region}::/restapis/{api['id']}"
        await target.call("apigateway", "TagResource", {"resourceArn": arn, "tags": tags})
    return await _api(target, api["id"])


async def _update_api(target: Target) -> Made:
    api_id = target.physical_id
    if target.changed("Body", "BodyS3Location", "Parameters", "Mode"):
        # AWS: an update from a template overwrites unless told to merge (CloudFormation guide, RestApi Mode).
        request = {
            "restApiId": api_id,
            "mode": target.properties.get("Mode", "overwrite"),
            "body": await _body(target),
            "parameters": _import_parameters(target),
        }
        await target.call("apigateway", "PutRestApi", request)
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
            path = "/binaryMediaTypes/" + media_type.replace("~", "~0").replace("/", "~1")
            patches.append({"op": "add", "path": path})
    return patches


def _import_parameters(target: Target) -> dict[str, str]:
    return {name: str(value) for name, value in target.properties.get("Parameters", {}).items()}


async def _body(target: Target) -> bytes:
    """The definition: in the template, or a file of S3."""
    if "Body" in target.properties:
        return orjson.dumps(target.properties["Body"])
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
    created = await target.call("apigateway", "CreateResource", request)
    return Made(created["id"], {"ResourceId": created["id"]})


async def _delete_resource(target: Target) -> None:
    api_id = target.properties["RestApiId"]
    request = {"restApiId": api_id, "resourceId": target.physical_id}
    await target.call("apigateway", "DeleteResource", request)


async def _put_method(target: Target) -> Made:
    properties = target.properties
    place = _place(target)
    if target.physical_id:
        await target.call("apigateway", "DeleteMethod", place)
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
    unknown = sorted(set(integration) - _INTEGRATION)
    if unknown:
        raise refuse(f"the integration properties {', '.join(unknown)}")
    responses = integration.pop("IntegrationResponses", [])
    request = _lowered(integration)
    if "timeoutInMillis" in request:
        request["timeoutInMillis"] = int(request["timeoutInMillis"])
    await target.call("apigateway", "PutIntegration", {**place, **request})
    for response in responses:
        await target.call("apigateway", "PutIntegrationResponse", {**place, **_lowered(response)})


async def _delete_method(target: Target) -> None:
    await target.call("apigateway", "DeleteMethod", _place(target))


def _place(target: Target) -> dict[str, str]:
    return _lowered(target.given(("RestApiId", "ResourceId", "HttpMethod")))


async def _create_deployment(target: Target) -> Made:
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
        await target.call("apigateway", "DeleteStage", stage)
    await target.call("apigateway", "DeleteDeployment", request)


async def _create_stage(target: Target) -> Made:
    request = {**_lowered(target.given(_STAGE)), "restApiId": target.properties["RestApiId"]}
    if tags := tag_map(target.properties):
        request["tags"] = tags
    await target.call("apigateway", "CreateStage", request)
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
    patches += _setting_patches(target)
    if patches:
        await _patch_stage(target, patches)
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
            resource = setting.get("ResourcePath", "/*")
            resource = resource.removeprefix("/").replace("~", "~0").replace("/", "~1") or "~1"
            method = setting.get("HttpMethod", "*")
            for name, path in paths.items():
                if name in setting:
                    patches.append(_replace(f"/{resource}/{method}/{path}", setting[name]))
    if target.changed("AccessLogSetting") and "AccessLogSetting" in target.properties:
        log = target.properties["AccessLogSetting"]
        if "DestinationArn" in log:
            patches.append(_replace("/accessLogSettings/destinationArn", log["DestinationArn"]))
        if "Format" in log:
            patches.append(_replace("/accessLogSettings/format", log["Format"]))
    return patches


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
    await target.call("apigateway", "CreateModel", request)
    return Made(request["name"])


async def _delete_model(target: Target) -> None:
    request = {"restApiId": target.properties["RestApiId"], "modelName": target.physical_id}
    await target.call("apigateway", "DeleteModel", request)


async def _create_validator(target: Target) -> Made:
    request = _lowered(target.properties)
    request.setdefault("name", target.name())
    created = await target.call("apigateway", "CreateRequestValidator", request)
    return Made(created["id"], {"RequestValidatorId": created["id"]})


async def _delete_validator(target: Target) -> None:
    api_id = target.properties["RestApiId"]
    request = {"restApiId": api_id, "requestValidatorId": target.physical_id}
    await target.call("apigateway", "DeleteRequestValidator", request)


ROWS: Final = (
    ResourceType(
        name="AWS::ApiGateway::RestApi",
        properties=frozenset(
            {*_API, "Body", "BodyS3Location", "FailOnWarnings", "Mode", "Parameters", "Tags"}
        ),
        immutable=frozenset({"EndpointConfiguration", "MinimumCompressionSize", "Tags"}),
        integers=frozenset({"MinimumCompressionSize"}),
        booleans=frozenset({"DisableExecuteApiEndpoint", "FailOnWarnings"}),
        create=_create_api,
        update=_update_api,
        delete=_delete_api,
        tags="list",
    ),
    ResourceType(
        name="AWS::ApiGateway::Resource",
        properties=frozenset({"ParentId", "PathPart", "RestApiId"}),
        required=frozenset({"ParentId", "PathPart", "RestApiId"}),
        create=_create_resource,
        delete=_delete_resource,
    ),
    ResourceType(
        name="AWS::ApiGateway::Method",
        properties=frozenset(
            {*_METHOD, "HttpMethod", "Integration", "MethodResponses", "ResourceId", "RestApiId"}
        ),
        required=frozenset({"HttpMethod", "ResourceId", "RestApiId"}),
        immutable=frozenset({"HttpMethod", "ResourceId", "RestApiId"}),
        booleans=frozenset({"ApiKeyRequired"}),
        integers=frozenset({"TimeoutInMillis"}),
        create=_put_method,
        update=_put_method,
        delete=_delete_method,
    ),
    ResourceType(
        name="AWS::ApiGateway::Deployment",
        properties=frozenset({"Description", "RestApiId", "StageName"}),
        required=frozenset({"RestApiId"}),
        immutable=frozenset({"RestApiId", "StageName"}),
        create=_create_deployment,
        update=_update_deployment,
        delete=_delete_deployment,
    ),
    ResourceType(
        name="AWS::ApiGateway::Stage",
        properties=frozenset({*_STAGE, "AccessLogSetting", "MethodSettings", "RestApiId", "Tags"}),
        required=frozenset({"RestApiId", "StageName"}),
        immutable=frozenset(
            {"RestApiId", "StageName", "CacheClusterEnabled", "CacheClusterSize"}
            | {"DocumentationVersion", "Tags"}
        ),
        booleans=frozenset(
            {"CacheClusterEnabled", "TracingEnabled", "DataTraceEnabled", "MetricsEnabled"}
        ),
        create=_create_stage,
        update=_update_stage,
        delete=_delete_stage,
        tags="list",
    ),
    ResourceType(
        name="AWS::ApiGateway::Account",
        properties=frozenset({"CloudWatchRoleArn"}),
        create=_put_account,
        update=_put_account,
        # AWS: the account's setting stays when the resource goes (CloudFormation guide, ApiGateway Account).
        delete=keep,
    ),
    ResourceType(
        name="AWS::ApiGateway::Model",
        properties=frozenset({"ContentType", "Description", "Name", "RestApiId", "Schema"}),
        required=frozenset({"RestApiId"}),
        create=_create_model,
        delete=_delete_model,
    ),
    ResourceType(
        name="AWS::ApiGateway::RequestValidator",
        properties=frozenset(
            {"Name", "RestApiId", "ValidateRequestBody", "ValidateRequestParameters"}
        ),
        required=frozenset({"RestApiId"}),
        booleans=frozenset({"ValidateRequestBody", "ValidateRequestParameters"}),
        create=_create_validator,
        delete=_delete_validator,
    ),
)
