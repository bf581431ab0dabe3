"""Properties of the resource types of SNS, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

SUBSCRIPTION: Final = record("""
    Endpoint, FilterPolicyScope, Protocol!, TopicArn!
    DeliveryPolicy: Json, FilterPolicy: Json, RawMessageDelivery: Boolean, RedrivePolicy: Json,
    ReplayPolicy: Json
    -Region, -SubscriptionRoleArn
""")
TOPIC: Final = record("""
    DisplayName, FifoThroughputScope, SignatureVersion, TopicName, TracingConfig
    ArchivePolicy: Json, ContentBasedDeduplication: Boolean, DeliveryPolicy: Json,
    FifoTopic: Boolean, Subscription: [{Endpoint!, Protocol!}], Tags: [{Key!, Value!}]
    -DataProtectionPolicy, -DeliveryStatusLogging, -KmsMasterKeyId, -MaximumMessageSize
""")
TOPIC_INLINE_POLICY: Final = record("""
    TopicArn!
    PolicyDocument!: Json
""")
TOPIC_POLICY: Final = record("""
    PolicyDocument!: Json, Topics!: [String]
""")
