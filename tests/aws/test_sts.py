"""STS by boto3."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

TRUST = '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}'


def test_caller_is_the_account(aws: Callable[..., Any]) -> None:
    """Tools ask who they are before anything else."""
    caller = aws("sts").get_caller_identity()
    assert f"arn:aws:iam::{caller['Account']}:root" == caller["Arn"]


def test_session_stands_for_its_role(aws: Callable[..., Any], unique: str) -> None:
    """The credentials of AssumeRole are those of the role's session."""
    role = aws("iam").create_role(RoleName=unique, AssumeRolePolicyDocument=TRUST)["Role"]
    answer = aws("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")
    given = answer["Credentials"]
    assert given["AccessKeyId"].startswith("ASIA")
    session = aws(
        "sts",
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    caller = session.get_caller_identity()
    account = caller["Account"]
    assert f"arn:aws:sts::{account}:assumed-role/{unique}/session" == caller["Arn"]
    assert f"{role['RoleId']}:session" == caller["UserId"]
    assert answer["AssumedRoleUser"]["Arn"] == caller["Arn"]


def test_role_that_is_none(aws: Callable[..., Any]) -> None:
    """The text is recorded from AWS."""
    with pytest.raises(ClientError) as caught:
        aws("sts").assume_role(RoleArn="arn:aws:iam::1:nothing", RoleSessionName="session")
    found = caught.value.response["Error"]
    assert ("ValidationError", "arn:aws:iam::1:nothing is invalid") == (
        found["Code"],
        found["Message"],
    )


def test_what_the_trust_policy_would_decide(aws: Callable[..., Any], unique: str) -> None:
    """A role that asks for an external id must not be handed out to whoever gives any."""
    role = aws("iam").create_role(RoleName=unique, AssumeRolePolicyDocument=TRUST)["Role"]
    with pytest.raises(ClientError) as caught:
        aws("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session", ExternalId="any")
    assert "NotImplemented" == caught.value.response["Error"]["Code"]
