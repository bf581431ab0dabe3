"""API Gateway as boto3 and HTTP clients see it."""

import base64
import io
import json
import urllib.error
import urllib.request
import zipfile
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::000000000000:role/gateway"
FORM = {"integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"}


class Reply(NamedTuple):
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Stage:
    """A deployed API under test."""

    def __init__(self, endpoint: str, api_id: str, stage: str = "v1") -> None:
        self.endpoint = endpoint
        self.api_id = api_id
        self.stage = stage

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        url = f"{self.endpoint}/_aws/execute-api/{self.api_id}/{self.stage}{path}"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, data=data, method=method, headers=fields)
        try:
            with urllib.request.urlopen(request, timeout=40) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())


@pytest.fixture
def deploy(aws: Any, endpoint: str, unique: str) -> Any:
    """Import paths of an OpenAPI definition and deploy them as stage v1."""

    def run(paths: dict[str, Any], **more: Any) -> Stage:
        definition = {
            "openapi": "3.0.1",
            "info": {"title": unique, "version": "1"},
            "paths": paths,
            **more,
        }
        client = aws("apigateway")
        api = client.import_rest_api(body=json.dumps(definition).encode())
        client.create_deployment(restApiId=api["id"], stageName="v1")
        return Stage(endpoint, api["id"])

    return run


def mock(template: str | None = None, status: str = "200", **integration: Any) -> dict[str, Any]:
    """An operation that answers with a rendered template."""
    response: dict[str, Any] = {"statusCode": status}
    if template is not None:
        response["responseTemplates"] = {"text/plain": template}
    return {
        "responses": {status: {"description": "ok"}},
        "x-amazon-apigateway-integration": {
            "type": "mock",
            "requestTemplates": {"application/json": '{"statusCode": 200}'},
            "responses": {"default": response},
            **integration,
        },
    }


def queue_operation(name: str, **integration: Any) -> dict[str, Any]:
    """An operation that sends its body to a queue."""
    return {
        "responses": {"202": {"description": "accepted"}, "500": {"description": "failed"}},
        "x-amazon-apigateway-integration": {
            "type": "aws",
            "httpMethod": "POST",
            "credentials": ROLE,
            "uri": f"arn:aws:apigateway:us-east-1:sqs:path/000000000000/{name}",
            "passthroughBehavior": "never",
            "requestParameters": FORM,
            "requestTemplates": {
                "application/json": "Action=SendMessage&MessageBody=$util.urlEncode($input.body)"
            },
            "responses": {
                "default": {
                    "statusCode": "202",
                    "responseTemplates": {
                        "application/json": '{"id": "$context.requestId", "message":'
                        ' "$input.path(\'$.SendMessageResponse.SendMessageResult.MessageId\')"}'
                    },
                },
                "[45]\\d\\d": {
                    "statusCode": "500",
                    "responseTemplates": {
                        "application/json": '{"code": "$input.path(\'$.Error.Code\')"}'
                    },
                },
            },
            **integration,
        },
    }


def test_a_post_reaches_a_queue_unchanged(aws: Any, deploy: Any, unique: str) -> None:
    """The pattern that the product exists for: accept into a queue without a function in between."""
    queue = aws("sqs").create_queue(QueueName=unique)["QueueUrl"]
    stage = deploy({"/orders": {"post": queue_operation(unique)}})
    body = '{"item": "bük & \\"lamp\\" ~ 100%*+/=?\n"}'.encode()
    reply = stage.send("POST", "/orders", body)
    assert reply.status == 202
    message = aws("sqs").receive_message(
        QueueUrl=queue, MessageSystemAttributeNames=["AWSTraceHeader"]
    )["Messages"][0]
    assert message["Body"] == body.decode()
    assert reply.json() == {"id": reply.headers["x-amzn-RequestId"], "message": message["MessageId"]}
    assert reply.headers["Content-Type"] == "application/json"
    assert message["Attributes"]["AWSTraceHeader"] == reply.headers["X-Amzn-Trace-Id"]
