"""Which operation a request means."""

import contextlib
import gzip
import json

import boto3
import botocore.config
import pytest
from botocore.awsrequest import AWSResponse

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire import Wire
from penstock.wire.unbuilt import Unbuilt

SERVICES = [
    "apigateway", "apigatewayv2", "cloudformation", "cloudwatch", "dynamodb", "events", "iam",
    "kinesis", "lambda", "logs", "s3", "sns", "sqs", "ssm", "stepfunctions", "sts",
]  # fmt: skip


@pytest.fixture(scope="module")
def wire():
    return Wire(SERVICES)


def request(method="POST", url="/", body=b"", **headers):
    path, _, query = url.partition("?")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method, path, query, fields, body)


def signed(service):
    return (
        f"AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{service}/aws4_request, "
        "SignedHeaders=host, Signature=00"
    )


def captured(service, call, **params):
    """The request that boto3 sends, caught before it leaves."""
    caught = []
    client = boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id="AK",
        aws_secret_access_key="secret",
        endpoint_url="http://localhost:4566",
        config=botocore.config.Config(parameter_validation=False),
    )

    def catch(request, **_):
        caught.append(request)
        return AWSResponse(request.url, 500, {}, None)

    client.meta.events.register("before-send", catch)
    with contextlib.suppress(Exception):  # what the client makes of our stub is not the matter
        getattr(client, call)(**params)
    sent = caught[0]
    path, _, query = sent.url.removeprefix("http://localhost:4566").partition("?")
    body = sent.body or b""
    if hasattr(body, "read"):
        body = body.read()
    headers = {
        k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in sent.headers.items()
    }
    headers.setdefault("host", "localhost:4566")
    return HttpRequest(
        sent.method, path, query, headers, body if isinstance(body, bytes) else body.encode()
    )


CALLS = [
    ("sqs", "send_message", {"QueueUrl": "http://q", "MessageBody": "b"}),
    ("dynamodb", "put_item", {"TableName": "t", "Item": {"k": {"B": b"x"}}}),
    ("lambda", "invoke", {"FunctionName": "f", "Payload": b"{}", "Qualifier": "1"}),
    ("lambda", "list_functions", {}),
    ("lambda", "get_function", {"FunctionName": "arn:aws:lambda:us-east-1:000000000000:function:f"}),
    ("lambda", "list_tags", {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f"}),
    ("apigateway", "get_rest_apis", {"limit": 5}),
    ("apigateway", "put_integration", {"restApiId": "a", "resourceId": "r", "httpMethod": "GET", "type": "MOCK"}),
    ("apigatewayv2", "get_apis", {}),
    ("s3", "put_object", {"Bucket": "b", "Key": "a/b c", "Body": b"x"}),
    ("s3", "copy_object", {"Bucket": "b", "Key": "k", "CopySource": "b/o"}),
    ("s3", "upload_part", {"Bucket": "b", "Key": "k", "PartNumber": 1, "UploadId": "u", "Body": b"x"}),
    ("s3", "upload_part_copy", {"Bucket": "b", "Key": "k", "PartNumber": 1, "UploadId": "u", "CopySource": "b/o"}),
    ("s3", "create_multipart_upload", {"Bucket": "b", "Key": "k"}),
    ("s3", "list_parts", {"Bucket": "b", "Key": "k", "UploadId": "u"}),
    ("s3", "get_object", {"Bucket": "b", "Key": "k"}),
    ("s3", "get_object_tagging", {"Bucket": "b", "Key": "k"}),
    ("s3", "head_object", {"Bucket": "b", "Key": "k"}),
    ("s3", "list_objects", {"Bucket": "b"}),
    ("s3", "list_objects_v2", {"Bucket": "b"}),
    ("s3", "list_buckets", {}),
    ("s3", "delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}),
    ("s3", "get_bucket_location", {"Bucket": "b"}),
    ("s3", "get_bucket_lifecycle_configuration", {"Bucket": "b"}),
    ("s3", "put_bucket_notification_configuration", {"Bucket": "b", "NotificationConfiguration": {}}),
    ("iam", "list_roles", {}),
    ("sts", "get_caller_identity", {}),
    ("sns", "publish", {"TopicArn": "t", "Message": "m"}),
    ("cloudformation", "list_stacks", {}),
    ("cloudwatch", "list_metrics", {}),
    ("events", "put_events", {"Entries": [{"Source": "s"}]}),
    ("stepfunctions", "list_state_machines", {}),
    ("logs", "describe_log_groups", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "call", "params"), CALLS, ids=[f"{c[0]}-{c[1]}" for c in CALLS]
)
def test_what_boto3_sends_is_routed_and_read(wire, service, call, params):
    """Every protocol and S3's crowded paths, as the most used client sends them."""
    sent = captured(service, call, **params)
    operation = wire.route(sent)
    assert (service, call.replace("_", "")) == (operation.service, operation.name.lower())
    parsed = operation.parse(sent)
    expected = {k: v for k, v in params.items() if k != "CopySource"}
    assert expected == {k: parsed.get(k, {}) for k in expected}


def test_query_requests_reach_sqs(wire):
    """Service integrations and old SDKs speak the query protocol, to the queue's own path."""
    sent = request(
        url="/000000000000/q",
        body=b"Action=SendMessage&MessageBody=hi&MessageAttribute.1.Name=a"
        b"&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v",
        content_type="application/x-www-form-urlencoded",
        authorization=signed("sqs"),
        host="localhost:4566",
    )
    operation = wire.route(sent)
    assert operation.parse(sent) == {
        "QueueUrl": "http://localhost:4566/000000000000/q",
        "MessageBody": "hi",
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}},
    }


def test_query_answers_of_sqs(wire):
    """The legacy answer is documented byte for byte."""
    sent = request("GET", "/?Action=SendMessage&Version=2012-11-05&MessageBody=x&QueueUrl=u")
    answer = wire.route(sent).serialize({"MessageId": "m"}, "rid")
    assert answer.body == (
        b'<SendMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><SendMessageResult>'
        b"<MessageId>m</MessageId></SendMessageResult><ResponseMetadata><RequestId>rid</RequestId>"
        b"</ResponseMetadata></SendMessageResponse>"
    )


def test_unknown_action(wire):
    """Clients of the query protocol look for this code and text."""
    sent = request(
        body=b"Action=Nope",
        content_type="application/x-www-form-urlencoded",
        authorization=signed("iam"),
    )
    with pytest.raises(AwsError) as caught:
        wire.route(sent)
    answer = wire.error(sent, caught.value, "rid")
    assert answer.status == 400
    assert (
        b"<Code>InvalidAction</Code><Message>Could not find operation Nope for version NO_VERSION_SPECIFIED</Message>"
        in answer.body
    )


def refused(wire, sent):
    with pytest.raises(AwsError) as caught:
        wire.route(sent)
    answer = wire.error(sent, caught.value, "rid")
    return answer.status, caught.value.code, caught.value.message


def test_actions_that_are_none(wire):
    """Each front end of the query protocol has its words."""
    form = {"content_type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = b"Action=Nope&Version=2010-05-08"
    assert (
        400,
        "InvalidAction",
        "Could not find operation Nope for version 2010-05-08",
    ) == refused(wire, request(body=body, authorization=signed("iam"), **form))
    assert (
        400,
        "InvalidAction",
        "The action Nope is not valid for this endpoint.",
    ) == refused(wire, request(body=b"Action=Nope", authorization=signed("sqs"), **form))
    assert (400, "MissingAction", "The request must contain the parameter Action.") == refused(
        wire, request(body=b"Version=2010-05-08", authorization=signed("iam"), **form)
    )


def test_methods_and_paths_that_are_none(wire):
    """S3 knows every path and says which method it is not; REST-JSON knows neither."""
    s3 = request("PATCH", "/b/k", authorization=signed("s3"))
    assert (405, "MethodNotAllowed") == refused(wire, s3)[:2]
    post = request("POST", "/b/k?partNumber=1", authorization=signed("s3"))
    assert (405, "MethodNotAllowed") == refused(wire, post)[:2]
    with pytest.raises(AwsError) as caught:
        wire.route(s3)
    answer = wire.error(s3, caught.value, "11111111-2222-4333-8444-555555555555")
    assert b"<Method>PATCH</Method><ResourceType>OBJECT</ResourceType>" in answer.body
    assert ("x-amz-request-id", "1111111122224333") in answer.headers
    assert b"<RequestId>1111111122224333</RequestId>" in answer.body
    sent = request("GET", "/nowhere", authorization=signed("lambda"))
    assert (404, "UnknownOperationException") == refused(wire, sent)[:2]


def test_compressed_forms_are_routed(wire):
    """The action of a compressed form is not to be seen before it is inflated."""
    sent = request(
        body=gzip.compress(b"Action=PutMetricData&Namespace=n&Version=2010-08-01"),
        content_type="application/x-www-form-urlencoded",
        content_encoding="gzip",
        authorization=signed("monitoring"),
    )
    operation = wire.route(sent)
    assert ("PutMetricData", "query") == (operation.name, operation.protocol)
    assert {"Namespace": "n"} == operation.parse(sent)


def test_unknown_target(wire):
    """An unknown JSON operation has its own code."""
    sent = request(x_amz_target="AmazonSQS.Nope", content_type="application/x-amz-json-1.0")
    with pytest.raises(AwsError) as caught:
        wire.route(sent)
    answer = wire.error(sent, caught.value, "rid")
    assert answer.status == 404
    assert json.loads(answer.body)["__type"] == "com.amazonaws.sqs#UnknownOperationException"


def test_virtual_hosted_bucket(wire):
    """S3 clients put the bucket into the host name."""
    for host in ("b.localhost:4566", "b.s3.us-east-1.amazonaws.com", "b.s3.localhost:4566"):
        sent = request("GET", "/k/x%20y", host=host)
        operation = wire.route(sent)
        assert (
            operation.name,
            operation.parse(sent),
        ) == ("GetObject", {"Bucket": "b", "Key": "k/x y"})


def test_unserved_service_is_refused_by_name(wire):
    """A client of a service that is not built must see why."""
    with pytest.raises(AwsError, match="Penstock does not implement the service workmail yet"):
        wire.route(request(authorization=signed("workmail")))
    with pytest.raises(AwsError, match="Penstock does not implement the service workmail yet"):
        wire.operation("workmail", "X")


def test_bucket_location_is_text(wire):
    """botocore reads the root's text."""
    answer = wire.operation("s3", "GetBucketLocation").serialize(
        {"LocationConstraint": "eu-west-1"}, "r"
    )
    assert answer.body.endswith(
        b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>'
    )


def test_routes_of_services_that_are_not_here_are_not_gathered() -> None:
    """Whoever asks for one service of AWS after the other must not fill the memory with their models."""
    unbuilt = Unbuilt([])
    for scope in ("acm-pca", "amplify", "appconfig", "appflow", "appmesh", "apprunner", "appsync", "backup", "batch", "braket", "chime", "cloudfront", "eks", "glacier", "iot", "route53"):  # fmt: skip
        assert unbuilt.by_path(scope, request("GET", "/no/such/path/of/any")) is None
    assert 0 < len(unbuilt._tables) <= 8
