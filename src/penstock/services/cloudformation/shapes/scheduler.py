"""Properties of the resource types of EventBridge Scheduler, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

SCHEDULE: Final = record("""
    ActionAfterCompletion, Description, EndDate, GroupName, Name, ScheduleExpression!,
    ScheduleExpressionTimezone, StartDate, State
    FlexibleTimeWindow!: {Mode!, MaximumWindowInMinutes: Double}
    Target!: {
        Arn!, Input, RoleArn!
        DeadLetterConfig: {Arn}, EventBridgeParameters: {DetailType!, Source!},
        RetryPolicy: {MaximumEventAgeInSeconds: Double, MaximumRetryAttempts: Double},
        SqsParameters: {MessageGroupId}
        -EcsParameters, -KinesisParameters, -SageMakerPipelineParameters
    }
    -KmsKeyArn
""")
SCHEDULE_GROUP: Final = record("""
    Name
    Tags: [{Key!, Value!}]
""")
