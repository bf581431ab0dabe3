"""The Lambda API, as boto3 and HTTP clients see it: versions, aliases, layers, URLs, permissions, provisioned concurrency."""

import base64
import io
import json
import socket
import sys
import threading
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError

from tests.trust import TRUST

Aws = Callable[..., Any]
Create = Callable[..., str]
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ACCOUNT = "000000000000"
CODE = """
import os

def handler(event, context):
    return {
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
    }
"""

# Tells that it runs, and runs until it is let go.
HELD = """
import socket

def handler(event, context):
    with socket.create_connection(("127.0.0.1", event["port"])) as held:
        held.recv(1)
    return "old"
"""


def zipped(**files: str) -> bytes:
    """An archive, the same each time; in names `__` stands for a slash."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name.replace('__', '/')}.py"), text)
    return data.getvalue()


@pytest.fixture
def create(functions: Any, role: str, unique: str) -> Iterator[Create]:
    """Create the test's function; it is deleted in the end."""

    def new(code: str = CODE, **options: Any) -> str:
        functions.create_function(
            FunctionName=unique,
            **{
                "Runtime": RUNTIME,
                "Role": role,
                "Handler": "app.handler",
                "Code": {"ZipFile": zipped(app=code)},
                "Timeout": 10,
                **options,
            },
        )
        return unique

    yield new
    try:
        functions.delete_function(FunctionName=unique)
    except functions.exceptions.ResourceNotFoundException:
        return


def call(functions: Any, name: str, event: Any = None, **options: Any) -> Any:
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event or {}), **options)
    return json.loads(answer["Payload"].read())


def refusal(operation: Callable[..., Any], **request: Any) -> tuple[str, str]:
    """The code and the text with which a request is refused."""
    with pytest.raises(ClientError) as refused:
        operation(**request)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of an HTTP answer; a POST when there is a body."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, fields)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, _lower(answer.headers), answer.read()
    except HTTPError as error:
        return error.code, _lower(error.headers), error.read()


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


# Functions and versions.


def test_states(functions: Any, role: str, unique: str) -> None:
    """Tools wait for Active and Successful, and the transition itself is a new revision."""
    created = functions.create_function(
        FunctionName=unique,
        Runtime=RUNTIME,
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": zipped(app=CODE)},
    )
    assert ("Pending", "Creating") == (created["State"], created["StateReasonCode"])
    assert "LastUpdateStatus" not in created
    functions.get_waiter("function_active_v2").wait(FunctionName=unique)
    active = functions.get_function(FunctionName=unique)["Configuration"]
    assert ("Active", "Successful") == (active["State"], active["LastUpdateStatus"])
    assert created["RevisionId"] != active["RevisionId"]
    stale = refusal(
        functions.update_function_configuration,
        FunctionName=unique,
        Timeout=4,
        RevisionId=created["RevisionId"],
    )
    assert "PreconditionFailedException" == stale[0]
    updated = functions.update_function_configuration(
        FunctionName=unique, Timeout=4, RevisionId=active["RevisionId"]
    )
    assert "InProgress" == updated["LastUpdateStatus"]
    functions.get_waiter("function_updated_v2").wait(FunctionName=unique)
    functions.delete_function(FunctionName=unique)


def test_concurrent_updates(functions: Any, create: Create) -> None:
    """Two deployments at once must not be mixed: of updates that overlap, one is refused."""
    name = create()
    big = io.BytesIO()
    with zipfile.ZipFile(big, "w") as archive:
        archive.writestr("app.py", CODE)
        archive.writestr("ballast", bytes(8_000_000))
    told: Counter[str] = Counter()
    gate = threading.Barrier(4)

    def update(_: int) -> None:
        gate.wait()
        try:
            functions.update_function_code(FunctionName=name, ZipFile=big.getvalue())
            told["done"] += 1
        except functions.exceptions.ResourceConflictException as refused:
            assert f"An update is in progress for resource: {arn(name)}" in str(refused)
            told["refused"] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, range(4)))
    assert 4 == told["done"] + told["refused"]
    assert told["done"] >= 1
    assert told["refused"] >= 1


def test_update_while_running(functions: Any, create: Create) -> None:
    """An event that runs ends with the code it began with; the next one has the new code."""
    name = create(HELD)
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as told:
        told.settimeout(30)
        running = pool.submit(call, functions, name, {"port": told.getsockname()[1]})
        with told.accept()[0]:
            code = "def handler(event, context): return 'new'"
            functions.update_function_code(FunctionName=name, ZipFile=zipped(app=code))
            assert "new" == call(functions, name)
            assert not running.done()
        assert "old" == running.result()


def test_publish_with_update(functions: Any, create: Create) -> None:
    """Publish in CreateFunction and UpdateFunctionCode answers with the version that it made."""
    name = create(Publish=True)
    again = functions.publish_version(FunctionName=name)
    assert ("1", "Active") == (again["Version"], again["State"])
    code = zipped(app=CODE + "# more")
    updated = functions.update_function_code(FunctionName=name, ZipFile=code, Publish=True)
    assert ("2", f"{arn(name)}:2", "Pending") == (
        updated["Version"],
        updated["FunctionArn"],
        updated["State"],
    )
    listed = functions.list_versions_by_function(FunctionName=name)["Versions"]
    assert ["$LATEST", "1", "2"] == [version["Version"] for version in listed]
    assert not any("State" in version for version in listed)


def test_code_download(functions: Any, create: Create) -> None:
    """Tools download a function's package from the link in GetFunction, without credentials."""
    name = create()
    location = functions.get_function(FunctionName=name)["Code"]["Location"]
    status, _, package = fetch(location)
    assert (200, zipped(app=CODE)) == (status, package)
    assert 403 == fetch(location[:-1] + ("0" if location[-1] != "0" else "1"))[0]
    assert 403 == fetch(location.replace("until=", "until=9"))[0]


def test_names(functions: Any, create: Create, role: str) -> None:
    """Every form of a function's name that AWS takes leads to the function."""
    name = create()
    for form in (name, f"function:{name}", f"{ACCOUNT}:function:{name}", arn(name)):
        found = functions.get_function_configuration(FunctionName=form)
        assert arn(name) == found["FunctionArn"]
    latest = functions.get_function_configuration(FunctionName=f"{arn(name)}:$LATEST")
    assert f"{arn(name)}:$LATEST" == latest["FunctionArn"]
    assert (
        "ResourceNotFoundException",
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    ) == refusal(functions.get_function, FunctionName=arn(name).replace("us-east-1", "eu-west-1"))
    assert (
        "AccessDeniedException"
        == refusal(
            functions.delete_function, FunctionName=arn(name).replace(ACCOUNT, "111111111111")
        )[0]
    )


def test_delete_version(functions: Any, create: Create) -> None:
    """A version goes alone, not while an alias names it, and its number is not used again."""
    name = create(Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert (
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
    ) == refusal(functions.delete_function, FunctionName=name, Qualifier="1")
    functions.delete_alias(FunctionName=name, Name="live")
    functions.delete_function(FunctionName=name, Qualifier="1")
    functions.delete_function(FunctionName=name, Qualifier="1")
    assert "2" == functions.publish_version(FunctionName=name)["Version"]
    assert (
        "InvalidParameterValueException",
        "Deletion of aliases is not currently supported.",
    ) == refusal(functions.delete_function, FunctionName=name, Qualifier="live")


@pytest.mark.parametrize(
    "options",
    [
        {"Code": {"ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/f:1"}},
        {
            "CodeSigningConfigArn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:code-signing-config:csc-{'0' * 17}"
        },
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        {"TracingConfig": {"Mode": "Active"}},
    ],
)
def test_what_is_not_built_is_refused_by_name(create: Create, options: dict[str, Any]) -> None:
    """A setting that has no effect here must not look as if it had."""
    with pytest.raises(ClientError) as refused:
        create(**options)
    assert "NotImplemented" == refused.value.response["Error"]["Code"]


# Aliases.


def test_alias(functions: Any, create: Create) -> None:
    """An alias runs the version that it names, under its own ARN, and can be moved to another one."""
    name = create(Publish=True)
    functions.update_function_configuration(FunctionName=name, Timeout=9)
    functions.publish_version(FunctionName=name)
    made = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert f"{arn(name)}:live" == made["AliasArn"]
    answer = call(functions, name, Qualifier="live")
    assert ("1", f"{arn(name)}:live") == (answer["version"], answer["arn"])
    moved = functions.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert made["RevisionId"] != moved["RevisionId"]
    assert "2" == call(functions, f"{name}:live")["version"]
    found = functions.get_function(FunctionName=name, Qualifier="live")["Configuration"]
    assert ("2", f"{arn(name)}:live") == (found["Version"], found["FunctionArn"])
    (listed,) = functions.list_aliases(FunctionName=name, FunctionVersion="2")["Aliases"]
    assert "live" == listed["Name"]
    assert [] == functions.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]


def test_weighted_alias(functions: Any, create: Create) -> None:
    """A canary gets its share of the invocations, each told which version ran."""
    name = create(Publish=True)
    functions.update_function_configuration(FunctionName=name, Timeout=9)
    functions.publish_version(FunctionName=name)
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    functions.create_alias(
        FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing
    )
    seen: Counter[str] = Counter()
    for _ in range(60):
        answer = functions.invoke(FunctionName=name, Qualifier="live", Payload=b"{}")
        assert answer["ExecutedVersion"] == json.loads(answer["Payload"].read())["version"]
        seen[answer["ExecutedVersion"]] += 1
    assert {"1", "2"} == set(seen)
    assert min(seen.values()) > 10
    functions.update_alias(
        FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}}
    )
    assert {"2"} == {call(functions, name, Qualifier="live")["version"] for _ in range(10)}


def test_alias_refusals(functions: Any, create: Create) -> None:
    """What an alias cannot be is told in AWS's words."""
    name = create(Publish=True)

    def make(**request: Any) -> tuple[str, str]:
        given = {"Name": "live", "FunctionVersion": "1", **request}
        return refusal(functions.create_alias, FunctionName=name, **given)

    def weights(**versions: float) -> dict[str, Any]:
        return {"AdditionalVersionWeights": {key[1:]: each for key, each in versions.items()}}

    invalid = "InvalidParameterValueException"
    assert (
        invalid,
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ) == make(RoutingConfig=weights(_1=0.5, _2=0.2))
    assert (
        invalid,
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
    ) == make(RoutingConfig=weights(_1=0.5))
    assert (
        invalid,
        "$LATEST is not supported for an alias pointing to more than 1 version",
    ) == make(FunctionVersion="$LATEST", RoutingConfig=weights(_1=0.5))
    missing = ("ResourceNotFoundException", f"Function not found: {arn(name)}:7")
    assert missing == make(FunctionVersion="7")
    assert missing == make(RoutingConfig=weights(_7=0.5))
    assert "ValidationException" == make(Name="2024")[0]
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert (
        "ResourceConflictException",
        f"Alias already exists: {arn(name)}:live",
    ) == make()
    assert (
        "ResourceNotFoundException",
        f"Cannot find alias arn: {arn(name)}:other",
    ) == refusal(functions.get_alias, FunctionName=name, Name="other")
    assert (
        "ResourceNotFoundException",
        f"Alias not found: {arn(name)}:other",
    ) == refusal(functions.update_alias, FunctionName=name, Name="other")
    functions.delete_alias(FunctionName=name, Name="other")


def test_event_keeps_its_qualifier(
    aws: Aws, functions: Any, role: str, create: Create, unique: str
) -> None:
    """An event that was accepted for an alias runs the alias's version, not `$LATEST`."""
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName=unique)["QueueUrl"]
    code = """
import os, boto3
def handler(event, context):
    told = f"{context.function_version} {context.invoked_function_arn}"
    boto3.client("sqs").send_message(QueueUrl=os.environ["SEEN"], MessageBody=told)
"""
    name = create(code, Publish=True, Environment={"Variables": {"SEEN": url}})
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    accepted = functions.invoke(FunctionName=name, Qualifier="live", InvocationType="Event")
    assert 202 == accepted["StatusCode"]
    assert "ExecutedVersion" not in accepted
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=15)["Messages"]
    assert f"1 {arn(name)}:live" == message["Body"]
    assert 202 == functions.invoke_async(FunctionName=name, InvokeArgs=b"{}")["Status"]
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=15)["Messages"]
    assert "$LATEST" == message["Body"].partition(" ")[0]


# Layers.


@pytest.fixture
def layer(functions: Any, unique: str) -> Callable[..., Any]:
    """Publish a version of a layer that is named after the test."""

    def publish(suffix: str = "layer", client: Any = None, **files: str) -> Any:
        return (client or functions).publish_layer_version(
            LayerName=f"{unique}-{suffix}",
            Content={"ZipFile": zipped(**files)},
            CompatibleRuntimes=[RUNTIME],
        )

    return publish


def test_layers_lie_over_each_other(
    functions: Any, create: Create, layer: Callable[..., Any]
) -> None:
    """A function finds its layers' modules, and where two have the same file, the later one's."""
    below = layer("below", python__shared="WHO = 'below'", python__alone="HERE = True")
    above = layer("above", python__shared="WHO = 'above'")
    code = "import shared, alone\ndef handler(event, context): return [shared.WHO, alone.HERE]"
    arns = [below["LayerVersionArn"], above["LayerVersionArn"]]
    name = create(code, Layers=arns)
    assert ["above", True] == call(functions, name)
    functions.update_function_configuration(FunctionName=name, Layers=arns[::-1])
    assert ["below", True] == call(functions, name)
    told = functions.get_function_configuration(FunctionName=name)["Layers"]
    assert arns[::-1] == [each["Arn"] for each in told]
    assert all(each["CodeSize"] > 0 for each in told)
    for version in (below, above):
        functions.delete_layer_version(
            LayerName=version["LayerArn"], VersionNumber=version["Version"]
        )
    functions.update_function_code(FunctionName=name, ZipFile=zipped(app=code + "\n"))
    assert ["below", True] == call(functions, name)
    functions.update_function_configuration(FunctionName=name, Layers=[])
    assert "Layers" not in functions.get_function_configuration(FunctionName=name)


def test_layer_versions(functions: Any, layer: Callable[..., Any], unique: str) -> None:
    """Versions are numbered for good, listed newest first, and downloaded from their link."""
    first, second = layer(python__a="1"), layer(python__a="2")
    assert [1, 2] == [first["Version"], second["Version"]]
    assert zipped(python__a="2") == fetch(second["Content"]["Location"])[2]
    found = functions.get_layer_version_by_arn(Arn=second["LayerVersionArn"])
    assert second["Content"]["CodeSha256"] == found["Content"]["CodeSha256"]
    name = f"{unique}-layer"
    page = functions.list_layer_versions(LayerName=name, MaxItems=1)
    assert [2] == [version["Version"] for version in page["LayerVersions"]]
    rest = functions.list_layer_versions(LayerName=name, Marker=page["NextMarker"])
    assert [1] == [version["Version"] for version in rest["LayerVersions"]]
    functions.delete_layer_version(LayerName=name, VersionNumber=2)
    assert 3 == layer(python__a="3")["Version"]
    listed = {
        each["LayerName"]: each["LatestMatchingVersion"]["Version"]
        for each in functions.list_layers(CompatibleRuntime=RUNTIME)["Layers"]
    }
    assert 3 == listed[name]
    others = functions.list_layers(CompatibleRuntime="ruby3.4")["Layers"]
    assert name not in [each["LayerName"] for each in others]
    assert (
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    ) == refusal(functions.get_layer_version, LayerName=name, VersionNumber=2)
    assert (
        "InvalidParameterValueException",
        "Layer Version Cannot be less than 1",
    ) == refusal(functions.get_layer_version, LayerName=name, VersionNumber=0)


def test_layer_refusals(functions: Any, create: Create, layer: Callable[..., Any]) -> None:
    """A function that could not run with its layers is refused when it is configured."""
    one, two = layer(python__a="1")["LayerVersionArn"], layer(python__a="2")["LayerVersionArn"]
    name = create()

    def use(*arns: str) -> tuple[str, str]:
        return refusal(
            functions.update_function_configuration, FunctionName=name, Layers=list(arns)
        )

    invalid = "InvalidParameterValueException"
    assert (
        invalid,
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{one} and {two} are versions of the same layer.",
    ) == use(one, two)
    gone = one.replace(":1", ":9")
    assert (invalid, f"Layer version {gone} does not exist.") == use(gone)
    assert (invalid, "Cannot reference more than 5 layers.") == use(*[one] * 6)
    assert (
        invalid,
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
    ) == use(one.replace("us-east-1", "eu-west-1"))


def test_layer_permissions(
    functions: Any, create: Create, layer: Callable[..., Any], connect: Any, endpoint: str
) -> None:
    """Another account uses a layer only once its owner lets it."""
    other = connect(endpoint, "lambda", aws_access_key_id="222222222222")
    version = layer(client=other, python__theirs="WHOSE = 'theirs'")
    code = "import theirs\ndef handler(event, context): return theirs.WHOSE"
    name = create(code)
    use = {"FunctionName": name, "Layers": [version["LayerVersionArn"]]}
    assert "AccessDeniedException" == refusal(functions.update_function_configuration, **use)[0]
    which = {"LayerName": version["LayerArn"], "VersionNumber": 1}
    share = {"Action": "lambda:GetLayerVersion", "StatementId": "s", "Principal": ACCOUNT}
    added = other.add_layer_version_permission(**which, **share)
    functions.update_function_configuration(**use)
    assert "theirs" == call(functions, name)
    policy = other.get_layer_version_policy(**which)
    assert added["RevisionId"] == policy["RevisionId"]
    assert json.loads(added["Statement"]) == json.loads(policy["Policy"])["Statement"][0]
    assert (
        "ResourceConflictException"
        == refusal(other.add_layer_version_permission, **which, **share)[0]
    )
    other.remove_layer_version_permission(**which, StatementId="s")
    assert (
        "ResourceNotFoundException",
        "No policy is associated with the given resource.",
    ) == refusal(other.get_layer_version_policy, **which)


# Permissions and tags.


def test_permissions_by_qualifier(functions: Any, create: Create) -> None:
    """A function, its versions and its aliases have policies of their own, each under its revision."""
    name = create(Publish=True)
    alias = functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    permit = {
        "FunctionName": name,
        "StatementId": "s3",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
    }
    functions.add_permission(**permit)
    added = functions.add_permission(
        **permit, Qualifier="live", RevisionId=alias["RevisionId"], SourceAccount=ACCOUNT
    )
    assert f"{arn(name)}:live" == json.loads(added["Statement"])["Resource"]
    assert "ResourceConflictException" == refusal(functions.add_permission, **permit)[0]
    absent = ("ResourceNotFoundException", "The resource you requested does not exist.")
    assert absent == refusal(functions.get_policy, FunctionName=name, Qualifier="1")
    policy = functions.get_policy(FunctionName=name, Qualifier="live")
    (statement,) = json.loads(policy["Policy"])["Statement"]
    assert {"StringEquals": {"AWS:SourceAccount": ACCOUNT}} == statement["Condition"]
    more = {**permit, "StatementId": "sns", "Qualifier": "live"}
    assert (
        "PreconditionFailedException"
        == refusal(functions.add_permission, **more, RevisionId="wrong")[0]
    )
    functions.add_permission(**more, RevisionId=policy["RevisionId"])
    functions.remove_permission(FunctionName=name, Qualifier="live", StatementId="s3")
    functions.remove_permission(FunctionName=name, StatementId="s3")
    assert absent == refusal(functions.get_policy, FunctionName=name)
    assert (
        "InvalidParameterValueException",
        "We currently do not support adding policies for $LATEST.",
    ) == refusal(functions.add_permission, **permit, Qualifier="$LATEST")
    assert (
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
    ) == refusal(functions.add_permission, **{**permit, "Principal": "nobody.example.com"})


def test_tags(functions: Any, create: Create) -> None:
    """A function has up to fifty tags; its versions have none."""
    name = create(Publish=True)
    for number in range(0, 50, 25):
        tags = {f"key-{each}": "v" for each in range(number, number + 25)}
        functions.tag_resource(Resource=arn(name), Tags=tags)
    assert (
        "InvalidParameterValueException",
        "Number of tags exceeds resource tag limit.",
    ) == refusal(functions.tag_resource, Resource=arn(name), Tags={"one": "more"})
    functions.untag_resource(Resource=arn(name), TagKeys=[f"key-{each}" for each in range(49)])
    assert {"key-49": "v"} == functions.list_tags(Resource=arn(name))["Tags"]
    assert (
        "InvalidParameterValueException",
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    ) == refusal(functions.list_tags, Resource=f"{arn(name)}:1")


def test_account_settings(functions: Any, create: Create, layer: Callable[..., Any]) -> None:
    """The account's use counts functions, their versions and layers."""
    before = functions.get_account_settings()["AccountUsage"]
    name = create(Publish=True)
    version = layer(python__a="1")
    after = functions.get_account_settings()["AccountUsage"]
    size = functions.get_function_configuration(FunctionName=name)["CodeSize"]
    grown = 2 * size + version["Content"]["CodeSize"]
    assert after["TotalCodeSize"] - before["TotalCodeSize"] == grown
    assert after["FunctionCount"] - before["FunctionCount"] == 1


def test_recursion_config(functions: Any, create: Create) -> None:
    """A function that is meant to call itself can be let go on."""
    name = create()
    assert (
        "Terminate" == functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"]
    )
    functions.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert "Allow" == functions.get_function_recursion_config(FunctionName=name)["RecursiveLoop"]


# Function URLs.

ECHO = "def handler(event, context): return event"
SAY = "import json\ndef handler(event, context): return json.loads(event['body'])"


@pytest.fixture
def url(functions: Any, create: Create) -> Callable[..., str]:
    """Create the test's function with a URL that anybody may call."""

    def make(code: str, **options: Any) -> str:
        name = create(code)
        config = functions.create_function_url_config(
            FunctionName=name, **{"AuthType": "NONE", **options}
        )
        functions.add_permission(
            FunctionName=name,
            StatementId="url",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
        return str(config["FunctionUrl"])

    return make


def test_url_event(url: Callable[..., str]) -> None:
    """A function behind a URL gets the request in payload format 2.0."""
    address = url(ECHO)
    status, headers, body = fetch(
        f"{address}a%20b/c?x=1&y=2&x=3",
        b'{"k":1}',
        content_type="application/json",
        cookie="a=1; b=2",
    )
    event = json.loads(body)
    assert (200, "application/json") == (status, headers["content-type"])
    assert ("2.0", "$default") == (event["version"], event["routeKey"])
    assert ("/a%20b/c", "x=1&y=2&x=3") == (event["rawPath"], event["rawQueryString"])
    assert {"x": "1,3", "y": "2"} == event["queryStringParameters"]
    assert ('{"k":1}', False) == (event["body"], event["isBase64Encoded"])
    assert ["a=1", "b=2"] == event["cookies"]
    context = event["requestContext"]
    assert ("anonymous", "$default") == (context["accountId"], context["stage"])
    assert ("POST", "/a b/c") == (context["http"]["method"], context["http"]["path"])
    assert headers["x-amzn-requestid"] == context["requestId"]
    _, _, body = fetch(address, b"\x00\xff", content_type="application/octet-stream")
    event = json.loads(body)
    assert (b"\x00\xff", True) == (base64.b64decode(event["body"]), event["isBase64Encoded"])
    assert "body" not in json.loads(fetch(address)[2])


@pytest.mark.parametrize(
    ("answer", "status", "kind", "body"),
    [
        ({"hello": "world"}, 200, "application/json", b'{"hello":"world"}'),
        ("hello", 200, "application/json", b"hello"),
        (["hello", 3, True], 200, "application/json", b'["hello",3,true]'),
        (3.1, 200, "application/json", b"3.1"),
        (None, 200, "application/json", b"null"),
        ({"statusCode": 201, "body": "made"}, 201, "application/json", b"made"),
        ({"statusCode": "418", "body": "teapot"}, 418, "application/json", b"teapot"),
        (
            {"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": "AP8=", "isBase64Encoded": True},
            200,
            "image/png",
            b"\x00\xff",
        ),
        ({"statusCode": "many"}, 502, "application/json", b"Internal Server Error"),
    ],
    ids=["map", "text", "list", "number", "nothing", "status", "text-status", "binary", "wrong"],
)  # fmt: skip
def test_url_response(
    url: Callable[..., str], answer: Any, status: int, kind: str, body: bytes
) -> None:
    """What a function returns becomes the response, with or without a status of its own."""
    told = fetch(url(SAY), json.dumps(answer).encode(), content_type="application/json")
    assert (status, kind, body) == (told[0], told[1]["content-type"], told[2])


def test_url_failure(url: Callable[..., str]) -> None:
    """The client of a function that failed is not told why."""
    status, _, body = fetch(url("def handler(event, context): raise ValueError('secret')"))
    assert (502, b"Internal Server Error") == (status, body)


def test_url_needs_permission(functions: Any, create: Create) -> None:
    """A URL is open to nobody until a policy opens it, and to nobody once it is gone."""
    name = create(ECHO)
    made = functions.create_function_url_config(FunctionName=name, AuthType="NONE")
    status, headers, body = fetch(made["FunctionUrl"])
    assert (403, "AccessDeniedException") == (status, headers["x-amzn-errortype"])
    assert b"urls-auth.html" in body
    again = refusal(functions.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert (
        "ResourceConflictException",
        f"Failed to create function url config for [functionArn = {arn(name)}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function",
    ) == again
    functions.delete_function_url_config(FunctionName=name)
    assert (403, b'{"Message":null}') == fetch(made["FunctionUrl"])[::2]
    assert (
        "NotImplemented"
        == refusal(
            functions.create_function_url_config,
            FunctionName=name,
            AuthType="NONE",
            InvokeMode="RESPONSE_STREAM",
        )[0]
    )


def test_url_of_an_alias(functions: Any, create: Create) -> None:
    """An alias has a URL of its own, which goes with it, under a host name as well as by path."""
    name = create(ECHO, Publish=True)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    made = functions.create_function_url_config(
        FunctionName=name, Qualifier="live", AuthType="NONE"
    )
    functions.add_permission(
        FunctionName=name,
        Qualifier="live",
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    base, _, rest = made["FunctionUrl"].partition("/_aws/lambda-url/")
    domain = f"{rest.strip('/')}.lambda-url.us-east-1.example.com"
    status, _, body = fetch(f"{base}/here", host=domain)
    event = json.loads(body)
    assert (200, "/here") == (status, event["rawPath"])
    assert domain == event["requestContext"]["domainName"]
    (listed,) = functions.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    assert f"{arn(name)}:live" == listed["FunctionArn"]
    functions.delete_alias(FunctionName=name, Name="live")
    assert 403 == fetch(made["FunctionUrl"])[0]
    assert [] == functions.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]


def test_url_with_iam(url: Callable[..., str]) -> None:
    """A URL for signed requests tells the function who signed, and takes nothing unsigned."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    address = url(ECHO, AuthType="AWS_IAM")
    assert 403 == fetch(address)[0]
    request = AWSRequest("GET", address)
    SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
    signed = {name.replace("-", "_"): value for name, value in request.headers.items()}
    status, _, body = fetch(address, **signed)
    iam = json.loads(body)["requestContext"]["authorizer"]["iam"]
    assert (200, "test", ACCOUNT) == (status, iam["accessKey"], iam["accountId"])


def test_url_cors(url: Callable[..., str]) -> None:
    """Browsers of the origins that were configured may call the URL; the function need not know."""
    cors = {
        "AllowOrigins": ["https://app.example.com"],
        "AllowMethods": ["POST"],
        "AllowHeaders": ["content-type"],
        "AllowCredentials": True,
        "MaxAge": 60,
    }
    address = url(ECHO, Cors=cors)
    ask = urllib.request.Request(
        address,
        method="OPTIONS",
        headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"},
    )
    with urllib.request.urlopen(ask) as answer:
        assert b"" == answer.read()
        told = {name.lower(): value for name, value in answer.headers.items()}
    assert "https://app.example.com" == told["access-control-allow-origin"]
    assert ("POST", "content-type", "60") == (
        told["access-control-allow-methods"],
        told["access-control-allow-headers"],
        told["access-control-max-age"],
    )
    mine = fetch(address, b"{}", origin="https://app.example.com")[1]
    assert "https://app.example.com" == mine["access-control-allow-origin"]
    theirs = fetch(address, b"{}", origin="https://evil.example.com")[1]
    assert "access-control-allow-origin" not in theirs


# Provisioned concurrency.


def settled(functions: Any, name: str, qualifier: str) -> dict[str, Any]:
    """The provisioned concurrency of a qualifier, once it is no longer in progress."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = functions.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] != "IN_PROGRESS":
            return dict(found)
        time.sleep(0.02)
    raise AssertionError("still in progress")


def test_provisioned_concurrency(functions: Any, create: Create) -> None:
    """Environments are initialised before anybody asks, move with their alias, and go with it."""
    name = create(Publish=True)
    functions.update_function_configuration(FunctionName=name, Timeout=9)
    functions.publish_version(FunctionName=name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    put = functions.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=2
    )
    assert ("IN_PROGRESS", 0) == (put["Status"], put["AllocatedProvisionedConcurrentExecutions"])
    ready = settled(functions, name, "live")
    assert ("READY", 2) == (ready["Status"], ready["AvailableProvisionedConcurrentExecutions"])
    assert "provisioned-concurrency" == call(functions, name, Qualifier="live")["kind"]
    assert "provisioned-concurrency" == call(functions, name, Qualifier="1")["kind"]
    assert "on-demand" == call(functions, name, Qualifier="2")["kind"]
    assert (
        "ResourceConflictException",
        "Version is pointed by a Provisioned Concurrency alias",
    ) == refusal(
        functions.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="1",
        ProvisionedConcurrentExecutions=1,
    )
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert "READY" == settled(functions, name, "live")["Status"]
    moved = call(functions, name, Qualifier="live")
    assert ("2", "provisioned-concurrency") == (moved["version"], moved["kind"])
    assert "on-demand" == call(functions, name, Qualifier="1")["kind"]
    functions.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert "on-demand" == call(functions, name, Qualifier="live")["kind"]
    configs = functions.list_provisioned_concurrency_configs(FunctionName=name)
    assert [] == configs["ProvisionedConcurrencyConfigs"]


def test_provisioned_concurrency_that_fails(functions: Any, create: Create) -> None:
    """A version that cannot be initialised is told to have failed, and can still be invoked."""
    code = """
import os
if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency":
    raise ValueError("not beforehand")
def handler(event, context): return "ran"
"""
    name = create(code, Publish=True)
    functions.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    failed = settled(functions, name, "1")
    assert ("FAILED", "FUNCTION_ERROR_INIT_FAILURE") == (failed["Status"], failed["StatusReason"])
    assert "ran" == call(functions, name, Qualifier="1")


def test_provisioned_concurrency_has_its_places(functions: Any, create: Create) -> None:
    """What is provisioned comes out of the function's reservation, and of nobody else's share."""
    name = create(Publish=True)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    put = functions.put_provisioned_concurrency_config
    request = {"FunctionName": name, "Qualifier": "1"}
    assert (
        "InvalidParameterValueException",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    ) == refusal(put, **request, ProvisionedConcurrentExecutions=2)
    put(**request, ProvisionedConcurrentExecutions=1)
    settled(functions, name, "1")
    assert "TooManyRequestsException" == refusal(functions.invoke, FunctionName=name)[0]
    assert "1" == call(functions, name, Qualifier="1")["version"]
    assert (
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  0 should not be lower than function's total provisioned concurrency [1].",
    ) == refusal(
        functions.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=0
    )
    functions.delete_function_concurrency(FunctionName=name)
    exceeded = refusal(put, **request, ProvisionedConcurrentExecutions=5000)
    assert "greater than account's unreserved concurrency" in exceeded[1]
    assert (
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    ) == refusal(put, FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)


def test_restart(launch: Any, connect: Any, tmp_path: Any) -> None:
    """Aliases, layers, URLs and provisioned environments are there again after a crash."""
    server = launch(tmp_path)
    iam = connect(server.endpoint, "iam")
    functions = connect(server.endpoint, "lambda")
    made = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    version = functions.publish_layer_version(
        LayerName="shared", Content={"ZipFile": zipped(python__shared="WHO = 'layer'")}
    )
    code = "import os, shared\ndef handler(event, context): return [shared.WHO, os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']]"
    functions.create_function(
        FunctionName="f",
        Runtime=RUNTIME,
        Role=made["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": zipped(app=code)},
        Layers=[version["LayerVersionArn"]],
        Publish=True,
    )
    functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    functions.put_provisioned_concurrency_config(
        FunctionName="f", Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    server.kill()
    server.start()
    assert "READY" == settled(functions, "f", "live")["Status"]
    assert ["layer", "provisioned-concurrency"] == call(functions, "f", Qualifier="live")


def test_cloudformation(aws: Aws, role: str, unique: str) -> None:
    """A template makes layers, aliases with provisioned concurrency and URLs, changes them and takes them away."""
    s3, stacks, functions = aws("s3"), aws("cloudformation"), aws("lambda")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="layer.zip", Body=zipped(python__shared="WHO = 'layer'"))
    code = "import os, shared\ndef handler(event, context): return shared.WHO"
    alias = {
        "FunctionName": {"Ref": "Function"},
        "FunctionVersion": {"Fn::GetAtt": ["Version", "Version"]},
        "Name": "live",
        "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
    }
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["*"]}
    resources = {
        "Layer": {
            "Type": "AWS::Lambda::LayerVersion",
            "Properties": {"Content": {"S3Bucket": unique, "S3Key": "layer.zip"}},
        },
        "Shared": {
            "Type": "AWS::Lambda::LayerVersionPermission",
            "Properties": {
                "Action": "lambda:GetLayerVersion",
                "LayerVersionArn": {"Ref": "Layer"},
                "Principal": "*",
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Handler": "index.handler",
                "Runtime": RUNTIME,
                "Role": role,
                "Code": {"ZipFile": code},
                "Layers": [{"Ref": "Layer"}],
            },
        },
        "Version": {
            "Type": "AWS::Lambda::Version",
            "Properties": {"FunctionName": {"Ref": "Function"}},
        },
        "Alias": {"Type": "AWS::Lambda::Alias", "Properties": alias},
        "Url": {
            "Type": "AWS::Lambda::Url",
            "Properties": {
                "AuthType": "NONE",
                "TargetFunctionArn": {"Ref": "Function"},
                "Qualifier": "live",
                "Cors": cors,
            },
            "DependsOn": "Alias",
        },
        "Public": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunctionUrl",
                "FunctionName": {"Ref": "Alias"},
                "Principal": "*",
                "FunctionUrlAuthType": "NONE",
            },
        },
    }
    outputs = {"Url": {"Value": {"Fn::GetAtt": ["Url", "FunctionUrl"]}}}

    def template() -> str:
        return json.dumps({"Resources": resources, "Outputs": outputs})

    stacks.create_stack(StackName=unique, TemplateBody=template())
    stacks.get_waiter("stack_create_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100}
    )
    (stack,) = stacks.describe_stacks(StackName=unique)["Stacks"]
    (address,) = [output["OutputValue"] for output in stack["Outputs"]]
    assert (200, b"layer") == fetch(address)[::2]
    found = stacks.describe_stack_resource(StackName=unique, LogicalResourceId="Function")
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    assert "READY" == settled(functions, name, "live")["Status"]
    del alias["ProvisionedConcurrencyConfig"]
    stacks.update_stack(StackName=unique, TemplateBody=template())
    stacks.get_waiter("stack_update_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100}
    )
    configs = functions.list_provisioned_concurrency_configs(FunctionName=name)
    assert [] == configs["ProvisionedConcurrencyConfigs"]
    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 0.2, "MaxAttempts": 100}
    )
    assert 403 == fetch(address)[0]
