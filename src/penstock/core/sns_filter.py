"""Filter policies of SNS: event patterns with limits of their own, over message attributes or the message's body.

Raises FilterError, whose text is AWS's reason.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import orjson

from penstock.core.pattern import Pattern, PatternError, compile_pattern

Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]

# AWS: limits of filter policies (SNS guide, "filter policy constraints").
_MAX_KEYS: Final = 5
_MAX_COMBINATIONS: Final = 150
_MAX_BYTES: Final = 262_144
_MOST: Final = 1_000_000_000
_SIGNS: Final = ("=", "<", "<=", ">", ">=")


class FilterError(ValueError):
    """The policy is not one. `own` says that the text stands alone, without the name of the attribute before it."""

    def __init__(self, text: str, *, own: bool = False) -> None:
        super().__init__(text)
        self.own = own


class Filter:
    """A compiled filter policy."""

    __slots__ = ("_pattern", "scope")

    def __init__(self, pattern: Pattern | None, scope: Scope) -> None:
        self._pattern = pattern
        self.scope = scope

    def matches(self, subject: Mapping[str, Any] | None) -> bool:
        """Whether a message passes: its attributes as `attribute_values` gives them, or its body as parsed JSON.

        A body that is no JSON object is None and passes nothing.
        """
        if self._pattern is None:
            return True
        return subject is not None and self._pattern.matches(subject)


def compile_filter(text: str, scope: Scope) -> Filter:
    """Compile a filter policy from its JSON text. Raises FilterError."""
    if len(text.encode()) > _MAX_BYTES:
        raise FilterError("Filter policy is too large")
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise FilterError(f"failed to parse JSON. {error}") from error
    if not isinstance(policy, dict):
        raise FilterError("Filter is not an object")
    if not policy:
        return Filter(None, scope)
    for operand in _numeric_operands(policy):
        _check_numeric(operand)
    try:
        pattern = compile_pattern(policy)
    except PatternError as error:
        raise FilterError(str(error)) from error
    if scope == "MessageAttributes" and any(isinstance(value, dict) for value in policy.values()):
        raise FilterError(
            "Filter policy scope MessageAttributes does not support nested filter policy", own=True
        )
    if len(set(_leaves(policy, ""))) > _MAX_KEYS:
        raise FilterError("Filter policy can not have more than 5 keys")
    if sum(_combinations(policy, 1)) > _MAX_COMBINATIONS:
        raise FilterError("Filter policy is too complex")
    return Filter(pattern, scope)


def attribute_values(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Message attributes as a filter sees them: text, numbers, lists. Binary ones are not seen."""
    values: dict[str, Any] = {}
    for name, attribute in attributes.items():
        kind = attribute["DataType"]
        text = attribute.get("StringValue", "")
        if kind == "String.Array":
            values[name] = _array(text)
        elif kind.startswith("Number"):
            values[name] = _number(text)
        elif kind.startswith("String"):
            values[name] = text
    return values


def body_value(message: str) -> dict[str, Any] | None:
    """A message's body as a filter sees it; None for what is no JSON object."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _array(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _is_or(key: str, value: Any) -> bool:
    return key == "$or" and isinstance(value, list) and all(isinstance(v, dict) for v in value)


def _leaves(policy: Mapping[str, Any], path: str) -> Iterator[str]:
    """The paths of all fields that have conditions."""
    for key, value in policy.items():
        if _is_or(key, value):
            for branch in value:
                yield from _leaves(branch, path)
        elif isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield path + key


def _combinations(policy: Mapping[str, Any], depth: int) -> list[int]:
    """For each alternative the product of its fields' conditions, each times how deep the field lies."""
    # AWS: how it is counted is shown by examples (SNS guide, "filter policy constraints").
    products = [1]
    for key, value in policy.items():
        if _is_or(key, value):
            found = [one for branch in value for one in _combinations(branch, depth)]
        elif isinstance(value, dict):
            found = _combinations(value, depth + 1)
        else:
            found = [len(value) * depth]
        if len(products) * len(found) > _MAX_COMBINATIONS:
            raise FilterError("Filter policy is too complex")
        products = [one * other for one in products for other in found]
    return products


def _numeric_operands(node: Any) -> Iterator[list[Any]]:
    """What the `numeric` operators of a policy are given."""
    if isinstance(node, dict):
        for value in node.values():
            yield from _numeric_operands(value)
    elif isinstance(node, list):
        for item in node:
            if isinstance(item, dict) and len(item) == 1 and isinstance(item.get("numeric"), list):
                yield item["numeric"]
            elif isinstance(item, dict):
                yield from _numeric_operands(item)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_numeric(operand: list[Any]) -> None:
    """AWS's own words for what is no numeric match."""
    # AWS: read from left to right; the first fault is told (recorded by LocalStack).
    sign = operand[0] if operand else "]"
    if not operand or not isinstance(sign, str):
        raise FilterError(f"Invalid member in numeric match: {sign}")
    if sign not in _SIGNS:
        raise FilterError(f"Unrecognized numeric range operator: {sign}")
    low = operand[1] if len(operand) > 1 else None
    _check_bound("equals" if sign == "=" else sign, low)
    if len(operand) == 2:
        return
    if sign not in (">", ">="):
        raise FilterError("Too many elements in numeric expression")
    _check_range(low, operand[2:])


def _check_range(low: Any, rest: list[Any]) -> None:
    sign = rest[0]
    if not isinstance(sign, str):
        raise FilterError(f"Bad value in numeric range: {sign}")
    if sign not in ("<", "<="):
        raise FilterError(f"Bad numeric range operator: {sign}")
    high = rest[1] if len(rest) > 1 else None
    _check_bound(sign, high)
    if low >= high:
        raise FilterError("Bottom must be less than top")
    if len(rest) > 2:
        raise FilterError("Too many terms in numeric range expression")


def _check_bound(name: str, value: Any) -> None:
    if not _is_number(value):
        raise FilterError(f"Value of {name} must be numeric")
    if not -_MOST <= value <= _MOST:
        raise FilterError(f"Value must be between -1.0E9 and 1.0E9, inclusive: {value}")
