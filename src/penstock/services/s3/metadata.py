"""Values of metadata and of other header fields, as they are kept and as they are told. Pure.

AWS: user metadata is decoded as RFC 2047 says before it is kept, and encoded so before it is told; what is ASCII is told
as it is (S3 user guide, "Working with object metadata").
"""

import base64
import re
import string
import unicodedata
from binascii import Error
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Any, Final

from penstock.core.errors import AwsError

_MARK: Final = "=?"
# AWS: what stays itself in an encoded word (recorded by LocalStack).
_SAFE: Final = frozenset(
    (string.ascii_letters + string.digits + string.punctuation + "\t").encode()
)
_ESCAPED: Final = frozenset(b"_=?")


def kept(value: str) -> str:
    """A value of a header field as it is kept."""
    if _MARK not in value:
        return value
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(value)
        )
    except (HeaderParseError, Error, LookupError, ValueError):
        return value


def written(value: str) -> str:
    """What `kept` reads as this very value."""
    return _base64(value) if _MARK in value else value


def told(value: str) -> str:
    """A value of user metadata as a header field tells it."""
    if value.isascii() and (value.isprintable() or value.replace("\t", "").isprintable()):
        return value
    # AWS: what cannot be printed is in Base64, all else in quoted form (recorded by LocalStack).
    if "\ufffd" in value or any(unicodedata.category(one).startswith("C") for one in value):
        return _base64(value)
    return f"=?UTF-8?Q?{''.join(map(_quoted, value.encode()))}?="


def fields_of(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Other header fields as they can be told; instants are what they are."""
    return {name: field(value) if isinstance(value, str) else value for name, value in kept.items()}


def field(value: str) -> str:
    """A value of another header field as it can be told: what ISO 8859-1 does not have is a space."""
    return value if is_latin(value) else "".join(one if is_latin(one) else " " for one in value)


def is_latin(value: str) -> bool:
    """Whether a header field can tell a value as it is."""
    return value.isascii() or max(map(ord, value)) < 256


def require_latin(member: str, value: Any) -> None:
    """Raise InvalidArgument for a header field that a request asks for and no answer can have."""
    if isinstance(value, str) and not is_latin(value):
        words = re.findall("[A-Z][a-z]+", member)
        raise AwsError(
            "InvalidArgument",
            "Header value cannot be represented using ISO-8859-1.",
            status=400,
            fields={"ArgumentName": "-".join(words).lower(), "ArgumentValue": value},
        )


def _quoted(byte: int) -> str:
    if byte == ord(" "):
        return "_"
    return chr(byte) if byte in _SAFE and byte not in _ESCAPED else f"={byte:02X}"


def _base64(value: str) -> str:
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="
