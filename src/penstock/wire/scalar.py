"""Scalars as text: query strings, headers, forms and XML; and instants in AWS's three formats."""

import binascii
import math
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from penstock.core.errors import AwsError
from penstock.wire.model import Shape

Reader: TypeAlias = Callable[[str], Any]
Writer: TypeAlias = Callable[[Any], str]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_MILLISECOND: Final = timedelta(milliseconds=1)


def malformed(text: str) -> AwsError:
    """The error for a value that cannot be read at all."""
    return AwsError("SerializationException", text)


def read_timestamp(value: Any) -> int:
    """An instant in ms from epoch seconds (number or text), ISO 8601 or RFC 822. Raises `AwsError`."""
    try:
        if isinstance(value, (int, float)):
            return round(value * 1000)
        text = value.strip()
        if text[:3] in _DAYS:
            return _ms(_read_rfc822(text))
        if "T" in text or text.count("-") > 1:
            moment = datetime.fromisoformat(text)
            return _ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        return round(float(text) * 1000)
    except (ValueError, OverflowError, AttributeError, IndexError):
        raise malformed(f"Unable to parse date: {value}") from None


def _read_rfc822(text: str) -> datetime:
    _, day, month, year, clock, *_ = text.split()
    hour, minute, second = clock.split(":")
    whole, _, fraction = second.partition(".")
    return datetime(
        int(year),
        _MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        int(whole),
        int(fraction.ljust(6, "0")[:6] or 0),
        tzinfo=UTC,
    )


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def iso8601(at: int) -> str:
    """`2006-01-02T15:04:05Z`, with milliseconds when there are any."""
    moment = _EPOCH + timedelta(milliseconds=at)
    fraction = f".{at % 1000:03d}" if at % 1000 else ""
    return f"{moment.isoformat()[:19]}{fraction}Z"


def whole_seconds(at: int) -> str:
    """`2006-01-02T15:04:05.000Z`: S3 counts in seconds and writes milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=at)
    return f"{moment.isoformat()[:19]}.000Z"


def rfc822(at: int) -> str:
    """`Mon, 02 Jan 2006 15:04:05 GMT`."""
    moment = _EPOCH + timedelta(milliseconds=at)
    month = _MONTHS[moment.month - 1]
    return f"{_DAYS[moment.weekday()]}, {moment.day:02d} {month} {moment.year:04d} {moment.isoformat()[11:19]} GMT"


def epoch(at: int) -> int | float:
    """Seconds, whole where possible."""
    return at / 1000 if at % 1000 else at // 1000


TIMESTAMPS: Final[dict[str, Callable[[int], Any]]] = {
    "iso8601": iso8601,
    "wholeSeconds": whole_seconds,
    "rfc822": rfc822,
    "unixTimestamp": epoch,
}


def read_blob(text: str) -> bytes:
    """Bytes from base64. Raises `AwsError`."""
    try:
        return a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise malformed("Invalid base64 text") from None


def read_float(text: str) -> float:
    """A number, `NaN` or `Infinity`. Raises `AwsError`."""
    try:
        return _NOT_FINITE[text] if text in _NOT_FINITE else float(text)
    except ValueError:
        raise malformed(f"STRING_VALUE cannot be converted to Double: {text[:100]}") from None


def write_float(value: float) -> float | str:
    """A JSON number, or the text that stands for what JSON has no number for."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _read_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise malformed(f"STRING_VALUE cannot be converted to Integer: {text[:100]}") from None


def _read_boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise malformed(f"STRING_VALUE cannot be converted to Boolean: {text[:100]}")
    return lowered == "true"


def _write_blob(value: bytes) -> str:
    return b64encode(value).decode()


def _write_boolean(value: bool) -> str:
    return "true" if value else "false"


_READERS: Final[dict[str, Reader]] = {
    "integer": _read_integer,
    "long": _read_integer,
    "short": _read_integer,
    "byte": _read_integer,
    "float": read_float,
    "double": read_float,
    "boolean": _read_boolean,
    "blob": read_blob,
    "timestamp": read_timestamp,
}


def text_reader(shape: Shape) -> Reader:
    """How a scalar of this shape is read from text."""
    return _READERS.get(shape.kind, str)


def text_writer(shape: Shape, timestamp: str) -> Writer:
    """How a scalar of this shape becomes text; `timestamp` is the format where the shape names none."""
    match shape.kind:
        case "timestamp":
            instant = TIMESTAMPS[shape.get("timestampFormat", timestamp)]
            return lambda at: str(instant(at))
        case "blob":
            return _write_blob
        case "boolean":
            return _write_boolean
        case "float" | "double":
            return lambda value: str(write_float(value))
        case _:
            return str
