"""Checksums of objects: verify those given, join those of parts. Values are base64 as on the wire."""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from penstock.api import Request, refuse
from penstock.core.crc import CRC32, CRC32C, CRC64NVME, Crc
from penstock.core.errors import AwsError

_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "ChecksumCRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "ChecksumCRC32C": lambda data: CRC32C.of(data).to_bytes(4, "big"),
    "ChecksumCRC64NVME": lambda data: CRC64NVME.of(data).to_bytes(8, "big"),
    "ChecksumSHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "ChecksumSHA256": lambda data: hashlib.sha256(data).digest(),
    "ChecksumSHA512": lambda data: hashlib.sha512(data).digest(),
    "ChecksumMD5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}
_CRCS: Final[Mapping[str, Crc]] = {
    "ChecksumCRC32": CRC32,
    "ChecksumCRC32C": CRC32C,
    "ChecksumCRC64NVME": CRC64NVME,
}
_SMALL: Final = 64 * 1024


def require_built(request: Request) -> None:
    """Refuse by name an algorithm that cannot be computed here."""
    algorithm = request.get("ChecksumAlgorithm")
    if algorithm and f"Checksum{algorithm}" not in _DIGESTS:
        raise refuse(f"ChecksumAlgorithm {algorithm}")


async def examined(request: Request, body: bytes) -> tuple[str, dict[str, str]]:
    """The quoted ETag of `body` and the checksums that came with it or were asked for. Raises BadDigest.

    Large bodies are read by a thread, so that other requests go on.
    """
    if len(body) <= _SMALL:
        return _examined(request, body)
    return await asyncio.to_thread(_examined, request, body)


def joined_etag(etags: Sequence[str]) -> str:
    """The quoted ETag of an object written in parts."""
    digests = b"".join(bytes.fromhex(tag.strip('"')) for tag in etags)
    return f'"{_md5(digests).hex()}-{len(etags)}"'


def same(wanted: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every checksum that a completion lists for a part is the part's own."""
    return all(
        part["checksums"].get(name) == want[name]
        for want, part in zip(wanted, parts, strict=True)
        for name in _DIGESTS
        if want.get(name)
    )


def joined(
    parts: Sequence[Mapping[str, Any]], algorithm: Mapping[str, str], request: Request
) -> dict[str, str]:
    """Checksums of an object made of `parts`, as the upload's `algorithm` says. Raises BadDigest, InvalidRequest."""
    given = {name: request[name] for name in _DIGESTS if request.get(name)}
    name = next(iter(given), f"Checksum{algorithm.get('ChecksumAlgorithm', '')}")
    if name not in _DIGESTS:
        name = next((each for each in _DIGESTS if _complete(parts, each)), name)
    if not _complete(parts, name):
        if given:
            kind = name.removeprefix("Checksum").lower()
            raise _invalid(
                f"Checksum Type mismatch occurred, expected checksum Type: null, actual checksum Type: {kind}"
            )
        return {}
    # AWS: CRC64NVME is always of the full object, others of the parts' unless asked (S3 user guide, "Checking integrity").
    usual = "FULL_OBJECT" if name == "ChecksumCRC64NVME" else "COMPOSITE"
    kind = algorithm.get("ChecksumType") or request.get("ChecksumType") or usual
    if request.get("ChecksumType", kind) != kind:
        raise _invalid(f"The upload was created using the {kind} checksum mode.")
    value = _whole(name, parts) if kind == "FULL_OBJECT" else _composite(name, parts)
    if given.get(name, value).partition("-")[0] != value.partition("-")[0]:
        raise _bad_digest(name)
    return {name: value, "ChecksumType": kind}


def _examined(request: Request, body: bytes) -> tuple[str, dict[str, str]]:
    require_built(request)
    digest = _md5(body)
    md5 = request.get("ContentMD5")
    if md5 is not None and _encode(digest) != md5:
        raise AwsError(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            status=400,
        )
    given = {name: request[name] for name in _DIGESTS if request.get(name)}
    for name, value in given.items():
        if _encode(_DIGESTS[name](body)) != value:
            raise _bad_digest(name)
    algorithm = f"Checksum{request.get('ChecksumAlgorithm', '')}"
    if not given and algorithm in _DIGESTS:
        given[algorithm] = _encode(_DIGESTS[algorithm](body))
    return f'"{digest.hex()}"', given


def _complete(parts: Sequence[Mapping[str, Any]], name: str) -> bool:
    return bool(parts) and all(part["checksums"].get(name) for part in parts)


def _composite(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    if name == "ChecksumCRC64NVME":
        raise _invalid("The COMPOSITE checksum type cannot be used with the crc64nvme algorithm.")
    values = b"".join(base64.b64decode(part["checksums"][name]) for part in parts)
    return f"{_encode(_DIGESTS[name](values))}-{len(parts)}"


def _whole(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    crc = _CRCS.get(name)
    if crc is None:
        algorithm = name.removeprefix("Checksum").lower()
        raise _invalid(
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm} algorithm."
        )
    check = 0
    for part in parts:
        value = int.from_bytes(base64.b64decode(part["checksums"][name]), "big")
        check = crc.joined(check, value, part["size"])
    return _encode(check.to_bytes(crc.bits // 8, "big"))


def _bad_digest(name: str) -> AwsError:
    algorithm = name.removeprefix("Checksum")
    message = f"The {algorithm} you specified did not match the calculated checksum."
    return AwsError("BadDigest", message, status=400)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidRequest", message, status=400)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
