"""Conditional requests: `If-Match` and its kin, for reads and for writes."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from penstock.api import Request
from penstock.core.errors import AwsError

_WRITE_CONDITIONS: Final = frozenset(("IfMatch", "IfNoneMatch"))


def require_readable(request: Request, document: dict[str, Any], now: int) -> None:
    """Raise PreconditionFailed (412) or NotModified (304) as RFC 9110 orders the conditions, at `now` (ms)."""
    etag = document["etag"]
    # HTTP dates have seconds.
    modified_at = document["modified_at"] // 1000 * 1000
    if "IfMatch" in request:
        if not _matches(request["IfMatch"], etag):
            raise failed("If-Match")
    elif modified_at > request.get("IfUnmodifiedSince", modified_at):
        raise failed("If-Unmodified-Since")
    if "IfNoneMatch" in request:
        if _matches(request["IfNoneMatch"], etag):
            raise _not_modified(document)
    # AWS: a date that is still to come is no condition (RFC 9110, 13.1.3; recorded by LocalStack).
    elif modified_at <= request.get("IfModifiedSince", -1) <= now:
        raise _not_modified(document)


def _not_modified(document: dict[str, Any]) -> AwsError:
    fields = {"ETag": document["etag"], "Last-Modified": http_date(document["modified_at"])}
    return AwsError("NotModified", "Not Modified", status=304, fields=fields)


def http_date(at: int) -> str:
    """An instant (ms) as header fields tell it."""
    return format_datetime(datetime.fromtimestamp(at // 1000, UTC), usegmt=True)


def require_writable(request: Request, current: dict[str, Any] | None) -> None:
    """Raise PreconditionFailed, or NoSuchKey for an If-Match on nothing."""
    if _WRITE_CONDITIONS.isdisjoint(request):
        return
    if "IfMatch" in request and "IfNoneMatch" in request:
        raise AwsError(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented",
            status=501,
            fields={
                "Header": "If-Match,If-None-Match",
                "additionalMessage": "Multiple conditional request headers present in the request",
            },
        )
    if request.get("IfNoneMatch", "*") != "*" or request.get("IfMatch") == "*":
        # AWS: writes know no other conditions (S3 user guide, "Conditional requests").
        name = "If-Match" if request.get("IfMatch") == "*" else "If-None-Match"
        raise AwsError(
            "NotImplemented",
            "A header you provided implies functionality that is not implemented",
            status=501,
            fields={
                "Header": name,
                "additionalMessage": f"We don't accept the provided value of {name} header for this API",
            },
        )
    exists = current is not None and not current.get("delete_marker")
    if "IfNoneMatch" in request and exists:
        raise failed("If-None-Match")
    if "IfMatch" in request:
        if current is None or not exists:
            message = "The specified key does not exist."
            fields = {"Key": request["Key"]}
            raise AwsError("NoSuchKey", message, status=404, fields=fields)
        if not _matches(request["IfMatch"], current["etag"]):
            raise failed("If-Match")


def copy_failed(error: AwsError, request: Request) -> AwsError:
    """The error of a copy whose source does not meet a condition."""
    told = error.fields.get("Condition")
    if told is None:
        late = "CopySourceIfNoneMatch" not in request
        told = "If-Modified-Since" if late else "If-None-Match"
    return failed(f"x-amz-copy-source-{told}")


def failed(condition: str) -> AwsError:
    """What S3 answers to an unmet condition."""
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        status=412,
        fields={"Condition": condition},
    )


def _matches(header: str, etag: str) -> bool:
    wanted = {candidate.strip().strip('"') for candidate in header.split(",")}
    return "*" in wanted or etag.strip('"') in wanted
