"""AWS Signature Version 4: whether a request was signed by who says so, and lately.

The order of the checks, and so which of several faults is told, is AWS's: S3 looks at the clock last, the other services first.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.sigv4_claim import (
    ALGORITHM,
    TERMINATOR,
    Claim,
    Credential,
    claim_of,
    credential_of,
    decoded,
    query_pairs,
)
from penstock.wire.sigv4_payload import chain_holds, payload_hash

__all__ = ["Credential", "credential_of", "signing_key", "verify"]

# AWS: a request is taken for 15 minutes around its date ("Signature expired: ... - 15 min.", recorded by dynalite).
SKEW_MS: Final = 15 * 60 * 1000
_SAFE: Final = "-_.~"


def verify(request: HttpRequest, secret_of: Callable[[str], str | None], now: int) -> Credential:
    """Check header and presigned signatures at `now` (ms). Returns who signed; raises `AwsError`."""
    claim = claim_of(request)
    if not claim.s3:
        _check_time(claim, now)
    _check_coverage(request, claim)
    _check_scope(claim)
    secret = secret_of(claim.credential.access_key)
    if secret is None:
        raise _unknown_key(claim)
    declared = payload_hash(request, claim)
    key = signing_key(secret, claim.credential)
    # Clients sign the target in its canonical form, or, what is the same for well-formed ones, as they send it.
    canonical = _canonical_request(request, claim, declared, as_sent=False)
    matches = _matches(canonical, claim, key)
    if not matches:
        raw = _canonical_request(request, claim, declared, as_sent=True)
        matches = raw != canonical and _matches(raw, claim, key)
    if not matches or not chain_holds(request, declared, claim, key):
        raise _mismatch(claim, canonical)
    if claim.s3:
        _check_time(claim, now)
    return claim.credential


@lru_cache(maxsize=1024)
def signing_key(secret: str, credential: Credential) -> bytes:
    """The key that signs for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in credential.scope.split("/"):
        key = hmac.digest(key, part.encode(errors="replace"), "sha256")
    return key


def _string_to_sign(canonical: bytes, claim: Claim) -> str:
    digest = hashlib.sha256(canonical).hexdigest()
    return f"{ALGORITHM}\n{claim.date}\n{claim.credential.scope}\n{digest}"


def _matches(canonical: bytes, claim: Claim, key: bytes) -> bool:
    text = _string_to_sign(canonical, claim).encode("latin-1", "replace")
    expected = hmac.digest(key, text, "sha256").hex()
    return hmac.compare_digest(expected.encode(), claim.signature.encode(errors="replace"))


def _unknown_key(claim: Claim) -> AwsError:
    key = claim.credential.access_key[:256]
    return AwsError(
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        fields={"AWSAccessKeyId": key} if claim.s3 else {},
    )


def _mismatch(claim: Claim, canonical: bytes) -> AwsError:
    words = (
        "The request signature we calculated does not match the signature you provided. Check your "
    )
    if not claim.s3:
        return AwsError(
            "SignatureDoesNotMatch",
            f"{words}AWS Secret Access Key and signing method. Consult the service documentation for details.",
        )
    # AWS: S3 shows what it has signed, so that a client can be compared line by line.
    text = _string_to_sign(canonical, claim)
    return AwsError(
        "SignatureDoesNotMatch",
        f"{words}key and signing method.",
        fields={
            "AWSAccessKeyId": claim.credential.access_key[:256],
            "StringToSign": text,
            "SignatureProvided": claim.signature[:256],
            "StringToSignBytes": text.encode("latin-1", "replace").hex(" "),
            "CanonicalRequest": canonical.decode("latin-1"),
            "CanonicalRequestBytes": canonical.hex(" "),
        },
    )


def _check_coverage(request: HttpRequest, claim: Claim) -> None:
    """What decides what a request means must be covered by its signature."""
    signed = claim.signed
    if not claim.s3:
        if "host" not in signed and ":authority" not in signed:
            raise _uncovered("'Host' or ':authority'")
        if "x-amz-target" not in signed and request.headers.get("x-amz-target"):
            raise _uncovered("'X-Amz-Target'")
        return
    # The payload's hash is a line of the canonical request in any case.
    loose = [
        name
        for name, _ in request.headers.items()
        if name.startswith("x-amz-") and name not in signed and name != "x-amz-content-sha256"
    ]
    if "host" not in signed:
        loose.append("host")
    if loose:
        raise AwsError(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            fields={"HeadersNotSigned": ", ".join(loose)[:1024]},
        )


def _uncovered(name: str) -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch", f"{name} must be a 'SignedHeader' in the AWS Authorization."
    )


def _check_scope(claim: Claim) -> None:
    credential = claim.credential
    day = claim.date[:8]
    if claim.s3:
        _check_s3_scope(claim, day)
        return
    texts = []
    if credential.terminator != TERMINATOR:
        texts.append(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
            f"not '{credential.terminator[:64]}'."
        )
    if credential.date != day:
        texts.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{credential.date[:64]}' != '{day}', from '{claim.date}'."
        )
    if texts:
        raise AwsError("SignatureDoesNotMatch", " ".join(texts))


def _check_s3_scope(claim: Claim, day: str) -> None:
    credential = claim.credential
    text = ""
    if credential.terminator != TERMINATOR:
        text = (
            f'incorrect terminal "{credential.terminator[:64]}". This endpoint uses "{TERMINATOR}".'
        )
    elif credential.date != day:
        text = (
            f'Invalid credential date "{credential.date[:64]}". '
            f'This date is not the same as X-Amz-Date: "{day}".'
        )
    if not text:
        return
    if claim.presigned:
        raise AwsError(
            "AuthorizationQueryParametersError",
            f"Error parsing the X-Amz-Credential parameter; {text}",
            status=400,
        )
    raise AwsError(
        "AuthorizationHeaderMalformed",
        f"The authorization header is malformed; {text}",
        status=400,
    )


def _check_time(claim: Claim, now: int) -> None:
    signed_at = claim.signed_at
    if claim.expires_ms is not None:
        _check_expiry(claim, signed_at, claim.expires_ms, now)
        return
    if abs(now - signed_at) <= SKEW_MS:
        return
    if claim.s3:
        raise AwsError(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            fields={
                "RequestTime": claim.date,
                "ServerTime": _iso(now),
                "MaxAllowedSkewMilliseconds": str(SKEW_MS),
            },
        )
    present = _basic(now)
    if signed_at < now:
        text = f"expired: {claim.date} is now earlier than {_basic(now - SKEW_MS)} ({present} - 15 min.)"
    else:
        text = f"not yet current: {claim.date} is still later than {_basic(now + SKEW_MS)} ({present} + 15 min.)"
    raise AwsError("RequestTimeTooSkewed", f"Signature {text}")


def _check_expiry(claim: Claim, signed_at: int, expires_ms: int, now: int) -> None:
    ends_at = signed_at + expires_ms
    if now > ends_at:
        fields = {
            "X-Amz-Expires": str(expires_ms // 1000),
            "Expires": _iso(ends_at),
            "ServerTime": _iso(now),
        }
        raise AwsError("RequestExpired", "Request has expired", fields=fields if claim.s3 else {})
    if signed_at > now + SKEW_MS:
        fields = {"X-Amz-Date": claim.date, "ServerTime": _iso(now)}
        raise AwsError(
            "RequestExpired", "Request is not yet valid", fields=fields if claim.s3 else {}
        )


def _basic(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _canonical_request(request: HttpRequest, claim: Claim, payload: str, *, as_sent: bool) -> bytes:
    lines = (
        request.method,
        _canonical_path(request.path or "/", claim.s3, as_sent),
        _canonical_query(request.query, claim.presigned, as_sent),
        _canonical_headers(request, claim),
        ";".join(claim.signed),
        payload,
    )
    # Latin-1 is how the bytes of the request became text.
    return "\n".join(lines).encode("latin-1", "replace")


def _canonical_path(path: str, s3: bool, as_sent: bool) -> str:
    # AWS: a path is encoded once more on top of how it was sent, except by S3 (SigV4, "canonical URI").
    if not s3:
        return quote(_normalised(path).encode("latin-1", "replace"), safe=f"/{_SAFE}")
    if as_sent:
        return path
    return quote(decoded(path), safe=f"/{_SAFE}")


def _canonical_query(query: str, presigned: bool, as_sent: bool) -> str:
    if as_sent:
        raw = (part.partition("=")[::2] for part in (query.split("&") if query else ()))
        pairs = sorted(pair for pair in raw if not presigned or pair[0] != "X-Amz-Signature")
    else:
        pairs = sorted(
            (quote(name, safe=_SAFE), quote(value, safe=_SAFE))
            for name, value in query_pairs(query)
            if not presigned or name != b"X-Amz-Signature"
        )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_headers(request: HttpRequest, claim: Claim) -> str:
    """One line for each signed field; the values of a repeated one are joined."""
    values: dict[str, list[str]] = {name: [] for name in claim.signed}
    for name, value in request.headers.items():
        if name in values:
            values[name].append(" ".join(value.split()))
    return "".join(f"{name}:{','.join(values[name])}\n" for name in claim.signed)


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
