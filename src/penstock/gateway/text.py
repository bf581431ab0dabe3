"""The text of HTTP/1.1: names, status lines, what makes a header ambiguous, and answers to what is no request."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from penstock.api import HttpResponse
from penstock.wire.rest_write import one_line

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


class RepeatedFields(dict[str, str]):
    """Header fields by lower-case name, some of which came more than once: `items` tells all of them."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self.repeated: list[tuple[str, str]] = []
        for name, value in pairs:
            if name in self:
                self.repeated.append((name, value))
            else:
                self[name] = value

    def items(self) -> Any:
        """Every field, in the order of first appearance."""
        return [*super().items(), *self.repeated]


def fields_of(lines: Sequence[bytes]) -> dict[str, str]:
    """Header fields from their names and values in turn. Neither holds a line break."""
    if not lines:
        return {}
    # All of them at once: each for itself takes three times as long.
    names = b"\n".join(lines[::2]).lower().decode("latin-1").split("\n")
    values = b"\n".join(lines[1::2]).decode("latin-1").split("\n")
    fields = dict(zip(names, values, strict=True))
    if len(fields) < len(names):
        return RepeatedFields(zip(names, values, strict=True))
    return fields


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
        if "\n" in value or "\r" in value:
            # It must not become a field of its own.
            head += f"{name}: {one_line(value)}\r\n"
        else:
            head += f"{name}: {value}\r\n"
    if not sized:
        head += f"content-length: {length}\r\n"
    if closes:
        head += "connection: close\r\n"
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode()


def is_ambiguous(fields: dict[str, str]) -> bool:
    """Whether two readers could see different requests in this header."""
    coding = fields.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        return True
    return isinstance(fields, RepeatedFields) and any(name == "host" for name, _ in fields.repeated)
