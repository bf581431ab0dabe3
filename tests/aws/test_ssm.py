"""Parameter Store by boto3."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


def code(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_versions_of_a_parameter(aws: Callable[..., Any], unique: str) -> None:
    """Overwriting is asked for, counted, and keeps the older values."""
    ssm, name = aws("ssm"), f"/{unique}"
    assert 1 == ssm.put_parameter(Name=name, Value="1", Type="String")["Version"]
    assert "ParameterAlreadyExists" == code(ssm.put_parameter, Name=name, Value="2", Type="String")
    assert 2 == ssm.put_parameter(Name=name, Value="2", Overwrite=True)["Version"]
    assert "2" == ssm.get_parameter(Name=name)["Parameter"]["Value"]
    assert "1" == ssm.get_parameter(Name=f"{name}:1")["Parameter"]["Value"]
    arn = ssm.get_parameter(Name=name)["Parameter"]["ARN"]
    assert arn.endswith(f":parameter{name}")
    assert "2" == ssm.get_parameter(Name=arn)["Parameter"]["Value"]
    ssm.delete_parameter(Name=name)
    assert "ParameterNotFound" == code(ssm.get_parameter, Name=name)


def test_paths(aws: Callable[..., Any], unique: str) -> None:
    """An application reads its configuration by path."""
    ssm = aws("ssm")
    for name in ("a", "b", "deep/c"):
        ssm.put_parameter(Name=f"/{unique}/{name}", Value=name, Type="String")
    children = ssm.get_parameters_by_path(Path=f"/{unique}")["Parameters"]
    assert ["a", "b"] == [item["Value"] for item in children]
    every = ssm.get_parameters_by_path(Path=f"/{unique}/", Recursive=True)["Parameters"]
    assert ["a", "b", "deep/c"] == [item["Value"] for item in every]
    several = ssm.get_parameters(Names=[f"/{unique}/a", f"/{unique}/none"])
    assert [f"/{unique}/none"] == several["InvalidParameters"]
    filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [f"/{unique}/d"]}]
    found = ssm.describe_parameters(ParameterFilters=filters)["Parameters"]
    assert [f"/{unique}/deep/c"] == [item["Name"] for item in found]


def test_secure_strings_are_refused(aws: Callable[..., Any], unique: str) -> None:
    """What would not be encrypted is not taken for safekeeping."""
    assert "NotImplemented" == code(
        aws("ssm").put_parameter, Name=unique, Value="x", Type="SecureString"
    )


def test_token_that_is_none(aws: Callable[..., Any]) -> None:
    """What a client makes up is the client's mistake."""
    ssm = aws("ssm")
    assert "InvalidNextToken" == code(ssm.describe_parameters, NextToken="x")
    assert "InvalidNextToken" == code(ssm.get_parameters_by_path, Path="/", NextToken="-1")
