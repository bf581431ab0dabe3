"""Checksums of objects: verify those given, compute those asked for, join those of parts. Values are base64 as on the wire."""

import base64
import hashlib
import zlib
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, Protocol

from penstock.api import Request, refuse
from penstock.core.errors import AwsError
from penstock.core.md5 import md5_of


@cache
def _crt() -> Any:
    """AWS's own checksums."""
    from awscrt import checksums  # noqa: PLC0415 -- loaded when something is summed, not at the start

    return checksums


class Running(Protocol):
    """A checksum that grows with its data."""

    def update(self, data: bytes, /) -> None:
        """Go on with `data`."""
        ...

    def digest(self) -> bytes:
        """The checksum of all data so far; to be asked once."""
        ...


class _Crc:
    """A cyclic redundancy check of so many bytes."""

    __slots__ = ("_size", "_step", "_value")

    def __init__(self, step: Callable[[bytes, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class _XxHash:
    __slots__ = ("_hash",)

    def __init__(self, hashing: Any) -> None:
        self._hash = hashing

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def digest(self) -> bytes:
        return bytes(self._hash.finalize())


_md5: Final[Callable[[], Running]] = partial(hashlib.md5, usedforsecurity=False)

_RUNNING: Final[Mapping[str, Callable[[], Running]]] = {
    "ChecksumCRC32": lambda: _Crc(zlib.crc32, 4),
    "ChecksumCRC32C": lambda: _Crc(_crt().crc32c, 4),
    "ChecksumCRC64NVME": lambda: _Crc(_crt().crc64nvme, 8),
    "ChecksumSHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "ChecksumSHA256": hashlib.sha256,
    "ChecksumSHA512": hashlib.sha512,
    "ChecksumMD5": _md5,
    "ChecksumXXHASH64": lambda: _XxHash(_crt().XXHash.new_xxhash64()),
    "ChecksumXXHASH3": lambda: _XxHash(_crt().XXHash.new_xxhash3_64()),
    "ChecksumXXHASH128": lambda: _XxHash(_crt().XXHash.new_xxhash3_128()),
}
_MEMBERS: Final = frozenset((*_RUNNING, "ChecksumAlgorithm"))
"""What a request can say of a checksum by."""
_JOIN: Final[Mapping[str, tuple[str, int]]] = {
    "ChecksumCRC32": ("combine_crc32", 4),
    "ChecksumCRC32C": ("combine_crc32c", 4),
    "ChecksumCRC64NVME": ("combine_crc64nvme", 8),
}
_HEADERS: Final = {f"x-amz-checksum-{name[8:].lower()}": name for name in _RUNNING}
_DEFAULT: Final = "ChecksumCRC64NVME"
FULL: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"


def asked(request: Request) -> bool:
    """Whether a request has or wants a checksum; a body that is followed by one has an algorithm too."""
    return "ChecksumAlgorithm" in request or any(request.get(name) for name in _RUNNING)


def require_built(request: Request) -> None:
    """Refuse by name an algorithm that cannot be computed here."""
    algorithm = request.get("ChecksumAlgorithm")
    if algorithm and f"Checksum{algorithm}" not in _RUNNING:
        raise refuse(f"ChecksumAlgorithm {algorithm}")


def require_algorithm(request: Request) -> None:
    """Raise InvalidRequest for what an upload cannot have as its algorithm, or for a type without one."""
    if "ChecksumType" in request and "ChecksumAlgorithm" not in request:
        raise _invalid(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )
    algorithm = request.get("ChecksumAlgorithm")
    if algorithm and f"Checksum{algorithm}" not in _RUNNING:
        raise _invalid(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )


class Examination:
    """What is found out about a body while it comes in: its ETag and its checksums."""

    __slots__ = ("_asked", "_expected_md5", "_given", "_md5", "_part", "_running", "crc64")

    def __init__(
        self, request: Request, announced: Sequence[str] = (), *, part: bool = False
    ) -> None:
        """`announced` are the lower-case names of the fields that follow the body. Raises InvalidRequest, BadDigest.

        Of a part the CRC-64/NVME is computed too: the whole object may need it.
        """
        asks = not _MEMBERS.isdisjoint(request)
        if asks:
            require_built(request)
        self._expected_md5 = request.get("ContentMD5")
        if self._expected_md5 is not None:
            _require_md5(self._expected_md5)
        self._given = _given(request) if asks else {}
        names = [*self._given, *(_HEADERS[field] for field in announced if field in _HEADERS)]
        if asks and not names and request.get("ChecksumAlgorithm"):
            names = [f"Checksum{request['ChecksumAlgorithm']}"]
        # AWS: what nobody asks for is CRC-64/NVME (S3 user guide, "Checking object integrity").
        names = names or [_DEFAULT]
        self._part = part
        self._md5 = _md5()
        self.crc64 = ""
        """Base64, once finished."""
        self._asked = names
        if part:
            names = [*names, _DEFAULT]
        self._running = {name: _RUNNING[name]() for name in names}

    def take(self, data: bytes) -> None:
        """Go on with `data`."""
        self._md5.update(data)
        for running in self._running.values():
            running.update(data)

    def finish(self, trailers: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
        """The quoted ETag and the checksums. Raises BadDigest where one differs from what the client said."""
        digest = self._md5.digest()
        if self._expected_md5 is not None and _encode(digest) != self._expected_md5:
            raise AwsError(
                "BadDigest",
                "The Content-MD5 you specified did not match what we received.",
                status=400,
                fields={
                    # AWS: parts tell it as it was given, objects in hexadecimal (recorded by LocalStack).
                    "ExpectedDigest": self._expected_md5
                    if self._part
                    else base64.b64decode(self._expected_md5).hex(),
                    "CalculatedDigest": _encode(digest),
                },
            )
        computed = {name: _encode(running.digest()) for name, running in self._running.items()}
        self.crc64 = computed.get(_DEFAULT, "")
        if self._part:
            computed = {name: computed[name] for name in self._asked}
        given = self._given
        if trailers:
            found = {
                _HEADERS[field]: value for field, value in trailers.items() if field in _HEADERS
            }
            given = {**given, **found}
        for name, value in given.items():
            if computed.get(name) != value:
                raise _bad_digest(name)
        computed["ChecksumType"] = FULL
        return f'"{digest.hex()}"', computed


def _given(request: Request) -> dict[str, str]:
    """The checksum that comes with a body. Raises InvalidRequest."""
    given = {name: request[name] for name in _RUNNING if request.get(name)}
    if len(given) > 1:
        raise _invalid(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    for name, value in given.items():
        _require_value(name, value)
    return given


def joined_etag(etags: Sequence[str]) -> str:
    """The quoted ETag of an object written in parts."""
    digests = b"".join(bytes.fromhex(tag.strip('"')) for tag in etags)
    return f'"{md5_of(digests)}-{len(etags)}"'


def is_own(want: Mapping[str, Any], part: Mapping[str, Any], algorithm: Mapping[str, str]) -> bool:
    """Whether the checksums that a completion lists for a part are the part's own.

    Raises BadDigest for one of another algorithm than the upload's.
    """
    chosen = algorithm.get("ChecksumAlgorithm")
    for name in _RUNNING:
        if want.get(name) and chosen and name != f"Checksum{chosen}":
            kind = name.removeprefix("Checksum").lower()
            text = f"The {kind} you specified for part {want['PartNumber']} did not match what we received."
            raise AwsError("BadDigest", text, status=400)
        # AWS: parts of an upload without an algorithm have none, whatever they came with (recorded by LocalStack).
        if want.get(name) and (not chosen or part["checksums"].get(name) != want[name]):
            return False
    return True


def require_type(request: Request, algorithm: Mapping[str, str]) -> None:
    """Raise InvalidRequest where a completion names another checksum type than the upload was begun with."""
    created = algorithm.get("ChecksumType")
    if request.get("ChecksumType", created) != created:
        raise _invalid(
            f"The upload was created using the {created or 'null'} checksum mode. "
            "The complete request must use the same checksum mode."
        )


def require_listed(wanted: Sequence[Mapping[str, Any]], algorithm: Mapping[str, str]) -> None:
    """Raise InvalidRequest where a completion must list the checksum of each part and does not."""
    chosen = algorithm.get("ChecksumAlgorithm")
    if algorithm.get("ChecksumType") != COMPOSITE:
        return
    for want in wanted:
        if not want.get(f"Checksum{chosen}"):
            raise _invalid(
                f"The upload was created using a {str(chosen).lower()} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {want['PartNumber']} in the request."
            )


def require_kind(request: Request, algorithm: Mapping[str, str]) -> None:
    """Raise InvalidRequest for a part whose checksum is of another algorithm than the upload's."""
    chosen = algorithm.get("ChecksumAlgorithm")
    actual = next((name[8:] for name in _RUNNING if request.get(name)), None)
    actual = actual or request.get("ChecksumAlgorithm")
    if chosen and actual and actual != chosen:
        raise _invalid(
            f"Checksum Type mismatch occurred, expected checksum Type: {chosen.lower()}, "
            f"actual checksum Type: {actual.lower()}"
        )


def joined(
    parts: Sequence[Mapping[str, Any]], algorithm: Mapping[str, str], request: Request
) -> dict[str, str]:
    """Checksums of an object made of `parts`, as the upload's `algorithm` says. Raises BadDigest, InvalidRequest."""
    given = {name: request[name] for name in _RUNNING if request.get(name)}
    if "ChecksumAlgorithm" not in algorithm:
        # AWS: an upload that was begun without an algorithm has CRC-64/NVME, and no other counts (recorded by LocalStack).
        given = {name: value for name, value in given.items() if name == _DEFAULT}
        parts = [{**part, "checksums": {_DEFAULT: part["crc64"]}} for part in parts]
    name = next(iter(given), f"Checksum{algorithm.get('ChecksumAlgorithm', '')}")
    if name not in _RUNNING:
        name = next((each for each in _RUNNING if _complete(parts, each)), name)
    if not _complete(parts, name):
        if given:
            kind = name.removeprefix("Checksum").lower()
            raise _invalid(
                f"Checksum Type mismatch occurred, expected checksum Type: null, actual checksum Type: {kind}"
            )
        return {}
    kind = algorithm.get("ChecksumType") or request.get("ChecksumType") or usual_type(name)
    value = _whole(name, parts) if kind == FULL else _composite(name, parts)
    if given.get(name, value).partition("-")[0] != value.partition("-")[0]:
        raise _bad_digest(name, name.removeprefix("Checksum").lower())
    return {name: value, "ChecksumType": kind}


def usual_type(name: str) -> str:
    """How a checksum of an upload in parts is made where nobody says."""
    # AWS: CRC64NVME is always of the full object, others of the parts' unless asked (S3 user guide, "Checking integrity").
    return FULL if name == _DEFAULT else COMPOSITE


def require_combination(algorithm: str, kind: str) -> None:
    """Raise InvalidRequest for a way to make a checksum that its algorithm does not have."""
    name = f"Checksum{algorithm}"
    if kind == FULL and name not in _JOIN:
        raise _invalid(
            f"The FULL_OBJECT checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    if kind == COMPOSITE and name == _DEFAULT:
        raise _invalid(
            f"The COMPOSITE checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )


def _complete(parts: Sequence[Mapping[str, Any]], name: str) -> bool:
    return bool(parts) and all(part["checksums"].get(name) for part in parts)


def _composite(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    require_combination(name.removeprefix("Checksum"), COMPOSITE)
    running = _RUNNING[name]()
    running.update(b"".join(base64.b64decode(part["checksums"][name]) for part in parts))
    return f"{_encode(running.digest())}-{len(parts)}"


def _whole(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    require_combination(name.removeprefix("Checksum"), FULL)
    function, size = _JOIN[name]
    join = getattr(_crt(), function)
    check = 0
    for part in parts:
        value = int.from_bytes(base64.b64decode(part["checksums"][name]), "big")
        check = join(check, value, part["size"])
    return _encode(check.to_bytes(size, "big"))


def _require_value(name: str, value: str) -> None:
    size = len(_RUNNING[name]().digest())
    try:
        fits = len(base64.b64decode(value, validate=True)) == size
    except ValueError:  # no Base64, or no ASCII at all
        fits = False
    if not fits:
        header = f"x-amz-checksum-{name[8:].lower()}"
        raise _invalid(f"Value for {header} header is invalid.")


def _require_md5(value: str) -> None:
    try:
        fits = len(base64.b64decode(value, validate=True)) >= 16
    except ValueError:  # no Base64, or no ASCII at all
        fits = False
    if not fits:
        raise AwsError(
            "InvalidDigest",
            "The Content-MD5 you specified was invalid.",
            status=400,
            fields={"Content-MD5": value},
        )


def _bad_digest(name: str, told: str = "") -> AwsError:
    algorithm = told or name.removeprefix("Checksum")
    message = f"The {algorithm} you specified did not match the calculated checksum."
    return AwsError("BadDigest", message, status=400)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidRequest", message, status=400)


def _encode(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
