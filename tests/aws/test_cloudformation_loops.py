"""Fn::ForEach of AWS::LanguageExtensions, and what of the transforms is not there."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
PATIENCE = {"Delay": 0.1, "MaxAttempts": 300}
TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::LanguageExtensions
Parameters:
  Names: {Type: CommaDelimitedList}
  Last: {Type: String, Default: last}
Mappings:
  Delays: {Alpha: {Seconds: 5}, Beta: {Seconds: 7}}
Conditions:
  Fn::ForEach::Wanted:
    - Name
    - !Ref Names
    - 'Is${Name}': !Equals [!Ref Last, last]
Resources:
  Fn::ForEach::Queues:
    - Name
    - !Ref Names
    - 'Queue${Name}':
        Type: AWS::SQS::Queue
        Condition: !Sub 'Is${Name}'
        Properties:
          Fn::ForEach::Settings:
            - Setting
            - [DelaySeconds]
            - '${Setting}': !FindInMap [Delays, !Ref Name, Seconds]
          Tags: [{Key: name, Value: !Ref Name}]
  Fn::ForEach::Outer:
    - Kind
    - [Plain, !Ref Last]
    - Fn::ForEach::Inner:
        - Place
        - ['/a.b', '/c']
        - 'Value${Kind}&{Place}':
            Type: AWS::SSM::Parameter
            Properties:
              Type: String
              Value: !Sub '${Kind} at ${Place} of ${QueueAlpha.QueueName} ${!Kind}'
Outputs:
  Fn::ForEach::Told:
    - Name
    - !Ref Names
    - 'Arn${Name}': {Value: !GetAtt 'Queue${Name}.Arn'}
  Value: {Value: !GetAtt Valuelastab.Value}
""".replace("Condition: !Sub 'Is${Name}'", "Condition: 'Is${Name}'")


def test_loops_write_resources_outputs_and_conditions(aws: Aws, unique: str) -> None:
    """What differs in a name only is written once: AWS's rules for keys, values, references and nested loops."""
    cloudformation, name = aws("cloudformation"), "s-" + unique
    request = {"StackName": name, "TemplateBody": TEMPLATE}
    request["Capabilities"] = ["CAPABILITY_AUTO_EXPAND"]
    names = [{"ParameterKey": "Names", "ParameterValue": "Alpha, Beta"}]
    cloudformation.create_stack(**request, Parameters=names)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    made = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    assert {
        "QueueAlpha",
        "QueueBeta",
        "ValuePlainab",
        "ValuePlainc",
        "Valuelastab",
        "Valuelastc",
    } == made.keys()
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert outputs["ArnAlpha"].endswith(made["QueueAlpha"].rpartition("/")[2])
    queue = made["QueueAlpha"].rpartition("/")[2]
    assert f"last at /a.b of {queue} ${{Kind}}" == outputs["Value"]
    delay = aws("sqs").get_queue_attributes(
        QueueUrl=made["QueueBeta"], AttributeNames=["DelaySeconds"]
    )
    assert "7" == delay["Attributes"]["DelaySeconds"]
    processed = cloudformation.get_template(StackName=name, TemplateStage="Processed")
    assert "QueueAlpha" in processed["TemplateBody"]["Resources"]
    fewer = [{"ParameterKey": "Names", "ParameterValue": "Alpha"}]
    cloudformation.update_stack(**request, Parameters=fewer)
    cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    assert "QueueBeta" not in [one["LogicalResourceId"] for one in resources]
    assert cloudformation.validate_template(TemplateBody=TEMPLATE)["Parameters"]


def looped(*parts: Any) -> dict[str, Any]:
    return {
        "Transform": "AWS::LanguageExtensions",
        "Resources": {"Fn::ForEach::L": list(parts), "Q": {"Type": "AWS::SQS::Queue"}},
    }


QUEUES = {"Q${N}": {"Type": "AWS::SQS::Queue"}}
FAILED = "Transform AWS::LanguageExtensions failed with: Fn::ForEach "


def nested(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {"Q${N1}": {"Type": "AWS::SQS::Queue"}}
    for level in range(1, depth + 1):
        node = {f"Fn::ForEach::L{level}": [f"N{level}", ["a"] * 2, node]}
    return {"Transform": "AWS::LanguageExtensions", "Resources": node}


def empty(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for level in range(depth):
        node = {f"Fn::ForEach::L{level}": [f"N{level}", ["a"] * 20, node]}
    return {
        "Transform": "AWS::LanguageExtensions",
        "Resources": {**node, "Q": {"Type": "AWS::SQS::Queue"}},
    }


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (looped("N", ["a"]), f"{FAILED}layout is incorrect"),
        (looped("N", "a", QUEUES), f"{FAILED}needs a list of strings, or a Ref to a parameter"),
        (looped("N", {"Ref": "P"}, QUEUES), f"{FAILED}needs a list of strings, or a Ref"),
        (looped("N", {"Ref": ["P"]}, QUEUES), f"{FAILED}needs a list of strings, or a Ref"),
        (empty(5), "Template may not exceed 1000000 bytes in size."),
        (looped("M", ["a"], QUEUES), f"{FAILED}needs the identifier M in the key Q\\$"),
        (looped("N", ["a", "a"], QUEUES), f"{FAILED}makes the key Qa twice"),
        (nested(6), f"{FAILED}may be nested 5 times at most"),
        (
            looped("N", [f"a{n}" for n in range(1000)], {"Q${N}": {"Type": "x" * 2000}}),
            "Template may not exceed 1000000 bytes in size.",
        ),
        (
            looped("N", [f"a{n}" for n in range(500)], QUEUES),
            "Number of resources, 501, is greater than maximum allowed, 500",
        ),
        (
            {
                "Resources": {
                    "Q": {"Type": "AWS::SQS::Queue"},
                    "Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": "s3://a"}},
                }
            },
            "Penstock does not implement the transform AWS::Include yet.",
        ),
        (
            {
                "Resources": {
                    "Q": {
                        "Type": "AWS::SQS::Queue",
                        "Properties": {"Fn::Transform": {"Name": "AWS::Include"}},
                    }
                }
            },
            "Penstock does not implement the transform AWS::Include yet.",
        ),
    ],
)
def test_loops_and_transforms_that_cannot_be_are_refused(
    aws: Aws, unique: str, template: dict[str, Any], message: str
) -> None:
    """What is wrong is named, and loops in loops do not grow beyond a template's size."""
    with pytest.raises(ClientError, match=message):
        aws("cloudformation").create_stack(
            StackName="s-" + unique.rpartition("-")[2],
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_AUTO_EXPAND"],
        )
