"""CBOR (RFC 8949), as far as the Smithy RPC v2 protocol uses it."""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_DEPTH: Final = 256
_BREAK: Final = object()
_SIMPLE: Final[dict[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_DOUBLE: Final = struct.Struct(">Bd")


class Tagged(NamedTuple):
    """A value with a tag; tag 1 is an instant in seconds."""

    tag: int
    value: Any


class CborError(ValueError):
    """The bytes are not CBOR."""


def decode(data: bytes) -> Any:
    """Read one item. Tags are dropped (an instant is its number of seconds). Raises `CborError`."""
    try:
        value, end = _item(data, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise CborError(str(error)) from None
    if value is _BREAK or end != len(data):
        raise CborError("unexpected bytes")
    return value


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _DEPTH:
        raise CborError("nested too deeply")
    first = data[at]
    major, minor = first >> 5, first & 31
    if major == 7:
        return _simple(data, at, minor)
    if minor == 31:
        if major < 2 or major == 6:
            raise CborError("no indefinite length here")
        return _indefinite(data, at + 1, major, depth)
    argument, at = _argument(data, at, minor)
    return _MAJORS[major](data, at, argument, depth)


def _argument(data: bytes, at: int, minor: int) -> tuple[int, int]:
    if minor < 24:
        return minor, at + 1
    if minor > 27:
        raise CborError("reserved length")
    end = at + 1 + (1 << (minor - 24))
    if end > len(data):
        raise CborError("unexpected end")
    return int.from_bytes(data[at + 1 : end], "big"), end


def _simple(data: bytes, at: int, minor: int) -> tuple[Any, int]:
    if minor in _SIMPLE:
        return _SIMPLE[minor], at + 1
    if minor in _FLOATS:
        form = _FLOATS[minor]
        return form.unpack_from(data, at + 1)[0], at + 1 + form.size
    if minor == 31:
        return _BREAK, at + 1
    raise CborError("unknown simple value")


def _unsigned(_: bytes, at: int, argument: int, __: int) -> tuple[Any, int]:
    return argument, at


def _negative(_: bytes, at: int, argument: int, __: int) -> tuple[Any, int]:
    return -1 - argument, at


def _bytes(data: bytes, at: int, length: int, _: int) -> tuple[Any, int]:
    end = at + length
    if end > len(data):
        raise CborError("unexpected end")
    return data[at:end], end


def _text(data: bytes, at: int, length: int, depth: int) -> tuple[Any, int]:
    value, end = _bytes(data, at, length, depth)
    return value.decode(), end


def _array(data: bytes, at: int, length: int, depth: int) -> tuple[Any, int]:
    if length > len(data):
        raise CborError("unexpected end")
    items = []
    for _ in range(length):
        value, at = _item(data, at, depth + 1)
        items.append(_inner(value))
    return items, at


def _map(data: bytes, at: int, length: int, depth: int) -> tuple[Any, int]:
    if length > len(data):
        raise CborError("unexpected end")
    table = {}
    for _ in range(length):
        key, at = _item(data, at, depth + 1)
        value, at = _item(data, at, depth + 1)
        table[_inner(key)] = _inner(value)
    return table, at


def _tag(data: bytes, at: int, _: int, depth: int) -> tuple[Any, int]:
    value, at = _item(data, at, depth + 1)
    return _inner(value), at


def _inner(value: Any) -> Any:
    if value is _BREAK:
        raise CborError("unexpected break")
    return value


def _indefinite(data: bytes, at: int, major: int, depth: int) -> tuple[Any, int]:
    items: list[Any] = []
    while True:
        value, at = _item(data, at, depth + 1)
        if value is _BREAK:
            break
        items.append(value)
    if major == 4:
        return items, at
    if major == 5:
        if len(items) % 2:
            raise CborError("a key without a value")
        return dict(zip(items[::2], items[1::2], strict=True)), at
    empty: Any = b"" if major == 2 else ""
    return empty.join(items), at


_MAJORS: Final[tuple[Callable[[bytes, int, int, int], tuple[Any, int]], ...]] = (
    _unsigned,
    _negative,
    _bytes,
    _text,
    _array,
    _map,
    _tag,
)


def encode(value: Any) -> bytes:
    """Write a value made of dict, list, str, bytes, int, float, bool, None and `Tagged`."""
    out = bytearray()
    _write(out, value)
    return bytes(out)


def _head(out: bytearray, major: int, argument: int) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    size = (argument.bit_length() + 7) // 8
    power = (size - 1).bit_length()
    out.append(major << 5 | 24 + power)
    out += argument.to_bytes(1 << power, "big")


def _write(out: bytearray, value: Any) -> None:
    match value:
        case str():
            text = value.encode()
            _head(out, 3, len(text))
            out += text
        case None | bool():
            out.append(0xF6 if value is None else 0xF4 + value)
        case int():
            _head(out, int(value < 0), value if value >= 0 else -1 - value)
        case float():
            out += _DOUBLE.pack(0xFB, value)
        case bytes() | bytearray():
            _head(out, 2, len(value))
            out += value
        case Tagged():
            _head(out, 6, value.tag)
            _write(out, value.value)
        case dict():
            _head(out, 5, len(value))
            for key, item in value.items():
                _write(out, key)
                _write(out, item)
        case _:
            _head(out, 4, len(value))
            for item in value:
                _write(out, item)
