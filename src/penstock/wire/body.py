"""Bodies before they are documents: gzip, aws-chunked, JSON text; and the bucket that a host name carries."""

import zlib
from typing import Any, Final
from urllib.parse import quote

import orjson

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.scalar import malformed

MAX_INFLATED: Final = 64 * 1024 * 1024
_GZIP: Final = b"\x1f\x8b"


def load_json(body: bytes) -> Any:
    """The document of a JSON body; nothing at all is an empty object. Raises `AwsError`."""
    try:
        return orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise malformed(f"Could not parse request body into json: {error}") from None


def plain_body(request: HttpRequest) -> bytes:
    """The body, inflated when it was compressed for the way. Raises `AwsError`."""
    body = request.body
    # No document of any protocol begins with these two bytes, so the header is looked up only then.
    if body[:2] != _GZIP or "gzip" not in (request.headers.get("content-encoding") or ""):
        return body
    inflater = zlib.decompressobj(31)
    try:
        plain = inflater.decompress(body, MAX_INFLATED)
    except zlib.error:
        raise malformed("The request body is not gzip data") from None
    if inflater.unconsumed_tail:
        raise AwsError("RequestEntityTooLarge", "Request body is too large.", status=413)
    return plain


def is_chunked(request: HttpRequest) -> bool:
    """Whether the body is framed as aws-chunked."""
    signed = request.headers.get("x-amz-content-sha256") or ""
    encoding = request.headers.get("content-encoding") or ""
    return signed.startswith("STREAMING-") or "aws-chunked" in encoding


def dechunk(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The content of an aws-chunked body and its trailers by lower-case name. Raises `AwsError`."""
    pieces = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        size = _chunk_size(body[at:end] if end >= 0 else b"")
        at = end + 2
        if size == 0:
            break
        if at + size > len(body):
            raise _incomplete()
        pieces.append(body[at : at + size])
        at += size + 2
    trailers = {}
    for line in body[at:].split(b"\r\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            trailers[name.strip().lower()] = value.strip()
    return b"".join(pieces), trailers


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    try:
        if not digits.isalnum() or len(digits) > 15:
            raise ValueError
        return int(digits, 16)
    except ValueError:
        raise _incomplete() from None


def _incomplete() -> AwsError:
    return AwsError(
        "IncompleteBody",
        "The request body terminated unexpectedly",
        status=400,
    )


def host_bucket(host: str) -> str | None:
    """The bucket of a virtual-hosted S3 address: `b.localhost:4566`, `b.s3.region.amazonaws.com`, `b.s3-x...`; else None."""
    name = host.partition(":")[0].lower() if not host.startswith("[") else ""
    for mark in (".s3.", ".s3-"):
        bucket, found, _ = name.partition(mark)
        if found and bucket:
            return bucket
    bucket = name.removesuffix(".localhost")
    # Names with dots before `.localhost` belong to other services' addresses (execute-api, lambda-url, sqs).
    return bucket if bucket != name and bucket and "." not in bucket and bucket != "s3" else None


def bucket_path(request: HttpRequest) -> str:
    """The path in S3's path style, whichever style the client uses."""
    bucket = host_bucket(request.headers.get("host") or "")
    return f"/{quote(bucket)}{request.path}" if bucket else request.path
