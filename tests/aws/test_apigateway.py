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

from tests.conftest import Server, make_client
from tests.trust import TRUST

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
                        " \"$input.path('$.SendMessageResponse.SendMessageResult.MessageId')\"}"
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


def test_a_value_may_be_part_of_the_action(aws: Any, deploy: Any, unique: str) -> None:
    """Which operation a form asks for is known when it is written, not before."""
    queue = aws("sqs").create_queue(QueueName=unique)["QueueUrl"]
    template = (
        "Action=SendMessage$input.params('kind')&MessageBody=single"
        "&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=batch"
    )
    mapped = queue_operation(unique, requestTemplates={"application/json": template})
    stage = deploy({"/orders": {"post": mapped}})
    assert stage.send("POST", "/orders?kind=Batch", b"{}").status == 202
    assert stage.send("POST", "/orders", b"{}").status == 202
    found = aws("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert sorted(message["Body"] for message in found) == ["batch", "single"]


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
    assert reply.json() == {
        "id": reply.headers["x-amzn-RequestId"],
        "message": message["MessageId"],
    }
    assert reply.headers["Content-Type"] == "application/json"
    assert message["Attributes"]["AWSTraceHeader"] == reply.headers["X-Amzn-Trace-Id"]


def test_a_failing_service_is_answered_by_the_matching_pattern(deploy: Any, unique: str) -> None:
    """Clients must not be told "accepted" for a message that the queue refused."""
    stage = deploy({"/orders": {"post": queue_operation(unique)}})
    reply = stage.send("POST", "/orders", {})
    assert (500, {"code": "AWS.SimpleQueueService.NonExistentQueue"}) == (
        reply.status,
        reply.json(),
    )


def test_an_action_integration_speaks_a_services_json_protocol(
    aws: Any, deploy: Any, unique: str
) -> None:
    """`action/` URIs name the operation; the template is the body of the service's own JSON protocol."""
    url = aws("sqs").create_queue(QueueName=unique)["QueueUrl"]
    operation = queue_operation(
        unique,
        uri="arn:aws:apigateway:us-east-1:sqs:action/SendMessage",
        requestParameters={},
        requestTemplates={
            "application/json": f'{{"QueueUrl": "{url}", "MessageBody": "$input.path(\'$.text\')"}}'
        },
        responses={
            "default": {
                "statusCode": "202",
                "responseTemplates": {"application/json": "$input.json('$.MessageId')"},
            }
        },
    )
    stage = deploy({"/orders": {"post": operation}})
    reply = stage.send("POST", "/orders", {"text": "hello"})
    message = aws("sqs").receive_message(QueueUrl=url)["Messages"][0]
    assert ("hello", reply.json()) == (message["Body"], message["MessageId"])


def test_received_messages_come_as_json(aws: Any, deploy: Any, unique: str) -> None:
    """Query services answer API Gateway in JSON, and templates are written for it."""
    url = aws("sqs").create_queue(QueueName=unique)["QueueUrl"]
    for body in ("one", "two"):
        aws("sqs").send_message(QueueUrl=url, MessageBody=body)
    template = (
        "#foreach($m in $input.path('$.ReceiveMessageResponse.ReceiveMessageResult.messages'))"
        "$m.Body#if($foreach.hasNext),#end#end"
    )
    operation = queue_operation(
        unique,
        requestTemplates={"application/json": "Action=ReceiveMessage&MaxNumberOfMessages=10"},
        responses={"default": {"statusCode": "200", "responseTemplates": {"text/plain": template}}},
    )
    stage = deploy({"/": {"get": operation}})
    reply = stage.send("GET", "")
    assert (b"one,two", "text/plain") == (reply.body, reply.headers["Content-Type"])


@pytest.fixture
def render(aws: Any, deploy: Any, unique: str) -> Any:
    """Evaluate a request template for a request: what it gives is stored as an object."""
    aws("s3").create_bucket(Bucket=unique.lower())

    def run(template: str, body: Any = None, path: str = "/put/k", **headers: str) -> str:
        operation = {
            "responses": {"200": {"description": "ok"}},
            "x-amazon-apigateway-integration": {
                "type": "aws",
                "httpMethod": "PUT",
                "credentials": ROLE,
                "uri": f"arn:aws:apigateway:us-east-1:s3:path/{unique.lower()}/{{key}}",
                "requestParameters": {"integration.request.path.key": "method.request.path.name"},
                "requestTemplates": {"application/json": template},
                "responses": {"default": {"statusCode": "200"}},
            },
        }
        stage = deploy({"/put/{name}": {"post": operation}})
        reply = stage.send("POST", path, body, headers)
        assert reply.status == 200, reply
        stored = aws("s3").get_object(Bucket=unique.lower(), Key="k")["Body"].read()
        return str(stored.decode())

    return run


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$input.json('$.a')", '{"b":[1,{"c":"x"}]}'),
        ("$input.json('$.none')", '""'),
        ("$input.path('$.a')", '{b=[1,{"c":"x"}]}'),
        ("$input.path('$.a.b')", '[1,{"c":"x"}]'),
        ("$input.path('$.a.b[1].c')", "x"),
        ("[$input.path('$.none')]", "[]"),
        ("$input.path('$').a.b.size()", "2"),
        ("$util.parseJson($input.body).name", "it's"),
        ("$util.escapeJavaScript($input.path('$.name'))", "it\\'s"),
        ("$util.urlEncode($input.path('$.name'))", "it%27s"),
        ("$util.urlDecode('a+b%2Fc')", "a b/c"),
        ("$util.base64Encode('hi')", "aGk="),
        ("$util.base64Decode('aGk=')", "hi"),
        ("#foreach($i in $input.path('$.a.b'))$foreach.index:$i;#end", "0:1;1:{c=x};"),
        ("#foreach($k in $input.path('$').keySet())$k #end", "a name flag "),
        ("#set($x = $input.path('$.flag'))#if($x)yes#{else}no#end", "no"),
        ("#set($x = 0)#if($x)yes#else no#end", "yes"),
        ("#if($input.path('$.name') == \"it's\" && !$input.path('$.flag'))both#end", "both"),
        ('#set($m = "{""id"":""$context.stage""}")$m', '{"id":"v1"}'),
        ("#set($m = 'it''s')$m#set($m = '''')$m#set($m = \"\")[$m]", "it's'[]"),
        ("$unknown $!unknown ${unknown}.", "$unknown  ${unknown}."),
        ("#set($n = 7)$n #set($n = $n / 2 + 1)$n", "7 4"),
        ("## a comment\nkept #* and another *#here", "kept here"),
        (
            "$input.params('name') $input.params('q') $input.params('X-Color') [$input.params('z')]",
            "k v red []",
        ),
        ("$input.params().path.name $input.params().querystring.q", "k v"),
        ("$input.params().header.get('X-Color')", "red"),
        ("$context.httpMethod $context.resourcePath $context.stage", "POST /put/{name} v1"),
        ('$input.path(\'$.name\').replaceAll("\'", "-").toUpperCase()', "IT-S"),
    ],
)
def test_mapping_templates_see_the_request(render: Any, template: str, expected: str) -> None:
    """Templates are programs of AWS's dialect of Velocity: each construct has its own traps."""
    body = {"a": {"b": [1, {"c": "x"}]}, "name": "it's", "flag": False}
    assert expected == render(template, body, path="/put/k?q=v", **{"X-Color": "red"})


def test_a_mock_answers_with_headers_and_overrides(deploy: Any) -> None:
    """CORS preflights are MOCK integrations with header mappings."""
    operation = mock(
        '#set($context.responseOverride.header.X-Made = "by $stageVariables.none")hello',
        requestTemplates={"application/json": "{statusCode: 200}"},
    )
    responses = operation["x-amazon-apigateway-integration"]["responses"]
    responses["default"]["responseParameters"] = {
        "method.response.header.Access-Control-Allow-Origin": "'*'"
    }
    reply = deploy({"/x": {"options": operation}}).send("OPTIONS", "/x")
    assert (200, b"hello", "*") == (
        reply.status,
        reply.body,
        reply.headers["Access-Control-Allow-Origin"],
    )
    assert reply.headers["X-Made"] == "by "


@pytest.mark.parametrize(
    "change",
    ["$context.responseOverride.status = 444", '$context.responseOverride = {"status": 444}'],
)
def test_a_request_template_can_override_the_status(deploy: Any, change: str) -> None:
    """AWS honours `$context.responseOverride` also where the request is mapped."""
    template = f'#set({change}){{"statusCode": 200}}'
    operation = mock("x", requestTemplates={"application/json": template})
    assert deploy({"/": {"get": operation}}).send("GET", "/").status == 444


def test_the_most_specific_route_wins(deploy: Any) -> None:
    """Static beats variable beats greedy, and a method beats ANY."""
    any_method = "x-amazon-apigateway-any-method"
    stage = deploy(
        {
            "/a/b": {"get": mock("static"), any_method: mock("any")},
            "/a/{v}": {"get": mock("variable $input.params('v')")},
            "/{proxy+}": {any_method: mock("greedy $input.params('proxy')")},
        }
    )
    found = {
        path: stage.send("GET", path).body.decode()
        for path in ("/a/b", "/a/b/", "/a/c%20d", "/a/b/c")
    }
    assert {
        "/a/b": "static",
        "/a/b/": "static",
        "/a/c%20d": "variable c d",
        "/a/b/c": "greedy a/b/c",
    } == found
    assert stage.send("DELETE", "/a/b").body == b"any"


def test_no_route_is_a_missing_authentication_token(deploy: Any) -> None:
    """AWS's famous answer to a wrong path or method."""
    reply = deploy({"/x": {"get": mock("x")}}).send("POST", "/x")
    assert (403, {"message": "Missing Authentication Token"}) == (reply.status, reply.json())
    assert reply.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"


def test_a_validator_checks_parameters_and_body(deploy: Any) -> None:
    """What does not fit the model is turned away before it reaches a queue."""
    operation = mock("fine")
    operation["parameters"] = [
        {"name": "id", "in": "query", "required": True, "schema": {"type": "string"}},
        {"name": "X-Key", "in": "header", "required": True, "schema": {"type": "string"}},
    ]
    operation["requestBody"] = {
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}
    }
    schemas = {
        "Order": {
            "type": "object",
            "required": ["items"],
            "properties": {
                "items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
            },
        },
        "Item": {"type": "string"},
    }
    stage = deploy(
        {"/": {"post": operation}},
        components={"schemas": schemas},
        **{
            "x-amazon-apigateway-request-validators": {
                "all": {"validateRequestBody": True, "validateRequestParameters": True}
            },
            "x-amazon-apigateway-request-validator": "all",
        },
    )
    key = {"X-Key": "k"}
    missing = stage.send("POST", "/", {"items": []})
    assert (400, {"message": "Missing required request parameters: [id, X-Key]"}) == (
        missing.status,
        missing.json(),
    )
    wrong = stage.send("POST", "/?id=1", {"items": [1]}, key)
    assert (400, {"message": "Invalid request body"}) == (wrong.status, wrong.json())
    assert stage.send("POST", "/?id=1", {"items": ["a"]}, key).body == b"fine"


def test_an_unmapped_media_type_does_not_pass(aws: Any, deploy: Any, unique: str) -> None:
    """With passthrough NEVER only mapped media types reach the service."""
    stage = deploy({"/": {"post": queue_operation(unique)}})
    reply = stage.send("POST", "/", b"<a/>", {"Content-Type": "text/xml"})
    assert (415, {"message": "Unsupported Media Type"}) == (reply.status, reply.json())


def test_a_body_that_is_no_json_is_the_clients_fault(render: Any, deploy: Any, unique: str) -> None:
    """A template that reads the body as JSON turns a malformed one into 400, not into a message."""
    operation = queue_operation(
        unique,
        requestTemplates={"application/json": "Action=SendMessage&MessageBody=$input.json('$')"},
    )
    reply = deploy({"/": {"post": operation}}).send("POST", "/", b"{nope")
    assert reply.status == 400
    assert reply.json()["message"].startswith("Could not parse request body into json")


def test_a_stage_throttles_its_methods(aws: Any, deploy: Any) -> None:
    """Limits are what protects the things behind an API."""
    stage = deploy({"/x": {"get": mock("x")}, "/y": {"get": mock("y")}})
    aws("apigateway").update_stage(
        restApiId=stage.api_id,
        stageName="v1",
        patchOperations=[
            {"op": "replace", "path": "/~1x/GET/throttling/rateLimit", "value": "0.001"},
            {"op": "replace", "path": "/~1x/GET/throttling/burstLimit", "value": "2"},
        ],
    )
    replies = [stage.send("GET", "/x") for _ in range(3)]
    assert [200, 200, 429] == [reply.status for reply in replies]
    assert {"message": "Too Many Requests"} == replies[2].json()
    assert stage.send("GET", "/y").status == 200


def test_a_gateway_response_can_be_customised(deploy: Any) -> None:
    """Browsers need CORS headers on errors too, or they see no error at all."""
    stage = deploy(
        {"/x": {"get": mock("x")}},
        **{
            "x-amazon-apigateway-gateway-responses": {
                "DEFAULT_4XX": {
                    "statusCode": 404,
                    "responseParameters": {
                        "gatewayresponse.header.Access-Control-Allow-Origin": "'*'"
                    },
                    "responseTemplates": {
                        "application/json": '{"sorry":$context.error.messageString}'
                    },
                }
            }
        },
    )
    reply = stage.send("GET", "/none")
    assert (404, {"sorry": "Missing Authentication Token"}, "*") == (
        reply.status,
        reply.json(),
        reply.headers["Access-Control-Allow-Origin"],
    )


def test_a_deployment_is_a_snapshot(aws: Any, deploy: Any) -> None:
    """Changes are not served before they are deployed, and an old deployment can be brought back."""
    client = aws("apigateway")
    stage = deploy({"/x": {"get": mock("old")}})
    first = client.get_stage(restApiId=stage.api_id, stageName="v1")["deploymentId"]
    root = next(
        r for r in client.get_resources(restApiId=stage.api_id)["items"] if r["path"] == "/x"
    )
    client.update_integration_response(
        restApiId=stage.api_id,
        resourceId=root["id"],
        httpMethod="GET",
        statusCode="200",
        patchOperations=[
            {"op": "replace", "path": "/responseTemplates/text~1plain", "value": "new"}
        ],
    )
    assert stage.send("GET", "/x").body == b"old"
    client.create_deployment(restApiId=stage.api_id, stageName="v1")
    assert stage.send("GET", "/x").body == b"new"
    with pytest.raises(ClientError, match="Active stages pointing to this deployment"):
        client.delete_deployment(
            restApiId=stage.api_id,
            deploymentId=client.get_stage(restApiId=stage.api_id, stageName="v1")["deploymentId"],
        )
    client.update_stage(
        restApiId=stage.api_id,
        stageName="v1",
        patchOperations=[{"op": "replace", "path": "/deploymentId", "value": first}],
    )
    assert stage.send("GET", "/x").body == b"old"


def test_an_api_built_step_by_step(aws: Any, endpoint: str, unique: str) -> None:
    """CloudFormation, Terraform and the CLI build APIs from single operations."""
    client = aws("apigateway")
    api = client.create_rest_api(name=unique, tags={"a": "b"})
    place: dict[str, Any] = {"restApiId": api["id"]}
    created = client.create_resource(**place, parentId=api["rootResourceId"], pathPart="x")
    assert created["path"] == "/x"
    with pytest.raises(ClientError, match="already has this name: x") as clash:
        client.create_resource(**place, parentId=api["rootResourceId"], pathPart="x")
    assert clash.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    method = {**place, "resourceId": created["id"], "httpMethod": "GET"}
    client.put_method(**method, authorizationType="NONE")
    client.put_method_response(**method, statusCode="200")
    made = client.put_integration(
        **method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
    )
    assert (29000, "WHEN_NO_MATCH") == (made["timeoutInMillis"], made["passthroughBehavior"])
    client.put_integration_response(
        **method, statusCode="200", responseTemplates={"text/plain": "$stageVariables.word"}
    )
    deployment = client.create_deployment(**place)
    client.create_stage(
        **place, stageName="beta", deploymentId=deployment["id"], variables={"word": "hello"}
    )
    assert Stage(endpoint, api["id"], "beta").send("GET", "/x").body == b"hello"
    assert client.get_tags(resourceArn=f"arn:aws:apigateway:us-east-1::/restapis/{api['id']}")[
        "tags"
    ] == {"a": "b"}
    client.delete_rest_api(**place)
    with pytest.raises(
        ClientError, match=f"Invalid API identifier specified 000000000000:{api['id']}"
    ):
        client.get_rest_api(**place)
    reply = Stage(endpoint, api["id"], "beta").send("GET", "/x")
    assert (403, {"message": "Forbidden"}) == (reply.status, reply.json())


def test_an_api_answers_under_its_own_host(deploy: Any) -> None:
    """Applications use the invoke URL of AWS's own shape."""
    stage = deploy({"/x": {"get": mock("$context.domainName $context.path")}})
    host = f"{stage.api_id}.execute-api.us-east-1.localhost:4566"
    request = urllib.request.Request(f"{stage.endpoint}/v1/x", headers={"Host": host})
    with urllib.request.urlopen(request) as response:
        assert f"{stage.api_id}.execute-api.us-east-1.localhost /v1/x" == response.read().decode()
    legacy = f"{stage.endpoint}/restapis/{stage.api_id}/v1/_user_request_/x"
    with urllib.request.urlopen(legacy) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "http_proxy", "uri": "https://example.org"}, "the integration type HTTP_PROXY"),
        ({"connectionType": "VPC_LINK"}, "the connection type VPC_LINK"),
        ({"uri": "arn:aws:apigateway:us-east-1:kinesis:action/PutRecord"}, "the service kinesis"),
        ({"uri": "arn:aws:apigateway:us-east-1:states:path/"}, "the service states"),
        ({"uri": "arn:aws:apigateway:us-east-1:sqs:action/SendMessages"}, "sqs:SendMessages"),
        (
            {"uri": "arn:aws:apigateway:us-east-1:dynamodb:action/ExecuteStatement"},
            "dynamodb:ExecuteStatement",
        ),
        (
            {"uri": "arn:aws:apigateway:us-east-1:s3:action/GetObject&Bucket=a&Key=b"},
            "parameters in the action",
        ),
        (
            {"requestTemplates": {"application/json": "#macro(m)x#end"}},
            "the Velocity directive #macro",
        ),
        ({"cacheKeyParameters": ["method.request.path.x"]}, "the integration's cacheKeyParameters"),
    ],
)
def test_what_is_not_built_is_refused_by_name(
    deploy: Any, unique: str, change: dict[str, Any], told: str
) -> None:
    """An API must not look as if it did what it does not."""
    with pytest.raises(ClientError, match=told) as refusal:
        deploy({"/": {"post": queue_operation(unique, **change)}})
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_target_that_is_not_there_is_refused_however_it_is_put(aws: Any, unique: str) -> None:
    """A user's API was deployed with a target that nothing serves; each call then was a 200 with an error in its body."""
    client = aws("apigateway")
    api = client.create_rest_api(name=unique)
    named = {"restApiId": api["id"], "resourceId": api["rootResourceId"], "httpMethod": "POST"}
    client.put_method(**named, authorizationType="NONE")
    target = "arn:aws:apigateway:us-east-1:{}:action/{}"
    put: dict[str, Any] = {"type": "AWS", "integrationHttpMethod": "POST", "credentials": ROLE}
    with pytest.raises(ClientError, match="the service nosuch"):
        client.put_integration(**named, **put, uri=target.format("nosuch", "Run"))
    client.put_integration(**named, **put, uri=target.format("sns", "Publish"))
    change = {"op": "replace", "path": "/uri", "value": target.format("kinesis", "PutRecord")}
    with pytest.raises(ClientError, match="the service kinesis"):
        client.update_integration(**named, patchOperations=[change])
    assert "sns:action" in client.get_integration(**named)["uri"]


@pytest.mark.parametrize(
    ("integration", "told"),
    [
        (
            {"requestTemplates": {"application/json": "{\n#if($x) a"}},
            "the request template of application/json has a syntax error: line 2",
        ),
        (
            {
                "responses": {
                    "default": {
                        "statusCode": "200",
                        "responseTemplates": {"text/plain": "#set($x = )"},
                    }
                }
            },
            "the template of text/plain for the response 200 has a syntax error: line 1",
        ),
    ],
)
def test_the_log_says_which_template_is_at_fault(
    launch: Any, tmp_path: Any, connect: Any, integration: dict[str, Any], told: str
) -> None:
    """Whoever has written a hundred templates must not look through all of them for one that cannot be parsed."""
    server = launch(tmp_path)
    client = connect(server.endpoint, "apigateway")
    operation = mock("")
    operation["x-amazon-apigateway-integration"].update(integration)
    paths = {"/orders/{id}": {"post": operation}}
    definition = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": paths}
    api = client.import_rest_api(body=json.dumps(definition).encode())
    client.create_deployment(restApiId=api["id"], stageName="v1")
    assert Stage(server.endpoint, api["id"]).send("POST", "/orders/7", {}).status == 500
    assert f"API {api['id']}, stage v1, POST /orders/{{id}}" in server.log.read_text()
    assert told in server.log.read_text()


def test_a_method_is_tried_without_a_deployment(aws: Any, unique: str) -> None:
    """The console's and the CLI's way to find out why a mapping does not do what it should: its log tells each step."""
    client = aws("apigateway")
    url = aws("sqs").create_queue(QueueName=unique)["QueueUrl"]
    sent = queue_operation(unique)
    shown = mock('{"id": "$input.params(\'id\')", "stage": "$stageVariables.color"}')
    broken = mock("#if($x) a")
    paths = {"/pets/{id}": {"get": shown, "post": sent, "put": broken, "delete": shown}}
    definition = {"openapi": "3.0.1", "info": {"title": unique, "version": "1"}, "paths": paths}
    api = client.import_rest_api(body=json.dumps(definition).encode())["id"]
    (pet,) = (r for r in client.get_resources(restApiId=api)["items"] if r["path"] == "/pets/{id}")

    def tried(verb: str, path: str | None = "/pets/7?a=b", **more: Any) -> tuple[Any, list[str]]:
        given = {} if path is None else {"pathWithQueryString": path}
        found = client.test_invoke_method(
            restApiId=api, resourceId=pet["id"], httpMethod=verb, **given, **more
        )
        return found, [line.partition(" : ")[2] or line for line in found["log"].split("\n")]

    found, log = tried("GET", stageVariables={"color": "red"}, headers={"X-One": "1"})
    assert (200, '{"id": "7", "stage": "red"}') == (found["status"], found["body"])
    assert {"Content-Type": "text/plain"} == found["headers"]
    assert {"Content-Type": ["text/plain"]} == found["multiValueHeaders"]
    request_id = log[0].removeprefix("Execution log for request ")
    assert log[1:] == [
        f"Starting execution for request: {request_id}",
        "HTTP Method: GET, Resource Path: /pets/7",
        "Method request path: {id=7}",
        "Method request query string: {a=b}",
        "Method request headers: {X-One=1}",
        "Method request body before transformations: ",
        'Method response body after transformations: {"id": "7", "stage": "red"}',
        "Method response headers: {Content-Type=text/plain}",
        "Successfully completed execution",
        "Method completed with status: 200",
        "",
    ]
    assert '"{id}"' in tried("GET", None)[0]["body"]
    assert '"id": ""' in tried("GET", "/elsewhere")[0]["body"]

    found, log = tried("POST", body='{"item": 1}')
    assert found["status"] == 202
    message = aws("sqs").receive_message(QueueUrl=url)["Messages"][0]
    assert message["Body"] == '{"item": 1}'
    assert any(line.startswith("Endpoint request URI: https://sqs.us-east-1.") for line in log)
    assert any("after transformations: Action=SendMessage" in line for line in log)
    assert any(
        line.startswith("Received response. Status: 200, Integration latency:") for line in log
    )

    found, log = tried("PUT")
    assert (500, {"x-amzn-ErrorType": "InternalServerErrorException"}) == (
        found["status"],
        found["headers"],
    )
    assert "Execution failed due to configuration error: the template of text/plain" in log[7]
    assert "Method completed with status: 500" == log[8]
    with pytest.raises(ClientError, match="Invalid Method identifier specified"):
        tried("HEAD")


FUNCTION = """
import json
import time

def handler(event, context):
    kind = event["path"].rpartition("/")[2]
    if kind == "slow":
        time.sleep(5)
    if kind == "raise":
        raise ValueError("broken")
    if kind == "digits":
        return {"statusCode": "\u00b2\u00b2\u00b2"}
    if kind == "shape":
        return {"statusCode": 200, "extra": 1}
    if kind == "binary":
        return {"statusCode": 201, "headers": {"Content-Type": "image/png"}, "body": event["body"],
                "isBase64Encoded": True}
    return {"statusCode": "200", "headers": {"X-One": "1", "Date": "then"},
            "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}, "body": json.dumps(event)}
"""


def custom(function_arn: str) -> dict[str, Any]:
    """An operation that maps requests to a function and its failures to a status."""
    return {
        "responses": {},
        "x-amazon-apigateway-integration": {
            "type": "aws",
            "httpMethod": "POST",
            "uri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
            f"{function_arn}/invocations",
            "requestParameters": {
                "integration.request.header.X-Amz-Invocation-Type": "method.request.header.Kind"
            },
            "requestTemplates": {"application/json": '{"path": "/$input.path(\'$.kind\')"}'},
            "responses": {
                "default": {
                    "statusCode": "200",
                    "responseTemplates": {"text/plain": "$input.path('$.statusCode')"},
                },
                "bro.*": {
                    "statusCode": "409",
                    "responseTemplates": {"text/plain": "$input.path('$.errorMessage')"},
                },
            },
        },
    }


@pytest.fixture
def proxy(aws: Any, deploy: Any, unique: str) -> Stage:
    """An API that hands every request to a function."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("app.py", FUNCTION)
    role = aws("iam").create_role(RoleName=unique, AssumeRolePolicyDocument=json.dumps(TRUST))
    function = aws("lambda").create_function(
        FunctionName=unique,
        Runtime="python3.11",
        Handler="app.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": archive.getvalue()},
    )
    operation = {
        "responses": {},
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
            f"{function['FunctionArn']}/invocations",
        },
    }
    slow = {**operation["x-amazon-apigateway-integration"], "timeoutInMillis": 50}
    stage: Stage = deploy(
        {
            "/{proxy+}": {"x-amazon-apigateway-any-method": operation},
            "/slow": {"get": {"responses": {}, "x-amazon-apigateway-integration": slow}},
            "/custom": {"post": custom(function["FunctionArn"])},
        },
        **{"x-amazon-apigateway-binary-media-types": ["image/png"]},
    )
    return stage


def test_a_function_gets_the_request_as_an_event(proxy: Stage) -> None:
    """Functions are written against the exact shape of payload format 1.0."""
    reply = proxy.send("POST", "/a/b?x=1&x=2&y=", {"k": 1}, {"X-Signature": "s"})
    event = reply.json()
    assert {
        "resource": "/{proxy+}",
        "path": "/a/b",
        "httpMethod": "POST",
        "queryStringParameters": {"x": "2", "y": ""},
        "multiValueQueryStringParameters": {"x": ["1", "2"], "y": [""]},
        "pathParameters": {"proxy": "a/b"},
        "stageVariables": None,
        "body": '{"k": 1}',
        "isBase64Encoded": False,
    } == {
        k: v
        for k, v in event.items()
        if k not in ("headers", "multiValueHeaders", "requestContext")
    }
    assert ("s", ["s"]) == (
        event["headers"]["X-Signature"],
        event["multiValueHeaders"]["X-Signature"],
    )
    context = event["requestContext"]
    assert ("/v1/a/b", "v1", proxy.api_id) == (context["path"], context["stage"], context["apiId"])
    assert context["requestId"] == reply.headers["x-amzn-RequestId"]
    assert reply.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert ("1", "then") == (reply.headers["X-One"], reply.headers["x-amzn-Remapped-Date"])


@pytest.mark.parametrize("kind", ["raise", "shape", "digits"])
def test_a_function_that_fails_is_a_bad_gateway(proxy: Stage, kind: str) -> None:
    """A function's failure, or an answer out of shape, is 502 and tells nothing of the inside."""
    reply = proxy.send("GET", f"/{kind}")
    assert (502, {"message": "Internal server error"}) == (reply.status, reply.json())
    assert reply.headers["x-amzn-ErrorType"] == "InternalServerErrorException"


@pytest.mark.parametrize("kind", ["shape", "digits"])
def test_a_trial_says_that_an_answer_is_malformed(aws: Any, proxy: Stage, kind: str) -> None:
    """Whoever looks for the cause of a 502 looks for these words."""
    client = aws("apigateway")
    resources = client.get_resources(restApiId=proxy.api_id)["items"]
    (everything,) = (one["id"] for one in resources if one["path"] == "/{proxy+}")
    found = client.test_invoke_method(
        restApiId=proxy.api_id,
        resourceId=everything,
        httpMethod="GET",
        pathWithQueryString=f"/{kind}",
    )
    assert 502 == found["status"]
    assert "configuration error: Malformed Lambda proxy response" in found["log"]


def test_binary_bodies_travel_as_base64(proxy: Stage) -> None:
    """Images and archives pass through a function unharmed in both directions."""
    data = bytes(range(256))
    reply = proxy.send(
        "POST", "/binary", data, {"Content-Type": "image/png", "Accept": "image/png"}
    )
    assert (201, data) == (reply.status, reply.body)
    text = proxy.send("POST", "/binary", data, {"Content-Type": "image/png", "Accept": "text/html"})
    assert base64.b64encode(data) == text.body


def test_a_slow_function_is_a_gateway_timeout(proxy: Stage) -> None:
    """A client must get an answer within the limit, whatever the function does."""
    reply = proxy.send("GET", "/slow")
    assert (504, {"message": "Endpoint request timed out"}) == (reply.status, reply.json())


def test_a_functions_failure_chooses_the_response(proxy: Stage) -> None:
    """Without proxying, patterns are held against a function's error message."""
    fine = proxy.send("POST", "/custom", {"kind": "shape"})
    assert (200, b"200") == (fine.status, fine.body)
    broken = proxy.send("POST", "/custom", {"kind": "raise"})
    assert (409, b"broken") == (broken.status, broken.body)
    queued = proxy.send("POST", "/custom", {"kind": "raise"}, {"Kind": "Event"})
    assert (200, b"") == (queued.status, queued.body)


SWAGGER = """
swagger: "2.0"
info: {title: pets, version: 2025-01-01}
basePath: /ignored
paths:
  /pets/{id}:
    parameters:
      - {name: id, in: path, required: true, type: string}
    x-amazon-apigateway-any-method:
      parameters:
        - {name: pet, in: body, schema: {$ref: "#/definitions/Pet"}}
      responses: {200: {description: ok, headers: {X-A: {type: string}}}}
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: "{statusCode: 404}"}
        responses:
          default: {statusCode: 200}
          4..: {statusCode: 404, responseTemplates: {text/plain: "no $input.params('id')"}}
definitions:
  Pet: {type: object}
"""


def test_a_swagger_definition_in_yaml_overwrites_and_merges(
    aws: Any, endpoint: str, unique: str
) -> None:
    """Definitions are kept beside the code in both formats and both versions, and deployed again and again."""
    client = aws("apigateway")
    api = client.create_rest_api(name=unique)
    place = {"restApiId": api["id"]}
    client.create_resource(**place, parentId=api["rootResourceId"], pathPart="gone")
    client.put_rest_api(**place, mode="overwrite", body=SWAGGER.encode())
    resources = client.get_resources(**place, embed=["methods"])["items"]
    assert {"/", "/pets", "/pets/{id}"} == {each["path"] for each in resources}
    method = next(r for r in resources if r["path"] == "/pets/{id}")["resourceMethods"]["ANY"]
    assert {"method.request.path.id": True} == method["requestParameters"]
    assert {"application/json": "Pet"} == method["requestModels"]
    assert {"method.response.header.X-A": False} == method["methodResponses"]["200"][
        "responseParameters"
    ]
    more = {
        "openapi": "3.0.1",
        "info": {"title": "p", "version": "1"},
        "paths": {"/y": {"get": mock("y")}},
    }
    client.put_rest_api(**place, mode="merge", body=json.dumps(more).encode())
    client.create_deployment(**place, stageName="v1")
    stage = Stage(endpoint, api["id"])
    assert stage.send("GET", "/y").body == b"y"
    reply = stage.send("PATCH", "/pets/7")
    assert (404, b"no 7") == (reply.status, reply.body)


def test_an_api_without_integrations_cannot_be_deployed(aws: Any, unique: str) -> None:
    """A deployment that could only fail is refused when it is made."""
    client = aws("apigateway")
    api = client.create_rest_api(name=unique)
    with pytest.raises(ClientError, match="The REST API doesn't contain any methods"):
        client.create_deployment(restApiId=api["id"])
    client.put_method(
        restApiId=api["id"],
        resourceId=api["rootResourceId"],
        httpMethod="GET",
        authorizationType="NONE",
    )
    with pytest.raises(ClientError, match="No integration defined for method"):
        client.create_deployment(restApiId=api["id"])


def test_an_api_outlives_a_crash(tmp_path: Any) -> None:
    """What was deployed is served after the process was killed and started again."""
    server = Server(str(tmp_path / "data"))
    try:
        client = make_client(server.endpoint, "apigateway")
        definition = {
            "openapi": "3.0.1",
            "info": {"title": "a", "version": "1"},
            "paths": {"/x": {"get": mock("x")}},
        }
        api = client.import_rest_api(body=json.dumps(definition).encode())
        client.create_deployment(restApiId=api["id"], stageName="v1")
        server.kill()
        server.start()
        assert Stage(server.endpoint, api["id"]).send("GET", "/x").body == b"x"
    finally:
        server.stop()


def test_tracing_is_refused(aws: Any, deploy: Any) -> None:
    """A stage that says it is traced, and is not, hides that nothing arrives."""
    stage = deploy({"/a": {"get": mock()}})
    client, place = aws("apigateway"), {"restApiId": stage.api_id}
    deployment = client.get_deployments(**place)["items"][0]["id"]
    change = [{"op": "replace", "path": "/tracingEnabled", "value": "true"}]
    for call in (
        lambda: client.create_stage(
            **place, stageName="t", deploymentId=deployment, tracingEnabled=True
        ),
        lambda: client.create_deployment(**place, stageName="t", tracingEnabled=True),
        lambda: client.update_stage(**place, stageName="v1", patchOperations=change),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert "tracingEnabled" in caught.value.response["Error"]["Message"]
    off = [{**change[0], "value": "false"}]
    assert not client.update_stage(**place, stageName="v1", patchOperations=off)["tracingEnabled"]


def test_schemas_written_in_place_are_validated(deploy: Any) -> None:
    """Definitions often hold the schema of a body where it is used."""
    schema = {"type": "object", "required": ["name"]}
    operation = {
        **mock("fine"),
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "x-amazon-apigateway-request-validator": "body",
    }
    stage = deploy(
        {"/a": {"post": operation}},
        **{"x-amazon-apigateway-request-validators": {"body": {"validateRequestBody": True}}},
    )
    assert 200 == stage.send("POST", "/a", {"name": "x"}).status
    assert 400 == stage.send("POST", "/a", {"other": "x"}).status
