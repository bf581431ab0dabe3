"""What an object is: one part of it, and GetObjectAttributes."""

from typing import Any, Final

from penstock.api import Request, Result
from penstock.core.errors import AwsError
from penstock.services.s3.checksum import FULL
from penstock.services.s3.record import Document

_KNOWN: Final = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")


def part_of(document: Document, request: Request) -> tuple[int, int, dict[str, str]] | None:
    """First byte, the one after the last, and checksums of the part that is asked for; None for no part.

    Raises InvalidRequest, InvalidPartNumber.
    """
    number = request.get("PartNumber")
    if number is None:
        return None
    if "Range" in request:
        raise AwsError(
            "InvalidRequest",
            "Cannot specify both Range header and partNumber query parameter",
            status=400,
        )
    parts = document.get("parts") or [
        {"size": document["size"], "checksums": document["checksums"]}
    ]
    if not 1 <= number <= len(parts):
        raise AwsError(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            status=416,
            fields={"PartNumberRequested": str(number), "ActualPartCount": str(len(parts))},
        )
    start = sum(part["size"] for part in parts[: number - 1])
    chosen = parts[number - 1]
    checksums = dict(chosen["checksums"])
    kind = document["checksums"].get("ChecksumType")
    # AWS: a part tells its own checksum, if the object's is made of such (recorded by LocalStack).
    if document.get("parts") and kind == FULL:
        return start, start + chosen["size"], {}
    checksums = {name: value for name, value in checksums.items() if name in document["checksums"]}
    if checksums and kind:
        checksums["ChecksumType"] = kind
    return start, start + chosen["size"], checksums


def attributes_of(document: Document, request: Request, *, versioned: bool) -> Result:
    """The answer of GetObjectAttributes. Raises InvalidArgument."""
    wanted = [name.strip() for name in request["ObjectAttributes"]]
    for name in wanted:
        if name not in _KNOWN:
            raise AwsError("InvalidArgument", "Invalid attribute name specified.", status=400)
    result: Result = {"LastModified": document["modified_at"]}
    if versioned:
        result["VersionId"] = document["version_id"]
    values: dict[str, Any] = {
        "ETag": document["etag"].strip('"'),
        "StorageClass": document["storage_class"],
        "ObjectSize": document["size"],
        # AWS: here the number of parts is no part of a checksum (recorded by LocalStack).
        "Checksum": {name: one.partition("-")[0] for name, one in document["checksums"].items()}
        or None,
        "ObjectParts": _parts(document, request),
    }
    for name in wanted:
        if values[name] is not None:
            result[name] = values[name]
    return result


def _parts(document: Document, request: Request) -> dict[str, Any] | None:
    parts = document.get("parts")
    if not parts:
        return None
    found: dict[str, Any] = {"TotalPartsCount": len(parts)}
    told = [
        {"PartNumber": number, "Size": part["size"], **part["checksums"]}
        for number, part in enumerate(parts, 1)
        if any(name in document["checksums"] for name in part["checksums"])
    ]
    if not told or document["checksums"].get("ChecksumType") == FULL:
        return found
    limit = min(request.get("MaxParts", 1000), 1000)
    after = request.get("PartNumberMarker", 0)
    page = [part for part in told if part["PartNumber"] > after][:limit]
    last = page[-1]["PartNumber"] if page else 0
    return {
        **found,
        "PartNumberMarker": after,
        "NextPartNumberMarker": last,
        "MaxParts": limit,
        "IsTruncated": bool(page) and last < len(parts),
        "Parts": page,
    }
