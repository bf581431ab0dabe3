"""Properties of the resource types of SQS, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

QUEUE: Final = record("""
    DeduplicationScope, FifoThroughputLimit, KmsMasterKeyId, QueueName
    ContentBasedDeduplication: Boolean, DelaySeconds: Integer, FifoQueue: Boolean,
    KmsDataKeyReusePeriodSeconds: Integer, MaximumMessageSize: Integer,
    MessageRetentionPeriod: Integer, ReceiveMessageWaitTimeSeconds: Integer,
    RedriveAllowPolicy: Json, RedrivePolicy: Json, SqsManagedSseEnabled: Boolean,
    Tags: [{Key!, Value!}], VisibilityTimeout: Integer
""")
QUEUE_INLINE_POLICY: Final = record("""
    Queue!
    PolicyDocument!: Json
""")
QUEUE_POLICY: Final = record("""
    PolicyDocument!: Json, Queues!: [String]
""")
