"""Templates as people write them, and as they get them wrong: what AWS takes is taken, the rest leaves no stack."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

Aws = Callable[..., Any]
PATIENCE = {"Delay": 0.1, "MaxAttempts": 300}
QUEUE: dict[str, Any] = {"Type": "AWS::SQS::Queue"}


def resource(kind: str, properties: Any) -> dict[str, Any]:
    return {"Resources": {"X": {"Type": f"AWS::{kind}", "Properties": properties}}}


def named(name: Any) -> dict[str, Any]:
    return resource("SQS::Queue", {"QueueName": name})


def ruled(assertion: Any) -> dict[str, Any]:
    return {"Rules": {"R": {"Assertions": [{"Assert": assertion}]}}, "Resources": {"X": QUEUE}}


def made(aws: Aws, name: str, template: Any) -> dict[str, str]:
    """The outputs of a stack of the template, brought up."""
    cloudformation = aws("cloudformation")
    body = template if isinstance(template, str) else json.dumps(template)
    cloudformation.create_stack(
        StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def test_keys_are_text_as_it_is_written(aws: Aws, unique: str) -> None:
    """Account numbers, statuses of HTTP and words such as `on` are keys of many templates in YAML."""
    account = aws("sts").get_caller_identity()["Account"]
    outputs = made(
        aws,
        "s-" + unique,
        f"""
Mappings:
  Accounts:
    {account}: {{on: "first"}}
    012345678901: {{on: second}}
Resources:
  Api:
    Type: AWS::ApiGateway::RestApi
    Properties:
      Body:
        openapi: 3.0.1
        info: {{title: api, version: "1"}}
        paths:
          /:
            get:
              responses: {{200: {{description: fine}}}}
              x-amazon-apigateway-integration:
                type: mock
                responses: {{default: {{statusCode: 200}}}}
Outputs:
  Own: {{Value: !FindInMap [Accounts, !Ref AWS::AccountId, "on"]}}
  Other: {{Value: !FindInMap [Accounts, "012345678901", "on"]}}
  Api: {{Value: !Ref Api}}
""",
    )
    assert ("first", "second") == (outputs["Own"], outputs["Other"])
    (root,) = aws("apigateway").get_resources(restApiId=outputs["Api"], embed=["methods"])["items"]
    assert ["200"] == list(root["resourceMethods"]["GET"]["methodResponses"])


def test_numbers_of_any_size_are_text_where_text_is_wanted(aws: Aws, unique: str) -> None:
    """An unquoted number beyond 64 bits, which JSON documents of the store cannot hold, is no internal failure."""
    large = "123456789012345678901234567890"
    body = f"""
Resources:
  P: {{Type: AWS::SSM::Parameter, Properties: {{Type: String, Value: {large}}}}}
Outputs: {{Value: {{Value: !GetAtt P.Value}}}}
"""
    assert {"Value": large} == made(aws, "s-" + unique, body)
    body = json.dumps(resource("SSM::Parameter", {"Type": "String", "Value": "v"}))
    made(aws, "t-" + unique, body.replace('"v"', large))


def test_patterns_of_parameters_are_javas(aws: Aws, unique: str) -> None:
    """Templates have classes such as `\\p{ASCII}`, which Python's expressions lack."""
    cloudformation, name = aws("cloudformation"), "s-" + unique
    kind = {"Type": "String", "AllowedPattern": r"^[\p{Alpha}_]\p{Alnum}*$"}
    body = json.dumps({"Parameters": {"P": kind}, "Resources": {"X": QUEUE}})
    wrong = [{"ParameterKey": "P", "ParameterValue": "1a"}]
    with pytest.raises(ClientError, match="must match pattern"):
        cloudformation.create_stack(StackName=name, TemplateBody=body, Parameters=wrong)
    right = [{"ParameterKey": "P", "ParameterValue": "_a1"}]
    cloudformation.create_stack(StackName=name, TemplateBody=body, Parameters=right)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            named({"Fn::If": ["Nope", "a", "b"]}),
            "Template error: unresolved condition dependency Nope in Fn::If",
        ),
        (
            named({"Fn::FindInMap": ["M", "a", "b"]}),
            "Template error: Mapping named 'M' is not present in the 'Mappings' section of template.",
        ),
        (
            {"Mappings": {"M": {"a": {"b": "c"}}}} | named({"Fn::FindInMap": ["M", "a", "c"]}),
            "Template error: Unable to get mapping for M::a::c",
        ),
        (
            named({"Fn::FindInMap": ["M", "a", "b", {}]}),
            "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the "
            "attribute for return value",
        ),
        (
            named({"Fn::Select": ["5", {"Fn::GetAZs": ""}]}),
            "Template error: Fn::Select cannot select nonexistent value at index 5",
        ),
        (
            named({"Ref": "AWS::Nope"}),
            "Template format error: Unresolved resource dependencies [AWS::Nope] in the Resources block of the template",
        ),
        (
            {"Conditions": {"A": {"Fn::Equals": [{"Ref": "X"}, "a"]}}, "Resources": {"X": QUEUE}},
            "Template format error: Unresolved dependencies [X]. Cannot reference resources in the Conditions block of "
            "the template",
        ),
        (
            {"Resources": {"X": QUEUE}, "Outputs": {"O": {"Value": "v", "Condition": "Nope"}}},
            "Template format error: Unresolved dependency Nope. Cannot reference resources in the Conditions block of "
            "the template",
        ),
        (
            {
                "Conditions": {"No": {"Fn::Equals": ["a", "b"]}},
                "Resources": {"X": QUEUE | {"Condition": "No"}, "Y": QUEUE},
                "Outputs": {"O": {"Value": {"Ref": "X"}}},
            },
            "Template format error: Unresolved resource dependencies [X] in the Resources block of the template",
        ),
        (
            ruled({"Fn::And": 5}),
            "Template error: every Fn::And object requires a list of at least 2 and at most 10 boolean parameters.",
        ),
        (
            ruled({"Fn::Not": []}),
            "Template error: every Fn::Not object requires a list of one boolean parameter.",
        ),
        (
            ruled({"Fn::Contains": [{"Ref": "AWS::Region"}, "us"]}),
            "Template error: every Fn::Contains object requires a list of strings and a string.",
        ),
        (
            named({"Fn::Select": [0, {"Fn::Cidr": ["10.0.0.0/16", "x"]}]}),
            "Template error: Fn::Cidr of 10.0.0.0/16 is not possible: invalid literal for int() with base 10: 'x'",
        ),
        (
            named({"Fn::Length": {"Ref": "AWS::Region"}}),
            "Template error: every Fn::Length object requires a list.",
        ),
        (
            named({"Fn::ImportValue": {"Fn::Split": [",", "a,b"]}}),
            "Template error: the attribute in Fn::ImportValue must be a string or a function that returns a string",
        ),
        (
            {
                "Parameters": {"P": {"Type": "String", "Default": "a", "MaxLength": "inf"}},
                "Resources": {"X": QUEUE},
            },
            "Template format error: MaxLength of parameter P must be a number.",
        ),
        (named("\ud800"), "Template format error: unsupported structure."),
    ],
)
def test_what_cannot_be_evaluated_leaves_no_stack(
    aws: Aws, unique: str, template: dict[str, Any], message: str
) -> None:
    """A stack that rolls back must be deleted before the next attempt; a template that can never work makes none."""
    cloudformation, name = aws("cloudformation"), "s-" + unique.rpartition("-")[2]
    with pytest.raises(ClientError) as raised:
        cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    assert ("ValidationError", message) == (
        raised.value.response["Error"]["Code"],
        raised.value.response["Error"]["Message"],
    )
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=name)


def test_definitions_and_statements_may_be_texts(aws: Aws, unique: str) -> None:
    """Templates take them from files and parameters: the schemas of both properties allow an object or a string."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "events:PutEvents"}
    bus = "b-" + unique
    arn = f"arn:aws:events:us-east-1:{aws('sts').get_caller_identity()['Account']}:event-bus/{bus}"
    definition = {"swagger": "2.0", "info": {"title": "told"}, "paths": {"/a": {}}}
    template = {
        "Resources": {
            "Api": {
                "Type": "AWS::ApiGateway::RestApi",
                "Properties": {"Body": json.dumps(definition)},
            },
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": bus}},
            "Policy": {
                "Type": "AWS::Events::EventBusPolicy",
                "Properties": {
                    "EventBusName": {"Ref": "Bus"},
                    "StatementId": "everybody",
                    "Statement": json.dumps({**statement, "Resource": arn}),
                },
            },
        },
        "Outputs": {"Api": {"Value": {"Ref": "Api"}}},
    }
    outputs = made(aws, "s-" + unique, template)
    resources = aws("apigateway").get_resources(restApiId=outputs["Api"])["items"]
    assert {"/", "/a"} == {one["path"] for one in resources}
    policy = json.loads(aws("events").describe_event_bus(Name=bus)["Policy"])
    assert [{"Sid": "everybody", **statement, "Resource": arn}] == policy["Statement"]


def test_what_a_service_refuses_is_the_requests_fault(aws: Aws, unique: str) -> None:
    """Tools tell what to mend from what to try again by the handler's error code."""
    cloudformation, name = aws("cloudformation"), "s-" + unique
    body = json.dumps(resource("SQS::Queue", {"DelaySeconds": 901}))
    cloudformation.create_stack(StackName=name, TemplateBody=body, OnFailure="DO_NOTHING")
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig=PATIENCE
        )
    (failed,) = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    assert failed["ResourceStatusReason"].endswith("HandlerErrorCode: InvalidRequest)")


def test_a_resource_whose_update_was_refused_is_what_it_was(aws: Aws, unique: str) -> None:
    """Tools list what is not complete after a rollback as broken, and here nothing is."""
    cloudformation, name = aws("cloudformation"), "s-" + unique
    made(aws, name, resource("SQS::Queue", {"DelaySeconds": 1}))
    wrong = resource("SQS::Queue", {"DelaySeconds": 2, "Delay": 3})
    cloudformation.update_stack(StackName=name, TemplateBody=json.dumps(wrong))
    cloudformation.get_waiter("stack_rollback_complete").wait(StackName=name, WaiterConfig=PATIENCE)
    (queue,) = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    assert "UPDATE_COMPLETE" == queue["ResourceStatus"]


def test_a_date_after_the_last_year_is_refused_in_words(aws: Aws, unique: str) -> None:
    """An instant that is of the year 10000 in UTC can be written nowhere."""
    cloudformation, name = aws("cloudformation"), "s-" + unique
    rule = {"Status": "Enabled", "ExpirationDate": "9999-12-31T23:59:59-10:00"}
    body = json.dumps(resource("S3::Bucket", {"LifecycleConfiguration": {"Rules": [rule]}}))
    cloudformation.create_stack(StackName=name, TemplateBody=body, OnFailure="DO_NOTHING")
    with pytest.raises(WaiterError):
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig=PATIENCE
        )
    (failed,) = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    assert failed["ResourceStatusReason"].endswith("is no date in ISO 8601 format")


def test_an_export_that_is_imported_stays(aws: Aws, unique: str) -> None:
    """The stack that imports a value would go on with one that is no more."""
    cloudformation, name, user = aws("cloudformation"), "e-" + unique, "i-" + unique

    def exporting(value: str, export: str = name) -> dict[str, Any]:
        output = {"Value": value, "Export": {"Name": export}}
        return {"Resources": {"X": QUEUE}, "Outputs": {"O": output}}

    def updated(template: dict[str, Any]) -> str:
        cloudformation.update_stack(StackName=name, TemplateBody=json.dumps(template))
        waiter = cloudformation.get_waiter("stack_rollback_complete")
        waiter.wait(StackName=name, WaiterConfig=PATIENCE)
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return next(
            str(event["ResourceStatusReason"])
            for event in events
            if event["ResourceStatus"] == "UPDATE_ROLLBACK_IN_PROGRESS"
        )

    made(aws, name, exporting("a"))
    made(
        aws,
        user,
        resource("SSM::Parameter", {"Type": "String", "Value": {"Fn::ImportValue": name}}),
    )
    changed, renamed = updated(exporting("b")), updated(exporting("a", name + "2"))
    assert f"Export {name} cannot be updated as it is in use by {user}" == changed
    assert f"Export {name} cannot be deleted as it is in use by {user}" == renamed
    exports = cloudformation.list_exports()["Exports"]
    assert ["a"] == [export["Value"] for export in exports if export["Name"] == name]


def test_a_filter_goes_from_bodies_to_attributes_and_back(aws: Aws, unique: str) -> None:
    """Scope and policy are set one after the other, and what is between must be allowed as well."""
    cloudformation, sns, name = aws("cloudformation"), aws("sns"), "s-" + unique
    kept = {
        "Protocol": "sqs",
        "TopicArn": {"Ref": "Topic"},
        "Endpoint": {"Fn::GetAtt": "X.Arn"},
    }
    nested = {"FilterPolicyScope": "MessageBody", "FilterPolicy": {"a": {"b": ["c"]}}}
    flat = {"FilterPolicy": {"a": ["b"]}}

    def template(**changing: Any) -> dict[str, Any]:
        subscription = {"Type": "AWS::SNS::Subscription", "Properties": kept | changing}
        resources = {"X": QUEUE, "Topic": {"Type": "AWS::SNS::Topic"}, "S": subscription}
        return {"Resources": resources, "Outputs": {"Arn": {"Value": {"Ref": "S"}}}}

    arn = made(aws, name, template(**nested))["Arn"]
    for changing in (flat, nested, {}):
        cloudformation.update_stack(StackName=name, TemplateBody=json.dumps(template(**changing)))
        waiter = cloudformation.get_waiter("stack_update_complete")
        waiter.wait(StackName=name, WaiterConfig=PATIENCE)
        told = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert changing.get("FilterPolicy") == json.loads(told.get("FilterPolicy", "null"))
