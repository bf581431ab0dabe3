"""Mistakes that a template shows by itself are refused with the request, not at the end of an operation."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
PATIENCE = {"Delay": 0.1, "MaxAttempts": 300}
QUEUE: dict[str, Any] = {"Type": "AWS::SQS::Queue"}
NO = {"Conditions": {"No": {"Fn::Equals": ["a", "b"]}}}


def told(value: Any) -> dict[str, Any]:
    return {"Resources": {"Q": QUEUE}, "Outputs": {"O": {"Value": value}}}


def with_member(**members: Any) -> dict[str, Any]:
    return {"Resources": {"Q": {**QUEUE, **members}}}


def refusal(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert "ValidationError" == raised.value.response["Error"]["Code"]
    return str(raised.value.response["Error"]["Message"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            told({"Fn::GetAtt": "Q.Nope"}),
            "Template error: resource Q does not support attribute type Nope in Fn::GetAtt",
        ),
        (
            told({"Fn::Sub": "a ${Q.Nope.More}"}),
            "Template error: resource Q does not support attribute type Nope.More in Fn::GetAtt",
        ),
        (
            NO | told({"Fn::If": ["No", {"Fn::GetAtt": ["Q", "Nope"]}, "a"]}),
            "Template error: resource Q does not support attribute type Nope in Fn::GetAtt",
        ),
        (
            told({"Fn::If": ["Nope", "a", "b"]}),
            "Template error: unresolved condition dependency Nope in Fn::If",
        ),
        (
            NO | told({"Fn::If": ["No", {"Fn::If": ["Nope", "a", "b"]}, "c"]}),
            "Template error: unresolved condition dependency Nope in Fn::If",
        ),
        (
            {"Conditions": {"A": {"Fn::Not": [{"Condition": "Nope"}]}}} | told("a"),
            "Template format error: Unresolved dependency Nope. Cannot reference resources in the Conditions block of "
            "the template",
        ),
        (
            told({"Fn::FindInMap": ["M", "a", "b"]}),
            "Template error: Mapping named 'M' is not present in the 'Mappings' section of template.",
        ),
        (
            {"Mappings": {"M": {"a": {"b": "c"}}}} | told({"Fn::FindInMap": ["M", "a", "c"]}),
            "Template error: Unable to get mapping for M::a::c",
        ),
        (
            {"Rules": {"R": {"Assertions": [{"Assert": {"Fn::Equals": ["a", "b"]}}]}}} | told("a"),
            "Template error: Rule R failed to satisfy assertion: ",
        ),
        (
            with_member(DeletionPolicy="Snapshot"),
            "Template error: resource type AWS::SQS::Queue does not support deletion policy Snapshot",
        ),
        (
            with_member(UpdateReplacePolicy="Snapshot"),
            "Template error: resource type AWS::SQS::Queue does not support update replace policy Snapshot",
        ),
        (
            with_member(CreationPolicy={"ResourceSignal": {"Count": 1}}),
            "Template error: resource type AWS::SQS::Queue does not support creation policy",
        ),
        (
            with_member(UpdatePolicy={"AutoScalingRollingUpdate": {}}),
            "Template error: resource type AWS::SQS::Queue does not support update policy",
        ),
    ],
)
def test_mistakes_are_refused_by_every_request(
    aws: Aws, unique: str, template: dict[str, Any], message: str
) -> None:
    """Who learns of them at the end has a stack to roll back, or one that waits for a change set that cannot work."""
    cloudformation, name = aws("cloudformation"), "s-" + unique.rpartition("-")[2]
    body = json.dumps(template)
    assert message == refusal(cloudformation.create_stack, StackName=name, TemplateBody=body)
    change_set = {"StackName": name, "ChangeSetName": "c", "TemplateBody": body}
    assert message == refusal(
        cloudformation.create_change_set, **change_set, ChangeSetType="CREATE"
    )
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=name)
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(told("first")))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    assert message == refusal(cloudformation.update_stack, StackName=name, TemplateBody=body)
    assert message == refusal(cloudformation.create_change_set, **change_set)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert "CREATE_COMPLETE" == stack["StackStatus"]


def updated(aws: Aws, name: str, kind: str, *versions: dict[str, Any]) -> str:
    """Why the second version of a stack's resource was refused, after which the first is in force."""
    cloudformation = aws("cloudformation")
    first, second = (
        json.dumps({"Resources": {"X": {"Type": kind, "Properties": version}}})
        for version in versions
    )
    cloudformation.create_stack(StackName=name, TemplateBody=first)
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    cloudformation.update_stack(StackName=name, TemplateBody=second)
    cloudformation.get_waiter("stack_rollback_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    (failed,) = (event for event in events if event["ResourceStatus"] == "UPDATE_FAILED")
    return str(failed["ResourceStatusReason"])


def test_resource_with_a_name_is_not_replaced(aws: Aws, unique: str) -> None:
    """The new one would have the name of the old one, which is there until the update is complete."""
    first = {
        "TableName": unique,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    }
    second = {
        **first,
        "AttributeDefinitions": [{"AttributeName": "b", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "b", "KeyType": "HASH"}],
    }
    told = updated(aws, "s-" + unique, "AWS::DynamoDB::Table", first, second)
    assert told == (
        "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
        f"Rename {unique} and update the stack again."
    )
    schema = aws("dynamodb").describe_table(TableName=unique)["Table"]["KeySchema"]
    assert [{"AttributeName": "a", "KeyType": "HASH"}] == schema


def index(name: str, key: str) -> dict[str, Any]:
    schema = [{"AttributeName": key, "KeyType": "HASH"}]
    return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            [index("one", "a")],
            [index("one", "a"), index("two", "b"), index("three", "b")],
            "Cannot perform more than one GSI creation or deletion in a single update",
        ),
        (
            [index("one", "a")],
            [index("two", "b")],
            "Cannot perform more than one GSI creation or deletion in a single update",
        ),
        (
            [index("one", "a")],
            [index("one", "b")],
            "Cannot update GSI's properties other than Provisioned Throughput and Contributor Insights Specification. "
            "You can create a new GSI with a different name.",
        ),
    ],
)
def test_one_index_is_made_or_removed_in_an_update(
    aws: Aws, unique: str, before: list[Any], after: list[Any], message: str
) -> None:
    """Each takes DynamoDB a while, during which the table takes no other change."""

    def table(indexes: list[Any]) -> dict[str, Any]:
        used = {"id", *(one["KeySchema"][0]["AttributeName"] for one in indexes)}
        return {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name in sorted(used)
            ],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": indexes,
        }

    name = "s-" + unique.rpartition("-")[2]
    kind = "AWS::DynamoDB::Table"
    assert message == updated(aws, name, kind, table(before), table(after))
