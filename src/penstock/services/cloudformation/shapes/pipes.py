"""Properties of the resource types of pipes, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

PIPE: Final = record("""
    Description, DesiredState, Enrichment, Name, RoleArn!, Source!, Target!
    EnrichmentParameters: {
        InputTemplate
        HttpParameters: {
            HeaderParameters: {*: String}, PathParameterValues: [String],
            QueryStringParameters: {*: String}
        }
    }
    SourceParameters: {
        FilterCriteria: {Filters: [{Pattern}]},
        SqsQueueParameters: {BatchSize: Integer, MaximumBatchingWindowInSeconds: Integer}
        -ActiveMQBrokerParameters, -DynamoDBStreamParameters, -KinesisStreamParameters,
        -ManagedStreamingKafkaParameters, -RabbitMQBrokerParameters, -SelfManagedKafkaParameters
    }
    Tags: {*: String}
    TargetParameters: {
        InputTemplate
        CloudWatchLogsParameters: {LogStreamName, Timestamp},
        EventBridgeEventBusParameters: {DetailType, EndpointId, Source, Time, Resources: [String]}
        HttpParameters: {
            HeaderParameters: {*: String}, PathParameterValues: [String],
            QueryStringParameters: {*: String}
        }
        LambdaFunctionParameters: {InvocationType},
        SqsQueueParameters: {MessageDeduplicationId, MessageGroupId}
        -BatchJobParameters, -EcsTaskParameters, -KinesisStreamParameters,
        -RedshiftDataParameters, -SageMakerPipelineParameters,
        -StepFunctionStateMachineParameters, -TimestreamParameters
    }
    -KmsKeyIdentifier, -LogConfiguration
""")
