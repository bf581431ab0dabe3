"""What a signature says about the body: its hash, a declaration that it is not covered, or a chain of signed chunks."""

import hashlib
import hmac
from typing import Final

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.body import read_chunks
from penstock.wire.sigv4_claim import ALGORITHM, Claim, query_pairs

EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_CHAINED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_CHAINED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_DECLARATIONS: Final = frozenset(
    {_UNSIGNED, _CHAINED, _CHAINED_TRAILER, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
)
_HEX: Final = frozenset("0123456789abcdef")
_TRAILER_SIGNATURE: Final = "x-amz-trailer-signature"


def payload_hash(request: HttpRequest, claim: Claim) -> str:
    """The last line of the canonical request. Raises `AwsError` when the body is not the one that was declared."""
    actual = hashlib.sha256(request.body).hexdigest() if request.body else EMPTY_HASH
    if not claim.s3:
        # AWS: only S3 takes bodies that are not signed, or signed in chunks (SigV4, "payload").
        return actual
    declared = _declared(request, claim)
    if declared is None and not claim.presigned:
        raise AwsError(
            "InvalidRequest",
            "Missing required header for this request: x-amz-content-sha256",
            status=400,
        )
    if declared is None or declared in _DECLARATIONS:
        return declared or _UNSIGNED
    if len(declared) != 64 or not _HEX.issuperset(declared):
        raise AwsError(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER "
            "or a valid sha256 value.",
            status=400,
            fields={"ArgumentName": "x-amz-content-sha256", "ArgumentValue": declared[:256]},
        )
    if declared != actual:
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            status=400,
            fields={
                "ClientComputedContentSHA256": declared,
                "S3ComputedContentSHA256": actual,
            },
        )
    return actual


def _declared(request: HttpRequest, claim: Claim) -> str | None:
    declared = request.headers.get("x-amz-content-sha256")
    if declared is None and claim.presigned:
        for name, value in query_pairs(request.query):
            if name.lower() == b"x-amz-content-sha256":
                return value.decode("latin-1")
    return declared


def chain_holds(body: bytes, declared: str, claim: Claim, key: bytes, seed: str) -> bool:
    """Whether every chunk, and the trailer, continue the chain that the request's signature begins.

    True for bodies that are not chained. Raises `AwsError` for one that is not framed as declared.
    """
    if declared not in (_CHAINED, _CHAINED_TRAILER):
        return True
    chunks, trailers = read_chunks(body)
    previous = seed
    for extension, data in chunks:
        digests = f"{EMPTY_HASH}\n{hashlib.sha256(data).hexdigest()}"
        previous = _link(claim, key, "PAYLOAD", previous, digests)
        given = extension.partition(b"chunk-signature=")[2].strip()
        if not hmac.compare_digest(previous.encode(), given):
            return False
    if declared == _CHAINED:
        return True
    text = "".join(f"{name}:{value}\n" for name, value in trailers if name != _TRAILER_SIGNATURE)
    digest = hashlib.sha256(text.encode("latin-1")).hexdigest()
    expected = _link(claim, key, "TRAILER", previous, digest)
    given = dict(trailers).get(_TRAILER_SIGNATURE, "").encode("latin-1")
    return hmac.compare_digest(expected.encode(), given)


def _link(claim: Claim, key: bytes, kind: str, previous: str, digests: str) -> str:
    text = f"{ALGORITHM}-{kind}\n{claim.date}\n{claim.credential.scope}\n{previous}\n{digests}"
    return hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()
