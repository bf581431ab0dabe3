"""CloudFormation by boto3: a stack of queues, a function and a table of logs, from creation to deletion."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Description: an application
Parameters:
  Timeout: {Type: Number, Default: 30}
  Runtime: {Type: String, Default: RUNTIME}
Resources:
  Failed:
    Type: AWS::SQS::Queue
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: !Ref Timeout
      RedrivePolicy:
        deadLetterTargetArn: !GetAtt Failed.Arn
        maxReceiveCount: 3
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement:
          - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}
      ManagedPolicyArns: [!Sub 'arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole']
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: !Ref Runtime
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Code:
        ZipFile: |
          def handler(event, context):
              return {"seen": event}
      Environment: {Variables: {QUEUE: !Ref Queue}}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Function
      EventSourceArn: !GetAtt Queue.Arn
      BatchSize: 5
Outputs:
  Url: {Value: !Ref Queue}
  Name: {Value: !Ref Function}
""".replace("RUNTIME", f"python{sys.version_info.major}.{sys.version_info.minor}")


def deployed(cloudformation: Any, name: str) -> dict[str, Any]:
    return dict(cloudformation.describe_stacks(StackName=name)["Stacks"][0])


def wait(cloudformation: Any, waiter: str, name: str) -> None:
    config = {"Delay": 1, "MaxAttempts": 30}
    cloudformation.get_waiter(waiter).wait(StackName=name, WaiterConfig=config)


def test_application_is_deployed_changed_and_removed(aws: Callable[..., Any], unique: str) -> None:
    """The resources of a stack are real: the queue takes messages, the function answers."""
    cloudformation, capabilities = aws("cloudformation"), ["CAPABILITY_IAM"]
    cloudformation.create_stack(StackName=unique, TemplateBody=TEMPLATE, Capabilities=capabilities)
    wait(cloudformation, "stack_create_complete", unique)
    outputs = {
        item["OutputKey"]: item["OutputValue"]
        for item in deployed(cloudformation, unique)["Outputs"]
    }
    answer = aws("lambda").invoke(FunctionName=outputs["Name"], Payload=b'{"a": 1}')
    assert {"seen": {"a": 1}} == json.loads(answer["Payload"].read())
    asked = {"QueueUrl": outputs["Url"], "AttributeNames": ["VisibilityTimeout"]}
    assert {"VisibilityTimeout": "30"} == aws("sqs").get_queue_attributes(**asked)["Attributes"]
    cloudformation.update_stack(
        StackName=unique,
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Timeout", "ParameterValue": "60"}],
        Capabilities=capabilities,
    )
    wait(cloudformation, "stack_update_complete", unique)
    assert {"VisibilityTimeout": "60"} == aws("sqs").get_queue_attributes(**asked)["Attributes"]
    listed = cloudformation.list_stack_resources(StackName=unique)["StackResourceSummaries"]
    assert {"Failed", "Queue", "Role", "Function", "Mapping"} == {
        item["LogicalResourceId"] for item in listed
    }
    cloudformation.delete_stack(StackName=unique)
    wait(cloudformation, "stack_delete_complete", unique)
    with pytest.raises(ClientError, match=r"NonExistentQueue|does not exist"):
        aws("sqs").get_queue_attributes(**asked)


def test_missing_stack(aws: Callable[..., Any]) -> None:
    """Deployment tools read this very text to tell a new stack from an old one."""
    with pytest.raises(ClientError) as caught:
        aws("cloudformation").describe_stacks(StackName="missing")
    found = caught.value.response["Error"]
    assert ("ValidationError", "Stack with id missing does not exist") == (
        found["Code"],
        found["Message"],
    )


def test_a_serverless_template_without_resources_is_the_users_mistake(
    aws: Callable[..., Any], unique: str
) -> None:
    """It was an internal failure: the translator looks at a template's shape before it translates."""
    body = json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {}})
    with pytest.raises(ClientError, match="'Resources' section is required") as caught:
        aws("cloudformation").create_stack(
            StackName=unique, TemplateBody=body, Capabilities=["CAPABILITY_AUTO_EXPAND"]
        )
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_templates_are_summarized(aws: Callable[..., Any]) -> None:
    """Tools ask which capabilities and parameters a template needs."""
    summary = aws("cloudformation").get_template_summary(TemplateBody=TEMPLATE)
    assert ["CAPABILITY_IAM"] == summary["Capabilities"]
    assert ["Timeout", "Runtime"] == [item["ParameterKey"] for item in summary["Parameters"]]
    assert (
        "an application"
        == aws("cloudformation").validate_template(TemplateBody=TEMPLATE)["Description"]
    )


def test_tags_of_an_api_change_in_place(aws: Callable[..., Any], unique: str) -> None:
    """A new API has a new address, which its callers do not know: a tag must not be a reason for one."""
    template = {
        "Resources": {
            "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": unique}},
            "Method": {
                "Type": "AWS::ApiGateway::Method",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "ResourceId": {"Fn::GetAtt": "Api.RootResourceId"},
                    "HttpMethod": "GET",
                    "AuthorizationType": "NONE",
                    "Integration": {"Type": "MOCK"},
                },
            },
            "Deployment": {
                "Type": "AWS::ApiGateway::Deployment",
                "DependsOn": "Method",
                "Properties": {"RestApiId": {"Ref": "Api"}},
            },
            "Stage": {
                "Type": "AWS::ApiGateway::Stage",
                "Properties": {
                    "RestApiId": {"Ref": "Api"},
                    "DeploymentId": {"Ref": "Deployment"},
                    "StageName": "v1",
                },
            },
        },
        "Outputs": {"Api": {"Value": {"Ref": "Api"}}},
    }
    cloudformation, gateway, name = aws("cloudformation"), aws("apigateway"), "s-" + unique
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    patience = {"Delay": 0.1, "MaxAttempts": 300}
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=patience)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    api = stack["Outputs"][0]["OutputValue"]

    def tag(**tags: str) -> tuple[dict[str, str], dict[str, str]]:
        cloudformation.update_stack(
            StackName=name,
            UsePreviousTemplate=True,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=name, WaiterConfig=patience
        )
        found = gateway.get_rest_api(restApiId=api)["tags"]
        own = {key: found[key] for key in found if not key.startswith("aws:")}
        return own, gateway.get_stage(restApiId=api, stageName="v1").get("tags", {})

    both = {"team": "a", "cost": "1"}
    assert (both, both) == tag(**both)
    assert ({"team": "b"}, {"team": "b"}) == tag(team="b")


def test_tags_of_a_mapping_change_in_place(aws: Callable[..., Any], unique: str, role: str) -> None:
    """A stack's tags are on all that can have them; a new mapping would leave a gap in what is read."""
    function = {
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Handler": "index.handler",
        "Role": role,
        "Code": {"ZipFile": "def handler(event, context): pass"},
    }
    mapping = {
        "FunctionName": {"Ref": "Function"},
        "EventSourceArn": {"Fn::GetAtt": "Queue.Arn"},
        "Tags": [{"Key": "own", "Value": "1"}],
    }
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
            "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": mapping},
        },
        "Outputs": {"Arn": {"Value": {"Fn::GetAtt": "Mapping.EventSourceMappingArn"}}},
    }
    cloudformation, patience = aws("cloudformation"), {"Delay": 0.1, "MaxAttempts": 300}

    def deploy(verb: str, **tags: str) -> str:
        getattr(cloudformation, f"{verb}_stack")(
            StackName=unique,
            TemplateBody=json.dumps(template),
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        waiter = cloudformation.get_waiter(f"stack_{verb}_complete")
        waiter.wait(StackName=unique, WaiterConfig=patience)
        (stack,) = cloudformation.describe_stacks(StackName=unique)["Stacks"]
        return str(stack["Outputs"][0]["OutputValue"])

    arn = deploy("create", team="a")
    assert {"own": "1", "team": "a"} == aws("lambda").list_tags(Resource=arn)["Tags"]
    mapping["Tags"] = [{"Key": "other", "Value": "2"}]
    assert arn == deploy("update", team="b")
    assert {"other": "2", "team": "b"} == aws("lambda").list_tags(Resource=arn)["Tags"]
