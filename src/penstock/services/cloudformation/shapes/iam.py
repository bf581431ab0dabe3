"""Properties of the resource types of IAM, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

MANAGED_POLICY: Final = record("""
    Description, ManagedPolicyName, Path
    PolicyDocument!: Json, Roles: [String]
    -Groups, -Users
""")
POLICY: Final = record("""
    PolicyName!
    PolicyDocument!: Json, Roles: [String]
    -Groups, -Users
""")
ROLE: Final = record("""
    Description, Path, PermissionsBoundary, RoleName
    AssumeRolePolicyDocument!: Json, ManagedPolicyArns: [String], MaxSessionDuration: Integer,
    Policies: [{PolicyName!, PolicyDocument!: Json}], Tags: [{Key!, Value!}]
""")
