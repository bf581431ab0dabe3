"""What AWS has and Penstock has not: every SDK is told what it asked for, in the protocol that it speaks."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.mark.parametrize(
    ("service", "operation", "request_", "named"),
    [
        ("apigatewayv2", "get_apis", {}, "apigatewayv2:GetApis"),
        ("dynamodbstreams", "list_streams", {}, "dynamodbstreams:ListStreams"),
        ("route53", "list_hosted_zones", {}, "route53:ListHostedZones"),
        ("cloudfront", "list_distributions", {}, "cloudfront:ListDistributions"),
        ("sesv2", "list_contacts", {"ContactListName": "c"}, "sesv2:ListContacts"),
        ("efs", "describe_file_systems", {}, "the service elasticfilesystem"),
        ("kms", "list_keys", {}, "kms:ListKeys"),
        ("secretsmanager", "list_secrets", {}, "secretsmanager:ListSecrets"),
        ("stepfunctions", "list_state_machines", {}, "states:ListStateMachines"),
        ("cloudwatch", "list_metrics", {}, "monitoring:ListMetrics"),
        ("autoscaling", "describe_tags", {}, "autoscaling:DescribeTags"),
        ("ec2", "describe_vpcs", {}, "ec2:DescribeVpcs"),
        ("lambda", "list_code_signing_configs", {}, "lambda:ListCodeSigningConfigs"),
    ],
)
def test_the_refusal_names_what_was_asked_for(
    aws: Callable[..., Any], service: str, operation: str, request_: dict[str, Any], named: str
) -> None:
    """A user has to see what is missing, not a path, a status or nothing that their client can read."""
    with pytest.raises(ClientError) as refused:
        getattr(aws(service), operation)(**request_)
    response = refused.value.response
    assert "NotImplemented" == response["Error"]["Code"]
    assert f"Penstock does not implement {named} yet." == response["Error"]["Message"]
    assert 501 == response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_no_service_has_is_no_refusal_of_ours(aws: Callable[..., Any], endpoint: str) -> None:
    """A path or an action that AWS does not know either is answered as AWS does, whatever shares the scope."""
    client = aws("apigatewayv2")

    def misspell(request: Any, **_: Any) -> None:
        request.url = f"{endpoint}/v3/apis"

    client.meta.events.register("before-sign.apigatewayv2.GetApis", misspell)
    with pytest.raises(ClientError) as refused:
        client.get_apis()
    assert "UnknownOperationException" == refused.value.response["Error"]["Code"]
