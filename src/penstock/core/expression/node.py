"""What the parser makes of an expression: nodes whose names and values are not yet resolved."""

from dataclasses import dataclass
from typing import TypeAlias

DocumentPath: TypeAlias = tuple[str | int, ...]
"""Attribute names and list indexes, outermost first."""


@dataclass(frozen=True, slots=True)
class Path:
    """A document path as written: `a`, `#n` or an index for each element."""

    parts: DocumentPath


@dataclass(frozen=True, slots=True)
class ValueRef:
    """`:name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its operands."""

    function: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`."""

    operand: "Node"
    low: "Node"
    high: "Node"


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (choices)`."""

    operand: "Node"
    choices: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """`AND` or `OR` of two or more conditions."""

    operator: str
    conditions: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT condition`."""

    condition: "Node"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left + right` or `left - right`, of an update."""

    operator: str
    left: "Node"
    right: "Node"


Node: TypeAlias = Path | ValueRef | Call | Compare | Between | In | Logic | Not | Arithmetic
OPERANDS = (Path, ValueRef, Call)


@dataclass(frozen=True, slots=True)
class UpdateNode:
    """The sections of an update, each in the order written."""

    set: tuple[tuple[Path, Node], ...] = ()
    remove: tuple[Path, ...] = ()
    add: tuple[tuple[Path, Node], ...] = ()
    delete: tuple[tuple[Path, Node], ...] = ()


def shown(path: DocumentPath) -> str:
    """A path as error texts show it: `[a, [0], b]`."""
    parts = (f"[{part}]" if isinstance(part, int) else part for part in path)
    return f"[{', '.join(parts)}]"
