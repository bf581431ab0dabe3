"""Functions as subscribers, topics as destinations and dead-letter queues of functions, and topics of templates."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.aws.lambda_application import RUNTIME, Application
from tests.aws.test_sns import verify
from tests.conftest import Server

TELLS = """
import json, os
import boto3

def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(event))
"""
FAILS = """
def handler(event, context):
    raise ValueError("on purpose")
"""
ECHO = """
def handler(event, context):
    return event
"""


@pytest.fixture
def sns(frozen: Server, connect: Callable[..., Any]) -> Any:
    """The client."""
    return connect(frozen.endpoint, "sns")


def topic_into(application: Application, sns: Any) -> tuple[str, str]:
    """A topic whose messages are in a queue, raw. Returns the topic's ARN and the queue's URL."""
    topic = sns.create_topic(Name=application.name)["TopicArn"]
    url, arn = application.queue("heard")
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    return topic, url


def test_event_of_a_function(application: Application, sns: Any) -> None:
    """A function gets one record with AWS's names, signed, with its attributes."""
    topic = sns.create_topic(Name=application.name)["TopicArn"]
    told, _ = application.queue("told")
    function = application.function(TELLS, Environment={"Variables": {"TOLD": told}})
    arn = sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)["SubscriptionArn"]
    sent = sns.publish(
        TopicArn=topic,
        Message="hello",
        MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}},
    )
    application.advance(1)

    (event,) = application.bodies(told)
    (record,) = event["Records"]
    assert record["EventSource"] == "aws:sns"
    assert record["EventVersion"] == "1.0"
    assert record["EventSubscriptionArn"] == arn
    message = record["Sns"]
    assert list(message) == [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertUrl",
        "UnsubscribeUrl",
        "MessageAttributes",
    ]
    assert (message["MessageId"], message["Subject"]) == (sent["MessageId"], None)
    assert message["MessageAttributes"] == {"a": {"Type": "String", "Value": "b"}}
    given = {name: value for name, value in message.items() if value is not None}
    verify(application.endpoint, {**given, "SigningCertURL": message["SigningCertUrl"]})


def test_dead_letter_of_a_function_that_is_gone(application: Application, sns: Any) -> None:
    """What no function takes goes to the dead-letter queue, in the envelope."""
    topic = sns.create_topic(Name=application.name)["TopicArn"]
    letters, letters_arn = application.queue("letters")
    sns.subscribe(
        TopicArn=topic,
        Protocol="lambda",
        Endpoint=f"arn:aws:lambda:us-east-1:000000000000:function:{application.name}-gone",
        Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": letters_arn})},
    )
    sns.publish(TopicArn=topic, Message="lost")
    application.advance(1)

    (letter,) = application.bodies(letters)
    assert (letter["Type"], letter["Message"]) == ("Notification", "lost")


def test_a_topic_is_a_functions_dead_letter_queue(application: Application, sns: Any) -> None:
    """An event whose retries are exhausted is published, with AWS's attributes."""
    topic, heard = topic_into(application, sns)
    function = application.function(FAILS, DeadLetterConfig={"TargetArn": topic})
    application.functions.put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=0
    )
    request = application.event(function, {"n": 1})
    application.advance(1)

    (message,) = application.messages(heard)
    assert json.loads(message["Body"]) == {"n": 1}
    attributes = message["MessageAttributes"]
    assert attributes["RequestID"]["StringValue"] == request
    assert attributes["ErrorMessage"]["StringValue"] == "on purpose"


@pytest.mark.parametrize(("code", "side"), [(ECHO, "OnSuccess"), (FAILS, "OnFailure")])
def test_a_topic_is_a_functions_destination(
    application: Application, sns: Any, code: str, side: str
) -> None:
    """The record of an event's end is published."""
    topic, heard = topic_into(application, sns)
    function = application.function(code)
    application.functions.put_function_event_invoke_config(
        FunctionName=function,
        MaximumRetryAttempts=0,
        DestinationConfig={side: {"Destination": topic}},
    )
    request = application.event(function, {"n": 1})
    application.advance(1)

    (record,) = application.bodies(heard)
    assert record["requestContext"]["requestId"] == request
    assert record["requestPayload"] == {"n": 1}


@pytest.mark.parametrize("ending", ["", ".fifo"])
def test_a_throttled_subscriber_gets_everything_later(
    application: Application, sns: Any, ending: str
) -> None:
    """A fault on the way to a queue is tried again by AWS's schedule; what has an order keeps it."""
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"} if ending else {}
    group = {"MessageGroupId": "g"} if ending else {}
    topic = sns.create_topic(Name=application.name + ending, Attributes=fifo)["TopicArn"]
    url, arn = application.queue("q" + ending, **({"FifoQueue": "true"} if ending else {}))
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )["SubscriptionArn"]
    application.steer("faults", {"faults": [{"arn": subscription, "fault": "throttle"}]})
    try:
        for number in range(3):
            sns.publish(TopicArn=topic, Message=str(number), **group)
            application.advance(1)
        assert application.messages(url) == []
    finally:
        application.steer("faults", {"faults": []})
    for number in range(3, 6):
        sns.publish(TopicArn=topic, Message=str(number), **group)
    application.advance(60)
    received = [message["Body"] for message in application.messages(url)]
    sns.publish(TopicArn=topic, Message="6", **group)
    received += [message["Body"] for message in application.messages(url)]

    expected = [str(number) for number in range(7)]
    assert (received if ending else sorted(received)) == expected


TEMPLATE = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "DisplayName": "before",
                "Tags": [{"Key": "a", "Value": "b"}],
                "Subscription": [
                    {"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": ["Inline", "Arn"]}}
                ],
            },
        },
        "Inline": {"Type": "AWS::SQS::Queue"},
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Subscription": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "Topic"},
                "Protocol": "sqs",
                "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]},
                "RawMessageDelivery": True,
                "FilterPolicy": {"kind": ["good"]},
            },
        },
        "Policy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {
                "Topics": [{"Ref": "Topic"}],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "mine",
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "sns:Publish",
                            "Resource": "*",
                        }
                    ],
                },
            },
        },
        "Function": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": RUNTIME,
                "Handler": "index.handler",
                "InlineCode": TELLS,
                "Environment": {"Variables": {"TOLD": {"Ref": "Queue"}}},
                "Events": {"Heard": {"Type": "SNS", "Properties": {"Topic": {"Ref": "Topic"}}}},
            },
        },
    },
    "Outputs": {
        "Topic": {"Value": {"Ref": "Topic"}},
        "Name": {"Value": {"Fn::GetAtt": ["Topic", "TopicName"]}},
        "Queue": {"Value": {"Ref": "Queue"}},
        "Inline": {"Value": {"Ref": "Inline"}},
    },
}


def test_topics_of_a_template(application: Application, sns: Any, connect: Any) -> None:
    """A stack makes a topic with its subscriptions, a policy and a function's SNS event, changes and removes them."""
    stacks = connect(application.endpoint, "cloudformation")
    name = application.name

    def apply(verb: str, template: Any) -> dict[str, str]:
        application.steer("clock", {"resume": True})
        getattr(stacks, f"{verb}_stack")(
            StackName=name,
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        waiter = stacks.get_waiter(f"stack_{verb}_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 0.2, "MaxAttempts": 300})
        application.steer("clock", {"freeze": True})
        (stack,) = stacks.describe_stacks(StackName=name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    outputs = apply("create", TEMPLATE)
    topic = outputs["Topic"]
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert topic.endswith(f":{outputs['Name']}")
    assert (attributes["DisplayName"], attributes["SubscriptionsConfirmed"]) == ("before", "3")
    assert json.loads(attributes["Policy"])["Statement"][0]["Sid"] == "mine"
    tags = {
        one["Key"]: one["Value"] for one in sns.list_tags_for_resource(ResourceArn=topic)["Tags"]
    }
    assert tags["a"] == "b"
    for kind in ("good", "bad"):
        sns.publish(
            TopicArn=topic,
            Message=kind,
            MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
        )
    application.advance(1)
    assert len(application.messages(outputs["Inline"])) == 2
    heard = [message["Body"] for message in application.messages(outputs["Queue"])]
    assert "good" in heard and "bad" not in heard
    assert len(heard) == 3

    changed = json.loads(json.dumps(TEMPLATE))
    resources = changed["Resources"]
    resources["Topic"]["Properties"] = {"DisplayName": "after"}
    del resources["Policy"], resources["Function"]
    resources["Subscription"]["Properties"]["FilterPolicyScope"] = "MessageBody"
    resources["Subscription"]["Properties"]["FilterPolicy"] = {"deep": {"kind": ["good"]}}
    apply("update", changed)
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (attributes["DisplayName"], attributes["SubscriptionsConfirmed"]) == ("after", "1")
    assert json.loads(attributes["Policy"])["Id"] == "__default_policy_ID"
    sns.publish(TopicArn=topic, Message='{"deep": {"kind": "good"}}')
    assert len(application.messages(outputs["Queue"])) == 1

    application.steer("clock", {"resume": True})
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    application.steer("clock", {"freeze": True})
    assert topic not in [one["TopicArn"] for one in sns.list_topics()["Topics"]]
