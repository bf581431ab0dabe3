"""What Fn::GetAtt gives of each resource type: known before there is a resource, so that a mistake leaves no stack."""

from typing import Final

_TEXT: Final = """
    ApiGateway::Account: Id
    ApiGateway::Deployment: DeploymentId
    ApiGateway::GatewayResponse: Id
    ApiGateway::RequestValidator: RequestValidatorId
    ApiGateway::Resource: ResourceId
    ApiGateway::RestApi: RestApiId RootResourceId
    DynamoDB::Table: Arn StreamArn
    Events::ApiDestination: Arn ArnForPolicy
    Events::Archive: ArchiveName Arn
    Events::Connection: Arn ArnForPolicy SecretArn
    Events::EventBus: Arn Name Policy
    Events::Rule: Arn
    IAM::ManagedPolicy: PolicyArn
    IAM::Policy: Id
    IAM::Role: Arn RoleId
    Lambda::Alias: AliasArn
    Lambda::EventSourceMapping: EventSourceMappingArn Id
    Lambda::Function: Arn
    Lambda::LayerVersion: LayerVersionArn
    Lambda::LayerVersionPermission: Id
    Lambda::Permission: Id
    Lambda::Url: FunctionArn FunctionUrl
    Lambda::Version: FunctionArn Version
    Logs::LogGroup: Arn
    Pipes::Pipe: Arn CreationTime CurrentState LastModifiedTime
    S3::Bucket: Arn DomainName DualStackDomainName RegionalDomainName WebsiteURL
    SNS::Subscription: Arn
    SNS::Topic: TopicArn TopicName
    SNS::TopicPolicy: Id
    SQS::Queue: Arn QueueName QueueUrl
    SQS::QueuePolicy: Id
    SSM::Parameter: Type Value
    Scheduler::Schedule: Arn
    Scheduler::ScheduleGroup: Arn State
"""


def _read() -> dict[str, frozenset[str]]:
    lines = (line.partition(": ") for line in _TEXT.strip().splitlines())
    return {f"AWS::{kind.strip()}": frozenset(names.split()) for kind, _, names in lines}


_ATTRIBUTES: Final = _read()


def attributes_of(kind: str) -> frozenset[str]:
    """The names of the attributes of a resource type."""
    return _ATTRIBUTES.get(kind, frozenset())
