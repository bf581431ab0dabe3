"""Checksums of objects: verify those given, join those of parts. Values are base64 as on the wire."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from penstock.api import Request
from penstock.core.errors import AwsError

_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "ChecksumCRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "ChecksumSHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "ChecksumSHA256": lambda data: hashlib.sha256(data).digest(),
}
_MEMBERS: Final = (*_DIGESTS, "ChecksumCRC32C", "ChecksumCRC64NVME")


def verified(request: Request, body: bytes) -> dict[str, str]:
    """The checksums that came with `body`. Raises BadDigest when one that can be computed here differs."""
    md5 = request.get("ContentMD5")
    if md5 is not None and _encode(_md5(body)) != md5:
        raise AwsError(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            status=400,
        )
    given = {name: request[name] for name in _MEMBERS if request.get(name)}
    for name, value in given.items():
        if name in _DIGESTS and _encode(_DIGESTS[name](body)) != value:
            algorithm = name.removeprefix("Checksum")
            raise AwsError(
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum.",
                status=400,
            )
    algorithm = f"Checksum{request.get('ChecksumAlgorithm', '')}"
    if not given and algorithm in _DIGESTS:
        given[algorithm] = _encode(_DIGESTS[algorithm](body))
    return given


def etag(body: bytes) -> str:
    """The quoted ETag of an object written at once."""
    return f'"{_md5(body).hex()}"'


def joined_etag(etags: Sequence[str]) -> str:
    """The quoted ETag of an object written in parts."""
    digests = b"".join(bytes.fromhex(tag.strip('"')) for tag in etags)
    return f'"{_md5(digests).hex()}-{len(etags)}"'


def joined(parts: Sequence[Mapping[str, Any]], request: Request) -> dict[str, str]:
    """Checksums of an object made of `parts`: as the request gives them, or composed from the parts' own."""
    given = {name: request[name] for name in _MEMBERS if request.get(name)}
    if given:
        return {**given, "ChecksumType": request.get("ChecksumType", "FULL_OBJECT")}
    for name, digest in _DIGESTS.items():
        values = [part["checksums"].get(name) for part in parts]
        if values and all(values):
            composed = digest(b"".join(base64.b64decode(value) for value in values))
            return {name: f"{_encode(composed)}-{len(parts)}", "ChecksumType": "COMPOSITE"}
    return {}


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
