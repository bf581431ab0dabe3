"""Properties of the resource types of EventBridge, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

API_DESTINATION: Final = record("""
    ConnectionArn!, Description, HttpMethod!, InvocationEndpoint!, Name
    InvocationRateLimitPerSecond: Integer
""")
ARCHIVE: Final = record("""
    ArchiveName, Description, SourceArn!
    EventPattern: Json, RetentionDays: Integer
    -KmsKeyIdentifier
""")
CONNECTION: Final = record("""
    AuthorizationType!, Description, Name
    AuthParameters!: {
        ApiKeyAuthParameters: {ApiKeyName!, ApiKeyValue!},
        BasicAuthParameters: {Password!, Username!}
        InvocationHttpParameters: {
            BodyParameters: [{Key!, Value!, IsValueSecret: Boolean}],
            HeaderParameters: [{Key!, Value!, IsValueSecret: Boolean}],
            QueryStringParameters: [{Key!, Value!, IsValueSecret: Boolean}]
        }
        OAuthParameters: {
            AuthorizationEndpoint!, HttpMethod!
            ClientParameters!: {ClientID!, ClientSecret!}
            OAuthHttpParameters: {
                BodyParameters: [{Key!, Value!, IsValueSecret: Boolean}],
                HeaderParameters: [{Key!, Value!, IsValueSecret: Boolean}],
                QueryStringParameters: [{Key!, Value!, IsValueSecret: Boolean}]
            }
        }
        -ConnectivityParameters
    }
    -InvocationConnectivityParameters, -KmsKeyIdentifier
""")
EVENT_BUS: Final = record("""
    Description, Name!
    DeadLetterConfig: {Arn}, Policy: Json, Tags: [{Key!, Value!}]
    -EventSourceName, -KmsKeyIdentifier, -LogConfig
""")
EVENT_BUS_POLICY: Final = record("""
    Action, EventBusName, Principal, StatementId!
    Condition: {Key, Type, Value}, Statement: Json
""")
RULE: Final = record("""
    Description, EventBusName, Name, RoleArn, ScheduleExpression, State
    EventPattern: Json, Tags: [{Key, Value}]
    Targets: [{
        Arn!, Id!, Input, InputPath, RoleArn
        DeadLetterConfig: {Arn}
        HttpParameters: {
            HeaderParameters: {*: String}, PathParameterValues: [String],
            QueryStringParameters: {*: String}
        }
        InputTransformer: {InputTemplate!, InputPathsMap: {*: String}},
        KinesisParameters: {PartitionKeyPath!},
        RetryPolicy: {MaximumEventAgeInSeconds: Integer, MaximumRetryAttempts: Integer},
        SqsParameters: {MessageGroupId!}
        -AppSyncParameters, -BatchParameters, -EcsParameters, -RedshiftDataParameters,
        -RunCommandParameters, -SageMakerPipelineParameters
    }]
""")
