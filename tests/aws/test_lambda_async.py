"""Asynchronous invocation: the schedule of retries, what is told of an event's end, and what survives a crash."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.aws.lambda_application import Application
from tests.conftest import Server

FAILS = """
def handler(event, context):
    raise ValueError("on purpose")
"""
ECHO = """
def handler(event, context):
    return event
"""
# Tells a queue of every try, then fails.
TELLS = """
import json, os
import boto3

def handler(event, context):
    told = {"id": context.aws_request_id, "event": event}
    boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(told))
    raise ValueError("on purpose")
"""
CALLS_ITSELF = """
import os
import boto3

def handler(event, context):
    boto3.client("lambda").invoke(FunctionName=context.function_name, InvocationType="Event", Payload="{}")
    boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody="1")
"""


def failures_to(application: Application, function: str, arn: str, **config: Any) -> None:
    """Tell a recipient of failures."""
    application.functions.put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnFailure": {"Destination": arn}}, **config
    )


def test_two_retries_after_one_minute_and_two(application: Application) -> None:
    """AWS's schedule; the same request is tried each time, and the end of it is told with AWS's record and letter."""
    tries, _ = application.queue("tries")
    records, records_arn = application.queue("records")
    letters, letters_arn = application.queue("letters")
    environment = {"Variables": {"TOLD": tries}}
    letter_config = {"TargetArn": letters_arn}
    arn = application.function(TELLS, Environment=environment, DeadLetterConfig=letter_config)
    failures_to(application, arn, records_arn)

    request = application.event(arn, {"n": 1})
    seen = []
    for seconds in (0, 59, 1, 119, 1, 600):
        application.advance(seconds)
        seen.append(len(application.bodies(tries)))
    assert [1, 0, 1, 0, 1, 0] == seen

    (record,) = application.bodies(records)
    assert ["version", "timestamp", "requestContext", "requestPayload"] == list(record)[:4]
    assert {
        "requestId": request,
        "functionArn": f"{arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    } == record["requestContext"]
    assert {"n": 1} == record["requestPayload"]
    expected = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert expected == record["responseContext"]
    assert "on purpose" == record["responsePayload"]["errorMessage"]

    (letter,) = application.messages(letters)
    assert '{"n": 1}' == letter["Body"]
    assert {
        "RequestID": {"DataType": "String", "StringValue": request},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "on purpose"},
    } == letter["MessageAttributes"]


@pytest.mark.parametrize(
    ("config", "tries", "condition"),
    [
        ({"MaximumRetryAttempts": 0}, 1, "RetriesExhausted"),
        ({"MaximumRetryAttempts": 1}, 2, "RetriesExhausted"),
        ({"MaximumEventAgeInSeconds": 60}, 1, "EventAgeExceeded"),
        ({"MaximumEventAgeInSeconds": 90}, 2, "EventAgeExceeded"),
    ],
)
def test_limits_of_retries(
    application: Application, config: dict[str, int], tries: int, condition: str
) -> None:
    """Fewer retries, or a shorter life: recorded from AWS, which does not wait for a retry that would be too late."""
    records, records_arn = application.queue("records")
    arn = application.function(FAILS)
    failures_to(application, arn, records_arn, **config)
    application.event(arn, {})
    application.advance(61)
    (record,) = application.bodies(records)
    context = record["requestContext"]
    assert (tries, condition) == (context["approximateInvokeCount"], context["condition"])
    assert "functionError" in record["responseContext"]


def test_no_concurrency_at_all(application: Application) -> None:
    """A function that may not run is not waited for: recorded from AWS, without a response."""
    records, records_arn = application.queue("records")
    arn = application.function(ECHO)
    failures_to(application, arn, records_arn)
    application.functions.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=0)
    application.event(arn, {})
    application.advance(0)
    (record,) = application.bodies(records)
    assert "ZeroReservedConcurrency" == record["requestContext"]["condition"]
    assert 0 == record["requestContext"]["approximateInvokeCount"]
    assert {"responseContext", "responsePayload"}.isdisjoint(record)


def test_destination_is_a_function(application: Application) -> None:
    """The record is the event of the next function: chains are built that way."""
    records, records_arn = application.queue("records")
    second = application.function(ECHO, "second")
    first = application.function(ECHO, "first")
    for function, destination in ((first, second), (second, records_arn)):
        application.functions.put_function_event_invoke_config(
            FunctionName=function, DestinationConfig={"OnSuccess": {"Destination": destination}}
        )
    request = application.event(first, {"n": 1})
    application.advance(1)
    (record,) = application.bodies(records)
    assert f"{second}:$LATEST" == record["requestContext"]["functionArn"]
    told = record["requestPayload"]
    assert (request, "Success") == (
        told["requestContext"]["requestId"],
        told["requestContext"]["condition"],
    )
    assert ({"n": 1}, {"n": 1}) == (told["requestPayload"], told["responsePayload"])


def test_destination_is_a_bucket(application: Application) -> None:
    """Failures are kept as objects under AWS's keys."""
    bucket = application.name.lower().replace("_", "-")
    application.s3.create_bucket(Bucket=bucket)
    arn = application.function(FAILS)
    failures_to(application, arn, f"arn:aws:s3:::{bucket}", MaximumRetryAttempts=0)
    request = application.event(arn, {"n": 1})
    application.advance(1)
    (entry,) = application.s3.list_objects_v2(Bucket=bucket)["Contents"]
    day = r"\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d"
    name = arn.rsplit(":", 1)[-1]
    assert re.fullmatch(rf"aws/lambda/async/{name}/{day}-[0-9a-f-]{{36}}", entry["Key"])
    record = application.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
    assert request.encode() in record
    assert b'"condition":"RetriesExhausted"' in record


def test_qualifiers_have_queues_of_their_own(application: Application) -> None:
    """An event is run by the version that it was meant for, under that version's own configuration."""
    records, records_arn = application.queue("records")
    arn = application.function(ECHO)
    version = application.functions.publish_version(FunctionName=arn)["Version"]
    application.functions.put_function_event_invoke_config(
        FunctionName=arn,
        Qualifier=version,
        DestinationConfig={"OnSuccess": {"Destination": records_arn}},
    )
    application.event(arn, {"n": 1})
    application.event(arn, {"n": 2}, Qualifier=version)
    application.event(arn, {"n": 3}, Qualifier=version)
    application.advance(1)
    found = sorted(application.bodies(records), key=lambda record: record["requestPayload"]["n"])
    assert [{"n": 2}, {"n": 3}] == [record["responsePayload"] for record in found]
    assert {f"{arn}:{version}"} == {record["requestContext"]["functionArn"] for record in found}
    assert version == found[0]["responseContext"]["executedVersion"]


def test_successor_of_a_deleted_function_gets_none_of_its_events(application: Application) -> None:
    """Events that wait for a retry go with their function, whatever qualifier they were meant for."""
    tries, _ = application.queue("tries")
    environment = {"Variables": {"TOLD": tries}}
    arn = application.function(TELLS, Environment=environment, Publish=True)
    application.event(arn, {})
    application.event(arn, {}, Qualifier="1")
    application.advance(1)
    assert 2 == len(application.bodies(tries))
    application.functions.delete_function(FunctionName=arn)
    application.function(TELLS, Environment=environment, Publish=True)
    application.advance(600)
    assert [] == application.bodies(tries)
    application.event(arn, {}, Qualifier="1")
    application.advance(1)
    assert 1 == len(application.bodies(tries))


def test_unreachable_destination_loses_its_record_alone(application: Application) -> None:
    """A bucket that is gone by the time costs neither the dead letter nor what comes after."""
    bucket = application.name.lower()
    application.s3.create_bucket(Bucket=bucket)
    letters, letters_arn = application.queue("letters")
    arn = application.function(FAILS, DeadLetterConfig={"TargetArn": letters_arn})
    failures_to(application, arn, f"arn:aws:s3:::{bucket}", MaximumRetryAttempts=0)
    application.s3.delete_bucket(Bucket=bucket)
    application.event(arn, {})
    application.event(arn, {})
    application.advance(1)
    assert 2 == len(application.messages(letters))


@pytest.mark.parametrize(
    ("side", "destination", "code", "text"),
    [
        (
            "OnFailure",
            "arn:aws:sns:us-east-1:000000000000:topic",
            "InvalidParameterValueException",
            "is invalid",
        ),
        (
            "OnFailure",
            "arn:aws:events:us-east-1:000000000000:event-bus/b",
            "InvalidParameterValueException",
            "is invalid",
        ),
        (
            "OnFailure",
            "arn:aws:s3:::no-such-bucket-at-all",
            "InvalidParameterValueException",
            "is invalid",
        ),
        (
            "OnSuccess",
            "arn:aws:s3:::bucket",
            "InvalidParameterValueException",
            "destination config",
        ),
        (
            "OnSuccess",
            "arn:aws:lambda:us-east-1:000000000000:function:no-such-function",
            "InvalidParameterValueException",
            "is invalid",
        ),
        (
            "OnFailure",
            "arn:aws:iam:us-east-1:000000000000:role/r",
            "InvalidParameterValueException",
            "DestinationConfig(onSuccess=null, onFailure=OnFailure(destination=arn:aws:iam",
        ),
    ],
)
def test_destinations_that_cannot_be(
    application: Application, side: str, destination: str, code: str, text: str
) -> None:
    """What could never be told of an event is refused when it is configured, not found out when it fails."""
    arn = application.function(ECHO)
    with pytest.raises(application.functions.exceptions.ClientError) as refused:
        application.functions.put_function_event_invoke_config(
            FunctionName=arn, DestinationConfig={side: {"Destination": destination}}
        )
    error = refused.value.response["Error"]
    assert code == error["Code"]
    assert text in error["Message"]


def test_endless_recursion_is_stopped(application: Application) -> None:
    """A function that invokes itself without end is stopped after sixteen passes, and its last event is told of."""
    tries, _ = application.queue("tries")
    letters, letters_arn = application.queue("letters")
    arn = application.function(
        CALLS_ITSELF,
        Environment={"Variables": {"TOLD": tries}},
        DeadLetterConfig={"TargetArn": letters_arn},
    )
    application.event(arn, {})
    application.advance(1)
    assert 16 == len(application.bodies(tries))
    (letter,) = application.messages(letters)
    assert "recursive loop" in letter["MessageAttributes"]["ErrorMessage"]["StringValue"]


def test_excess_waits(application: Application) -> None:
    """Events beyond what a function may run at once are neither lost nor counted as tries."""
    records, records_arn = application.queue("records")
    arn = application.function(ECHO)
    application.functions.put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnSuccess": {"Destination": records_arn}}
    )
    application.functions.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=1)
    for number in range(20):
        application.event(arn, {"n": number})
    application.advance(1)
    found = application.bodies(records)
    assert set(range(20)) == {record["requestPayload"]["n"] for record in found}
    assert {1} == {record["requestContext"]["approximateInvokeCount"] for record in found}


def test_schedule_survives_a_crash(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Path, unique: str
) -> None:
    """Retries that are due in minutes happen then, although the process was killed in between."""
    server = launch(tmp_path)
    application = Application(server.endpoint, connect, unique)
    tries, _ = application.queue("tries")
    records, records_arn = application.queue("records")
    arn = application.function(TELLS, Environment={"Variables": {"TOLD": tries}})
    version = application.functions.publish_version(FunctionName=arn)["Version"]
    for qualifier in ("$LATEST", version):
        failures_to(application, arn, records_arn, Qualifier=qualifier)
    application.steer("clock", {"freeze": True})
    application.event(arn, {"n": 1})
    application.event(arn, {"n": 2}, Qualifier=version)
    application.advance(30)
    server.kill()
    server.start()
    application.steer("clock", {"freeze": True})
    application.advance(300)
    assert 6 == len(application.bodies(tries))
    found = application.bodies(records)
    assert {1, 2} == {record["requestPayload"]["n"] for record in found}
    assert {3} == {record["requestContext"]["approximateInvokeCount"] for record in found}


def test_destination_is_a_bus(application: Application) -> None:
    """The record is an event that rules match, about the bus and the function."""
    events = application.connect("events")
    url, queue = application.queue("events")
    bus = events.create_event_bus(Name=application.name)["EventBusArn"]
    pattern = '{"source":["lambda"],"detail":{"responsePayload":{"n":[1]}}}'
    where = {"EventBusName": application.name}
    events.put_rule(Name=application.name, EventPattern=pattern, **where)
    events.put_targets(Rule=application.name, Targets=[{"Id": "q", "Arn": queue}], **where)
    arn = application.function(ECHO)
    application.functions.put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnSuccess": {"Destination": bus}}
    )

    application.event(arn, {"n": 1})
    application.advance(0)

    (event,) = application.bodies(url)
    assert "Lambda Function Invocation Result - Success" == event["detail-type"]
    assert [bus, f"{arn}:$LATEST"] == event["resources"]
    assert {"n": 1} == event["detail"]["requestPayload"]
