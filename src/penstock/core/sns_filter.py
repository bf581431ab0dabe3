"""Filter policies of SNS: event patterns with limits of their own, over message attributes or the message's body.

Raises FilterError, whose text is AWS's reason.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import orjson

from penstock.core.pattern import Pattern, PatternError, compile_pattern
from penstock.core.sns_filter_shape import ShapeError, check_shape, compact

Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]

# AWS: limits of filter policies (SNS guide, "filter policy constraints").
_MAX_KEYS: Final = 5
_MAX_COMBINATIONS: Final = 150
_MAX_BYTES: Final = 262_144
_REDACTED: Final = "at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"


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
        policy = _parse(text)
        pattern = _compile(policy)
        _check_limits(policy, scope)
    except RecursionError:
        raise FilterError("Filter policy is too complex") from None
    return Filter(pattern, scope)


def _parse(text: str) -> dict[str, Any]:
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise FilterError(broken_json(text, error)) from error
    if not isinstance(policy, dict):
        raise FilterError("Filter is not an object")
    return policy


def _compile(policy: dict[str, Any]) -> Pattern | None:
    """The pattern; None for an empty policy, which everything passes."""
    if not policy:
        return None
    try:
        check_shape(policy)
        return compile_pattern(policy)
    except ShapeError as error:
        place = f'at [Source: (String)"{compact(policy)}"; line: 1, column: {error.column}]'
        raise FilterError(f"{error}\n {place}") from error
    except PatternError as error:
        raise FilterError(str(error)) from error


def _check_limits(policy: dict[str, Any], scope: Scope) -> None:
    if scope == "MessageAttributes" and any(isinstance(value, dict) for value in policy.values()):
        raise FilterError(
            "Filter policy scope MessageAttributes does not support nested filter policy", own=True
        )
    if len(set(_leaves(policy, ""))) > _MAX_KEYS:
        raise FilterError("Filter policy can not have more than 5 keys")
    if sum(_combinations(policy, 1)) > _MAX_COMBINATIONS:
        raise FilterError("Filter policy is too complex")


def broken_json(text: str, error: ValueError) -> str:
    """What AWS says of JSON that its parser cannot read, as far as that is known; else what ours says."""
    if not isinstance(error, json.JSONDecodeError):
        return "failed to parse JSON."
    at = error.pos
    reason, column = error.msg, error.colno
    if error.msg.startswith("Expecting property name") and at < len(text):
        found = text[at]
        reason = (
            f"Unexpected character ('{found}' (code {ord(found)})): was expecting double-quote to"
            " start field name"
        )
    elif error.msg == "Expecting value" and (word := re.match(r"\w+", text[at:])):
        reason = (
            f"Unrecognized token '{word.group()}': was expecting (JSON String, Number, Array, Object"
            " or token 'null', 'true' or 'false')"
        )
        column += word.end()
    return f"failed to parse JSON. {reason}\n {_REDACTED}; line: {error.lineno}, column: {column}]"


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
