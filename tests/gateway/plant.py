"""A whole Penstock in this process, without sockets, for many requests in a row."""

import asyncio
import base64
import io
import json
import zipfile
from typing import Any
from urllib.parse import urlencode

import botocore.session
from botocore.serialize import create_serializer

from penstock.api import HttpRequest, HttpResponse
from penstock.app import App
from penstock.clock import VirtualClock
from penstock.config import Config

_SESSION = botocore.session.get_session()
_MODELS: dict[str, Any] = {}
HOST = "localhost:4566"


def credential(service: str) -> str:
    """An `Authorization` field that names a service; `--auth off` does not verify it."""
    return (
        f"AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{service}/aws4_request, "
        "SignedHeaders=host, Signature=00"
    )


def request_for(service: str, operation: str, params: dict[str, Any]) -> HttpRequest:
    """What boto3 would send."""
    if service not in _MODELS:
        _MODELS[service] = _SESSION.get_service_model(service)
    model = _MODELS[service]
    protocol = model.metadata["protocol"]
    sent = create_serializer(protocol, include_validation=False).serialize_to_request(
        params, model.operation_model(operation)
    )
    headers = {name.lower(): str(value) for name, value in sent["headers"].items()}
    body = sent["body"]
    if protocol == "query":
        body = urlencode(body)
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
    headers |= {"host": HOST, "authorization": credential(model.signing_name)}
    path, _, query = sent["url_path"].partition("?")
    given = sent["query_string"]
    more = given if isinstance(given, str) else urlencode(given, doseq=True)
    query = "&".join(each for each in (query, more) if each)
    data = body.encode() if isinstance(body, str) else bytes(body or b"")
    return HttpRequest(sent["method"], path or "/", query, headers, data)


class Plant:
    """An application on memory and virtual time, and the loop that it runs on."""

    def __init__(self, **settings: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.app = self.loop.run_until_complete(
            App.open(Config(data=":memory:", **settings), self.clock)
        )

    def close(self) -> None:
        """End everything."""
        self.loop.run_until_complete(self.app.close())
        self.loop.close()

    def send(self, request: HttpRequest) -> HttpResponse:
        """One answer; whoever waits for a message waits in virtual time."""
        return self.loop.run_until_complete(self._send(request))

    async def _send(self, request: HttpRequest) -> HttpResponse:
        task = asyncio.ensure_future(self.app.gateway.answer(request))
        for _ in range(200):
            done, _ = await asyncio.wait({task}, timeout=0.1)
            if done:
                return task.result()
            await self.clock.advance(30_000, _settle)
        raise AssertionError(f"no answer to {request.method} {request.path}")

    def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """Send a request that must succeed; the members of a JSON answer."""
        answer = self.send(request_for(service, operation, params))
        assert answer.status < 300, answer.body
        body = bytes(answer.body)
        document = json.loads(body) if body.startswith(b"{") else {}
        assert isinstance(document, dict)
        return document


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def archive(source: str = "def handler(event, context):\n    return event\n") -> bytes:
    """A function's code."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("app.py", source)
    return out.getvalue()


TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
TEMPLATE = json.dumps(
    {
        "Parameters": {"Name": {"Type": "String", "Default": "x"}},
        "Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 5}}},
        "Outputs": {"Url": {"Value": {"Ref": "Q"}}},
    }
)


def furnish(plant: Plant) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Make one of everything; the valid requests about it, by service."""
    queue = plant.call("sqs", "CreateQueue", QueueName="q")["QueueUrl"]
    fifo = plant.call("sqs", "CreateQueue", QueueName="q.fifo", Attributes={"FifoQueue": "true"})
    plant.call(
        "dynamodb",
        "CreateTable",
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    plant.call("s3", "CreateBucket", Bucket="bucket")
    plant.call("s3", "PutObject", Bucket="bucket", Key="k", Body=b"content")
    plant.call("iam", "CreateRole", RoleName="r", AssumeRolePolicyDocument=TRUST)
    plant.call("iam", "CreateUser", UserName="u")
    api = plant.call("apigateway", "CreateRestApi", name="api")
    about = {"restApiId": api["id"], "resourceId": api.get("rootResourceId", "root")}
    role = "arn:aws:iam::000000000000:role/r"
    function = {
        "FunctionName": "f",
        "Runtime": "python3.11",
        "Role": role,
        "Handler": "app.handler",
        "Code": {"ZipFile": archive()},
    }
    plant.call("lambda", "CreateFunction", **function)
    item = {
        "k": {"S": "a"},
        "n": {"N": "1.5"},
        "b": {"B": b"x"},
        "l": {"L": [{"M": {"x": {"NULL": True}}}]},
    }
    update = {
        "UpdateExpression": "SET n = if_not_exists(n, :one) + :one, l[0] = :list REMOVE b",
        "ConditionExpression": "attribute_exists(k) AND size(k) < :one OR contains(l, :one)",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":list": {"L": []}},
    }
    return {
        "sqs": [
            ("SendMessage", {"QueueUrl": queue, "MessageBody": "b", "DelaySeconds": 0, "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "1"}, "b": {"DataType": "Binary", "BinaryValue": b"x"}}}),
            ("SendMessage", {"QueueUrl": fifo["QueueUrl"], "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d"}),
            ("SendMessageBatch", {"QueueUrl": queue, "Entries": [{"Id": "1", "MessageBody": "b"}, {"Id": "2", "MessageBody": "c"}]}),
            ("ReceiveMessage", {"QueueUrl": queue, "MaxNumberOfMessages": 3, "VisibilityTimeout": 1, "AttributeNames": ["All"], "MessageAttributeNames": ["a.*"]}),
            ("DeleteMessage", {"QueueUrl": queue, "ReceiptHandle": "AQEB"}),
            ("ChangeMessageVisibilityBatch", {"QueueUrl": queue, "Entries": [{"Id": "1", "ReceiptHandle": "x", "VisibilityTimeout": 1}]}),
            ("SetQueueAttributes", {"QueueUrl": queue, "Attributes": {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":3}', "Policy": TRUST}}),
            ("GetQueueAttributes", {"QueueUrl": queue, "AttributeNames": ["All"]}),
            ("TagQueue", {"QueueUrl": queue, "Tags": {"a": "b"}}),
            ("ListQueues", {"MaxResults": 5, "NextToken": base64.b64encode(b"x").decode()}),
            ("StartMessageMoveTask", {"SourceArn": "arn:aws:sqs:us-east-1:000000000000:q"}),
        ],
        "dynamodb": [
            ("PutItem", {"TableName": "t", "Item": item, "ReturnValues": "ALL_OLD"}),
            ("UpdateItem", {"TableName": "t", "Key": {"k": {"S": "a"}}, **update}),
            ("GetItem", {"TableName": "t", "Key": {"k": {"S": "a"}}, "ProjectionExpression": "k, l[0].#x", "ExpressionAttributeNames": {"#x": "x"}}),
            ("Query", {"TableName": "t", "KeyConditionExpression": "k = :k", "FilterExpression": "n BETWEEN :k AND :k", "ExpressionAttributeValues": {":k": {"S": "a"}}, "Limit": 3}),
            ("Scan", {"TableName": "t", "Segment": 0, "TotalSegments": 2, "ExclusiveStartKey": {"k": {"S": "a"}}}),
            ("BatchWriteItem", {"RequestItems": {"t": [{"PutRequest": {"Item": item}}, {"DeleteRequest": {"Key": {"k": {"S": "b"}}}}]}}),
            ("BatchGetItem", {"RequestItems": {"t": {"Keys": [{"k": {"S": "a"}}]}}}),
            ("TransactWriteItems", {"TransactItems": [{"Update": {"TableName": "t", "Key": {"k": {"S": "c"}}, **update}}, {"Put": {"TableName": "t", "Item": item}}]}),
            ("CreateTable", {"TableName": "t2", "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}], "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}], "BillingMode": "PAY_PER_REQUEST"}),
            ("DescribeTable", {"TableName": "t"}),
            ("DeleteItem", {"TableName": "t", "Key": {"k": {"S": "a"}}, "Expected": {"n": {"ComparisonOperator": "EQ", "AttributeValueList": [{"N": "1"}]}}}),
        ],
        "lambda": [
            ("CreateFunction", {**function, "FunctionName": "g", "Environment": {"Variables": {"A": "b"}}, "Timeout": 3, "MemorySize": 128}),
            ("UpdateFunctionConfiguration", {"FunctionName": "f", "Timeout": 5, "Description": "d"}),
            ("UpdateFunctionCode", {"FunctionName": "f", "ZipFile": archive()}),
            ("GetFunction", {"FunctionName": "f", "Qualifier": "$LATEST"}),
            ("ListFunctions", {"MaxItems": 1, "Marker": "x"}),
            ("Invoke", {"FunctionName": "missing", "Payload": b"{}", "InvocationType": "Event"}),
            ("PublishVersion", {"FunctionName": "f"}),
            ("CreateAlias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
            ("PutFunctionConcurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 1}),
            ("CreateEventSourceMapping", {"FunctionName": "missing", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q", "BatchSize": 10, "MaximumBatchingWindowInSeconds": 1}),
            ("AddPermission", {"FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}),
            ("TagResource", {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "Tags": {"a": "b"}}),
        ],
        "s3": [
            ("PutObject", {"Bucket": "bucket", "Key": "a/b c", "Body": b"x", "Metadata": {"a": "b"}, "ContentMD5": "nTjPuKuR+z/mMcsajVwQIQ==", "ContentType": "text/plain"}),
            ("GetObject", {"Bucket": "bucket", "Key": "k", "Range": "bytes=1-3", "IfMatch": '"x"'}),
            ("ListObjectsV2", {"Bucket": "bucket", "Prefix": "a", "Delimiter": "/", "MaxKeys": 2, "ContinuationToken": "x"}),
            ("DeleteObjects", {"Bucket": "bucket", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b"}], "Quiet": True}}),
            ("CreateMultipartUpload", {"Bucket": "bucket", "Key": "m"}),
            ("CompleteMultipartUpload", {"Bucket": "bucket", "Key": "m", "UploadId": "u", "MultipartUpload": {"Parts": [{"ETag": "e", "PartNumber": 1}]}}),
            ("UploadPart", {"Bucket": "bucket", "Key": "m", "UploadId": "u", "PartNumber": 1, "Body": b"x"}),
            ("CopyObject", {"Bucket": "bucket", "Key": "c", "CopySource": "bucket/k"}),
            ("PutBucketTagging", {"Bucket": "bucket", "Tagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}),
            ("PutBucketNotificationConfiguration", {"Bucket": "bucket", "NotificationConfiguration": {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:000000000000:q", "Events": ["s3:ObjectCreated:*"]}]}}),
            ("CreateBucket", {"Bucket": "other", "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}),
            ("HeadObject", {"Bucket": "bucket", "Key": "k"}),
        ],
        "iam": [
            ("CreateRole", {"RoleName": "r2", "AssumeRolePolicyDocument": TRUST, "Tags": [{"Key": "a", "Value": "b"}]}),
            ("CreateUser", {"UserName": "u2", "Path": "/a/"}),
            ("CreateAccessKey", {"UserName": "u"}),
            ("UpdateAccessKey", {"UserName": "u", "AccessKeyId": "AKIAAAAAAAAAAAAAAAAA", "Status": "Inactive"}),
            ("PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": TRUST}),
            ("CreatePolicy", {"PolicyName": "p", "PolicyDocument": TRUST}),
            ("AttachRolePolicy", {"RoleName": "r", "PolicyArn": "arn:aws:iam::aws:policy/A"}),
            ("ListRoles", {"PathPrefix": "/", "MaxItems": 1, "Marker": "x"}),
            ("TagRole", {"RoleName": "r", "Tags": [{"Key": "a", "Value": "b"}]}),
        ],
        "apigateway": [
            ("CreateRestApi", {"name": "b", "description": "d", "binaryMediaTypes": ["*/*"]}),
            ("CreateResource", {"restApiId": about["restApiId"], "parentId": about["resourceId"], "pathPart": "{a+}"}),
            ("PutMethod", {**about, "httpMethod": "POST", "authorizationType": "NONE", "requestParameters": {"method.request.header.A": True}}),
            ("PutIntegration", {**about, "httpMethod": "POST", "type": "AWS", "integrationHttpMethod": "POST", "uri": "arn:aws:apigateway:us-east-1:sqs:path/000000000000/q", "credentials": role, "requestTemplates": {"application/json": "Action=SendMessage&MessageBody=$input.body"}}),
            ("PutIntegrationResponse", {**about, "httpMethod": "POST", "statusCode": "200", "selectionPattern": "a+", "responseTemplates": {"application/json": "$input.json('$')"}}),
            ("UpdateRestApi", {"restApiId": about["restApiId"], "patchOperations": [{"op": "replace", "path": "/name", "value": "c"}]}),
            ("CreateDeployment", {"restApiId": about["restApiId"], "stageName": "prod"}),
            ("GetResources", {"restApiId": about["restApiId"], "limit": 3, "position": "x"}),
            ("ImportRestApi", {"body": json.dumps({"swagger": "2.0", "info": {"title": "x"}, "paths": {"/a": {"get": {"responses": {}}}}}).encode()}),
        ],
        "cloudformation": [
            ("CreateStack", {"StackName": "s", "TemplateBody": TEMPLATE, "Parameters": [{"ParameterKey": "Name", "ParameterValue": "v"}], "Tags": [{"Key": "a", "Value": "b"}]}),
            ("CreateChangeSet", {"StackName": "s2", "ChangeSetName": "c", "ChangeSetType": "CREATE", "TemplateBody": TEMPLATE, "Capabilities": ["CAPABILITY_IAM"]}),
            ("DescribeStacks", {"StackName": "s"}),
            ("DescribeStackEvents", {"StackName": "s", "NextToken": "x"}),
            ("ValidateTemplate", {"TemplateBody": TEMPLATE}),
            ("UpdateStack", {"StackName": "s", "UsePreviousTemplate": True}),
            ("GetTemplate", {"StackName": "s"}),
            ("DeleteStack", {"StackName": "s3"}),
        ],
    }  # fmt: skip
