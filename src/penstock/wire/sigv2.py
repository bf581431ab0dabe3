"""Presigned URLs of S3 under the signature version before SigV4, which SDKs still make for the oldest regions."""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.body import bucket_path
from penstock.wire.sigv4_claim import Credential, query_pairs

# AWS: parameters that name what a request is about (S3 user guide, "Signing and authenticating REST requests"), and
# those that botocore counts among them.
_SUBRESOURCES: Final = frozenset(
    {
        "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location",
        "logging", "metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
        "response-cache-control", "response-content-disposition", "response-content-encoding",
        "response-content-language", "response-content-type", "response-expires", "restore", "select", "select-type",
        "storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    }
)  # fmt: skip


def is_presigned(request: HttpRequest) -> bool:
    """Whether a request is, or should be, signed so."""
    return "AWSAccessKeyId=" in request.query and not request.headers.get("authorization")


def verify(request: HttpRequest, secret_of: Callable[[str], str | None], now: int) -> Credential:
    """Check the URL's signature at `now` (ms). Returns who signed; raises `AwsError`."""
    given = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in query_pairs(request.query)
    }
    key, signature, expires = (
        given.get(name) for name in ("AWSAccessKeyId", "Signature", "Expires")
    )
    if not key or not signature or not expires:
        raise AwsError(
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        )
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
        text = f"Invalid date (should be seconds since epoch): {expires[:64]}"
        raise AwsError("AccessDenied", text)
    if now > int(expires) * 1000:
        fields = {"Expires": _iso(int(expires) * 1000), "ServerTime": _iso(now)}
        raise AwsError("RequestExpired", "Request has expired", fields=fields)
    secret = secret_of(key)
    if secret is None:
        raise AwsError("UnrecognizedClientException", fields={"AWSAccessKeyId": key[:256]})
    text = _string_to_sign(request, given, expires)
    signed = hmac.digest(secret.encode(), text.encode("latin-1", "replace"), "sha1")
    if not hmac.compare_digest(signed, _decoded(signature)):
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
            fields={
                "AWSAccessKeyId": key[:256],
                "StringToSign": text,
                "SignatureProvided": signature[:256],
                "StringToSignBytes": text.encode("latin-1", "replace").hex(" "),
            },
        )
    return Credential(key, "", "", "s3")


def _string_to_sign(request: HttpRequest, given: Mapping[str, str], expires: str) -> str:
    """The method, three header fields, those of AWS, and the resource with its subresources, a line each."""
    # A field counts wherever it is: SDKs move header fields into the query.
    sent = [*given.items(), *request.headers.items()]
    fields: dict[str, str] = {}
    for name, value in sent:
        if _is_amz(name):
            key = name.lower()
            fields[key] = f"{fields[key]},{value.strip()}" if key in fields else value.strip()
    lines = [
        request.method,
        request.headers.get("content-md5") or given.get("content-md5", ""),
        request.headers.get("content-type") or given.get("content-type", ""),
        expires,
        *(f"{name}:{fields[name]}" for name in sorted(fields)),
        _resource(request),
    ]
    return "\n".join(lines)


def _is_amz(name: str) -> bool:
    return name[:6].lower() == "x-amz-"


def _resource(request: HttpRequest) -> str:
    pairs = []
    for part in request.query.split("&"):
        name, found, value = part.partition("=")
        if name in _SUBRESOURCES:
            decoded = unquote_to_bytes(value).decode("latin-1")
            pairs.append((name, f"{name}={decoded}" if found else name))
    pairs.sort()
    query = "&".join(text for _, text in pairs)
    return bucket_path(request) + (f"?{query}" if query else "")


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature)
    except (binascii.Error, ValueError):
        return b""


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
