"""A function's configuration: what a request may ask for, its defaults, and what is refused."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.api import refuse
from penstock.core.errors import AwsError
from penstock.runtime.catalogue import DEPRECATED, IDENTIFIERS, RUNTIMES

_ROLE: Final = re.compile(r"arn:aws[a-zA-Z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
# AWS: the model knows them still, and layers may name them, but no function can have them (recorded one by one).
_RETIRED: Final = frozenset((
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x",
    "nodejs12.x", "nodejs14.x", "java8", "python2.7", "python3.6", "python3.7", "dotnetcore1.0",
    "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "go1.x", "ruby2.5", "ruby2.7", "provided",
))  # fmt: skip
_NOT_BUILT: Final = (
    "KMSKeyArn",
    "FileSystemConfigs",
    "CodeSigningConfigArn",
    "ImageConfig",
    "TenancyConfig",
    "CapacityProviderConfig",
    "DurableConfig",
    "RuntimeConfig",
    "AcceleratorConfig",
    "PublishTo",
)
_RESERVED_KEYS: Final = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
    ]
)
_LEVELS: Final = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
_ENVIRONMENT_LIMIT: Final = 4096


def invalid(message: str) -> AwsError:
    """The error of most of Lambda's validations."""
    return AwsError("InvalidParameterValueException", message)


def out_of_bounds(message: str) -> AwsError:
    """As `invalid`. AWS: some checks of numbers that hang together do not say whose fault it is (recorded)."""
    return AwsError("InvalidParameterValueException", message, fields={"Type": None})


def page_size(request: Mapping[str, Any], largest: int = 50) -> int:
    """`MaxItems`, at most what AWS gives in a page."""
    return min(int(request.get("MaxItems") or largest), largest)


def check_revision(config: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    """Refuse a change that was meant for another revision of a function or an alias."""
    wanted = request.get("RevisionId")
    if wanted and wanted != config["RevisionId"]:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
        )


def check_layer_runtimes(runtimes: Sequence[str]) -> None:
    """Refuse a layer that says it is for a runtime that there is not. Raises AwsError."""
    if not _RETIRED.union(IDENTIFIERS.split(", ")).issuperset(runtimes):
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '[{', '.join(runtimes)}]' at 'compatibleRuntimes' failed to satisfy "
            f"constraint: Member must satisfy enum value set: [{IDENTIFIERS}]",
        )


def check_compatible_runtime(request: Mapping[str, Any]) -> None:
    """Refuse to list the layers of a runtime that there is not. Raises AwsError."""
    wanted = request.get("CompatibleRuntime")
    known = (*IDENTIFIERS.split(", "), *sorted(_RETIRED))
    if wanted and wanted not in known:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{wanted}' at 'compatibleRuntime' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(known)}]",
        )


IN_PART: Final = (
    *_NOT_BUILT,
    "Architectures of another machine",
    "PackageType: Image",
    "Runtime of another family",
    "SnapStart.ApplyOn: PublishedVersions",
    "TracingConfig.Mode: Active",
    "VpcConfig",
)
"""What the configuration of a function refuses."""


def timestamp(now: int) -> str:
    """`LastModified` as Lambda prints it."""
    instant = datetime.fromtimestamp(now / 1000, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now % 1000:03d}+0000"


def refuse_unbuilt(request: Mapping[str, Any]) -> None:
    """Refuse by name what is modelled but not built, where the request gives it content."""
    for name in _NOT_BUILT:
        if request.get(name):
            raise refuse(f"Lambda's {name}")
    vpc = request.get("VpcConfig") or {}
    if vpc.get("SubnetIds") or vpc.get("SecurityGroupIds"):
        raise refuse("Lambda's VpcConfig")
    if (request.get("SnapStart") or {}).get("ApplyOn", "None") != "None":
        raise refuse("Lambda's SnapStart")
    if (request.get("TracingConfig") or {}).get("Mode", "PassThrough") != "PassThrough":
        raise refuse("Lambda's TracingConfig Active")
    if request.get("PackageType", "Zip") != "Zip":
        raise refuse("Lambda's PackageType Image")


def architecture_of(machine: str) -> str:
    """A processor's architecture by Lambda's name."""
    return {"aarch64": "arm64", "amd64": "x86_64"}.get(machine.lower(), machine)


def check(request: Mapping[str, Any], architecture: str) -> None:
    """Check the members of a request that make a configuration, for a machine of `architecture`. Raises AwsError."""
    refuse_unbuilt(request)
    for wanted in request.get("Architectures") or ():
        if wanted != architecture:
            raise refuse(f"Lambda's Architectures {wanted} on a machine that is {architecture}")
    if "Runtime" in request:
        _check_runtime(request["Runtime"])
    if "Role" in request and _ROLE.fullmatch(request["Role"]) is None:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{request['Role']}' at 'role' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: "
            r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        )
    # AWS: the model's own bounds (5400 s, 32768 MB) are those of managed instances.
    for name, limit in (("Timeout", 900), ("MemorySize", 10_240)):
        if request.get(name, 0) > limit:
            member = name[0].lower() + name[1:]
            raise invalid(
                f"1 validation error detected: Value '{request[name]}' at '{member}' failed to satisfy constraint: "
                f"Member must have value less than or equal to {limit}"
            )
    _check_environment((request.get("Environment") or {}).get("Variables") or {})


def _check_runtime(runtime: str) -> None:
    if runtime not in IDENTIFIERS.split(", ") and runtime not in _RETIRED:
        raise invalid(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{IDENTIFIERS}] or be a valid ARN"
        )
    if runtime in DEPRECATED or runtime in _RETIRED:
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime not in RUNTIMES:
        raise refuse(f"the Lambda runtime {runtime}")


def _check_environment(variables: Mapping[str, str]) -> None:
    refused = sorted(_RESERVED_KEYS.intersection(variables))
    if refused:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(refused)}"
        )
    text = orjson.dumps(variables)
    if len(text) > _ENVIRONMENT_LIMIT:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {text.decode()}"
        )


def new_configuration(
    request: Mapping[str, Any], arn: str, architecture: str, now: int, revision: str
) -> dict[str, Any]:
    """The configuration of a function that a checked CreateFunction asks for; the code is added by the caller."""
    for name, member in (("Runtime", "runtime"), ("Handler", "handler")):
        if not request.get(name):
            raise invalid(
                f"{name} and handler are mandatory parameters for functions created with deployment packages."
                if name == "Runtime"
                else f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
                "Member must not be null"
            )
    name = arn.rsplit(":", 1)[-1]
    config: dict[str, Any] = {
        "FunctionName": name,
        "FunctionArn": arn,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "PackageType": "Zip",
        "Architectures": request.get("Architectures") or [architecture],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
    merge(config, request, now, revision)
    return config


def merge(config: dict[str, Any], request: Mapping[str, Any], now: int, revision: str) -> None:
    """Apply the configuration members of a checked request in place."""
    for name in (
        "Runtime",
        "Role",
        "Handler",
        "Description",
        "Timeout",
        "MemorySize",
        "EphemeralStorage",
    ):
        if name in request:
            config[name] = request[name]
    if "Environment" in request:
        variables = request["Environment"].get("Variables")
        config.pop("Environment", None)
        if variables is not None:
            config["Environment"] = {"Variables": variables}
    if "Runtime" in request:
        config["RuntimeVersionConfig"] = _runtime_version(config)
    if "LoggingConfig" in request:
        config["LoggingConfig"] = _logging(config["LoggingConfig"], request["LoggingConfig"])
    if "DeadLetterConfig" in request:
        config.pop("DeadLetterConfig", None)
        if target := request["DeadLetterConfig"].get("TargetArn"):
            config["DeadLetterConfig"] = {"TargetArn": target}
    config["LastModified"] = timestamp(now)
    config["RevisionId"] = revision


def _logging(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """How a function logs from now on. Raises AwsError for levels of a text, which has none."""
    merged = {**config, **changes}
    if merged["LogFormat"] == "JSON":
        return {**_LEVELS, **merged}
    if not _LEVELS.keys().isdisjoint(changes):
        # AWS: the text as users of CloudFormation have reported it.
        raise AwsError(
            "InvalidParameterValueException",
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change'
            ' the LogFormat to "Json" and try again.',
        )
    return {name: value for name, value in merged.items() if name not in _LEVELS}


def _runtime_version(config: Mapping[str, Any]) -> dict[str, str]:
    """The build of the runtime. There is one of each here, that of this machine."""
    region = config["FunctionArn"].split(":")[3]
    digest = hashlib.sha256(config["Runtime"].encode()).hexdigest()
    return {"RuntimeVersionArn": f"arn:aws:lambda:{region}::runtime:{digest}"}


# AWS: a function is created, and every change of it applied, in a while: the answer tells that it has begun, under a
# revision of its own. Here the change is done when the answer leaves, so that whoever looks again finds it so.
_CREATING: Final = "The function is being created."


def created(config: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """How a function, or a version made with an update, is told while it is made."""
    return {
        **{name: value for name, value in config.items() if name != "LastUpdateStatus"},
        "State": "Pending",
        "StateReason": _CREATING,
        "StateReasonCode": "Creating",
        "RevisionId": revision,
    }


def updating(config: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """How a function is told while it is changed."""
    return {
        **config,
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": _CREATING,
        "LastUpdateStatusReasonCode": "Creating",
        "RevisionId": revision,
    }


def listed(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a function is told in a list."""
    hidden = ("State", "LastUpdateStatus", "RuntimeVersionConfig")
    return {name: value for name, value in config.items() if name not in hidden}
