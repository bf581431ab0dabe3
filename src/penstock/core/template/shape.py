"""What the properties of a resource type look like, and what in given properties is not so.

The notation, one for each type that is built:

    QueueName, DelaySeconds: Integer
    Tags: [{Key!, Value!}]
    Environment: {Variables: {*: String}}
    PolicyDocument!: Json
    -VpcConfig

A name alone is text; `!` follows a required key, `-` precedes one that AWS has and Penstock refuses by name. Types are
String, Integer, Double, Boolean, Json (an object or text), `[...]`, `{...}`, and `{*: ...}` for an object of any keys.
Commas may be left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from penstock.core.template.node import UNKNOWN

_TOKEN: Final = re.compile(r"[A-Za-z]\w*|[{}\[\]!:*-]")
_TRUTH: Final = {"true": True, "false": False}
_DYNAMIC: Final = "{{resolve:"
_WRONG: Final = object()
_NUMBER: Final = re.compile(r"[+-]?\d{1,18}(\.\d+)?")


class Shape(Protocol):
    """The type of one value."""

    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        """What fits of a value, with the right types; `_WRONG` when nothing does. Faults are added in AWS's words."""
        ...


@dataclass(frozen=True, slots=True)
class _Scalar:
    name: str

    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        # A dynamic reference is of any type until it is resolved.
        if value is UNKNOWN or (isinstance(value, str) and _DYNAMIC in value):
            return value
        read = _SCALARS[self.name](value)
        return _expected(self.name, value, path, faults) if read is None else read


@dataclass(frozen=True, slots=True)
class _Json:
    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        if value is UNKNOWN or isinstance(value, dict | str):
            return value
        return _expected("JSONObject", value, path, faults)


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    item: Shape

    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        """As `Shape.read`."""
        if value is UNKNOWN:
            return value
        if not isinstance(value, list):
            return _expected("JSONArray", value, path, faults)
        read = [self.item.read(one, f"{path}/{index}", faults) for index, one in enumerate(value)]
        return [one for one in read if one is not _WRONG]


@dataclass(frozen=True, slots=True)
class _Entries:
    value: Shape

    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        if value is UNKNOWN:
            return value
        if not isinstance(value, dict):
            return _expected("JSONObject", value, path, faults)
        read = {key: self.value.read(one, f"{path}/{key}", faults) for key, one in value.items()}
        return {key: one for key, one in read.items() if one is not _WRONG}


@dataclass(frozen=True, slots=True)
class Record:
    """An object with the keys that it may have."""

    members: Mapping[str, Shape]
    required: Sequence[str]
    unbuilt: frozenset[str]

    def read(self, value: Any, path: str, faults: list[str]) -> Any:
        """As `Shape.read`; an object without what it must have is wrong."""
        if value is UNKNOWN:
            return value
        if not isinstance(value, dict):
            return _expected("JSONObject", value, path, faults)
        read = self.fitting(value, path, faults)
        return read if all(name in read for name in self.required) else _WRONG

    def fitting(self, value: dict[str, Any], path: str, faults: list[str]) -> dict[str, Any]:
        """What fits of an object, whatever it lacks."""
        faults += [
            f"{path}: required key [{name}] not found"
            for name in self.required
            if name not in value
        ]
        for name in value:
            if name in self.unbuilt:
                faults.append(f"{path}: Penstock does not support the key [{name}] yet")
            elif name not in self.members:
                faults.append(f"{path}: extraneous key [{name}] is not permitted")
        read = {
            name: self.members[name].read(one, f"{path}/{name}", faults)
            for name, one in value.items()
            if name in self.members
        }
        return {name: one for name, one in read.items() if one is not _WRONG}


def record(notation: str) -> Record:
    """The shape that a notation of properties says."""
    tokens = iter((*_TOKEN.findall(notation), "}"))
    return _record(tokens, next(tokens))


def _record(tokens: Iterator[str], token: str) -> Record:
    members: dict[str, Shape] = {}
    required: list[str] = []
    unbuilt: set[str] = set()
    while token != "}":
        if token == "-":
            unbuilt.add(next(tokens))
            token = next(tokens)
            continue
        name, token = token, next(tokens)
        if token == "!":
            required.append(name)
            token = next(tokens)
        members[name] = _Scalar("String")
        if token == ":":
            members[name] = _shape(tokens, next(tokens))
            token = next(tokens)
    return Record(members, tuple(required), frozenset(unbuilt))


def _shape(tokens: Iterator[str], token: str) -> Shape:
    """The type that begins with `token`; its last token is taken."""
    if token == "[":
        items = Items(_shape(tokens, next(tokens)))
        _require(next(tokens), "]")
        return items
    if token == "{":
        token = next(tokens)
        if token != "*":
            return _record(tokens, token)
        _require(next(tokens), ":")
        entries = _Entries(_shape(tokens, next(tokens)))
        _require(next(tokens), "}")
        return entries
    _require(token, *_SCALARS, "Json")
    return _Json() if token == "Json" else _Scalar(token)


def _require(token: str, *wanted: str) -> None:
    if token not in wanted:
        raise ValueError(f"{token} where {' or '.join(wanted)} should be")


# AWS: text is read as a number or a truth value where the type wants one, and these as text where it wants text
# (CloudFormation guide, "Resource type schema": templates' values are coerced).


def _integer(value: Any) -> int | None:
    number = _double(value)
    return int(number) if number is not None and number == int(number) else None


def _double(value: Any) -> int | float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value) if "." in value else int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return _TRUTH.get(value.lower())
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


_SCALARS: Final = {"Boolean": _boolean, "Double": _double, "Integer": _integer, "String": _text}


def _expected(kind: str, value: Any, path: str, faults: list[str]) -> Any:
    wanted = "Number" if kind == "Double" else kind
    faults.append(f"{path}: expected type: {wanted}, found: {_kind(value)}")
    return _WRONG


def _kind(value: Any) -> str:
    """The type of a value, as AWS calls it."""
    if value is None:
        return "Null"
    names: Sequence[tuple[type, str]] = (
        (bool, "Boolean"),
        (dict, "JSONObject"),
        (float, "Double"),
        (int, "Integer"),
        (list, "JSONArray"),
    )
    return next((name for one, name in names if isinstance(value, one)), "String")
