"""What a signature says about the body: its hash, a declaration that it is not covered, or a chain of signed chunks."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.api import BodyStream, HttpRequest
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
    if request.stream is not None:
        actual = ""
    else:
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
    if request.stream is not None:
        request.stream = Declared(request.stream, declared)
    elif declared != actual:
        raise hash_mismatch(declared, actual)
    return declared


def _declared(request: HttpRequest, claim: Claim) -> str | None:
    declared = request.headers.get("x-amz-content-sha256")
    if declared is None and claim.presigned:
        for name, value in query_pairs(request.query):
            if name.lower() == b"x-amz-content-sha256":
                return value.decode("latin-1")
    return declared


class Chain:
    """The signatures of chunks, each of which signs the one before."""

    def __init__(self, claim: Claim, key: bytes, *, trailer: bool) -> None:
        self._claim = claim
        self._key = key
        self._previous = claim.signature
        self._trailer = trailer

    def holds(self, extension: bytes, digest: str) -> bool:
        """Whether a chunk with this SHA-256 is the next one."""
        self._previous = self._link("PAYLOAD", f"{EMPTY_HASH}\n{digest}")
        given = extension.partition(b"chunk-signature=")[2].strip()
        return hmac.compare_digest(self._previous.encode(), given)

    def ends(self, trailers: Sequence[tuple[str, str]]) -> bool:
        """Whether these are the trailers that were signed, where any are."""
        if not self._trailer:
            return True
        text = "".join(
            f"{name}:{value}\n" for name, value in trailers if name != _TRAILER_SIGNATURE
        )
        expected = self._link("TRAILER", hashlib.sha256(text.encode("latin-1")).hexdigest())
        given = dict(trailers).get(_TRAILER_SIGNATURE, "").encode("latin-1")
        return hmac.compare_digest(expected.encode(), given)

    def _link(self, kind: str, digests: str) -> str:
        claim = self._claim
        text = f"{ALGORITHM}-{kind}\n{claim.date}\n{claim.credential.scope}\n{self._previous}\n{digests}"
        return hmac.digest(self._key, text.encode("latin-1", "replace"), "sha256").hex()


class Declared:
    """A stream whose signature says what its digest is, or how its chunks are chained."""

    def __init__(
        self, stream: BodyStream, sha256: str | None = None, chain: Chain | None = None
    ) -> None:
        self._stream = stream
        self.sha256 = sha256
        self.chain = chain

    @property
    def length(self) -> int | None:
        """The stream's own."""
        return self._stream.length

    @property
    def announced(self) -> Sequence[str]:
        """The stream's own."""
        return self._stream.announced

    @property
    def trailers(self) -> Mapping[str, str]:
        """The stream's own."""
        return self._stream.trailers

    async def read(self) -> bytes:
        """The stream's own bytes."""
        return await self._stream.read()


def chain_holds(request: HttpRequest, declared: str, claim: Claim, key: bytes) -> bool:
    """Whether every chunk, and the trailer, continue the chain that the request's signature begins.

    True for bodies that are not chained, and for streams, which are checked while they are read. Raises `AwsError`
    for one that is not framed as declared.
    """
    if declared not in (_CHAINED, _CHAINED_TRAILER):
        return True
    chain = Chain(claim, key, trailer=declared == _CHAINED_TRAILER)
    if request.stream is not None:
        request.stream = Declared(request.stream, chain=chain)
        return True
    chunks, trailers = read_chunks(request.body)
    for extension, data in chunks:
        if not chain.holds(extension, hashlib.sha256(data).hexdigest()):
            return False
    return chain.ends(trailers)


def hash_mismatch(declared: str, actual: str) -> AwsError:
    """The error for a body that is not the one that was signed."""
    return AwsError(
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        status=400,
        fields={"ClientComputedContentSHA256": declared, "S3ComputedContentSHA256": actual},
    )
