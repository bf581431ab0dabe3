"""Words shared by everything about templates: nodes, references, the error, the two values that are none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from penstock.core.errors import AwsError

Node: TypeAlias = Any
Template: TypeAlias = dict[str, Any]
SUB_VARIABLE: Final = re.compile(r"\$\{([^!{}][^{}]*)\}")


class _Absent:
    """A value that is not there; a type of its own so that it never equals a real one."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


PSEUDO_PARAMETERS: Final = frozenset(
    f"AWS::{name}"
    for name in (
        "AccountId",
        "NoValue",
        "NotificationARNs",
        "Partition",
        "Region",
        "StackId",
        "StackName",
        "URLSuffix",
    )
)
UNKNOWN: Final = _Absent("UNKNOWN")
"""What a resource that does not exist yet will tell."""
NO_VALUE: Final = _Absent("NO_VALUE")
"""AWS::NoValue: leave the property out."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a template may ask of a resource that exists."""

    ref: str
    attributes: dict[str, Any] = field(default_factory=dict)


def invalid(message: str) -> AwsError:
    """The error for a template or a parameter that is wrong."""
    return AwsError("ValidationError", message, status=400)


def references(node: Node) -> Iterator[str]:
    """Names that `node` refers to by Ref, Fn::GetAtt or Fn::Sub: parameters and pseudo parameters included."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if len(node) == 1:
            yield from _of_function(*next(iter(node.items())))
        for value in node.values():
            yield from references(value)


def _of_function(name: str, argument: Node) -> Iterator[str]:
    if name == "Ref" and isinstance(argument, str):
        yield argument
    elif name == "Fn::GetAtt":
        target = argument.split(".", 1) if isinstance(argument, str) else argument
        if isinstance(target, list) and isinstance(target[0], str):
            yield target[0]
    elif name == "Fn::Sub":
        for variable in _of_sub(argument):
            yield variable.split(".", 1)[0]


def _of_sub(argument: Node) -> Iterator[str]:
    """What a text refers to beyond the variables that come with it."""
    text, variables = (*argument, {})[:2] if isinstance(argument, list) else (argument, {})
    for variable in SUB_VARIABLE.findall(text) if isinstance(text, str) else ():
        if variable.strip() not in variables:
            yield variable.strip()


def functions(node: Node) -> Iterator[tuple[str, Node]]:
    """What looks like a function anywhere in `node`: the name and the argument."""
    if isinstance(node, list):
        for item in node:
            yield from functions(item)
    elif isinstance(node, dict):
        if len(node) == 1:
            yield next(iter(node.items()))
        for value in node.values():
            yield from functions(value)


def attributes_named(node: Node) -> Iterator[tuple[str, str]]:
    """The resources and the attributes that `node` asks of them, where the attribute is said outright."""
    for name, argument in functions(node):
        named: list[str] = []
        if name == "Fn::Sub":
            named = list(_of_sub(argument))
        elif name == "Fn::GetAtt":
            parts = argument if isinstance(argument, list) else [argument]
            named = [".".join(parts)] if all(isinstance(part, str) for part in parts) else []
        for one in named:
            resource, dot, attribute = one.partition(".")
            if dot:
                yield resource, attribute
