"""Errors that several operations on objects share."""

from collections.abc import Mapping
from typing import Any

from penstock.api import Context, Request
from penstock.core.errors import AwsError


def marked(ctx: Context, version_id: str) -> AwsError:
    """What S3 answers when a delete marker is asked for what only an object has."""
    method = next(
        (verb for verb in ("Get", "Head", "Delete") if ctx.operation.startswith(verb)), "Put"
    )
    return AwsError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        status=405,
        fields={
            "Method": method.upper(),
            "ResourceType": "DeleteMarker",
            "x-amz-delete-marker": "true",
            "x-amz-version-id": version_id,
            "allow": "DELETE",
        },
    )


def no_key(key: str, marker: Mapping[str, Any] | None) -> AwsError:
    """What S3 answers when there is no object, or only a delete marker that covers it."""
    # AWS: the marker is told in header fields (S3 user guide, "Working with delete markers").
    told = {}
    if marker is not None:
        told = {"x-amz-delete-marker": "true", "x-amz-version-id": marker["version_id"]}
    message = "The specified key does not exist."
    return AwsError("NoSuchKey", message, status=404, fields={"Key": key, **told})


def no_version_id(request: Request) -> AwsError:
    """What S3 answers when a bucket that has no versions is asked for one."""
    return AwsError(
        "InvalidArgument",
        "Invalid version id specified",
        status=400,
        fields={"ArgumentName": "versionId", "ArgumentValue": request["VersionId"]},
    )


def require_no_bypass(request: Request) -> None:
    """Raise InvalidArgument for a deletion that would pass a lock: no bucket has one here."""
    if "BypassGovernanceRetention" in request:
        name = "x-amz-bypass-governance-retention"
        raise AwsError(
            "InvalidArgument",
            f"{name} is only applicable to Object Lock enabled buckets.",
            status=400,
            fields={"ArgumentName": name},
        )
