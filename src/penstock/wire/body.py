"""Bodies before they are documents: gzip, aws-chunked, JSON text; and the bucket that a host name carries."""

import zlib
from functools import lru_cache
from typing import Any, Final, cast
from urllib.parse import quote

import orjson

from penstock.api import Headers, HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.scalar import malformed

MAX_BODY: Final = 128 * 1024 * 1024
"""The largest body where nobody says otherwise, in bytes."""
MAX_CHUNK_LINE: Final = 1024
"""Bytes of the line that begins a chunk, at most."""
_MAX_TRAILERS: Final = 64
_GZIP: Final = b"\x1f\x8b"


def load_json(body: bytes) -> Any:
    """The document of a JSON body; nothing at all is an empty object. Raises `AwsError`."""
    try:
        return orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise malformed(f"Could not parse request body into json: {error}") from None


def plain_body(request: HttpRequest, max_body: int) -> bytes:
    """The body, inflated to at most `max_body` bytes when it was compressed for the way. Raises `AwsError`."""
    # No document of any protocol begins with these two bytes, so the header is looked up only then.
    if request.body[:2] == _GZIP:
        _inflate(request, max_body)
    return request.body


def _inflate(request: HttpRequest, max_body: int) -> None:
    """Undo the compression; codings that the client named before `gzip` describe its content, and stay."""
    codings = [each.strip() for each in (request.headers.get("content-encoding") or "").split(",")]
    if codings[-1].lower() != "gzip":
        return
    inflater = zlib.decompressobj(31)
    try:
        plain = inflater.decompress(request.body, max_body + 1)
    except zlib.error:
        raise malformed("The request body is not gzip data") from None
    if len(plain) > max_body:
        raise AwsError("RequestEntityTooLarge", "Request body is too large.", status=413)
    if not inflater.eof or inflater.unused_data:
        raise malformed("The request body is not gzip data")
    fields: dict[str, str] = {}
    for name, value in request.headers.items():
        fields.setdefault(name, value)
    fields["content-encoding"] = ", ".join(codings[:-1])
    request.headers, request.body = cast(Headers, fields), plain


def is_chunked(request: HttpRequest) -> bool:
    """Whether the body is framed as aws-chunked."""
    signed = request.headers.get("x-amz-content-sha256") or ""
    encoding = request.headers.get("content-encoding") or ""
    return signed.startswith("STREAMING-") or "aws-chunked" in encoding


def dechunk(request: HttpRequest) -> tuple[bytes, dict[str, str]]:
    """The content of an aws-chunked body and its trailers by lower-case name. Raises `AwsError`."""
    chunks, trailers = read_chunks(request.body)
    content = b"".join(data for _, data in chunks)
    length = request.headers.get("x-amz-decoded-content-length")
    if length is not None and length != str(len(content)):
        raise AwsError(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
            status=400,
        )
    given = dict(trailers)
    for name in (request.headers.get("x-amz-trailer") or "").lower().split(","):
        if name.strip() and name.strip() not in given:
            raise _malformed_trailer()
    return content, given


def read_chunks(
    body: bytes,
) -> tuple[list[tuple[bytes, memoryview]], list[tuple[str, str]]]:
    """The chunks of an aws-chunked body, each with its extension, the empty last one included; and the trailers.

    The chunks are views of the body. Raises `AwsError` for one that is not framed so.
    """
    view = memoryview(body)
    chunks = []
    at = 0
    while True:
        end = body.find(b"\r\n", at, at + MAX_CHUNK_LINE)
        digits, _, extension = body[at:end].partition(b";") if end >= 0 else (b"", b"", b"")
        size = chunk_size(digits.strip())
        at = end + 2
        chunks.append((extension, view[at : at + size]))
        if size == 0:
            return chunks, trailers_of(body[at:])
        at += size
        if body[at : at + 2] != b"\r\n":
            raise incomplete()
        at += 2


def trailers_of(rest: bytes) -> list[tuple[str, str]]:
    """The fields behind the last chunk. Raises `AwsError` for what are none."""
    trailers = []
    for line in rest.split(b"\r\n", _MAX_TRAILERS + 1):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            trailers.append((name.strip().lower(), value.strip()))
        elif line:
            raise _malformed_trailer()
    return trailers


def _malformed_trailer() -> AwsError:
    return AwsError(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        status=400,
    )


def chunk_size(digits: bytes) -> int:
    """The size that the line of a chunk tells. Raises `AwsError`."""
    try:
        if not digits.isalnum() or len(digits) > 15:
            raise ValueError
        return int(digits, 16)
    except ValueError:
        raise incomplete() from None


def incomplete() -> AwsError:
    """The error for a body that is cut off or not framed as declared."""
    return AwsError(
        "IncompleteBody",
        "The request body terminated unexpectedly",
        status=400,
    )


@lru_cache(maxsize=1024)
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
