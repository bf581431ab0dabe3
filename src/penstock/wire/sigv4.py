"""AWS Signature Version 4: who signs, and whether the signature is right."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.scalar import read_timestamp

ALGORITHM: Final = "AWS4-HMAC-SHA256"
# AWS: requests are taken for 5 minutes around their date, by S3 for 15; the wider one serves clocks of virtual time as well.
SKEW_MS: Final = 15 * 60 * 1000
# AWS: a presigned URL lives a week at most (SigV4 query parameters).
MAX_EXPIRES_S: Final = 604_800
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_CHUNKED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
_SAFE: Final = "-_.~"
_SCOPE_PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Credential:
    """Whose key signed, and for what."""

    access_key: str
    date: str
    """`YYYYMMDD`."""
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says about its own signature."""

    credential: Credential
    signed: list[str]
    signature: str
    date: str
    """`YYYYMMDDTHHMMSSZ`."""
    expires_ms: int | None
    """None unless presigned."""


@lru_cache(maxsize=4096)
def _credential(text: str) -> Credential | None:
    parts = text.rsplit("/", _SCOPE_PARTS - 1)
    if len(parts) != _SCOPE_PARTS or parts[4] != "aws4_request" or not parts[0]:
        return None
    return Credential(*parts[:4])


def credential_of(request: HttpRequest) -> Credential | None:
    """Who the request says has signed it, unverified; None when it is not signed."""
    header = request.headers.get("authorization")
    if header:
        _, found, rest = header.partition("Credential=")
        return _credential(rest.partition(",")[0].strip()) if found else None
    _, found, rest = request.query.partition("X-Amz-Credential=")
    return _credential(unquote(rest.partition("&")[0])) if found else None


def verify(request: HttpRequest, secret_of: Callable[[str], str | None], now: int) -> Credential:
    """Check header and presigned signatures at `now` (ms). Returns who signed; raises `AwsError`."""
    header = request.headers.get("authorization")
    if header:
        claim = _header_claim(request, header)
    elif "X-Amz-Signature=" in request.query or "X-Amz-Credential=" in request.query:
        claim = _query_claim(request)
    else:
        raise AwsError(
            "MissingAuthenticationToken", "Request is missing Authentication Token", status=403
        )
    secret = secret_of(claim.credential.access_key)
    if secret is None:
        raise AwsError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    _check_time(claim, now)
    payload_hash = _payload_hash(request, claim)
    canonical = _canonical_request(request, claim, payload_hash)
    key = signing_key(secret, claim.credential)
    scope = _scope(claim.credential)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    expected = _sign(key, f"{ALGORITHM}\n{claim.date}\n{scope}\n{digest}")
    if not hmac.compare_digest(expected.encode(), claim.signature.encode(errors="replace")):
        raise _mismatch()
    if payload_hash.startswith(_CHUNKED):
        _check_chunks(request.body, claim, key, expected)
    return claim.credential


def signing_key(secret: str, credential: Credential) -> bytes:
    """The key that signs for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (credential.date, credential.region, credential.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()


def _scope(credential: Credential) -> str:
    return f"{credential.date}/{credential.region}/{credential.service}/aws4_request"


def _mismatch() -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. "
        "Consult the service documentation for details.",
    )


def _header_claim(request: HttpRequest, header: str) -> _Claim:
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise AwsError(
            "IncompleteSignature", f"Unsupported AWS 'algorithm': '{algorithm[:64]}'.", status=400
        )
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name)
    ]
    date = request.headers.get("x-amz-date") or request.headers.get("date") or ""
    if not date:
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if missing:
        raise AwsError("IncompleteSignature", f"{' '.join(missing)} Authorization={header[:1024]}")
    credential = _required_credential(fields["Credential"])
    signed = fields["SignedHeaders"].split(";")
    return _Claim(credential, signed, fields["Signature"], _basic_date(date), None)


def _required_credential(text: str) -> Credential:
    credential = _credential(text)
    if credential is None:
        raise AwsError(
            "IncompleteSignature",
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{text[:256]}'",
        )
    return credential


def _basic_date(text: str) -> str:
    """`YYYYMMDDTHHMMSSZ` of either date header."""
    try:
        if len(text) == 16 and text[8] == "T":
            datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%SZ%z")
            return text
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=read_timestamp(text))
        return moment.strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, AwsError, OverflowError):
        raise AwsError(
            "IncompleteSignature",
            f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'.",
        ) from None


def _query_claim(request: HttpRequest) -> _Claim:
    fields = {key: value for key, value in _query_pairs(request.query)}
    missing = [
        name
        for name in (
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
            "X-Amz-Date",
            "X-Amz-Expires",
        )
        if not fields.get(name)
    ]
    if missing or fields["X-Amz-Algorithm"] != ALGORITHM:
        raise AwsError(
            "IncompleteSignature",
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, "
            "and X-Amz-Expires parameters.",
        )
    expires = fields["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdecimal() and int(expires[:9]) <= MAX_EXPIRES_S):
        raise AwsError(
            "IncompleteSignature",
            "X-Amz-Expires must be less than a week (in seconds); "
            "that is, the given X-Amz-Expires must be less than 604800 seconds",
        )
    return _Claim(
        _required_credential(fields["X-Amz-Credential"]),
        fields["X-Amz-SignedHeaders"].split(";"),
        fields["X-Amz-Signature"],
        _basic_date(fields["X-Amz-Date"]),
        int(expires) * 1000,
    )


def _check_time(claim: _Claim, now: int) -> None:
    if not claim.date.startswith(claim.credential.date):
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{claim.credential.date}' != '{claim.date[:8]}', from '{claim.date}'.",
        )
    moment = datetime.strptime(f"{claim.date}+0000", "%Y%m%dT%H%M%SZ%z")
    signed_at = int(moment.timestamp()) * 1000
    if claim.expires_ms is not None:
        if now > signed_at + claim.expires_ms:
            raise AwsError("RequestExpired", "Request has expired")
        if signed_at > now + SKEW_MS:
            raise AwsError("RequestExpired", "Request is not yet valid")
        return
    present = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    edge_at = now - SKEW_MS if signed_at < now else now + SKEW_MS
    edge = datetime.fromtimestamp(edge_at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    if signed_at < now - SKEW_MS:
        raise AwsError(
            "RequestTimeTooSkewed",
            f"Signature expired: {claim.date} is now earlier than {edge} ({present} - 15 min.)",
        )
    if signed_at > now + SKEW_MS:
        raise AwsError(
            "RequestTimeTooSkewed",
            f"Signature not yet current: {claim.date} is still later than {edge} ({present} + 15 min.)",
        )


def _payload_hash(request: HttpRequest, claim: _Claim) -> str:
    """The hash that was signed: the body's own, unless the client declared that it is not signed as a whole."""
    declared = request.headers.get("x-amz-content-sha256")
    s3 = claim.credential.service == "s3"
    if claim.expires_ms is not None and s3:
        return declared or _UNSIGNED
    if declared and (declared == _UNSIGNED or declared.startswith("STREAMING-")):
        return declared
    actual = hashlib.sha256(request.body).hexdigest() if request.body else _EMPTY_HASH
    if declared and s3 and declared != actual:
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            status=400,
        )
    return actual


def _query_pairs(query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in query.split("&"):
        if part:
            key, _, value = part.partition("=")
            pairs.append((unquote(key), unquote(value)))
    return pairs


def _canonical_request(request: HttpRequest, claim: _Claim, payload_hash: str) -> str:
    # AWS: a path is encoded once more on top of how it was sent, except by S3 (SigV4, "canonical URI").
    path = request.path or "/"
    if claim.credential.service == "s3":
        path = quote(unquote(path), safe=f"/{_SAFE}")
    else:
        path = quote(_normalised(path), safe=f"/{_SAFE}")
    pairs = sorted(
        (quote(key, safe=_SAFE), quote(value, safe=_SAFE))
        for key, value in _query_pairs(request.query)
        if claim.expires_ms is None or key != "X-Amz-Signature"
    )
    query = "&".join(f"{key}={value}" for key, value in pairs)
    headers = "".join(
        f"{name}:{' '.join((request.headers.get(name) or '').split())}\n" for name in claim.signed
    )
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(claim.signed)}\n{payload_hash}"


def _normalised(path: str) -> str:
    """The path without empty and dot components."""
    out: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del out[-1:]
        elif part and part != ".":
            out.append(part)
    tail = "/" if out and path.endswith("/") else ""
    return f"/{'/'.join(out)}{tail}"


def _check_chunks(body: bytes, claim: _Claim, key: bytes, seed: str) -> None:
    """Every chunk of a signed aws-chunked body continues the chain that the request's signature begins."""
    previous = seed
    scope = _scope(claim.credential)
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        digits, _, extension = body[at : max(end, at)].partition(b";")
        try:
            size = int(digits, 16)
        except ValueError:
            raise _mismatch() from None
        data = body[end + 2 : end + 2 + size]
        text = f"{ALGORITHM}-PAYLOAD\n{claim.date}\n{scope}\n{previous}\n{_EMPTY_HASH}\n"
        previous = _sign(key, text + hashlib.sha256(data).hexdigest())
        given = extension.partition(b"chunk-signature=")[2].strip()
        if size < 0 or not hmac.compare_digest(previous.encode(), given):
            raise _mismatch()
        if size == 0:
            return
        at = end + 2 + size + 2
