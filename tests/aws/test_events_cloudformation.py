"""EventBridge in stacks: plain resources, and the events of SAM functions."""

import json
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.events_application import Bus
from tests.conftest import Server

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
TEMPLATE: dict[str, Any] = {
    "Parameters": {"Name": {"Type": "String"}, "Source": {"Type": "String", "Default": "shop"}},
    "Resources": {
        "Bus": {
            "Type": "AWS::Events::EventBus",
            "Properties": {"Name": {"Ref": "Name"}, "Tags": [{"Key": "a", "Value": "1"}]},
        },
        "Allowed": {
            "Type": "AWS::Events::EventBusPolicy",
            "Properties": {
                "EventBusName": {"Ref": "Bus"},
                "StatementId": "friends",
                "Statement": {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
                    "Action": "events:PutEvents",
                    "Resource": {"Fn::GetAtt": ["Bus", "Arn"]},
                },
            },
        },
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventBusName": {"Ref": "Bus"},
                "EventPattern": {"source": [{"Ref": "Source"}]},
                "Targets": [
                    {
                        "Id": "q",
                        "Arn": {"Fn::GetAtt": ["Queue", "Arn"]},
                        "RetryPolicy": {"MaximumRetryAttempts": "3"},
                        "InputTransformer": {
                            "InputPathsMap": {"n": "$.detail.n"},
                            "InputTemplate": '{"n": <n>}',
                        },
                    }
                ],
            },
        },
        "Archive": {
            "Type": "AWS::Events::Archive",
            "Properties": {"SourceArn": {"Fn::GetAtt": ["Bus", "Arn"]}, "RetentionDays": 3},
        },
        "Connection": {
            "Type": "AWS::Events::Connection",
            "Properties": {
                "AuthorizationType": "API_KEY",
                "AuthParameters": {
                    "ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush"}
                },
            },
        },
        "Destination": {
            "Type": "AWS::Events::ApiDestination",
            "Properties": {
                "ConnectionArn": {"Fn::GetAtt": ["Connection", "Arn"]},
                "HttpMethod": "POST",
                "InvocationEndpoint": "https://example.com/hook",
            },
        },
    },
    "Outputs": {
        name: {"Value": value}
        for name, value in {
            "Queue": {"Ref": "Queue"},
            "Rule": {"Ref": "Rule"},
            "RuleArn": {"Fn::GetAtt": ["Rule", "Arn"]},
            "Archive": {"Ref": "Archive"},
            "Destination": {"Ref": "Destination"},
            "Secret": {"Fn::GetAtt": ["Connection", "SecretArn"]},
        }.items()
    },
}
SAM: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Function": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Runtime": RUNTIME,
                "Handler": "index.handler",
                "InlineCode": (
                    "import boto3, json, os\n"
                    "def handler(event, context):\n"
                    "    boto3.client('sqs').send_message(QueueUrl=os.environ['TOLD'], MessageBody=json.dumps(event))\n"
                ),
                "Environment": {"Variables": {"TOLD": {"Ref": "Queue"}}},
                "Policies": ["AmazonSQSFullAccess"],
                "Events": {
                    "Orders": {
                        "Type": "EventBridgeRule",
                        "Properties": {
                            "Pattern": {"source": ["shop.NAME"]},
                            "InputPath": "$.detail",
                            "DeadLetterConfig": {"Type": "SQS", "QueueLogicalId": "Dead"},
                            "RetryPolicy": {"MaximumRetryAttempts": 2},
                        },
                    },
                    "Old": {
                        "Type": "CloudWatchEvent",
                        "Properties": {"Pattern": {"source": ["old.NAME"]}},
                    },
                    "Hourly": {
                        "Type": "Schedule",
                        "Properties": {"Schedule": "rate(1 hour)", "Input": '{"hour":true}'},
                    },
                },
            },
        },
    },
    "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}},
}


class Stack:
    """One stack of the test's own."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def deploy(self, template: dict[str, Any], change: str = "create", **given: str) -> None:
        parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()]
        getattr(self.client, f"{change}_stack")(
            StackName=self.name,
            TemplateBody=json.dumps(template),
            Parameters=parameters,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        self.wait(f"stack_{change}_complete")

    def wait(self, state: str) -> None:
        waiter = self.client.get_waiter(state)
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def outputs(self) -> dict[str, str]:
        (stack,) = self.client.describe_stacks(StackName=self.name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def delete(self) -> None:
        self.client.delete_stack(StackName=self.name)
        self.wait("stack_delete_complete")


def test_a_stack_of_everything(endpoint: str, connect: Any, unique: str) -> None:
    """Made, used, changed and removed."""
    bus = Bus(endpoint, connect, f"{unique}-other")
    bus.name = unique
    stack = Stack(connect(endpoint, "cloudformation"), unique)
    stack.deploy(TEMPLATE, Name=unique)
    outputs = stack.outputs()

    assert outputs["Rule"].startswith(f"{unique}|")
    assert outputs["RuleArn"].endswith(f"rule/{outputs['Rule'].replace('|', '/')}")
    bus.put({"n": 5})
    assert ['{"n": 5}'] == [one["Body"] for one in bus.messages(outputs["Queue"])]
    archive = bus.events.describe_archive(ArchiveName=outputs["Archive"])
    assert (3, 1) == (archive["RetentionDays"], archive["EventCount"])
    policy = json.loads(bus.events.describe_event_bus(Name=unique)["Policy"])
    assert ["friends"] == [one["Sid"] for one in policy["Statement"]]
    described = bus.events.describe_api_destination(Name=outputs["Destination"])
    assert "ACTIVE" == described["ApiDestinationState"]

    stack.deploy(TEMPLATE, "update", Name=unique, Source="else")
    bus.put({"n": 6})
    bus.put({"n": 7}, Source="else")
    assert ['{"n": 7}'] == [one["Body"] for one in bus.messages(outputs["Queue"])]

    stack.delete()
    with pytest.raises(ClientError, match="does not exist"):
        bus.events.describe_event_bus(Name=unique)
    with pytest.raises(ClientError, match="does not exist"):
        bus.events.describe_connection(Name=outputs["Secret"].split("/")[1])


def test_what_a_template_no_longer_says_is_gone(endpoint: str, connect: Any, unique: str) -> None:
    """Of a bus, a connection and an API destination."""
    template = json.loads(json.dumps(TEMPLATE))
    resources = template["Resources"] = {
        name: template["Resources"][name] for name in ("Bus", "Connection", "Destination")
    }
    names = ("Connection", "Destination")
    template["Outputs"] = {name: {"Value": {"Ref": name}} for name in names}
    del template["Parameters"]["Source"]
    plain = json.loads(json.dumps(template))
    dead = f"arn:aws:sqs:us-east-1:000000000000:{unique}"
    resources["Bus"]["Properties"].update(Description="d", DeadLetterConfig={"Arn": dead})
    resources["Destination"]["Properties"].update(Description="d", InvocationRateLimitPerSecond=5)
    resources["Connection"]["Properties"]["Description"] = "d"
    resources["Connection"]["Properties"]["AuthParameters"]["InvocationHttpParameters"] = {
        "HeaderParameters": [{"Key": "x", "Value": "y", "IsValueSecret": False}]
    }
    events = connect(endpoint, "events")
    stack = Stack(connect(endpoint, "cloudformation"), unique)
    stack.deploy(template, Name=unique)
    outputs = stack.outputs()
    assert dead == events.describe_event_bus(Name=unique)["DeadLetterConfig"]["Arn"]

    stack.deploy(plain, "update", Name=unique)

    bus = events.describe_event_bus(Name=unique)
    connection = events.describe_connection(Name=outputs["Connection"])
    destination = events.describe_api_destination(Name=outputs["Destination"])
    assert not {"Description", "DeadLetterConfig"} & set(bus)
    assert ["ApiKeyAuthParameters"] == list(connection["AuthParameters"])
    assert 300 == destination["InvocationRateLimitPerSecond"]
    assert "Description" not in connection and "Description" not in destination
    stack.delete()


def test_the_events_of_a_sam_function(frozen_events: Server, connect: Any, unique: str) -> None:
    """Rules, the old name for them, and schedules."""
    bus = Bus(frozen_events.endpoint, connect, unique)
    stack = Stack(connect(frozen_events.endpoint, "cloudformation"), unique)
    template = json.loads(json.dumps(SAM).replace("NAME", unique))
    stack.deploy(template)
    bus.steer("clock", {"freeze": True})
    queue = stack.outputs()["Queue"]

    bus.put({"n": 1}, Source=f"shop.{unique}", EventBusName="default")
    bus.put({"n": 2}, Source=f"old.{unique}", EventBusName="default")
    bus.advance(60)
    told = bus.bodies(queue)
    assert {"n": 1} in told
    assert [{"n": 2}] == [one["detail"] for one in told if "detail" in one]
    bus.advance(3600)
    assert [{"hour": True}] == bus.bodies(queue)
    bus.steer("clock", {"resume": True})
    stack.delete()
