"""The text of HTTP/1.1: names, status lines, what makes a header ambiguous, and answers to what is no request."""

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from penstock.api import HttpResponse

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
BODILESS: Final = frozenset({204, 304})
ORIGIN: Final = re.compile("https?://[^/]*", re.IGNORECASE)
"""What stands before the path when a client takes us for a proxy."""
_LENGTH_NAMES: Final = frozenset({"content-length", "Content-Length"})
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON: Final = ("content-type", "application/json")
BAD: Final = HttpResponse(400, [_JSON], b'{"message":"Bad Request"}')
TOO_LARGE: Final = HttpResponse(
    413,
    [_JSON],
    b'{"__type":"RequestEntityTooLargeException","message":"Request body is too large."}',
)
HEADER_TOO_LARGE: Final = HttpResponse(431, [_JSON], b'{"message":"Request header is too large."}')
FAULT: Final = HttpResponse(500, [_JSON], b'{"message":"Internal server error"}')


class Fields(dict[str, str]):
    """Header fields by lower-case name; `items` also tells the fields that came more than once."""

    __slots__ = ("repeated",)

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[tuple[str, str]] = []

    def items(self) -> Any:
        """Every field, in the order of first appearance."""
        return [*super().items(), *self.repeated] if self.repeated else super().items()


_COMMON: Final = (
    "accept",
    "accept-encoding",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-target",
    "x-amz-trace-id",
    "x-amz-user-agent",
    "x-amzn-query-mode",
    "x-amzn-trace-id",
)
LOWER: Final = {
    written.encode(): name for name in _COMMON for written in (name, name.title(), name.upper())
}
"""The names of fields as clients write them, in lower case: they use the same few over and over."""


@lru_cache(maxsize=100)
def _status_line(status: int) -> str:
    """The first line of an answer."""
    return f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\n"


def head_of(status: int, headers: Sequence[tuple[str, str]], length: int, *, closes: bool) -> bytes:
    """An answer's status line and header fields, whose date is still to come. `closes` the connection or not."""
    head = _status_line(status)
    sized = status in BODILESS
    for name, value in headers:
        if name in _LENGTH_NAMES:
            sized = True
        head += f"{name}: {value}\r\n"
    if head.count("\n") > len(headers) + 1 or head.count("\r") > head.count("\n"):
        head = _status_line(status) + "".join(map(_on_one_line, headers))
    if not sized:
        head += f"content-length: {length}\r\n"
    if closes:
        head += "connection: close\r\n"
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode()


def _on_one_line(field: tuple[str, str]) -> str:
    """A field whose value must not become a field of its own by a line break."""
    name, value = field
    return f"{name}: {value.replace(chr(13), ' ').replace(chr(10), ' ')}\r\n"


def is_ambiguous(fields: Fields) -> bool:
    """Whether two readers could see different requests in this header."""
    coding = fields.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        return True
    return bool(fields.repeated) and any(name == "host" for name, _ in fields.repeated)
