"""Buckets of templates: what they tell, and what ends in them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import WaiterError

Aws = Callable[..., Any]


def template(**bucket: Any) -> str:
    return json.dumps(
        {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Bucket": {"Type": "AWS::S3::Bucket", "Properties": bucket},
            },
            "Outputs": {
                "Bucket": {"Value": {"Ref": "Bucket"}},
                "Queue": {"Value": {"Ref": "Queue"}},
            },
        }
    )


def test_notifications_and_rules(aws: Aws, unique: str) -> None:
    """Properties become configurations under S3's own names, and go when they are taken out."""
    cloudformation, s3, sqs = aws("cloudformation"), aws("s3"), aws("sqs")
    queue = {"Fn::GetAtt": ["Queue", "Arn"]}
    rules = [{"Name": "prefix", "Value": "in/"}]
    body = template(
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "Event": "s3:ObjectCreated:*",
                    "Queue": queue,
                    "Filter": {"S3Key": {"Rules": rules}},
                }
            ],
            "EventBridgeConfiguration": {"EventBridgeEnabled": True},
        },
        LifecycleConfiguration={
            "Rules": [
                {
                    "Id": "r",
                    "Status": "Enabled",
                    "Prefix": "in/",
                    "TagFilters": [{"Key": "a", "Value": "b"}],
                    "ExpirationInDays": "3",
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                }
            ]
        },
        CorsConfiguration={
            "CorsRules": [
                {
                    "Id": "c",
                    "AllowedMethods": ["GET"],
                    "AllowedOrigins": ["*"],
                    "ExposedHeaders": ["ETag"],
                    "MaxAge": "60",
                }
            ]
        },
        Tags=[{"Key": "team", "Value": "a"}],
    )
    cloudformation.create_stack(StackName=unique, TemplateBody=body)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 0.1}
    )
    (stack,) = cloudformation.describe_stacks(StackName=unique)["Stacks"]
    told = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    name = {"Bucket": told["Bucket"]}
    configured = s3.get_bucket_notification_configuration(**name)
    assert [{}, ["s3:ObjectCreated:*"]] == [
        configured["EventBridgeConfiguration"],
        configured["QueueConfigurations"][0]["Events"],
    ]
    (rule,) = s3.get_bucket_lifecycle_configuration(**name)["Rules"]
    assert {
        "ID": "r",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "in/", "Tags": [{"Key": "a", "Value": "b"}]}},
        "Expiration": {"Days": 3},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    } == rule
    assert [
        {
            "ID": "c",
            "AllowedMethods": ["GET"],
            "AllowedOrigins": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 60,
        }
    ] == s3.get_bucket_cors(**name)["CORSRules"]
    s3.put_object(**name, Key="in/1", Body=b"")
    s3.delete_object(**name, Key="in/1")
    found = sqs.receive_message(QueueUrl=told["Queue"], MaxNumberOfMessages=10)["Messages"]
    bodies = [json.loads(message["Body"]) for message in found]
    assert ["s3:TestEvent"] == [one["Event"] for one in bodies if "Event" in one]
    assert ["in/1"] == [
        record["s3"]["object"]["key"] for one in bodies for record in one.get("Records", ())
    ]
    cloudformation.update_stack(StackName=unique, TemplateBody=template())
    cloudformation.get_waiter("stack_update_complete").wait(
        StackName=unique, WaiterConfig={"Delay": 0.1}
    )
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(**name)
    cloudformation.delete_stack(StackName=unique)


def test_canned_lists_are_those_of_the_service(aws: Aws, unique: str) -> None:
    """`AccessControl: Private` stands in many templates from before buckets were private anyhow."""
    cloudformation = aws("cloudformation")
    patience = {"Delay": 0.1, "MaxAttempts": 300}
    for number, canned in enumerate(("Private", "BucketOwnerFullControl", "PublicRead")):
        name = f"{unique}-{number}"
        cloudformation.create_stack(
            StackName=name, TemplateBody=template(AccessControl=canned), OnFailure="DO_NOTHING"
        )
        if canned != "PublicRead":
            waiter = cloudformation.get_waiter("stack_create_complete")
            waiter.wait(StackName=name, WaiterConfig=patience)
            continue
        with pytest.raises(WaiterError):
            cloudformation.get_waiter("stack_create_complete").wait(
                StackName=name, WaiterConfig=patience
            )
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [event.get("ResourceStatusReason", "") for event in events]
        assert any("The bucket does not allow ACLs" in reason for reason in reasons)
