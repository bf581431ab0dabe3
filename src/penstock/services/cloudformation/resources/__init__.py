"""What CloudFormation can make: one row a resource type, grouped by the service that makes it."""

from collections.abc import Mapping

from penstock.services.cloudformation.resource import ResourceType
from penstock.services.cloudformation.resources import (
    apigateway,
    dynamodb,
    events,
    gateway_responses,
    iam,
    inert,
    lambda_,
    logs,
    pipes,
    s3,
    scheduler,
    sns,
    sqs,
    ssm,
)


def resource_types() -> Mapping[str, ResourceType]:
    """Every row, by type name."""
    modules = (
        apigateway,
        dynamodb,
        events,
        gateway_responses,
        iam,
        inert,
        lambda_,
        logs,
        pipes,
        s3,
        scheduler,
        sns,
        sqs,
        ssm,
    )
    return {row.name: row for module in modules for row in module.ROWS}
