"""Bodies that come in as streams: what they hold once the framing for the way is taken off."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.api import BodyStream, Headers, HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.body import MAX_CHUNK_LINE, chunk_size, incomplete, is_chunked, trailers_of
from penstock.wire.sigv4_payload import Chain, Declared

_END: Final = b"\r\n"
_MAX_TRAILERS: Final = 16 * 1024


def content_of(request: HttpRequest) -> BodyStream:
    """The content of a request's stream."""
    stream = request.stream
    assert stream is not None
    if not is_chunked(request):
        return stream
    chain = stream.chain if isinstance(stream, Declared) else None
    return Unchunked(stream, request.headers, chain)


class Unchunked:
    """The content of an aws-chunked stream, whose signatures are checked as it is read."""

    sha256: str | None = None

    def __init__(self, stream: BodyStream, headers: Headers, chain: Chain | None) -> None:
        self._stream = stream
        self._chain = chain
        length = headers.get("x-amz-decoded-content-length")
        self.length = int(length) if length and length.isdigit() else None
        names = (headers.get("x-amz-trailer") or "").lower().split(",")
        self.announced: Sequence[str] = [name.strip() for name in names if name.strip()]
        self.trailers: Mapping[str, str] = {}
        self._rest = b""
        """Bytes that are not content, or not yet known to be."""
        self._left = 0
        """How many bytes of the present chunk are to come, its end included."""
        self._extension = b""
        self._hash = hashlib.sha256()
        self._size = 0
        self._last = False
        """Whether the empty chunk has come, behind which there are only trailers."""

    async def read(self) -> bytes:
        """The content that has come since; nothing at the end. Raises AwsError for a broken frame or signature."""
        while not self._last:
            data = await self._stream.read()
            if not data:
                raise incomplete()
            if pieces := self._decode(self._rest + data):
                return b"".join(pieces)
        while data := await self._stream.read():
            self._rest += data
            if len(self._rest) > _MAX_TRAILERS:
                raise incomplete()
        self._finish()
        return b""

    def _decode(self, data: bytes) -> list[bytes]:
        """The content in `data`; what cannot be told yet is kept."""
        pieces = []
        at = 0
        while not self._last:
            if self._left == 0:
                end = data.find(_END, at, at + MAX_CHUNK_LINE)
                if end < 0:
                    if len(data) - at >= MAX_CHUNK_LINE:
                        raise incomplete()
                    break
                digits, _, self._extension = data[at:end].partition(b";")
                self._left = chunk_size(digits.strip())
                at = end + 2
                if self._left == 0:
                    self._last = True
                    self._check_chunk()
                    break
                self._left += 2
            content = data[at : at + self._left - 2] if self._left > 2 else b""
            if content:
                at += len(content)
                self._left -= len(content)
                self._take(content)
                pieces.append(content)
            if self._left > 2 or len(data) - at < self._left:
                break
            if data[at : at + 2] != _END:
                raise incomplete()
            at += 2
            self._left = 0
            self._check_chunk()
        self._rest = data[at:]
        return pieces

    def _take(self, content: bytes) -> None:
        self._size += len(content)
        if self._chain is not None:
            self._hash.update(content)

    def _check_chunk(self) -> None:
        if self._chain is None:
            return
        if not self._chain.holds(self._extension, self._hash.hexdigest()):
            raise _mismatch()
        self._hash = hashlib.sha256()

    def _finish(self) -> None:
        trailers = trailers_of(self._rest)
        if self._chain is not None and not self._chain.ends(trailers):
            raise _mismatch()
        if self.length is not None and self.length != self._size:
            raise AwsError(
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
                status=400,
            )
        self.trailers = dict(trailers)
        if any(name not in self.trailers for name in self.announced):
            raise AwsError(
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
                status=400,
            )


def _mismatch() -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        status=403,
    )
