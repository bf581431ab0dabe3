"""Presigned URLs of S3 that carry header fields in their query, as some SDKs make them."""

from dataclasses import replace
from typing import Final, cast

from penstock.api import Headers, HttpRequest
from penstock.wire.sigv4_claim import query_pairs

_SIGNING: Final = frozenset(
    f"x-amz-{name}"
    for name in (
        "algorithm",
        "credential",
        "date",
        "expires",
        "security-token",
        "signature",
        "signedheaders",
    )
)
# AWS: conditions and what describes the body are taken from there, too (recorded by LocalStack).
_PLAIN: Final = frozenset({"content-md5", "content-type", "if-match", "if-none-match"})


def with_fields_of_query(request: HttpRequest) -> HttpRequest:
    """The request with the header fields that its query has; what is a header field already stays as it is."""
    found: dict[str, str] = {}
    for raw, value in query_pairs(request.query):
        name = raw.decode("latin-1").lower()
        if name in _PLAIN or (name.startswith("x-amz-") and name not in _SIGNING):
            # AWS: there metadata is UTF-8, unlike in header fields (recorded by LocalStack).
            metadata = name.startswith("x-amz-meta-")
            found[name] = value.decode("utf-8" if metadata else "latin-1", "replace")
    if not found:
        return request
    fields: dict[str, str] = {}
    for name, text in request.headers.items():
        fields.setdefault(name, text)
    return replace(request, headers=cast(Headers, {**found, **fields}))
