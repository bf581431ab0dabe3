"""Which bytes of an object a request asks for. Pure."""

import re
from typing import Final

from penstock.api import Request, Result
from penstock.core.errors import AwsError
from penstock.services.s3.attributes import part_of
from penstock.services.s3.record import Document

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


def extent_of(document: Document, request: Request, result: Result) -> tuple[int, int | None]:
    """As `bounds_of`; leaves in `result` the checksums of what is within them."""
    part = part_of(document, request)
    if part is None:
        start, end = bounds_of(request.get("Range"), document["size"])
        told: dict[str, str] = {}
    else:
        start, end, told = part
        if document.get("parts"):
            result["PartsCount"] = len(document["parts"])
    # AWS: a range that is all of the object has its checksums (recorded by LocalStack).
    whole = part is None and (start, end) == (0, document["size"])
    if end is not None and not whole:
        for name in document["checksums"]:
            if result.pop(name, None) and name in told:
                result[name] = told[name]
    return start, end


def bounds_of(header: str | None, size: int) -> tuple[int, int | None]:
    """First byte and the one after the last; (0, None) for the whole object. Raises InvalidRange."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group(1) == match.group(2) == "":
        return 0, None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < int(first):
        return 0, None
    if start >= size:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            status=416,
            fields={"RangeRequested": header, "ActualObjectSize": str(size)},
        )
    return start, end
