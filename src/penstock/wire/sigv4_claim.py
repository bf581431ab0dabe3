"""What a request says about its own signature, in its `Authorization` header or in its query string.

S3 has its own front end, and says what it cannot read in its own words; every other service shares one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn
from urllib.parse import unquote, unquote_to_bytes

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.scalar import read_timestamp

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
# AWS: a presigned URL lives a week at most (SigV4 query parameters).
_MAX_EXPIRES_S: Final = 604_800
_SCOPE_PARTS: Final = 5
_QUERY_FIELDS: Final = ("Algorithm", "Credential", "Signature", "SignedHeaders", "Date")


@dataclass(frozen=True, slots=True)
class Credential:
    """Whose key signed, and for what."""

    access_key: str
    date: str
    """`YYYYMMDD`."""
    region: str
    service: str
    terminator: str = TERMINATOR

    @property
    def scope(self) -> str:
        """What the signing key was derived for."""
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature with everything that it depends on besides the request and the secret."""

    credential: Credential
    signed: Sequence[str]
    """Lower-case names of the header fields that are covered."""
    signature: str
    date: str
    """`YYYYMMDDTHHMMSSZ`."""
    presigned: bool
    expires_ms: int | None = None
    """How long after `date` it is good; None without such a limit of its own."""

    @property
    def s3(self) -> bool:
        """Whether S3's front end is the one to judge it."""
        return self.credential.service == "s3"

    @property
    def signed_at(self) -> int:
        """`date` in ms."""
        return _instant(self.date)


@lru_cache(maxsize=4096)
def parse_credential(text: str) -> Credential | None:
    """`key/date/region/service/aws4_request`; the key may hold slashes. None for anything else."""
    parts = text.rsplit("/", _SCOPE_PARTS - 1)
    return Credential(*parts) if len(parts) == _SCOPE_PARTS and parts[0] else None


def credential_of(request: HttpRequest) -> Credential | None:
    """Who the request says has signed it, unverified; None when it is not signed."""
    header = request.headers.get("authorization")
    if header:
        _, found, rest = header.partition("Credential=")
        return parse_credential(rest.partition(",")[0].strip()) if found else None
    query = request.query
    _, found, rest = query.partition("X-Amz-Credential=")
    if found:
        return parse_credential(unquote(rest.partition("&")[0]))
    _, found, rest = query.partition("AWSAccessKeyId=")
    # A URL that was presigned under the version before names neither day nor region.
    return Credential(unquote(rest.partition("&")[0]), "", "", "s3") if found else None


def claim_of(request: HttpRequest) -> Claim:
    """Read the claim. Raises `AwsError` for a request without one, or with one that cannot be read."""
    header = request.headers.get("authorization")
    if header:
        return _header_claim(request, header)
    if "X-Amz-Signature=" in request.query or "X-Amz-Credential=" in request.query:
        return _query_claim(request)
    raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token")


def query_pairs(query: str) -> list[tuple[bytes, bytes]]:
    """Names and values, decoded; a plus sign is itself."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((decoded(name), decoded(value)))
    return pairs


def decoded(text: str) -> bytes:
    """The bytes of percent-encoded text."""
    return unquote_to_bytes(text.encode("latin-1", "replace"))


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignature", message)


def _malformed(message: str) -> AwsError:
    return AwsError(
        "AuthorizationHeaderMalformed",
        f"The authorization header is malformed; {message}",
        status=400,
    )


def _bad_query(message: str) -> AwsError:
    return AwsError("AuthorizationQueryParametersError", message, status=400)


def _header_claim(request: HttpRequest, header: str) -> Claim:
    algorithm, _, rest = header.strip().partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    credential = parse_credential(fields.get("Credential", ""))
    s3 = credential is not None and credential.service == "s3"
    if s3 and "X-Amz-Algorithm=" in request.query:
        raise AwsError(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
            status=400,
            fields={"ArgumentName": "Authorization", "ArgumentValue": header[:1024]},
        )
    missing = [
        name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)
    ]
    stamp = request.headers.get("x-amz-date") or request.headers.get("date") or ""
    date = _basic_date(stamp)
    if algorithm == ALGORITHM and (missing or not stamp):
        _refuse_partial(missing, bool(stamp), header, s3)
    if date is None and algorithm == ALGORITHM:
        _refuse_date(stamp, s3)
    if algorithm != ALGORITHM:
        # AWS: the text ends with a space, so more of them can follow (recorded by dynalite).
        raise _incomplete(
            f"Unsupported AWS 'algorithm': '{algorithm[:64]}' (only {ALGORITHM} for now). "
        )
    if credential is None:
        raise _five_parts(fields["Credential"])
    assert date is not None
    signed = tuple(fields["SignedHeaders"].lower().split(";"))
    return Claim(credential, signed, fields["Signature"].lower(), date, presigned=False)


def _refuse_partial(missing: Sequence[str], dated: bool, header: str, s3: bool) -> NoReturn:
    if s3 and missing:
        raise _malformed(
            "the authorization header requires three components: Credential, SignedHeaders, and Signature."
        )
    if s3:
        _refuse_date("", s3)
    texts = [f"Authorization header requires '{name}' parameter." for name in missing]
    if not dated:
        texts.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    raise _incomplete(f"{' '.join(texts)} Authorization={header[:1024]}")


def _refuse_date(text: str, s3: bool) -> NoReturn:
    if s3:
        raise AwsError(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        )
    raise _incomplete(
        f"Date must be in ISO-8601 'basic format'. Got '{text[:64]}'. "
        "See http://en.wikipedia.org/wiki/ISO_8601"
    )


def _five_parts(text: str) -> AwsError:
    return _incomplete(
        "Credential must have exactly 5 slash-delimited elements, "
        f"e.g. keyid/date/region/service/term, got '{text[:256]}'"
    )


def _query_claim(request: HttpRequest) -> Claim:
    given = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in query_pairs(request.query)
    }
    credential = parse_credential(given.get("X-Amz-Credential", ""))
    s3 = credential is not None and credential.service == "s3"
    missing = [name for name in _QUERY_FIELDS if not given.get(f"X-Amz-{name}")]
    if s3 and (missing or "X-Amz-Expires" not in given):
        raise _bad_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if missing:
        # AWS: one sentence a parameter, and advice (recorded by dynalite).
        words = "AWS query-string parameters must include 'X-Amz-{}'."
        texts = " ".join(words.format(name) for name in missing)
        raise _incomplete(f"{texts} Re-examine the query-string parameters.")
    _check_algorithm(given["X-Amz-Algorithm"], s3)
    if credential is None:
        raise _five_parts(given["X-Amz-Credential"])
    stamp = given["X-Amz-Date"]
    date = _basic_date(stamp) if len(stamp) == 16 else None
    if date is None and s3:
        raise _bad_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if date is None:
        _refuse_date(stamp, s3)
    return Claim(
        credential,
        tuple(given["X-Amz-SignedHeaders"].lower().split(";")),
        given["X-Amz-Signature"].lower(),
        date,
        presigned=True,
        expires_ms=_expires_ms(given.get("X-Amz-Expires"), s3),
    )


def _check_algorithm(algorithm: str, s3: bool) -> None:
    if algorithm == ALGORITHM:
        return
    if s3:
        raise _bad_query(
            'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"'
        )
    raise _incomplete(
        f"Unsupported AWS 'algorithm': '{algorithm[:64]}' (only {ALGORITHM} for now). "
    )


def _expires_ms(text: str | None, s3: bool) -> int | None:
    if text is None:
        return None
    refuse = _bad_query if s3 else _incomplete
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise refuse("X-Amz-Expires should be a number")
    if digits != text:
        raise refuse("X-Amz-Expires must be non-negative")
    if len(digits) > 9 or int(digits) > _MAX_EXPIRES_S:
        raise refuse(
            "X-Amz-Expires must be less than a week (in seconds); "
            "that is, the given X-Amz-Expires must be less than 604800 seconds"
        )
    return int(digits) * 1000


def _basic_date(text: str) -> str | None:
    """`YYYYMMDDTHHMMSSZ` of either date header; None for what is no date."""
    try:
        if len(text) == 16 and text[8] == "T":
            _instant(text)
            return text
        if text[3:5] != ", ":  # `Mon, 02 Jan 2006 ...`, as HTTP has it
            return None
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=read_timestamp(text))
        return moment.strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, AwsError, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _instant(date: str) -> int:
    """The ms of `YYYYMMDDTHHMMSSZ`. Raises ValueError."""
    moment = datetime.strptime(f"{date}+0000", "%Y%m%dT%H%M%SZ%z")
    return int(moment.timestamp()) * 1000
