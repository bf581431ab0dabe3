"""DynamoDB's values: what may be stored, how large it is, how it compares, and how a key is encoded.

A value is a dict with one entry, its type: `{"S": "x"}`, `{"N": "1"}`, `{"B": b".."}`, `{"M": {...}}`, as in
boto3's low-level client. An item maps names to values. Raises `AwsError("ValidationException")` in AWS's words.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final, TypeAlias

import orjson

from penstock.core.errors import AwsError

Value: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, Value]

# AWS: at most 32 levels of lists and maps (DynamoDB quotas).
_MAX_DEPTH: Final = 32
_MAX_DIGITS: Final = 38
_PLAIN: Final = re.compile(r"0|-?[1-9][0-9]{0,37}")
_NUMBER: Final = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")
_ARITHMETIC: Final = Context(prec=_MAX_DIGITS, rounding=ROUND_HALF_UP, Emin=-999, Emax=999)
TYPES: Final = ("S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M")
SETS: Final = {"SS": "S", "NS": "N", "BS": "B"}


def invalid(message: str) -> AwsError:
    """`ValidationException`, DynamoDB's answer to whatever is wrong with a request."""
    return AwsError("ValidationException", message)


def invalid_parameters(message: str) -> AwsError:
    """`ValidationException` for values that do not fit together."""
    return invalid(f"One or more parameter values were invalid: {message}")


def type_of(value: Value) -> str:
    """The type of a checked value."""
    (kind,) = value
    return kind


# Numbers


def canonical_number(text: str) -> str:
    """A number as DynamoDB shows it: plain decimal notation without superfluous zeros."""
    if _PLAIN.fullmatch(text):
        return text
    negative, digits, exponent = _decompose(text)
    if not digits:
        return "0"
    if exponent >= 0:
        plain = digits + "0" * exponent
    elif len(digits) + exponent > 0:
        plain = f"{digits[:exponent]}.{digits[exponent:]}"
    else:
        plain = f"0.{'0' * -(len(digits) + exponent)}{digits}"
    return f"-{plain}" if negative else plain


def _decompose(text: str) -> tuple[bool, str, int]:
    """Sign, significant digits and the exponent of the last one; no digits for zero."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        told = f": {text}" if text else ""
        raise invalid(f"The parameter cannot be converted to a numeric value{told}")
    sign, whole, fraction, power = match.groups()
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return False, "", 0
    # An exponent of more than a few digits is out of range however long the mantissa is.
    exponent = int((power or "0")[:9]) - len(fraction) + len(digits) - len(significant)
    if len(significant) > _MAX_DIGITS:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    magnitude = len(significant) - 1 + exponent
    if magnitude > 125:
        raise invalid(
            "Number overflow. Attempting to store a number with magnitude larger than supported range"
        )
    if magnitude < -130:
        raise invalid(
            "Number underflow. Attempting to store a number with magnitude smaller than supported range"
        )
    return sign == "-", significant, exponent


def add_numbers(left: str, right: str, sign: int = 1) -> str:
    """`left + sign * right`, rounded to 38 digits."""
    augend, addend = Decimal(left), Decimal(right)
    operate = _ARITHMETIC.add if sign > 0 else _ARITHMETIC.subtract
    return canonical_number(str(operate(augend, addend)))


def _number_size(text: str) -> int:
    """Bytes that a canonical number counts: two digits a byte, aligned at the point, one more, and one for a minus."""
    if text.isdecimal():
        # As most numbers are: the same as below, without a look for what they do not have.
        zeros = len(text) - len(text.rstrip("0"))
        return min(21, (len(text) + 1) // 2 - zeros // 2 + 1)
    plain = text.lstrip("-")
    if "." in plain:
        whole, _, fraction = plain.partition(".")
        pairs = (len(whole.lstrip("0")) + 1) // 2 + (len(fraction) + 1) // 2
        if whole == "0":
            pairs -= (len(fraction) - len(fraction.lstrip("0"))) // 2
    else:
        zeros = len(plain) - len(plain.rstrip("0"))
        pairs = (len(plain) + 1) // 2 - zeros // 2
    return min(21, pairs + 1 + len(text) - len(plain))


# Values


def canonicalize(item: Item) -> int:
    """Check every value of an item and write its numbers canonically, in place. Returns the item's size in bytes."""
    size = 0
    for name, value in item.items():
        size += _text_size(name) + _measure(value, 1)
    return size


def canonicalize_value(value: Value) -> int:
    """Check one value and write its numbers canonically, in place. Returns its size in bytes."""
    return _measure(value, 1)


def item_size(item: Item) -> int:
    """The size of a stored item in bytes."""
    return sum(_text_size(name) + _measure(value, 1) for name, value in item.items())


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _measure(value: Value, depth: int) -> int:
    if len(value) != 1:
        what = "has more than one datatypes set" if value else "is empty"
        raise invalid(
            f"Supplied AttributeValue {what}, must contain exactly one of the supported datatypes"
        )
    for kind, content in value.items():
        if kind == "S":
            return len(content) if content.isascii() else len(content.encode())
        if kind == "N":
            number = value["N"] = canonical_number(content)
            return _number_size(number)
        measure = _MEASURES.get(kind)
        if measure is None:
            break
        return measure(value, content, depth)
    raise invalid(
        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
    )


def _measure_null(_: Value, content: bool, __: int) -> int:
    if content is not True:
        raise invalid_parameters("Null attribute value types must have the value of true")
    return 1


def _measure_list(_: Value, content: Sequence[Value], depth: int) -> int:
    _check_depth(depth)
    return 3 + sum(1 + _measure(element, depth + 1) for element in content)


def _measure_map(_: Value, content: Mapping[str, Value], depth: int) -> int:
    _check_depth(depth)
    return 3 + sum(
        1 + _text_size(name) + _measure(element, depth + 1) for name, element in content.items()
    )


def _check_depth(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise invalid(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested"
            f" levels beyond supported limit of {_MAX_DEPTH}"
        )


def _measure_strings(_: Value, content: Sequence[str], __: int) -> int:
    if not content:
        raise invalid_parameters("An string set  may not be empty")
    _check_distinct(content)
    return sum(map(_text_size, content))


def _measure_numbers(value: Value, content: Sequence[str], _: int) -> int:
    if not content:
        raise invalid_parameters("An number set  may not be empty")
    numbers = value["NS"] = [canonical_number(number) for number in content]
    _check_distinct(numbers)
    return sum(map(_number_size, numbers))


def _check_distinct(content: Sequence[str]) -> None:
    if len(set(content)) < len(content):
        raise invalid_parameters(f"Input collection [{', '.join(content)}] contains duplicates.")


def _measure_blobs(_: Value, content: Sequence[bytes], __: int) -> int:
    if not content:
        raise invalid_parameters("Binary sets should not be empty")
    if len(set(content)) < len(content):
        shown = ", ".join(blob_text(element) for element in content)
        raise invalid_parameters(f"Input collection [{shown}]of type BS contains duplicates.")
    return sum(map(len, content))


_MEASURES: Final[Mapping[str, Callable[[Value, Any, int], int]]] = {
    "B": lambda _, content, __: len(content),
    "BOOL": lambda _, __, ___: 1,
    "NULL": _measure_null,
    "SS": _measure_strings,
    "NS": _measure_numbers,
    "BS": _measure_blobs,
    "L": _measure_list,
    "M": _measure_map,
}


# Comparison


def equal(left: Value, right: Value) -> bool:
    """Whether two checked values are equal: same type, sets in any order."""
    if left == right:
        return True
    (kind,) = left
    if kind not in right:
        return False
    one, other = left[kind], right[kind]
    if kind in SETS:
        return set(one) == set(other)
    if kind == "L":
        return len(one) == len(other) and all(map(equal, one, other))
    if kind == "M":
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return False


def compare(left: Value, right: Value) -> int | None:
    """Negative, zero or positive as `left` is before, at or after `right`; None for what has no common order."""
    (kind,) = left
    if kind not in right or kind not in ("S", "N", "B"):
        return None
    one, other = left[kind], right[kind]
    if kind == "N":
        one, other = Decimal(one), Decimal(other)
    # Code points of text are ordered as its UTF-8 bytes are.
    return int(one > other) - int(one < other)


# Keys


def encode_key(value: Value) -> bytes:
    """The bytes of a key attribute: they are ordered as the values of its type are."""
    ((kind, content),) = value.items()
    if kind == "S":
        return content.encode()  # type: ignore[no-any-return]
    if kind == "B":
        return bytes(content)
    return encode_number(content)


def encode_number(text: str) -> bytes:
    """A number as bytes that are ordered as numbers are: sign, magnitude, pairs of digits, end."""
    negative, digits, exponent = _decompose(text)
    if not digits:
        return b"\x80"
    magnitude = len(digits) - 1 + exponent + 130
    if len(digits) % 2:
        digits += "0"
    # A pair is stored one higher, so that the end, zero, is below any pair.
    pairs = bytes(int(digits[at : at + 2]) + 1 for at in range(0, len(digits), 2))
    encoded = bytes((magnitude,)) + pairs + b"\x00"
    if negative:
        return b"\x7f" + bytes(255 - byte for byte in encoded)
    return b"\x81" + encoded


def join_keys(parts: Sequence[bytes]) -> bytes:
    """Several encoded keys as one, ordered by the first, then the second, ..."""
    return b"".join(escape_key(part) + b"\x00\x01" for part in parts)


def escape_key(part: bytes) -> bytes:
    """The beginning of what `join_keys` makes of keys that begin with `part`."""
    return part.replace(b"\x00", b"\x00\xff")


def successor(prefix: bytes) -> bytes | None:
    """The first bytes beyond everything that begins with `prefix`; None when nothing is."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


# Documents


def dump_item(item: Item) -> bytes:
    """An item as the document that is stored."""
    return orjson.dumps(item, default=blob_text)


def load_item(document: bytes) -> Item:
    """The item of a stored document."""
    item: Item = orjson.loads(document)
    if b'"B"' in document or b'"BS"' in document:
        for value in item.values():
            _restore_blobs(value)
    return item


def _restore_blobs(value: Value) -> None:
    ((kind, content),) = value.items()
    if kind == "B":
        value["B"] = base64.b64decode(content)
    elif kind == "BS":
        value["BS"] = [base64.b64decode(element) for element in content]
    elif kind == "L":
        for element in content:
            _restore_blobs(element)
    elif kind == "M":
        for element in content.values():
            _restore_blobs(element)


def blob_text(data: bytes) -> str:
    """Bytes as JSON carries them: base64."""
    return base64.b64encode(data).decode()


def copy_value(value: Value) -> Value:
    """A copy whose lists and maps may be changed."""
    ((kind, content),) = value.items()
    if kind == "L":
        return {"L": [copy_value(element) for element in content]}
    if kind == "M":
        return {"M": {name: copy_value(element) for name, element in content.items()}}
    return {kind: content}
