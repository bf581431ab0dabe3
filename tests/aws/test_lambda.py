"""Lambda, as boto3 sees it."""

import base64
import io
import json
import platform
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
OTHER_ARCHITECTURE = "arm64" if platform.machine() == "x86_64" else "x86_64"
NO_LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:no-such-layer:1"
NO_QUEUE = "arn:aws:sqs:us-east-1:000000000000:no-such-queue"
CODE = """
import json, os, time
import boto3

def handler(event, context):
    if "Records" in event:
        bodies = [record["body"] for record in event["Records"]]
        print("batch", json.dumps(bodies))
        boto3.client("sqs").send_message(QueueUrl=os.environ["SEEN"], MessageBody=json.dumps(event))
        return {"batchItemFailures": [
            {"itemIdentifier": record["messageId"]} for record in event["Records"] if "bad" in record["body"]]}
    if event.get("fail"):
        raise ValueError("on purpose")
    time.sleep(event.get("sleep", 0))
    return {"event": event, "version": context.function_version}
"""


def zipped(code: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("app.py", code)
    return data.getvalue()


@pytest.fixture
def create(functions: Any, role: str, unique: str) -> Iterator[Callable[..., str]]:
    """Create a function; it is deleted in the end."""

    def new(code: str = CODE, **options: Any) -> str:
        functions.create_function(
            FunctionName=unique,
            **{
                "Runtime": RUNTIME,
                "Role": role,
                "Handler": "app.handler",
                "Code": {"ZipFile": zipped(code)},
                "Timeout": 10,
                **options,
            },
        )
        return unique

    yield new
    for mapping in functions.list_event_source_mappings(FunctionName=unique)["EventSourceMappings"]:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
    try:
        functions.delete_function(FunctionName=unique)
    except functions.exceptions.ResourceNotFoundException:
        return


@pytest.fixture
def queue(aws: Aws, unique: str) -> Callable[[str], tuple[str, str]]:
    """Create a queue; gives its URL and ARN."""
    sqs = aws("sqs")

    def new(suffix: str, **attributes: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=f"{unique}-{suffix}", Attributes=attributes)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    return new


def receive(aws: Aws, url: str, **options: Any) -> dict[str, Any]:
    """The next message, awaited."""
    sqs = aws("sqs")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=15, **options)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return dict(message)


def call(functions: Any, name: str, event: Any, **options: Any) -> Any:
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    return json.loads(answer["Payload"].read())


def error_of(action: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        action()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_invoke(functions: Any, create: Callable[..., str]) -> None:
    """The synchronous call: payload, version, log tail."""
    name = create()
    answer = functions.invoke(FunctionName=name, Payload=b'{"n": 1}', LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"].read()) == {"event": {"n": 1}, "version": "$LATEST"}
    log = base64.b64decode(answer["LogResult"]).decode()
    assert log.startswith(f"START RequestId: {answer['ResponseMetadata']['RequestId']} Version")
    assert "FunctionError" not in answer


SPEAKING = """
import os
os_names = [name for name in os.environ if "PENSTOCK" in name]

def handler(event, context):
    custom = context.client_context.custom if context.client_context else None
    return {"text": "\u65e5", "custom": custom, "foreign": os_names}
"""


def test_text_beyond_ascii_goes_both_ways(functions: Any, create: Callable[..., str]) -> None:
    """Python functions answer in UTF-8 from Python 3.12 on; a client context is JSON, which a header has as ASCII."""
    name = create(SPEAKING, Runtime="python3.12")
    payload = functions.invoke(FunctionName=name)["Payload"].read()
    assert '"text": "日"' in payload.decode()
    assert json.loads(payload)["foreign"] == []
    for custom in ({"a": "é"}, {"a": "日"}, {"a": "\r\nx: y"}):
        document = json.dumps({"custom": custom}, ensure_ascii=False, indent=1)
        context = base64.b64encode(document.encode()).decode()
        assert call(functions, name, {}, ClientContext=context)["custom"] == custom


def test_function_error_is_a_200(functions: Any, create: Callable[..., str]) -> None:
    """A failing function is not a failing call."""
    answer = functions.invoke(FunctionName=create(), Payload=b'{"fail": true}')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    document = json.loads(answer["Payload"].read())
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "on purpose")


def test_invoke_without_payload_and_dry_run(functions: Any, create: Callable[..., str]) -> None:
    """No body is the event `{}`; DryRun runs nothing."""
    name = create()
    answer = functions.invoke(FunctionName=name)
    assert json.loads(answer["Payload"].read())["event"] == {}
    assert functions.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204


def test_invoke_errors(functions: Any, create: Callable[..., str], unique: str) -> None:
    """Texts recorded from AWS."""
    code, message = error_of(lambda: functions.invoke(FunctionName="not-there"))
    assert code == "ResourceNotFoundException"
    assert message.endswith(":function:not-there:$LATEST")
    name = create()
    code, message = error_of(lambda: functions.invoke(FunctionName=name, Payload=b"{not json"))
    assert code == "InvalidRequestContentException"
    assert message.startswith("Could not parse request body into json: ")


def test_update_code_and_configuration(functions: Any, create: Callable[..., str]) -> None:
    """The next invocation after an update runs the new code with the new configuration."""
    name = create()
    call(functions, name, {})
    code = "import os\ndef handler(event, context): return os.environ['WHO']"
    functions.update_function_code(FunctionName=name, ZipFile=zipped(code))
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"WHO": "new"}}, Timeout=7
    )
    assert call(functions, name, {}) == "new"
    config = functions.get_function_configuration(FunctionName=name)
    assert (config["Timeout"], config["State"]) == (7, "Active")


def test_versions(functions: Any, create: Callable[..., str]) -> None:
    """A version keeps its code when `$LATEST` moves on; publishing without a change makes no new one."""
    name = create("def handler(event, context): return 'one ' + context.function_version")
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    assert functions.publish_version(FunctionName=name)["Version"] == "1"
    functions.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(event, context): return 'two'")
    )
    assert call(functions, name, {}, Qualifier="1") == "one 1"
    assert call(functions, name, {}) == "two"
    versions = functions.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]


def test_reserved_concurrency(functions: Any, create: Callable[..., str]) -> None:
    """A reservation of none refuses every synchronous call, with the reason."""
    name = create()
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(functions.exceptions.TooManyRequestsException) as caught:
        functions.invoke(FunctionName=name)
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.delete_function_concurrency(FunctionName=name)
    assert call(functions, name, {"n": 2})["event"] == {"n": 2}


def test_async_destinations(
    aws: Aws, functions: Any, create: Callable[..., str], queue: Callable[..., tuple[str, str]]
) -> None:
    """202 at once; what became of the event arrives at its destination, and a dead letter as AWS writes it."""
    done, done_arn = queue("done")
    dead, dead_arn = queue("dead")
    name = create(DeadLetterConfig={"TargetArn": dead_arn})
    functions.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={
            "OnSuccess": {"Destination": done_arn},
            "OnFailure": {"Destination": done_arn},
        },
    )
    answer = functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 3}')
    assert answer["StatusCode"] == 202
    record = json.loads(receive(aws, done)["Body"])
    assert list(record) == [
        "version",
        "timestamp",
        "requestContext",
        "requestPayload",
        "responseContext",
        "responsePayload",
    ]
    assert record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"]["event"] == {"n": 3}
    functions.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": 1}')
    failure = json.loads(receive(aws, done)["Body"])
    assert failure["requestContext"]["condition"] == "RetriesExhausted"
    assert failure["requestContext"]["approximateInvokeCount"] == 1
    assert failure["responseContext"]["functionError"] == "Unhandled"
    letter = receive(aws, dead, MessageAttributeNames=["All"])
    assert letter["Body"] == '{"fail": 1}'
    found = {key: value["StringValue"] for key, value in letter["MessageAttributes"].items()}
    assert (found["ErrorCode"], found["ErrorMessage"]) == ("200", "on purpose")


def test_destinations_are_standard_queues_that_exist(
    functions: Any, create: Callable[..., str], queue: Callable[..., tuple[str, str]]
) -> None:
    """A record that could never arrive is told of when it is asked for, not lost without a word."""
    _, fifo = queue("in.fifo", FifoQueue="true")
    name = create()
    for arn in (NO_QUEUE, fifo):
        destinations = {"OnFailure": {"Destination": arn}}
        assert error_of(
            lambda d=destinations: functions.put_function_event_invoke_config(
                FunctionName=name, DestinationConfig=d
            )
        ) == ("InvalidParameterValueException", f"The destination ARN {arn} is invalid.")
    letters = {"TargetArn": fifo}
    assert (
        error_of(
            lambda: functions.update_function_configuration(
                FunctionName=name, DeadLetterConfig=letters
            )
        )[0]
        == "InvalidParameterValueException"
    )


def test_delete_does_not_wait_for_what_runs(
    aws: Aws, functions: Any, create: Callable[..., str], queue: Callable[..., tuple[str, str]]
) -> None:
    """Deploy tools delete functions and mappings that work; an event in flight must not keep them waiting."""
    begun, _ = queue("begun")
    source, source_arn = queue("in")
    code = """
import os, time, boto3
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["BEGUN"], MessageBody="x")
    time.sleep(8)
"""
    name = create(code, Environment={"Variables": {"BEGUN": begun}})
    mapping = functions.create_event_source_mapping(FunctionName=name, EventSourceArn=source_arn)
    aws("sqs").send_message(QueueUrl=source, MessageBody="x")
    functions.invoke(FunctionName=name, InvocationType="Event")
    receive(aws, begun)
    receive(aws, begun)
    before = time.monotonic()
    functions.delete_event_source_mapping(UUID=mapping["UUID"])
    functions.delete_function(FunctionName=name)
    assert time.monotonic() - before < 4


def test_cold_burst_shares_one_session(functions: Any, create: Callable[..., str]) -> None:
    """Environments are interchangeable only under equal credentials: a burst must not make a pool for each event."""
    name = create("import os\ndef handler(event, context): return os.environ['AWS_ACCESS_KEY_ID']")
    with ThreadPoolExecutor(4) as burst:
        keys = list(burst.map(lambda _: call(functions, name, {}), range(4)))
    assert len(set(keys)) == 1


def test_sqs_event_source(
    aws: Aws, functions: Any, create: Callable[..., str], queue: Callable[..., tuple[str, str]]
) -> None:
    """Messages reach the function in AWS's shape; those it reports come back, and the others are gone."""
    source, source_arn = queue("in", VisibilityTimeout="10")
    seen, _ = queue("seen")
    name = create(Environment={"Variables": {"SEEN": seen}})
    mapping = functions.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=source_arn,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        BatchSize=2,
    )
    assert mapping["State"] == "Creating"
    aws("sqs").send_message(
        QueueUrl=source,
        MessageBody="good",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "x"}},
    )
    (record,) = json.loads(receive(aws, seen)["Body"])["Records"]
    assert (record["body"], record["eventSource"]) == ("good", "aws:sqs")
    assert record["eventSourceARN"] == source_arn
    assert record["messageAttributes"]["kind"] == {
        "stringValue": "x",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "String",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    aws("sqs").send_message(QueueUrl=source, MessageBody="bad")
    receive(aws, seen)
    (again,) = json.loads(receive(aws, seen)["Body"])["Records"]
    assert (again["body"], again["attributes"]["ApproximateReceiveCount"]) == ("bad", "2")
    functions.delete_event_source_mapping(UUID=mapping["UUID"])


def test_sqs_filter_deletes_what_does_not_match(
    aws: Aws, functions: Any, create: Callable[..., str], queue: Callable[..., tuple[str, str]]
) -> None:
    """A message that no filter wants is settled without an invocation."""
    source, source_arn = queue("in")
    seen, _ = queue("seen")
    name = create(Environment={"Variables": {"SEEN": seen}})
    functions.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=source_arn,
        BatchSize=1,
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"kind": ["order"]}}'}]},
    )
    for body in ('{"kind": "other"}', "text", '{"kind": "order"}'):
        aws("sqs").send_message(QueueUrl=source, MessageBody=body)
    (record,) = json.loads(receive(aws, seen)["Body"])["Records"]
    assert json.loads(record["body"]) == {"kind": "order"}


def test_log_lines_reach_cloudwatch(aws: Aws, functions: Any, create: Callable[..., str]) -> None:
    """What a function prints is found in its group."""
    name = create("def handler(event, context): print('a needle')")
    functions.invoke(FunctionName=name)
    deadline = time.monotonic() + 10
    found: list[Any] = []
    while not found and time.monotonic() < deadline:
        answer = aws("logs").filter_log_events(
            logGroupName=f"/aws/lambda/{name}", filterPattern="needle"
        )
        found = answer["events"]
    assert [event["message"] for event in found] == ["a needle\n"]


def test_permissions_and_tags(functions: Any, create: Callable[..., str]) -> None:
    """Deployment tools write these and read them back."""
    name = create(Tags={"a": "1"})
    statement = functions.add_permission(
        FunctionName=name,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn="arn:aws:execute-api:us-east-1:000000000000:x/*",
    )["Statement"]
    policy = json.loads(functions.get_policy(FunctionName=name)["Policy"])
    assert policy["Statement"] == [json.loads(statement)]
    assert policy["Statement"][0]["Principal"] == {"Service": "apigateway.amazonaws.com"}
    functions.remove_permission(FunctionName=name, StatementId="api")
    assert error_of(lambda: functions.get_policy(FunctionName=name)) == (
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )
    arn = functions.get_function_configuration(FunctionName=name)["FunctionArn"]
    functions.tag_resource(Resource=arn, Tags={"b": "2"})
    functions.untag_resource(Resource=arn, TagKeys=["a"])
    assert functions.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def damaged() -> bytes:
    """An archive whose index is whole and whose file is not."""
    data = bytearray(zipped(CODE))
    data[60] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"Runtime": "python3.8"}, "InvalidParameterValueException"),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException"),
        ({"Code": {"ZipFile": damaged()}}, "InvalidParameterValueException"),
        ({"DeadLetterConfig": {"TargetArn": NO_QUEUE}}, "InvalidParameterValueException"),
        ({"Architectures": [OTHER_ARCHITECTURE]}, "NotImplemented"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException"),
        ({"Timeout": 901}, "InvalidParameterValueException"),
        ({"Role": "nonsense"}, "ValidationException"),
        ({"Role": "arn:aws:iam::000000000000:role/none"}, "InvalidParameterValueException"),
        ({"Layers": [NO_LAYER]}, "InvalidParameterValueException"),
        ({"Runtime": "java21"}, "NotImplemented"),
    ],
)
def test_create_refuses(create: Callable[..., str], options: dict[str, Any], code: str) -> None:
    """What cannot be run is refused when it is created, not when it is called."""
    assert error_of(lambda: create(**options))[0] == code


def test_last_line_without_an_end(functions: Any, create: Callable[..., str]) -> None:
    """What an event prints without a line break is in its own log, not at the head of the next one's."""
    name = create("def handler(event, context):\n    print('partial', end='')\n")
    for _ in range(2):
        answer = functions.invoke(FunctionName=name, LogType="Tail")
        lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("START"))
        assert "partial" == lines[start + 1]
        assert lines[start + 2].startswith("END")
