"""Properties of a template's resources: what AWS would not take is refused in its words, and nothing stays behind."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

Aws = Callable[..., Any]
PATIENCE = {"Delay": 0.1, "MaxAttempts": 300}
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
TRUST: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}
FUNCTION: dict[str, Any] = {
    "Code": {"ZipFile": "x = 1"},
    "Handler": "index.handler",
    "Runtime": "python3.12",
    "Role": "arn:aws:iam::000000000000:role/r",
}
TABLE: dict[str, Any] = {
    "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
TARGET: dict[str, Any] = {"Id": "a", "Arn": QUEUE}
MAPPING: dict[str, Any] = {"FunctionName": "f", "EventSourceArn": QUEUE}
ONCE_A_DAY: dict[str, Any] = {
    "ScheduleExpression": "rate(1 day)",
    "FlexibleTimeWindow": {"Mode": "OFF"},
}


def template(kind: str, properties: Any) -> str:
    return json.dumps({"Resources": {"X": {"Type": kind, "Properties": properties}}})


def failure(aws: Aws, name: str, body: str) -> str:
    """Why the resource of a stack could not be made; the stack is rolled back, and can be deleted."""
    cloudformation, name = aws("cloudformation"), "s-" + name.rpartition("-")[2]
    capabilities = ["CAPABILITY_NAMED_IAM"]
    cloudformation.create_stack(StackName=name, TemplateBody=body, Capabilities=capabilities)
    with pytest.raises(WaiterError, match="ROLLBACK_COMPLETE"):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig=PATIENCE
        )
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    (reason,) = [
        event["ResourceStatusReason"]
        for event in events
        if event["ResourceStatus"] == "CREATE_FAILED"
    ]
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    return str(reason)


def message(*faults: str) -> str:
    return f"Properties validation failed for resource X with message:\n[{', '.join(faults)}]"


def extraneous(place: str, key: str) -> str:
    return f"{place}: extraneous key [{key}] is not permitted"


@pytest.mark.parametrize(
    ("kind", "properties", "place", "key"),
    [
        ("SQS::Queue", {"QueueNam": "q"}, "#", "QueueNam"),
        (
            "Lambda::Function",
            {**FUNCTION, "DeadLetterConfig": {"TargetARN": QUEUE}},
            "#/DeadLetterConfig",
            "TargetARN",
        ),
        (
            "Lambda::Function",
            {**FUNCTION, "Environment": {"Variable": {"A": "b"}}},
            "#/Environment",
            "Variable",
        ),
        (
            "Lambda::EventSourceMapping",
            {**MAPPING, "ScalingConfig": {"MaxConcurrency": 5}},
            "#/ScalingConfig",
            "MaxConcurrency",
        ),
        (
            "Lambda::EventInvokeConfig",
            {
                "FunctionName": "f",
                "Qualifier": "$LATEST",
                "DestinationConfig": {"OnFail": {"Destination": QUEUE}},
            },
            "#/DestinationConfig",
            "OnFail",
        ),
        (
            "Events::Rule",
            {
                "ScheduleExpression": "rate(1 day)",
                "Targets": [{**TARGET, "RetryPolicy": {"MaximumRetries": 3}}],
            },
            "#/Targets/0/RetryPolicy",
            "MaximumRetries",
        ),
        (
            "Scheduler::Schedule",
            {**ONCE_A_DAY, "Target": {"Arn": QUEUE, "RoleArn": "r", "Inputt": "x"}},
            "#/Target",
            "Inputt",
        ),
        (
            "S3::Bucket",
            {
                "NotificationConfiguration": {
                    "QueueConfigurations": [
                        {"Queue": QUEUE, "Event": "s3:ObjectCreated:*", "Filtr": {}}
                    ]
                }
            },
            "#/NotificationConfiguration/QueueConfigurations/0",
            "Filtr",
        ),
        (
            "SNS::Topic",
            {"Subscription": [{"Protocol": "sqs", "Endpoint": QUEUE, "FilterPolicy": {}}]},
            "#/Subscription/0",
            "FilterPolicy",
        ),
        (
            "ApiGateway::RestApi",
            {"Name": "x", "EndpointConfiguration": {"Type": ["REGIONAL"]}},
            "#/EndpointConfiguration",
            "Type",
        ),
    ],
)
def test_misspelt_keys_are_named(
    aws: Aws, unique: str, kind: str, properties: Any, place: str, key: str
) -> None:
    """A dead-letter queue or a filter that is misspelt, at any depth, must not be missing without a word."""
    reason = failure(aws, unique, template(f"AWS::{kind}", properties))
    assert message(extraneous(place, key)) == reason


@pytest.mark.parametrize(
    ("kind", "properties", "fault"),
    [
        (
            "Lambda::Function",
            {**FUNCTION, "Timeout": "abc"},
            "#/Timeout: expected type: Integer, found: String",
        ),
        (
            "Lambda::Function",
            {**FUNCTION, "Environment": {"Variables": ["a"]}},
            "#/Environment/Variables: expected type: JSONObject, found: JSONArray",
        ),
        (
            "Lambda::EventSourceMapping",
            {**MAPPING, "FunctionResponseTypes": "ReportBatchItemFailures"},
            "#/FunctionResponseTypes: expected type: JSONArray, found: String",
        ),
        (
            "SQS::Queue",
            {"FifoQueue": "yes"},
            "#/FifoQueue: expected type: Boolean, found: String",
        ),
        (
            "SQS::Queue",
            {"QueueName": {"a": 1}},
            "#/QueueName: expected type: String, found: JSONObject",
        ),
        (
            "DynamoDB::Table",
            {**TABLE, "KeySchema": ["a"]},
            "#/KeySchema/0: expected type: JSONObject, found: String",
        ),
        (
            "S3::Bucket",
            {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "ExpirationInDays": "x"}]}},
            "#/LifecycleConfiguration/Rules/0/ExpirationInDays: expected type: Integer, found: String",
        ),
        (
            "IAM::Role",
            {"AssumeRolePolicyDocument": TRUST, "ManagedPolicyArns": "arn:aws:iam::aws:policy/X"},
            "#/ManagedPolicyArns: expected type: JSONArray, found: String",
        ),
        (
            "IAM::Role",
            {"AssumeRolePolicyDocument": TRUST, "Policies": {"PolicyName": "a"}},
            "#/Policies: expected type: JSONArray, found: JSONObject",
        ),
        ("SQS::QueuePolicy", {"Queues": []}, "#: required key [PolicyDocument] not found"),
    ],
)
def test_wrong_types_are_named(
    aws: Aws, unique: str, kind: str, properties: Any, fault: str
) -> None:
    """What cannot be read as its type is refused as AWS refuses it, and its stack can be deleted."""
    assert message(fault) == failure(aws, unique, template(f"AWS::{kind}", properties))


def test_keys_in_documents_that_services_read(aws: Aws, unique: str) -> None:
    """A subscription's redrive policy has no count: who gives one waits for dead letters that come otherwise."""
    redrive = {"deadLetterTargetArn": QUEUE, "maxReceiveCount": 5}
    subscription = {
        "TopicArn": {"Ref": "Topic"},
        "Protocol": "sqs",
        "Endpoint": QUEUE,
        "RedrivePolicy": redrive,
    }
    body = {
        "Resources": {
            "Topic": {"Type": "AWS::SNS::Topic"},
            "X": {"Type": "AWS::SNS::Subscription", "Properties": subscription},
        }
    }
    reason = failure(aws, unique, json.dumps(body))
    assert "RedrivePolicy: invalid JSON. Attribute maxReceiveCount is unknown." in reason


@pytest.mark.parametrize(
    ("kind", "properties", "part"),
    [
        (
            "Scheduler::Schedule",
            {**ONCE_A_DAY, "StartDate": "soon", "Target": {"Arn": QUEUE, "RoleArn": "r"}},
            "soon",
        ),
        (
            "Lambda::LayerVersionPermission",
            {"Action": "lambda:GetLayerVersion", "LayerVersionArn": "layer", "Principal": "*"},
            "layer",
        ),
        (
            "S3::Bucket",
            {
                "LifecycleConfiguration": {
                    "Rules": [{"Status": "Enabled", "ExpirationDate": "soon"}]
                }
            },
            "soon",
        ),
        ("SSM::Parameter", {"Type": "String", "Value": "v", "AllowedPattern": "*"}, "regular"),
        ("SNS::TopicPolicy", {"PolicyDocument": {}, "Topics": ["nonsense"]}, "ARN"),
        (
            "Lambda::EventSourceMapping",
            {**MAPPING, "FunctionName": "no-such-function", "Tags": []},
            "not",
        ),
    ],
)
def test_texts_that_mean_nothing_are_refused(
    aws: Aws, unique: str, kind: str, properties: Any, part: str
) -> None:
    """A text of the right type may still be none that a handler can read: the caller's fault, not a failure of ours."""
    reason = failure(aws, unique, template(f"AWS::{kind}", properties))
    assert part in reason
    assert "InternalFailure" not in reason


def test_policy_that_reached_some_of_its_roles_is_taken_back(aws: Aws, unique: str) -> None:
    """A policy that fails at its second role must not stay with the first."""
    iam = aws("iam")
    iam.create_role(RoleName=unique, AssumeRolePolicyDocument=json.dumps(TRUST))
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    policy = {
        "PolicyName": "p",
        "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "Roles": [unique, "no-such-role"],
    }
    assert "no-such-role" in failure(aws, unique, template("AWS::IAM::Policy", policy))
    assert [] == iam.list_role_policies(RoleName=unique)["PolicyNames"]


def test_every_fault_is_told_at_once(aws: Aws, unique: str) -> None:
    """One attempt shows all that is to be corrected."""
    policies = [{"PolicyNam": "a", "PolicyDocument": {}}]
    body = template("AWS::IAM::Role", {"Policies": policies, "Pth": "/"})
    faults = (
        "#: required key [AssumeRolePolicyDocument] not found",
        extraneous("#", "Pth"),
        "#/Policies/0: required key [PolicyName] not found",
        extraneous("#/Policies/0", "PolicyNam"),
    )
    assert message(*faults) == failure(aws, unique, body)


def test_values_are_read_as_the_type_that_is_wanted(aws: Aws, unique: str) -> None:
    """Parameters are text: "5" serves as a number, "true" as a truth value, and a number as text."""
    cloudformation, sqs = aws("cloudformation"), aws("sqs")
    queue = {
        "QueueName": f"{unique}.fifo",
        "FifoQueue": "true",
        "VisibilityTimeout": {"Ref": "Seconds"},
        "Tags": [{"Key": "cost", "Value": 5}],
    }
    body = {
        "Parameters": {"Seconds": {"Type": "Number", "Default": 45}},
        "Resources": {"X": {"Type": "AWS::SQS::Queue", "Properties": queue}},
    }
    cloudformation.create_stack(StackName=unique, TemplateBody=json.dumps(body))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig=PATIENCE)
    url = sqs.get_queue_url(QueueName=f"{unique}.fifo")["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert ("45", "true") == (found["VisibilityTimeout"], found["FifoQueue"])
    assert {"cost": "5"} == sqs.list_queue_tags(QueueUrl=url)["Tags"]
    cloudformation.delete_stack(StackName=unique)


def test_keys_that_are_not_built_are_called_so(aws: Aws, unique: str) -> None:
    """Who reads "yet" must not look for a misspelling, and who misspells must not wait for a release."""
    bucket = {"LoggingConfiguration": {"DestinationBucketName": "x"}, "LogingConfiguration": {}}
    assert message(
        "#: Penstock does not support the key [LoggingConfiguration] yet",
        extraneous("#", "LogingConfiguration"),
    ) == failure(aws, unique, template("AWS::S3::Bucket", bucket))


def refusal(aws: Aws, name: str, body: Any) -> str:
    with pytest.raises(ClientError) as caught:
        aws("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(body))
    assert "ValidationError" == caught.value.response["Error"]["Code"]
    return str(caught.value.response["Error"]["Message"])


def test_types_that_are_none_and_types_not_built(aws: Aws, unique: str) -> None:
    """A misspelt type is told in AWS's words; one that AWS has is told as missing here."""
    unknown = "Template format error: Unrecognized resource types: [AWS::SQS::Que]"
    assert unknown == refusal(aws, unique, {"Resources": {"A": {"Type": "AWS::SQS::Que"}}})
    unbuilt = {"Resources": {"A": {"Type": "AWS::CloudWatch::Alarm"}}}
    assert "[AWS::CloudWatch::Alarm] yet" in refusal(aws, unique, unbuilt)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (
            {"Parameters": {"P": "x"}, "Resources": {"A": {"Type": "AWS::SQS::Queue"}}},
            "Any Parameters member must be an object",
        ),
        ({"Resources": [1]}, "Resources must be an object"),
        ({"Parameters": {"P": {"Type": "String", "AllowedValues": 5, "Default": "x"}}}, "a list"),
        ({"Parameters": {"P": {"Type": "Number", "MinValue": "x", "Default": 5}}}, "a number"),
        ({"Parameters": {"P": {"Type": "String", "AllowedPattern": "*", "Default": 5}}}, "valid"),
        (
            {"Parameters": {"P": {"Type": "String", "Defaults": "x"}}},
            "parameter property 'Defaults'",
        ),
        ({"Resources": {"A": {"Type": "AWS::SQS::Queue", "DependsOn": 5}}}, "DependsOn must be"),
        ({"Resources": {"A": {"Type": "AWS::SQS::Queue", "Condition": []}}}, "must be a string"),
        ({"Outputs": {"O": {"Value": "x", "Export": "y"}}}, "Export must be an object"),
        ({"Rules": {"R": "x"}}, "Rule R must be an object"),
        (
            {
                "Conditions": {"A": {"Condition": "B"}, "B": {"Condition": "A"}},
                "Resources": {"Q": {"Type": "AWS::SQS::Queue", "Condition": "A"}},
            },
            "Circular dependency between conditions",
        ),
        ({"Resources": {"A": {"Type": "AWS::SQS::Queue", "Properties": [1]}}}, "must be an object"),
    ],
)
def test_sections_that_are_no_objects_are_refused(
    aws: Aws, unique: str, body: Any, part: str
) -> None:
    """A template of the wrong build is the caller's fault, never an internal failure."""
    queue = {"Resources": {"A": {"Type": "AWS::SQS::Queue"}}}
    assert part in refusal(aws, "s-" + unique.rpartition("-")[2], {**queue, **body})


@pytest.mark.parametrize(
    ("function", "part"),
    [
        ({"Fn::Sub": ["a"]}, "Fn::Sub intrinsic functions don't specify expected arguments"),
        ({"Fn::Sub": 5}, "Fn::Sub intrinsic functions don't specify expected arguments"),
        ({"Fn::Join": "a"}, "every Fn::Join object requires two parameters"),
        ({"Fn::GetAtt": 5}, "every Fn::GetAtt object requires two non-empty parameters"),
        ({"Ref": ["a"]}, "every Ref object must have a single String value"),
        ({"Fn::If": [["a"], 1, 2]}, "Fn::If requires a list argument with three elements"),
        ({"Fn::Joinn": ["", []]}, "Encountered unsupported function: Fn::Joinn"),
    ],
)
def test_functions_with_wrong_arguments_are_refused(
    aws: Aws, unique: str, function: Any, part: str
) -> None:
    """A function that cannot be evaluated stops the request, before there is a stack."""
    resource = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": function}}
    assert part in refusal(aws, unique, {"Resources": {"A": resource}})


def test_change_set_that_is_refused_leaves_no_stack(aws: Aws, unique: str) -> None:
    """A stack in review that nobody asked for would hold its name for good."""
    cloudformation = aws("cloudformation")
    resources = {
        "Other": {"Type": "AWS::SQS::Queue"},
        "X": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"QueueName": {"Fn::GetAtt": "Other.QueueName"}, "DelaySeconds": "x"},
        },
    }
    with pytest.raises(ClientError, match="DelaySeconds: expected type: Integer, found: String"):
        cloudformation.create_change_set(
            StackName=unique,
            ChangeSetName="c",
            ChangeSetType="CREATE",
            TemplateBody=json.dumps({"Resources": resources}),
        )
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=unique)
