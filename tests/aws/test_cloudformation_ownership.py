"""What a stack did not make is not its own: it neither takes it over nor removes it."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
PATIENCE = {"Delay": 0.1, "MaxAttempts": 300}
TRUST: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}
ONCE_A_DAY = "rate(1 day)"
WINDOW = {"Mode": "OFF"}


def queue(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}, **more}


def ended(aws: Aws, name: str) -> tuple[str, list[str]]:
    """How an operation on a stack ended, and why resources failed."""
    cloudformation = aws("cloudformation")
    while True:
        (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return stack["StackStatus"], [event["ResourceStatusReason"] for event in failed]


def create(aws: Aws, name: str, resources: dict[str, Any]) -> tuple[str, list[str]]:
    body = json.dumps({"Resources": resources})
    capabilities = ["CAPABILITY_NAMED_IAM"]
    aws("cloudformation").create_stack(StackName=name, TemplateBody=body, Capabilities=capabilities)
    return ended(aws, name)


def update(aws: Aws, name: str, resources: dict[str, Any]) -> tuple[str, list[str]]:
    aws("cloudformation").update_stack(
        StackName=name, TemplateBody=json.dumps({"Resources": resources})
    )
    return ended(aws, name)


def delete(aws: Aws, name: str) -> None:
    cloudformation = aws("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=PATIENCE)


def foreign_queue(aws: Aws, name: str) -> str:
    """The address of a queue with a message, which no stack made."""
    url: str = aws("sqs").create_queue(QueueName=name)["QueueUrl"]
    aws("sqs").send_message(QueueUrl=url, MessageBody="precious")
    return url


def messages(aws: Aws, url: str) -> str:
    wanted = ["ApproximateNumberOfMessages"]
    found = aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=wanted)
    return str(found["Attributes"]["ApproximateNumberOfMessages"])


def everything(aws: Aws, n: str) -> dict[str, tuple[dict[str, Any], Callable[[], Any]]]:
    """Makes one of each kind by its service. Each with the same as a resource, and a request that only it answers."""
    sns, s3, events, iam = aws("sns"), aws("s3"), aws("events"), aws("iam")
    logs, ssm, scheduler, sqs = aws("logs"), aws("ssm"), aws("scheduler"), aws("sqs")
    url = sqs.create_queue(QueueName=n)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    arn = queue_arn["QueueArn"]
    topic = sns.create_topic(Name=n)["TopicArn"]
    s3.create_bucket(Bucket=n)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "a",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{n}/*",
            }
        ],
    }
    s3.put_bucket_policy(Bucket=n, Policy=json.dumps(policy))
    bus = events.create_event_bus(Name=n)["EventBusArn"]
    account = bus.split(":")[4]
    events.put_permission(
        EventBusName=n, Action="events:PutEvents", Principal=account, StatementId="a"
    )
    events.put_rule(Name=n, ScheduleExpression=ONCE_A_DAY)
    events.put_rule(Name=n, EventBusName=n, EventPattern='{"source": ["a"]}')
    events.create_archive(ArchiveName=n[:48], EventSourceArn=bus)
    key = {"ApiKeyName": "a", "ApiKeyValue": "b"}
    events.create_connection(
        Name=n, AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
    )
    iam.create_role(RoleName=n, AssumeRolePolicyDocument=json.dumps(TRUST))
    managed = iam.create_policy(PolicyName=n, PolicyDocument=json.dumps(TRUST))["Policy"]["Arn"]
    logs.create_log_group(logGroupName=n)
    logs.put_resource_policy(policyName=n, policyDocument=json.dumps(TRUST))
    ssm.put_parameter(Name=n, Type="String", Value="precious")
    scheduler.create_schedule_group(Name=n)
    scheduler.create_schedule(
        Name=n,
        ScheduleExpression=ONCE_A_DAY,
        FlexibleTimeWindow=WINDOW,
        Target={"Arn": arn, "RoleArn": f"arn:aws:iam::{account}:role/{n}"},
    )
    table = {
        "TableName": n,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
    }
    aws("dynamodb").create_table(**table)
    role = f"arn:aws:iam::{account}:role/{n}"
    target = {"Arn": arn, "RoleArn": role}
    return {
        "SQS::Queue": ({"QueueName": n}, lambda: sqs.get_queue_url(QueueName=n)),
        "SNS::Topic": ({"TopicName": n}, lambda: sns.get_topic_attributes(TopicArn=topic)),
        "S3::Bucket": ({"BucketName": n}, lambda: s3.head_bucket(Bucket=n)),
        "S3::BucketPolicy": (
            {"Bucket": n, "PolicyDocument": policy},
            lambda: s3.get_bucket_policy(Bucket=n),
        ),
        "Events::EventBus": ({"Name": n}, lambda: events.describe_event_bus(Name=n)),
        "Events::EventBusPolicy": (
            {
                "EventBusName": n,
                "StatementId": "a",
                "Action": "events:PutEvents",
                "Principal": account,
            },
            lambda: events.describe_event_bus(Name=n)["Policy"],
        ),
        "Events::Rule": (
            {"Name": n, "ScheduleExpression": ONCE_A_DAY},
            lambda: events.describe_rule(Name=n),
        ),
        "Events::Archive": (
            {"ArchiveName": n[:48], "SourceArn": bus},
            lambda: events.describe_archive(ArchiveName=n[:48]),
        ),
        "Events::Connection": (
            {
                "Name": n,
                "AuthorizationType": "API_KEY",
                "AuthParameters": {"ApiKeyAuthParameters": key},
            },
            lambda: events.describe_connection(Name=n),
        ),
        "IAM::Role": (
            {"RoleName": n, "AssumeRolePolicyDocument": TRUST},
            lambda: iam.get_role(RoleName=n),
        ),
        "IAM::ManagedPolicy": (
            {"ManagedPolicyName": n, "PolicyDocument": TRUST},
            lambda: iam.get_policy(PolicyArn=managed),
        ),
        "Logs::LogGroup": (
            {"LogGroupName": n},
            lambda: logs.list_tags_log_group(logGroupName=n),
        ),
        "Logs::ResourcePolicy": (
            {"PolicyName": n, "PolicyDocument": json.dumps(TRUST)},
            lambda: next(
                one
                for one in logs.describe_resource_policies()["resourcePolicies"]
                if one["policyName"] == n
            ),
        ),
        "SSM::Parameter": (
            {"Name": n, "Type": "String", "Value": "x"},
            lambda: ssm.get_parameter(Name=n),
        ),
        "Scheduler::ScheduleGroup": ({"Name": n}, lambda: scheduler.get_schedule_group(Name=n)),
        "Scheduler::Schedule": (
            {
                "Name": n,
                "ScheduleExpression": ONCE_A_DAY,
                "FlexibleTimeWindow": WINDOW,
                "Target": target,
            },
            lambda: scheduler.get_schedule(Name=n),
        ),
        "DynamoDB::Table": (table, lambda: aws("dynamodb").describe_table(TableName=n)),
    }


def test_what_is_there_is_not_taken_over(aws: Aws, unique: str) -> None:
    """Whether a service refuses a second creation or not: a stack that took over what is there would delete it."""
    n = "own-" + unique.rpartition("-")[2]
    for kind, (properties, ask) in everything(aws, n).items():
        before = ask()
        stack = f"s-{n}-{kind.replace('::', '')}"
        status, reasons = create(
            aws, stack, {"X": {"Type": f"AWS::{kind}", "Properties": properties}}
        )
        assert "ROLLBACK_COMPLETE" == status, kind
        assert f"Resource of type 'AWS::{kind}' with identifier '" in reasons[-1]
        assert "' already exists.\" (RequestToken: " in reasons[-1]
        assert "HandlerErrorCode: AlreadyExists)" in reasons[-1]
        delete(aws, stack)
        after = ask()
        for answer in (before, after):
            if isinstance(answer, dict):
                answer.pop("ResponseMetadata", None)
        assert before == after, kind


def test_rollback_leaves_what_it_did_not_make(aws: Aws, unique: str) -> None:
    """A queue of that name was there before: neither the failed creation nor what follows may touch it."""
    url = foreign_queue(aws, unique)
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "bad name"}}
    status, _ = create(aws, "a-" + unique, {"Q": queue(unique), "T": topic})
    assert "ROLLBACK_COMPLETE" == status
    delete(aws, "a-" + unique)
    assert "1" == messages(aws, url)


def test_update_that_renames_to_what_is_there_fails(aws: Aws, unique: str) -> None:
    """The rollback of the update must leave the queue whose name was asked for, and keep the stack's own."""
    url, name = foreign_queue(aws, unique), "s-" + unique
    assert "CREATE_COMPLETE" == create(aws, name, {"Q": queue(unique + "-mine")})[0]
    status, reasons = update(aws, name, {"Q": queue(unique)})
    assert "UPDATE_ROLLBACK_COMPLETE" == status
    assert "already exists" in reasons[0]
    assert "1" == messages(aws, url)
    assert aws("sqs").get_queue_url(QueueName=unique + "-mine")
    delete(aws, name)
    assert "1" == messages(aws, url)


def test_two_resources_cannot_be_one(aws: Aws, unique: str) -> None:
    """Each would answer for the queue of the other: the second of one name is refused."""
    status, reasons = create(
        aws, "s-" + unique, {"A": queue(unique), "B": queue(unique, DependsOn="A")}
    )
    assert "ROLLBACK_COMPLETE" == status
    assert "already exists" in reasons[0]
    with pytest.raises(ClientError, match="does not exist"):
        aws("sqs").get_queue_url(QueueName=unique)


def test_two_stacks_at_once_cannot_make_one_queue(aws: Aws, unique: str) -> None:
    """Both find nothing of the name if they look at the same instant."""
    cloudformation, names = aws("cloudformation"), ["a-" + unique, "b-" + unique]
    body = json.dumps({"Resources": {"Q": queue(unique)}})
    for name in names:
        cloudformation.create_stack(StackName=name, TemplateBody=body)
    ends = sorted(ended(aws, name)[0] for name in names)
    assert ["CREATE_COMPLETE", "ROLLBACK_COMPLETE"] == ends
    assert aws("sqs").get_queue_url(QueueName=unique)


def test_subscription_that_was_there_stays(aws: Aws, unique: str) -> None:
    """Subscribe answers with the subscription that is there; whoever made it keeps it when the stack goes."""
    topic = aws("sns").create_topic(Name=unique)["TopicArn"]
    pair = {"TopicArn": topic, "Protocol": "email", "Endpoint": "a@example.com"}
    aws("sns").subscribe(**pair)
    status, _ = create(
        aws, "s-" + unique, {"S": {"Type": "AWS::SNS::Subscription", "Properties": pair}}
    )
    assert "CREATE_COMPLETE" == status
    delete(aws, "s-" + unique)
    assert 1 == len(aws("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"])


def test_version_that_is_published_is_not_taken_over(aws: Aws, unique: str, role: str) -> None:
    """PublishVersion answers with the last one when nothing has changed: two resources would be one version."""
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": "def handler(e, c): return 1"},
            "Handler": "index.handler",
            "Runtime": f"python3.{sys.version_info.minor}",
            "Role": role,
        },
    }
    version = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}}
    name = "s-" + unique
    assert "CREATE_COMPLETE" == create(aws, name, {"F": function, "V": version})[0]
    status, reasons = update(aws, name, {"F": function, "V": version, "W": version})
    assert "UPDATE_ROLLBACK_COMPLETE" == status
    assert "A version for this Lambda function exists ( 1 )." in reasons[0]


def test_gateway_responses_are_made_changed_and_taken_back(aws: Aws, unique: str) -> None:
    """CDK adds them to an API as resources. What is said of one elsewhere is not the stack's to overwrite."""
    gateway, name = aws("apigateway"), "s-" + unique
    api = gateway.create_rest_api(name=unique)["id"]

    def answer(status: str) -> dict[str, Any]:
        told = {
            "RestApiId": api,
            "ResponseType": "DEFAULT_4XX",
            "StatusCode": status,
            "ResponseTemplates": {"application/json": '{"told": $context.error.messageString}'},
        }
        return {"X": {"Type": "AWS::ApiGateway::GatewayResponse", "Properties": told}}

    def seen() -> Any:
        found = gateway.get_gateway_response(restApiId=api, responseType="DEFAULT_4XX")
        return found.get("statusCode")

    assert "CREATE_COMPLETE" == create(aws, name, answer("418"))[0]
    assert "418" == seen()
    status, reasons = create(aws, name + "-2", answer("419"))
    assert "ROLLBACK_COMPLETE" == status
    assert f"identifier 'DEFAULT_4XX|{api}' already exists." in reasons[0]
    assert "UPDATE_COMPLETE" == update(aws, name, answer("420"))[0]
    assert "420" == seen()
    delete(aws, name)
    assert seen() is None
