"""IAM by boto3: roles, policies, users and their keys."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


def error(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    found = caught.value.response["Error"]
    return str(found["Code"]), str(found["Message"])


def test_role_and_its_policies(aws: Callable[..., Any], unique: str) -> None:
    """A role lives with its policies and goes after them."""
    iam = aws("iam")
    made = iam.create_role(RoleName=unique, AssumeRolePolicyDocument=POLICY)["Role"]
    assert made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
    assert json.loads(POLICY) == iam.get_role(RoleName=unique)["Role"]["AssumeRolePolicyDocument"]
    exists = ("EntityAlreadyExists", f"Role with name {unique} already exists.")
    assert exists == error(iam.create_role, RoleName=unique, AssumeRolePolicyDocument=POLICY)
    iam.put_role_policy(RoleName=unique, PolicyName="p", PolicyDocument=POLICY)
    kept = iam.get_role_policy(RoleName=unique, PolicyName="p")["PolicyDocument"]
    assert json.loads(POLICY) == kept
    managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName=unique, PolicyArn=managed)
    attached = iam.list_attached_role_policies(RoleName=unique)["AttachedPolicies"]
    assert [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": managed}] == attached
    assert "DeleteConflict" == error(iam.delete_role, RoleName=unique)[0]
    iam.detach_role_policy(RoleName=unique, PolicyArn=managed)
    iam.delete_role_policy(RoleName=unique, PolicyName="p")
    iam.delete_role(RoleName=unique)
    missing = ("NoSuchEntity", f"The role with name {unique} cannot be found.")
    assert missing == error(iam.get_role, RoleName=unique)


def test_customer_policies(aws: Callable[..., Any], unique: str) -> None:
    """A policy is attached by ARN, counted, and protected while attached."""
    iam = aws("iam")
    arn = iam.create_policy(PolicyName=unique, PolicyDocument=POLICY)["Policy"]["Arn"]
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert json.loads(POLICY) == version["Document"]
    iam.create_role(RoleName=unique, AssumeRolePolicyDocument=POLICY)
    iam.attach_role_policy(RoleName=unique, PolicyArn=arn)
    assert 1 == iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"]
    assert "DeleteConflict" == error(iam.delete_policy, PolicyArn=arn)[0]
    iam.detach_role_policy(RoleName=unique, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    gone = ("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.")
    assert gone == error(iam.attach_role_policy, RoleName=unique, PolicyArn=arn)


def test_broken_documents_are_told(aws: Callable[..., Any], unique: str) -> None:
    """The text is recorded from AWS."""
    expected = ("MalformedPolicyDocument", "This policy contains invalid Json")
    found = error(aws("iam").create_role, RoleName=unique, AssumeRolePolicyDocument="{")
    assert expected == found


def test_tags_of_roles(aws: Callable[..., Any], unique: str) -> None:
    """Deployment tools mark what is theirs."""
    iam = aws("iam")
    iam.create_role(
        RoleName=unique, AssumeRolePolicyDocument=POLICY, Tags=[{"Key": "a", "Value": "1"}]
    )
    iam.tag_role(RoleName=unique, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName=unique, TagKeys=["a"])
    assert [{"Key": "b", "Value": "2"}] == iam.list_role_tags(RoleName=unique)["Tags"]


def test_access_key_stands_for_its_user(aws: Callable[..., Any], unique: str) -> None:
    """A key that IAM issued is its user from then on."""
    iam = aws("iam")
    user = iam.create_user(UserName=unique)["User"]
    key = iam.create_access_key(UserName=unique)["AccessKey"]
    sts = aws(
        "sts",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    caller = sts.get_caller_identity()
    assert [user["Arn"], user["UserId"]] == [caller["Arn"], caller["UserId"]]
    assert "DeleteConflict" == error(iam.delete_user, UserName=unique)[0]
    iam.delete_access_key(UserName=unique, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=unique)


def test_marker_that_is_none(aws: Callable[..., Any]) -> None:
    """What a client makes up is the client's mistake."""
    with pytest.raises(ClientError) as caught:
        aws("iam").list_roles(Marker="x")
    assert "ValidationError" == caught.value.response["Error"]["Code"]
