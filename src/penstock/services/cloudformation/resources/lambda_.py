"""Functions, versions, aliases, layers, URLs, permissions, event source mappings, asynchronous invocation."""

import io
import zipfile
from typing import Any, Final

from penstock.core.errors import AwsError
from penstock.services.cloudformation.resource import (
    Made,
    Properties,
    ResourceType,
    Target,
    answers,
    tag_map,
    there,
)
from penstock.services.cloudformation.shapes import lambda_

# What a setting returns to when its property is removed (Lambda API reference, CreateFunction).
_DEFAULTS: Final[dict[str, Any]] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Environment": {"Variables": {}},
    "EphemeralStorage": {"Size": 512},
    "FileSystemConfigs": [],
    "ImageConfig": {},
    "KMSKeyArn": "",
    "Layers": [],
    "LoggingConfig": {"LogFormat": "Text"},
    "MemorySize": 128,
    "SnapStart": {"ApplyOn": "None"},
    "Timeout": 3,
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}
_SETTINGS: Final = (*_DEFAULTS, "Handler", "Role", "Runtime")
_MAPPING_FIXED: Final = frozenset(
    {
        "EventSourceArn",
        "StartingPosition",
        "StartingPositionTimestamp",
    }
)
_URL: Final = ("AuthType", "Cors", "InvokeMode")
_INVOKE: Final = ("DestinationConfig", "MaximumEventAgeInSeconds", "MaximumRetryAttempts")


def _settings(properties: Properties) -> Properties:
    renamed = {"KmsKeyArn": "KMSKeyArn"}
    found = {renamed.get(name, name): value for name, value in properties.items()}
    settings = {name: found[name] for name in _SETTINGS if name in found}
    if variables := settings.get("Environment", {}).get("Variables"):
        texts = {name: _text(value) for name, value in variables.items()}
        settings["Environment"] = {"Variables": texts}
    return settings


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(properties: Properties) -> dict[str, Any]:
    code = dict(properties["Code"])
    if "ZipFile" in code:
        # AWS: inline source becomes the file `index` (CloudFormation guide, AWS::Lambda::Function Code).
        node = str(properties.get("Runtime", "")).startswith("nodejs")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            entry = zipfile.ZipInfo("index.js" if node else "index.py")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, code["ZipFile"])
        code["ZipFile"] = packed.getvalue()
    return code


async def _create_function(target: Target) -> Made:
    properties = target.properties
    name = properties.get("FunctionName") or target.name(64)
    request = {"FunctionName": name, "Code": _code(properties), **_settings(properties)}
    request |= target.given(("Architectures", "PackageType"))
    if tags := tag_map(properties):
        request["Tags"] = tags
    await target.make("lambda", "CreateFunction", request)
    await target.hold(name)
    await _settled(target, name)
    if "ReservedConcurrentExecutions" in properties:
        await _reserve(target, name)
    return Made(name, {"Arn": _function_arn(target, name)})


async def _update_function(target: Target) -> Made:
    name = target.physical_id
    if target.changed("Code", "Architectures"):
        request = {"FunctionName": name, **_code(target.properties)}
        request |= target.given(("Architectures",))
        await target.call("lambda", "UpdateFunctionCode", request)
        await _settled(target, name)
    wanted, had = _settings(target.properties), _settings(target.previous)
    changes = {item: wanted[item] for item in wanted if wanted[item] != had.get(item)}
    changes |= {item: _DEFAULTS[item] for item in had if item not in wanted and item in _DEFAULTS}
    if changes:
        request = {"FunctionName": name, **changes}
        await target.call("lambda", "UpdateFunctionConfiguration", request)
        await _settled(target, name)
    if target.changed("ReservedConcurrentExecutions"):
        await _reserve(target, name)
    arn = _function_arn(target, name)
    await _retag(target, arn)
    return Made(name, {"Arn": arn})


async def _retag(target: Target, arn: str) -> None:
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("lambda", "UntagResource", {"Resource": arn, "TagKeys": removed})
        if tags := tag_map(target.properties):
            await target.call("lambda", "TagResource", {"Resource": arn, "Tags": tags})


def _function_arn(target: Target, name: str) -> str:
    return f"arn:aws:lambda:{target.ctx.region}:{target.ctx.account}:function:{name}"


async def _reserve(target: Target, name: str) -> None:
    limit = target.properties.get("ReservedConcurrentExecutions")
    if limit is None:
        await target.call("lambda", "DeleteFunctionConcurrency", {"FunctionName": name})
    else:
        request = {"FunctionName": name, "ReservedConcurrentExecutions": limit}
        await target.call("lambda", "PutFunctionConcurrency", request)


async def _settled(target: Target, name: str) -> None:
    async def ready() -> bool:
        found = await target.call("lambda", "GetFunctionConfiguration", {"FunctionName": name})
        states = (found.get("State", "Active"), found.get("LastUpdateStatus", "Successful"))
        return "Pending" not in states and "InProgress" not in states

    await target.settle(ready)


async def _delete_function(target: Target) -> None:
    await target.call("lambda", "DeleteFunction", {"FunctionName": target.physical_id})


async def _create_permission(target: Target) -> Made:
    statement = target.name(100)
    request = {"StatementId": statement, **target.properties}
    await target.make("lambda", "AddPermission", request)
    return Made(statement, {"Id": statement})


async def _delete_permission(target: Target) -> None:
    name = target.properties["FunctionName"]
    request = {"FunctionName": name, "StatementId": target.physical_id}
    await target.call("lambda", "RemovePermission", request)


def _mapping_request(target: Target) -> dict[str, Any]:
    request = dict(target.properties)
    if "KmsKeyArn" in request:
        request["KMSKeyArn"] = request.pop("KmsKeyArn")
    if "StartingPositionTimestamp" in request:
        request["StartingPositionTimestamp"] = int(request["StartingPositionTimestamp"] * 1000)
    if "Tags" in request:
        request["Tags"] = tag_map(request)
    return request


async def _create_mapping(target: Target) -> Made:
    made = await target.make("lambda", "CreateEventSourceMapping", _mapping_request(target))
    if made is None:
        # A source has one mapping to a function, so the one that is there is the one that was made.
        (made,) = await _mappings(target)
    return _mapping(target, made["UUID"])


async def _mappings(target: Target) -> list[dict[str, Any]]:
    pair = target.given(("EventSourceArn", "FunctionName"))
    told = await answers(target, "lambda", "ListEventSourceMappings", pair) or {}
    return list(told.get("EventSourceMappings", []))


async def _mapping_found(target: Target) -> bool:
    return bool(await _mappings(target))


async def _update_mapping(target: Target) -> Made:
    request = _mapping_request(target)
    for name in (*_MAPPING_FIXED, "Tags", "Queues", "Topics"):
        request.pop(name, None)
    request["UUID"] = target.physical_id
    await target.call("lambda", "UpdateEventSourceMapping", request)
    made = _mapping(target, target.physical_id)
    await _retag(target, made.attributes["EventSourceMappingArn"])
    return made


async def _delete_mapping(target: Target) -> None:
    await target.call("lambda", "DeleteEventSourceMapping", {"UUID": target.physical_id})


def _mapping(target: Target, uuid: str) -> Made:
    region, account = target.ctx.region, target.ctx.account
    arn = f"arn:aws:lambda:{region}:{account}:event-source-mapping:{uuid}"
    return Made(uuid, {"Id": uuid, "EventSourceMappingArn": arn})


async def _publish(target: Target) -> Made:
    request = target.given(("FunctionName", "CodeSha256", "Description"))
    function = target.given(("FunctionName",))
    told = await answers(target, "lambda", "ListVersionsByFunction", function) or {"Versions": []}
    version = await target.call("lambda", "PublishVersion", request)
    # AWS: PublishVersion answers with the last version when nothing has changed since, the handler refuses it.
    if not target.resumed and version["Version"] in [one["Version"] for one in told["Versions"]]:
        message = (
            f"A version for this Lambda function exists ( {version['Version']} ). "
            "Modify the function to create a new version."
        )
        raise AwsError("AlreadyExists", message, status=400)
    arn = version["FunctionArn"]
    await target.hold(arn)
    await _provision(target, request["FunctionName"], version["Version"])
    return Made(arn, {"Version": version["Version"], "FunctionArn": arn})


async def _provision(target: Target, function: str, qualifier: str) -> None:
    """Have environments initialised beforehand, or let them go, and wait until they are."""
    name = {"FunctionName": function, "Qualifier": qualifier}
    wanted = target.properties.get("ProvisionedConcurrencyConfig")
    if not wanted:
        if target.previous.get("ProvisionedConcurrencyConfig"):
            await target.call("lambda", "DeleteProvisionedConcurrencyConfig", name)
        return
    await target.call("lambda", "PutProvisionedConcurrencyConfig", {**name, **wanted})

    async def ready() -> bool:
        found = await target.call("lambda", "GetProvisionedConcurrencyConfig", name)
        if found["Status"] == "FAILED":
            raise AwsError("GeneralServiceException", found.get("StatusReason", ""), status=400)
        return bool(found["Status"] == "READY")

    await target.settle(ready)


async def _delete_version(target: Target) -> None:
    name, _, version = target.physical_id.rpartition(":")
    await target.call("lambda", "DeleteFunction", {"FunctionName": name, "Qualifier": version})


def _alias_request(target: Target) -> dict[str, Any]:
    request = target.given(("FunctionName", "FunctionVersion", "Name", "Description"))
    weights = target.properties.get("RoutingConfig", {}).get("AdditionalVersionWeights", [])
    routes = {str(each["FunctionVersion"]): float(each["FunctionWeight"]) for each in weights}
    return {**request, "RoutingConfig": {"AdditionalVersionWeights": routes}}


async def _create_alias(target: Target) -> Made:
    request = _alias_request(target)
    name = {"FunctionName": request["FunctionName"], "Name": request["Name"]}
    made = await target.make("lambda", "CreateAlias", request)
    if made is None:
        made = await target.call("lambda", "GetAlias", name)
    await target.hold(made["AliasArn"])
    await _provision(target, name["FunctionName"], name["Name"])
    return Made(made["AliasArn"], {"AliasArn": made["AliasArn"]})


async def _update_alias(target: Target) -> Made:
    request = {"Description": "", **_alias_request(target)}
    await target.call("lambda", "UpdateAlias", request)
    if target.changed("ProvisionedConcurrencyConfig"):
        await _provision(target, request["FunctionName"], request["Name"])
    return Made(target.physical_id, {"AliasArn": target.physical_id})


async def _delete_alias(target: Target) -> None:
    function, _, name = target.physical_id.rpartition(":")
    await target.call("lambda", "DeleteAlias", {"FunctionName": function, "Name": name})


async def _publish_layer(target: Target) -> Made:
    request = {"LayerName": target.name(64), **target.properties}
    made = await target.call("lambda", "PublishLayerVersion", request)
    arn = made["LayerVersionArn"]
    return Made(arn, {"LayerVersionArn": arn})


def _layer_of(arn: str) -> dict[str, Any]:
    layer, _, version = arn.rpartition(":")
    if not version.isdecimal():
        message = f"Value '{arn}' at 'layerVersionArn' is no ARN of a layer version"
        raise AwsError("ValidationError", message, status=400)
    return {"LayerName": layer, "VersionNumber": int(version)}


async def _delete_layer(target: Target) -> None:
    await target.call("lambda", "DeleteLayerVersion", _layer_of(target.physical_id))


async def _create_layer_permission(target: Target) -> Made:
    statement, arn = target.name(100), target.properties["LayerVersionArn"]
    request = {"StatementId": statement, **_layer_of(arn)}
    request |= target.given(("Action", "OrganizationId", "Principal"))
    await target.make("lambda", "AddLayerVersionPermission", request)
    made = f"{arn}#{statement}"
    return Made(made, {"Id": made})


async def _delete_layer_permission(target: Target) -> None:
    arn, _, statement = target.physical_id.partition("#")
    request = {"StatementId": statement, **_layer_of(arn)}
    await target.call("lambda", "RemoveLayerVersionPermission", request)


def _url_name(target: Target) -> dict[str, Any]:
    name = {"FunctionName": target.properties["TargetFunctionArn"]}
    return {**name, **target.given(("Qualifier",))}


async def _create_url(target: Target) -> Made:
    name = _url_name(target)
    made = await target.make("lambda", "CreateFunctionUrlConfig", {**name, **target.given(_URL)})
    if made is None:
        made = await target.call("lambda", "GetFunctionUrlConfig", name)
    return _url(made)


async def _update_url(target: Target) -> Made:
    request = {"Cors": {}, **_url_name(target), **target.given(_URL)}
    return _url(await target.call("lambda", "UpdateFunctionUrlConfig", request))


def _url(config: dict[str, Any]) -> Made:
    attributes = {name: config[name] for name in ("FunctionArn", "FunctionUrl")}
    return Made(config["FunctionArn"], attributes)


async def _delete_url(target: Target) -> None:
    await target.call("lambda", "DeleteFunctionUrlConfig", _url_name(target))


async def _put_invoke(target: Target) -> Made:
    request = target.given(("FunctionName", "Qualifier", *_INVOKE))
    await target.call("lambda", "PutFunctionEventInvokeConfig", request)
    return Made(target.physical_id or target.name())


async def _delete_invoke(target: Target) -> None:
    request = target.given(("FunctionName", "Qualifier"))
    await target.call("lambda", "DeleteFunctionEventInvokeConfig", request)


ROWS: Final = (
    ResourceType(
        name="AWS::Lambda::Function",
        shape=lambda_.FUNCTION,
        immutable=frozenset({"FunctionName", "PackageType"}),
        create=_create_function,
        update=_update_function,
        delete=_delete_function,
        identity=("FunctionName",),
        found=there("lambda", "GetFunctionConfiguration", FunctionName="FunctionName"),
        tags="list",
    ),
    ResourceType(
        name="AWS::Lambda::Permission",
        shape=lambda_.PERMISSION,
        create=_create_permission,
        delete=_delete_permission,
    ),
    ResourceType(
        name="AWS::Lambda::EventSourceMapping",
        shape=lambda_.EVENT_SOURCE_MAPPING,
        immutable=_MAPPING_FIXED,
        fixed=frozenset({"Queues", "Topics"}),
        create=_create_mapping,
        update=_update_mapping,
        delete=_delete_mapping,
        tags="list",
        identity=("EventSourceArn", "FunctionName"),
        found=_mapping_found,
    ),
    ResourceType(
        name="AWS::Lambda::Version",
        shape=lambda_.VERSION,
        create=_publish,
        delete=_delete_version,
    ),
    ResourceType(
        name="AWS::Lambda::Alias",
        shape=lambda_.ALIAS,
        immutable=frozenset({"FunctionName", "Name"}),
        create=_create_alias,
        update=_update_alias,
        delete=_delete_alias,
        identity=("Name", "FunctionName"),
        found=there("lambda", "GetAlias", FunctionName="FunctionName", Name="Name"),
    ),
    ResourceType(
        name="AWS::Lambda::LayerVersion",
        shape=lambda_.LAYER_VERSION,
        create=_publish_layer,
        delete=_delete_layer,
    ),
    ResourceType(
        name="AWS::Lambda::LayerVersionPermission",
        shape=lambda_.LAYER_VERSION_PERMISSION,
        create=_create_layer_permission,
        delete=_delete_layer_permission,
    ),
    ResourceType(
        name="AWS::Lambda::Url",
        shape=lambda_.URL,
        immutable=frozenset({"Qualifier", "TargetFunctionArn"}),
        create=_create_url,
        update=_update_url,
        delete=_delete_url,
        identity=("TargetFunctionArn", "Qualifier"),
        found=there(
            "lambda",
            "GetFunctionUrlConfig",
            FunctionName="TargetFunctionArn",
            Qualifier="Qualifier",
        ),
    ),
    ResourceType(
        name="AWS::Lambda::EventInvokeConfig",
        shape=lambda_.EVENT_INVOKE_CONFIG,
        immutable=frozenset({"FunctionName", "Qualifier"}),
        create=_put_invoke,
        update=_put_invoke,
        delete=_delete_invoke,
        identity=("FunctionName", "Qualifier"),
        found=there(
            "lambda",
            "GetFunctionEventInvokeConfig",
            FunctionName="FunctionName",
            Qualifier="Qualifier",
        ),
    ),
)
