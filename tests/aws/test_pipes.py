"""EventBridge Pipes: from a queue through filter, enrichment and templates to a target, in virtual time."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.events_application import Endpoint
from tests.aws.lambda_application import Application
from tests.conftest import Server

ROLE = "arn:aws:iam::000000000000:role/pipe"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
DESTINATION = "arn:aws:events:us-east-1:000000000000:api-destination/d/6b1d4a0c"
ENRICH = """
import json

def handler(event, context):
    return [{"seen": json.loads(record["body"])["n"], "of": len(event)} for record in event]
"""
PASS_ON = """
def handler(event, context):
    return event
"""
# Two events of each message.
TWICE = """
def handler(event, context):
    return [{"n": n} for _ in event for n in range(2)]
"""
NOTHING = """
def handler(event, context):
    return []
"""
# Tells a queue of every batch, and says which messages failed.
PARTIAL = """
import json, os
import boto3

def handler(event, context):
    bodies = [record["body"] for record in event]
    boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(bodies))
    failed = [record["messageId"] for record in event if "bad" in record["body"]]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
"""


@pytest.fixture
def pipes(frozen: Server, connect: Callable[..., Any]) -> Any:
    return connect(frozen.endpoint, "pipes")


def test_a_pipe_as_it_was_created(application: Application, pipes: Any) -> None:
    """Create, describe, list, tag, stop, start, delete."""
    _, source = application.queue("source")
    _, target = application.queue("target")
    name = application.name
    created = pipes.create_pipe(
        Name=name, Source=source, Target=target, RoleArn=ROLE, Tags={"a": "1"}, Description="told"
    )
    assert created["CurrentState"] == "CREATING"
    found = pipes.describe_pipe(Name=name)
    assert found["CurrentState"] == found["DesiredState"] == "RUNNING"
    assert (found["Source"], found["Target"], found["Description"]) == (source, target, "told")
    assert found["Tags"] == {"a": "1"}
    (listed,) = pipes.list_pipes(NamePrefix=name)["Pipes"]
    assert listed["Arn"] == created["Arn"]
    pipes.tag_resource(resourceArn=created["Arn"], tags={"b": "2"})
    pipes.untag_resource(resourceArn=created["Arn"], tagKeys=["a"])
    assert pipes.list_tags_for_resource(resourceArn=created["Arn"])["tags"] == {"b": "2"}
    with pytest.raises(ClientError) as taken:
        pipes.create_pipe(Name=name, Source=source, Target=target, RoleArn=ROLE)
    assert taken.value.response["Error"]["Code"] == "ConflictException"
    assert pipes.stop_pipe(Name=name)["CurrentState"] == "STOPPING"
    application.advance(1)
    assert pipes.describe_pipe(Name=name)["CurrentState"] == "STOPPED"
    assert pipes.start_pipe(Name=name)["CurrentState"] == "STARTING"
    pipes.delete_pipe(Name=name)
    with pytest.raises(ClientError) as gone:
        pipes.describe_pipe(Name=name)
    assert gone.value.response["Error"]["Code"] == "NotFoundException"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Source": "arn:aws:kinesis:us-east-1:000000000000:stream/s"}, "pipes from the service kinesis"),
        ({"Target": "arn:aws:states:us-east-1:000000000000:stateMachine:m"}, "pipes to arn:aws:states"),
        ({"TargetParameters": {"InputTemplate": "<aws.pipes.nonsense>"}}, "no reserved variable"),
        ({"TargetParameters": {"LambdaFunctionParameters": {}}}, "cannot be given"),
        ({"SourceParameters": {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}}, "Invalid filter pattern"),
        (
            {"Target": FUNCTION, "SourceParameters": {"SqsQueueParameters": {"BatchSize": 11}}},
            "MaximumBatchingWindowInSeconds",
        ),
        ({"SourceParameters": {"SqsQueueParameters": {"BatchSize": 11}}}, "not be greater than 10"),
        (
            {"Target": DESTINATION, "SourceParameters": {"SqsQueueParameters": {"BatchSize": 2}}},
            "not be greater than 1 ",
        ),
        (
            {"Enrichment": DESTINATION, "SourceParameters": {"SqsQueueParameters": {"BatchSize": 2}}},
            "not be greater than 1 ",
        ),
        ({"Source": "arn:aws:sqs:us-east-1:000000000000:gone"}, "does not exist"),
        ({"Target": "arn:aws:sqs:us-east-1:000000000000:t.fifo"}, "MessageGroupId"),
    ],
)  # fmt: skip
def test_what_is_no_pipe(
    application: Application, pipes: Any, changes: dict[str, Any], message: str
) -> None:
    """A pipe that could not work is refused with what is wrong with it."""
    _, source = application.queue()
    given = {"Name": "none", "Source": source, "Target": source, "RoleArn": ROLE, **changes}
    with pytest.raises(ClientError, match=message):
        pipes.create_pipe(**given)


def test_filter_template_and_queue(application: Application, pipes: Any) -> None:
    """What the filters do not let through is deleted; the rest is transformed, into groups of a FIFO queue."""
    url, source = application.queue("source")
    told, target = application.queue("t.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Target=target,
        RoleArn=ROLE,
        SourceParameters={
            "FilterCriteria": {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["order"]}})}]},
            "SqsQueueParameters": {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 5},
        },
        TargetParameters={
            "InputTemplate": '{"id": <$.body.id>, "pipe": "<aws.pipes.pipe-name>"}',
            "SqsQueueParameters": {"MessageGroupId": "$.body.group"},
        },
    )
    for n in range(12):
        kind = "order" if n % 4 else "noise"
        application.send(url, json.dumps({"kind": kind, "id": n, "group": f"g{n % 2}"}))
    application.advance(5)
    received = application.sqs.receive_message(
        QueueUrl=told, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    ids = {one["Attributes"]["MessageGroupId"]: [] for one in received}
    for one in received:
        body = json.loads(one["Body"])
        assert body["pipe"] == application.name
        ids[one["Attributes"]["MessageGroupId"]].append(body["id"])
    assert ids == {"g0": [2, 6, 10], "g1": [1, 3, 5, 7, 9, 11]}
    application.advance(3600)
    assert application.messages(url) == []


def test_enrichment_by_a_function(application: Application, pipes: Any) -> None:
    """The target gets what the enrichment made of the batch."""
    url, source = application.queue("source")
    told, target = application.queue("told")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=application.function(ENRICH),
        Target=target,
        RoleArn=ROLE,
        SourceParameters={
            "SqsQueueParameters": {"BatchSize": 3, "MaximumBatchingWindowInSeconds": 60}
        },
        TargetParameters={"InputTemplate": '{"n": <$.seen>, "of": <$.of>}'},
    )
    application.send(url, *(json.dumps({"n": n}) for n in range(3)))
    application.advance(1)
    bodies = application.bodies(told)
    assert sorted(body["n"] for body in bodies) == [0, 1, 2]
    assert {body["of"] for body in bodies} == {3}


def test_an_enrichment_that_gives_nothing_ends_the_batch(
    application: Application, pipes: Any
) -> None:
    """There is nothing to hand over, so the batch is done with."""
    url, source = application.queue("source")
    told, target = application.queue("told")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=application.function(NOTHING),
        Target=target,
        RoleArn=ROLE,
    )
    application.send(url, "1", "2")
    application.advance(3600)
    assert application.messages(told) == []
    assert application.messages(url) == []


def stage_that_says(application: Application, connect: Callable[..., Any], text: str) -> str:
    """The ARN of a method of a new API, which answers a text."""
    gateway = connect(application.endpoint, "apigateway")
    api = gateway.create_rest_api(name=application.name)["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    method = {"restApiId": api, "resourceId": root, "httpMethod": "POST"}
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_method_response(**method, statusCode="200")
    asked = {"application/json": '{"statusCode": 200}'}
    gateway.put_integration(**method, type="MOCK", requestTemplates=asked)
    told = {"application/json": text}
    gateway.put_integration_response(**method, statusCode="200", responseTemplates=told)
    gateway.create_deployment(restApiId=api, stageName="s")
    return f"arn:aws:execute-api:us-east-1:000000000000:{api}/s/POST/"


def test_an_enrichment_that_is_no_json_loses_nothing(
    application: Application, pipes: Any, connect: Callable[..., Any]
) -> None:
    """Its messages stay in their queue; an empty answer would end the batch."""
    url, source = application.queue("source", VisibilityTimeout="60")
    _, target = application.queue("told")
    stage = stage_that_says(application, connect, '[{"half": ')
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=stage,
        Target=target,
        RoleArn=ROLE,
    )
    application.send(url, "1")
    application.advance(10)
    pipes.stop_pipe(Name=application.name)
    application.advance(60)
    assert [one["Body"] for one in application.messages(url)] == ["1"]


def test_a_function_says_which_messages_failed(application: Application, pipes: Any) -> None:
    """They come back by the queue's own rules, and are dead-lettered by them; the others are done with."""
    dead, dead_arn = application.queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, source = application.queue("source", RedrivePolicy=policy, VisibilityTimeout="60")
    told, _ = application.queue("told")
    function = application.function(PARTIAL, Environment={"Variables": {"TOLD": told}})
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Target=function,
        RoleArn=ROLE,
        SourceParameters={
            "SqsQueueParameters": {"BatchSize": 2, "MaximumBatchingWindowInSeconds": 10}
        },
    )
    application.send(url, "good", "bad")
    application.advance(10)
    application.advance(600)
    batches = application.bodies(told)
    assert [sorted(batch) for batch in batches] == [["bad", "good"], ["bad"]]
    assert [one["Body"] for one in application.messages(dead)] == ["bad"]


def test_a_function_behind_an_enrichment_says_which_messages_failed(
    application: Application, pipes: Any
) -> None:
    """By the ids of the source, which the enrichment passes on."""
    url, source = application.queue("source", VisibilityTimeout="60")
    told, _ = application.queue("told")
    function = application.function(PARTIAL, Environment={"Variables": {"TOLD": told}})
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=application.function(PASS_ON, "enrich"),
        Target=function,
        RoleArn=ROLE,
    )
    application.send(url, "bad")
    application.advance(130)
    assert application.bodies(told)[:2] == [["bad"], ["bad"]]


def test_a_target_that_refuses_loses_nothing(application: Application, pipes: Any) -> None:
    """Messages for a queue that is gone stay in their source, and arrive when it is there again."""
    url, source = application.queue("source", VisibilityTimeout="60")
    told, target = application.queue("told")
    pipes.create_pipe(Name=application.name, Source=source, Target=target, RoleArn=ROLE)
    application.sqs.delete_queue(QueueUrl=told)
    application.send(url, "1")
    application.advance(300)
    told, _ = application.queue("told")
    application.advance(120)
    assert [json.loads(one["Body"])["body"] for one in application.messages(told)] == ["1"]


def test_other_targets(application: Application, pipes: Any, connect: Callable[..., Any]) -> None:
    """A bus with a path as its detail type, a log group, a function that is invoked asynchronously."""
    events = connect(application.endpoint, "events")
    logs = connect(application.endpoint, "logs")
    told, told_arn = application.queue("told")
    events.put_rule(Name=application.name, EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule=application.name, Targets=[{"Id": "1", "Arn": told_arn}])
    logs.create_log_group(logGroupName=application.name)
    function = application.function(PARTIAL, Environment={"Variables": {"TOLD": told}})
    targets: list[tuple[str, dict[str, Any]]] = [
        (
            "arn:aws:events:us-east-1:000000000000:event-bus/default",
            {
                "InputTemplate": '{"n": <$.body.n>}',
                "EventBridgeEventBusParameters": {"Source": "shop", "DetailType": "$.body.kind"},
            },
        ),
        (
            f"arn:aws:logs:us-east-1:000000000000:log-group:{application.name}",
            {
                "InputTemplate": "n is <$.body.n>",
                "CloudWatchLogsParameters": {"LogStreamName": "s"},
            },
        ),
        (function, {"LambdaFunctionParameters": {"InvocationType": "FIRE_AND_FORGET"}}),
    ]
    for number, (target, parameters) in enumerate(targets):
        url, source = application.queue(f"source{number}")
        pipes.create_pipe(
            Name=f"{application.name}-{number}",
            Source=source,
            Target=target,
            RoleArn=ROLE,
            TargetParameters=parameters,
        )
        application.send(url, '{"kind": "paid", "n": 7}')
    application.advance(1)
    bodies = application.bodies(told)
    (event,) = [body for body in bodies if isinstance(body, dict)]
    assert (event["detail-type"], event["detail"]) == ("paid", {"n": 7})
    assert ['{"kind": "paid", "n": 7}'] in bodies
    (log_event,) = logs.get_log_events(logGroupName=application.name, logStreamName="s")["events"]
    assert log_event["message"] == "n is 7"


def test_log_events_that_the_group_refuses_come_back(
    application: Application, pipes: Any, connect: Callable[..., Any]
) -> None:
    """An instant that is too old is refused alone: the others of the batch are stored once."""
    logs = connect(application.endpoint, "logs")
    logs.create_log_group(logGroupName=application.name)
    dead, dead_arn = application.queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, source = application.queue("source", RedrivePolicy=policy, VisibilityTimeout="60")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Target=f"arn:aws:logs:us-east-1:000000000000:log-group:{application.name}",
        RoleArn=ROLE,
        SourceParameters={
            "SqsQueueParameters": {"BatchSize": 2, "MaximumBatchingWindowInSeconds": 5}
        },
        TargetParameters={
            "InputTemplate": "<$.body.n>",
            "CloudWatchLogsParameters": {"LogStreamName": "s", "Timestamp": "$.body.at"},
        },
    )
    application.send(url, '{"n": 1, "at": ""}', '{"n": 2, "at": "1000"}')
    application.advance(300)
    found = logs.get_log_events(logGroupName=application.name, logStreamName="s")["events"]
    assert [one["message"] for one in found] == ["1"]
    assert [json.loads(one["Body"])["n"] for one in application.messages(dead)] == [2]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def destination(application: Application, connect: Callable[..., Any], url: str) -> str:
    """The ARN of a new API destination whose connection has a key."""
    events = connect(application.endpoint, "events")
    key = {"ApiKeyName": "x-key", "ApiKeyValue": "hush"}
    connection = events.create_connection(
        Name=application.name,
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": key},
    )
    return str(
        events.create_api_destination(
            Name=application.name,
            ConnectionArn=connection["ConnectionArn"],
            InvocationEndpoint=url,
            HttpMethod="POST",
        )["ApiDestinationArn"]
    )


def test_an_api_destination_as_target(
    application: Application, pipes: Any, connect: Callable[..., Any], endpoint: Endpoint
) -> None:
    """Each event is a call; one that fails comes back by the queue's rules."""
    url, source = application.queue("source", VisibilityTimeout="60")
    endpoint.answers = [(200, {}), (503, {})]
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Target=destination(application, connect, f"{endpoint.url}/*"),
        RoleArn=ROLE,
        TargetParameters={
            "InputTemplate": '{"n": <$.body.n>}',
            "HttpParameters": {
                "PathParameterValues": ["$.body.kind"],
                "HeaderParameters": {"x-kind": "$.body.kind"},
            },
        },
    )
    application.send(url, '{"n": 1, "kind": "a"}', '{"n": 2, "kind": "b"}')
    application.advance(10)
    assert [(one["path"], one["body"]) for one in endpoint.seen] == [
        ("/a", b'{"n": 1}'),
        ("/b", b'{"n": 2}'),
    ]
    headers = {name.lower(): value for name, value in endpoint.seen[0]["headers"].items()}
    assert (headers["x-key"], headers["x-kind"]) == ("hush", "a")
    application.advance(66)
    assert [one["body"] for one in endpoint.seen[2:]] == [b'{"n": 2}']
    application.advance(3600)
    assert len(endpoint.seen) == 3


def test_more_events_than_a_target_takes(
    application: Application, pipes: Any, connect: Callable[..., Any], endpoint: Endpoint
) -> None:
    """An enrichment that makes two events for a target that takes one: it is not called, and nothing is lost."""
    dead, dead_arn = application.queue("dead")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 2})
    url, source = application.queue("source", RedrivePolicy=policy, VisibilityTimeout="60")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=application.function(TWICE),
        Target=destination(application, connect, endpoint.url),
        RoleArn=ROLE,
    )
    application.send(url, "1")
    application.advance(300)
    assert endpoint.seen == []
    assert [one["Body"] for one in application.messages(dead)] == ["1"]


def test_an_api_destination_as_enrichment(
    application: Application, pipes: Any, connect: Callable[..., Any], endpoint: Endpoint
) -> None:
    """What the endpoint answers to an event takes its place."""
    url, source = application.queue("source")
    told, target = application.queue("told")
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=destination(application, connect, endpoint.url),
        EnrichmentParameters={"InputTemplate": "<$.body>"},
        Target=target,
        RoleArn=ROLE,
    )
    application.send(url, '{"n": 1}')
    application.advance(1)
    assert endpoint.seen[0]["body"] == b'{"n":1}'
    assert application.bodies(told) == [{"access_token": "", "expires_in": 3600}]


def test_a_stage_of_api_gateway_as_enrichment(
    application: Application, pipes: Any, connect: Callable[..., Any]
) -> None:
    """What the stage answers to an event takes its place."""
    url, source = application.queue("source")
    told, target = application.queue("told")
    stage = stage_that_says(application, connect, '{"by": "mock"}')
    pipes.create_pipe(
        Name=application.name,
        Source=source,
        Enrichment=stage,
        Target=target,
        RoleArn=ROLE,
    )
    application.send(url, "1")
    application.advance(1)
    assert application.bodies(told) == [{"by": "mock"}]


def test_a_pipe_of_a_template(
    application: Application, pipes: Any, connect: Callable[..., Any]
) -> None:
    """CloudFormation makes, changes and removes it with all its settings."""
    stacks = connect(application.endpoint, "cloudformation")
    application.steer("clock", {"resume": True})
    template = {
        "Resources": {
            "Source": {"Type": "AWS::SQS::Queue"},
            "Target": {"Type": "AWS::SQS::Queue"},
            "Pipe": {
                "Type": "AWS::Pipes::Pipe",
                "Properties": {
                    "Source": {"Fn::GetAtt": ["Source", "Arn"]},
                    "Target": {"Fn::GetAtt": ["Target", "Arn"]},
                    "RoleArn": ROLE,
                    "Tags": {"a": "b"},
                    "Description": "d",
                    "Enrichment": "arn:aws:lambda:us-east-1:000000000000:function:nobody",
                    "SourceParameters": {
                        "FilterCriteria": {"Filters": [{"Pattern": '{"body":{"n":[2]}}'}]}
                    },
                    "TargetParameters": {"InputTemplate": "<$.body>"},
                },
            },
        },
        "Outputs": {name: {"Value": {"Ref": name}} for name in ("Source", "Target", "Pipe")},
    }
    name = application.name
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    wait = {"Delay": 1, "MaxAttempts": 60}
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=wait)
    (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert pipes.describe_pipe(Name=outputs["Pipe"])["Tags"]["a"] == "b"
    assert "FilterCriteria" in pipes.describe_pipe(Name=outputs["Pipe"])["SourceParameters"]
    given = template["Resources"]["Pipe"]["Properties"]  # type: ignore[index]
    for member in ("Description", "Enrichment", "SourceParameters"):
        del given[member]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=wait)
    told = pipes.describe_pipe(Name=outputs["Pipe"])
    assert not {"Description", "Enrichment"} & set(told)
    assert "FilterCriteria" not in told.get("SourceParameters", {})
    application.send(outputs["Source"], '{"n": 1}')
    assert application.wait_for_bodies(outputs["Target"], 1) == [{"n": 1}]
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=wait)
    with pytest.raises(ClientError):
        pipes.describe_pipe(Name=outputs["Pipe"])
