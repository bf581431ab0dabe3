"""Properties of the resource types of CloudWatch Logs, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

LOG_GROUP: Final = record("""
    KmsKeyId, LogGroupClass, LogGroupName
    RetentionInDays: Integer, Tags: [{Key!, Value!}]
    -BearerTokenAuthenticationEnabled, -DataProtectionPolicy, -DeletionProtectionEnabled,
    -FieldIndexPolicies, -ResourcePolicyDocument
""")
RESOURCE_POLICY: Final = record("""
    PolicyName!
    PolicyDocument!: Json
""")
