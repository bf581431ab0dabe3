"""SNS's errors."""

from penstock.core.errors import AwsError

ARN_PARTS = 6


def invalid(text: str) -> AwsError:
    """`InvalidParameter`, SNS's answer to most of what is wrong."""
    return AwsError("InvalidParameterException", f"Invalid parameter: {text}")


def missing(what: str) -> AwsError:
    """`NotFound`."""
    return AwsError("NotFoundException", f"{what} does not exist")


def check_arn(name: str, arn: str | None) -> str:
    """The ARN that a parameter gives. Raises for what is none."""
    parts = (arn or "").split(":")
    if len(parts) < ARN_PARTS:
        raise invalid(f"{name} Reason: An ARN must have at least 6 elements, not {len(parts)}")
    return arn or ""
