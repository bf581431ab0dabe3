"""What AWS says to requests that it refuses, and shapes that need care."""

import gzip
import json

import pytest

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire import Wire

WIRE = Wire(["cloudwatch", "dynamodb", "events", "lambda", "logs", "s3", "sns", "sqs", "sts"])


def parse(service, name, body, path="/", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return WIRE.operation(service, name).parse(HttpRequest("POST", path, "", fields, data))


def refusal(service, name, body, **headers):
    with pytest.raises(AwsError) as caught:
        parse(service, name, body, **headers)
    return caught.value.code, caught.value.message


def test_constraint_text_of_query_services():
    """Recorded on STS: code and text are what clients print."""
    body = b"RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=Session1:2"
    assert refusal("sts", "AssumeRole", body) == (
        "ValidationError",
        "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
    )


def test_missing_member_below_a_map():
    """Recorded on SNS: the path goes through the map's key."""
    body = (
        b"TopicArn=t&Message=m&MessageAttributes.entry.1.Name=attr1"
        b"&MessageAttributes.entry.1.Value.StringValue=v"
    )
    assert refusal("sns", "Publish", body) == (
        "ValidationError",
        "1 validation error detected: Value null at 'messageAttributes.attr1.member.dataType' "
        "failed to satisfy constraint: Member must not be null",
    )


def test_logs_has_its_own_code():
    """Recorded on CloudWatch Logs."""
    body = {"logGroupName": "g", "logStreamName": "s", "limit": 10001}
    assert refusal("logs", "GetLogEvents", body) == (
        "InvalidParameterException",
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: "
        "Member must have value less than or equal to 10000",
    )


def test_several_violations_are_joined():
    """All violations are told at once, in the order of the members."""
    code, text = refusal("lambda", "CreateEventSourceMapping", {"BatchSize": 0})
    assert code == "ValidationException"
    assert text == (
        "2 validation errors detected: Value null at 'functionName' failed to satisfy constraint: "
        "Member must not be null; Value '0' at 'batchSize' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    )


def test_structures_are_printed_as_java_does():
    """Recorded on EventBridge: more than ten entries."""
    _, text = refusal("events", "PutEvents", {"Entries": [{"Source": "s"}] * 101})
    assert "Value '[PutEventsRequestEntry(time=null, source=s, resources=null, " in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"TableName": "t", "Limit": "x"}, "STRING_VALUE cannot be converted to Integer"),
        ({"TableName": {}}, "Start of structure or map found where not expected"),
        ({"TableName": True}, "TRUE_VALUE cannot be converted to String"),
        ({"TableName": 1}, "NUMBER_VALUE cannot be converted to String"),
    ],
)
def test_wrong_types(body, message):
    """Recorded by dynalite."""
    assert refusal("dynamodb", "Scan", body) == ("SerializationException", message)


def test_unknown_and_null_members_are_dropped():
    """SDKs newer than the model must not fail."""
    body = {"QueueUrl": "u", "MessageBody": "b", "Nonsense": 1, "DelaySeconds": None}
    assert parse("sqs", "SendMessage", body) == {"QueueUrl": "u", "MessageBody": "b"}
    values = {"a": {"B": None, "S": "x"}, "b": {"B": None}, "c": {"New": "x"}, "d": {"N": "1"}}
    read = parse("dynamodb", "PutItem", {"TableName": "t", "Item": values})
    assert read["Item"] == {"a": {"S": "x"}, "b": {}, "c": {}, "d": {"N": "1"}}


def test_query_compatible_error():
    """boto3 shows the legacy code, newer clients the shape's name."""
    answer = WIRE.operation("sqs", "SendMessage").error(
        AwsError("QueueDoesNotExist", "The specified queue does not exist."), "rid"
    )
    assert answer.status == 400
    assert (
        "x-amzn-query-error",
        "AWS.SimpleQueueService.NonExistentQueue;Sender",
    ) in answer.headers
    assert json.loads(answer.body) == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist",
        "message": "The specified queue does not exist.",
    }


def test_lambda_errors_say_whose_fault_it_is():
    """The casing of the message differs from one shape to the next, as recorded."""
    write = WIRE.operation("lambda", "Invoke").error
    throttled = write(
        AwsError("TooManyRequestsException", "Rate Exceeded.", fields={"Reason": "R"}), "rid"
    )
    assert throttled.status == 429
    assert ("x-amzn-ErrorType", "TooManyRequestsException") in throttled.headers
    assert json.loads(throttled.body) == {
        "Reason": "R",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    missing = write(AwsError("ResourceNotFoundException", "m"), "rid")
    assert json.loads(missing.body) == {"Type": "User", "Message": "m"}
    assert json.loads(write(AwsError("ValidationException", "m"), "rid").body) == {"message": "m"}


def test_dynamodb_error_carries_items_and_checksum():
    """`ReturnValuesOnConditionCheckFailure` puts the item into the error."""
    answer = WIRE.operation("dynamodb", "PutItem").error(
        AwsError("ConditionalCheckFailedException", "m", fields={"Item": {"b": {"B": b"\x00"}}}),
        "rid",
    )
    assert json.loads(answer.body) == {
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "Item": {"b": {"B": "AA=="}},
        "message": "m",
    }
    assert "x-amz-crc32" in dict(answer.headers)


def test_chunked_upload():
    """SDKs frame uploads and send the checksum behind them."""
    body = (
        b"5\r\nhello\r\n6;chunk-signature=x\r\n world\r\n0\r\nx-amz-checksum-crc32:sOO8/Q==\r\n\r\n"
    )
    params = parse(
        "s3",
        "PutObject",
        body,
        "/b/k",
        x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )
    assert (params["Body"], params["ChecksumCRC32"]) == (b"hello world", "sOO8/Q==")


def test_compressed_request():
    """CloudWatch clients compress metric data."""
    body = gzip.compress(json.dumps({"TableName": "t"}).encode())
    assert parse("dynamodb", "Scan", body, content_encoding="gzip") == {"TableName": "t"}


def test_document_types_are_refused():
    """Entities are how a small body becomes a large one."""
    body = b'<!DOCTYPE a [<!ENTITY b "c">]><CreateBucketConfiguration/>'
    with pytest.raises(AwsError) as caught:
        parse("s3", "CreateBucket", body, "/b")
    assert caught.value.code == "MalformedXML"
