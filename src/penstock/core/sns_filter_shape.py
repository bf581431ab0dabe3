"""What a filter policy of SNS must look like, with AWS's reasons: each tells the place where its reader gave up.

AWS writes a policy anew, without spaces, and reads that; a place is a column of it. A string is read as far as its first
quote, everything else whole, and a name together with the beginning of its value (recorded by LocalStack).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

_SIGNS: Final = ("=", "<", "<=", ">", ">=")
_TEXT: Final = ("equals-ignore-case", "prefix", "suffix", "wildcard")
_BUT: Final = ("prefix", "suffix", "equals-ignore-case", "wildcard")
_KNOWN: Final = frozenset([*_TEXT, "anything-but", "cidr", "exactly", "exists", "numeric"])
_MOST: Final = 1_000_000_000


class ShapeError(ValueError):
    """The policy is not one. `column` is where, from 1."""

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(reason)
        self.column = column


def check_shape(policy: Mapping[str, Any]) -> None:
    """Raise ShapeError for the first fault of a policy, from left to right."""
    _check_object(policy, 0)


def compact(value: Any) -> str:
    """JSON without spaces, as AWS writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _size(value: Any) -> int:
    return len(compact(value))


def _read(value: Any, start: int) -> int:
    """The column after a value that begins at `start` has been looked at."""
    begins = isinstance(value, str | dict | list)
    return start + (1 if begins else _size(value)) + 1


def _check_object(policy: Mapping[str, Any], start: int) -> None:
    at = start + 1
    for name, value in policy.items():
        at += _size(name) + 1
        if isinstance(value, dict):
            _check_object(value, at)
        elif not isinstance(value, list):
            raise ShapeError(f'"{name}" must be an object or an array', _read(value, at))
        elif name == "$or" and _is_or(value):
            _check_each(value, at, _check_object)
        else:
            _check_rules(value, at)
        at += _size(value) + 1


def _is_or(value: list[Any]) -> bool:
    return len(value) > 1 and all(
        isinstance(one, dict) and one and not _KNOWN.intersection(one) for one in value
    )


def _check_each(values: list[Any], start: int, check: Callable[[Any, int], None]) -> None:
    at = start + 1
    for value in values:
        check(value, at)
        at += _size(value) + 1


def _check_rules(values: list[Any], start: int) -> None:
    if not values:
        raise ShapeError("Empty arrays are not allowed", start + 3)
    _check_each(values, start, _check_rule)


def _check_rule(value: Any, start: int) -> None:
    if isinstance(value, list):
        raise ShapeError(
            "Match value must be String, number, true, false, or null", _read(value, start)
        )
    if isinstance(value, dict) and value:
        _check_match(value, start)


def _check_match(match: Mapping[str, Any], start: int) -> None:
    (name, operand), *others = match.items()
    at = start + 1 + _size(name) + 1
    read = _read(operand, at)
    if name not in _KNOWN:
        raise ShapeError(f"Unrecognized match type {name}", read)
    if name == "numeric":
        if not isinstance(operand, list):
            raise ShapeError("Value of numeric must be an array.", read)
        _check_numeric(operand, at)
    elif name == "exists" and not isinstance(operand, bool):
        raise ShapeError("exists match pattern must be either true or false.", read)
    elif name == "anything-but" and isinstance(operand, dict) and operand:
        _check_but(operand, at)
    elif name == "cidr" and not isinstance(operand, str):
        # AWS: the words of another operator (recorded by LocalStack).
        raise ShapeError("prefix match pattern must be a string", read)
    elif name in _TEXT and not isinstance(operand, str | dict):
        raise ShapeError(f"{name} match pattern must be a string", read)
    if others:
        other, value = others[0]
        at += _size(operand) + 1 + _size(other) + 1
        raise ShapeError("Only one key allowed in match expression", _read(value, at))


def _check_but(operand: Mapping[str, Any], start: int) -> None:
    name, inner = next(iter(operand.items()))
    read = _read(inner, start + 1 + _size(name) + 1)
    if name not in _BUT:
        raise ShapeError(f"Unsupported anything-but pattern: {name}", read)
    if not isinstance(inner, str | list):
        raise ShapeError(f"{name} match pattern must be a string", read)


class _Parts:
    """The elements of an array, and how far they have been read."""

    def __init__(self, values: list[Any], start: int) -> None:
        self.starts = []
        at = start + 1
        for value in values:
            self.starts.append(at)
            at += _size(value) + 1
        self.values = values
        # After the last element its bracket, where a comma would have been.
        self.end = at + (1 if values else 2)

    def read(self, index: int) -> int:
        """The column after an element, or the closing bracket, has been looked at."""
        if index >= len(self.values):
            return self.end
        return _read(self.values[index], self.starts[index])

    def number(self, index: int, sign: str) -> Any:
        """The number at an index. Raises ShapeError when there is none."""
        value = self.values[index] if index < len(self.values) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ShapeError(f"Value of {sign} must be numeric", self.read(index))
        if not -_MOST <= value <= _MOST:
            raise ShapeError(
                f"Value must be between -1.0E9 and 1.0E9, inclusive: {value}", self.read(index)
            )
        return value


def _check_numeric(values: list[Any], start: int) -> None:
    parts = _Parts(values, start)
    sign = values[0] if values else "]"
    if not values or not isinstance(sign, str):
        raise ShapeError(f"Invalid member in numeric match: {sign}", parts.read(0))
    if sign not in _SIGNS:
        raise ShapeError(f"Unrecognized numeric range operator: {sign}", parts.read(1))
    low = parts.number(1, "equals" if sign == "=" else sign)
    if len(values) == 2:
        return
    if sign not in (">", ">="):
        raise ShapeError("Too many elements in numeric expression", parts.read(2))
    _check_range(parts, low)


def _check_range(parts: _Parts, low: Any) -> None:
    sign = parts.values[2]
    if not isinstance(sign, str):
        raise ShapeError(f"Bad value in numeric range: {sign}", parts.read(2))
    if sign not in ("<", "<="):
        # By now the whole string has been read.
        read = parts.starts[2] + _size(sign) + 1
        raise ShapeError(f"Bad numeric range operator: {sign}", read)
    high = parts.number(3, sign)
    if len(parts.values) > 4:
        raise ShapeError("Too many terms in numeric range expression", parts.read(4))
    if low >= high:
        raise ShapeError("Bottom must be less than top", parts.read(4))
