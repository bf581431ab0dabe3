"""Properties of the resource types of the Systems Manager, in the notation of `core.template.shape`."""

from typing import Final

from penstock.core.template.shape import record

PARAMETER: Final = record("""
    AllowedPattern, DataType, Description, Name, Policies, Tier, Type!, Value!
    Tags: {*: String}
""")
