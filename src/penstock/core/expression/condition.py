"""Conditions: a parsed condition becomes a function from an item to a truth value."""

import operator
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from penstock.core.dynamo_value import SETS, TYPES, Item, Value, compare, equal, invalid, type_of
from penstock.core.errors import AwsError
from penstock.core.expression.node import (
    Between,
    Call,
    Compare,
    DocumentPath,
    In,
    Logic,
    Node,
    Not,
    Path,
    ValueRef,
    shown,
)
from penstock.core.expression.path import read
from penstock.core.expression.scope import Scope

Condition: TypeAlias = Callable[[Item], bool]
Operand: TypeAlias = Callable[[Item], Value | None]

_ORDERED: Final = ("S", "N", "B")
_TESTS: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COUNTS: Final = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
_UPDATE_ONLY: Final = ("if_not_exists", "list_append")


class ConditionBinder:
    """Resolves names and values of a condition and checks its operands. Raises `AwsError`."""

    def __init__(self, scope: Scope, kind: str) -> None:
        self._scope = scope
        self._kind = kind
        self.attributes: set[str | int] = set()
        """The top-level attributes that were met."""

    def bind(self, node: Node) -> Condition:
        """The function that decides a condition."""
        match node:
            case Compare():
                return self._compare(node)
            case Logic(symbol, conditions):
                parts = [self.bind(condition) for condition in conditions]
                decide = all if symbol == "AND" else any
                return lambda item: decide(part(item) for part in parts)
            case Not(condition):
                inner = self.bind(condition)
                return lambda item: not inner(item)
            case Between():
                return self._between(node)
            case In(operand, choices):
                wanted = self.operand(operand)
                offered = [self.operand(choice) for choice in choices]
                return lambda item: _is_one_of(wanted(item), offered, item)
            case Call():
                return self._function(node)
        raise AssertionError(node)

    def operand(self, node: Node) -> Operand:
        """The function that finds an operand's value; None where there is none."""
        match node:
            case ValueRef():
                self._scope.value(node, self._kind)
                values, name = self._scope.values, node.name
                return lambda _: values[name]
            case Path():
                path = self.path(node)
                if len(path) == 1:
                    name = str(path[0])
                    return lambda item: item.get(name)
                return lambda item: read(item, path)
            case Call("size", _):
                return self._size(node)
            case Call(function, _):
                self._check_known(node)
                raise self._error(
                    f"The function is not allowed to be used this way in an expression; function: {function}"
                )
        raise AssertionError(node)

    def path(self, node: Path) -> DocumentPath:
        """The resolved path."""
        path = self._scope.path(node, self._kind)
        self.attributes.add(path[0])
        return path

    def _compare(self, node: Compare) -> Condition:
        symbol = node.operator
        if symbol in _TESTS:
            self._check_types(symbol, (node.left, node.right), _ORDERED)
        left, right = self.operand(node.left), self.operand(node.right)
        self._check_distinct(symbol, node.left, node.right)
        if symbol == "=":
            return lambda item: _are_equal(left(item), right(item))
        if symbol == "<>":
            # AWS: what is not there differs from everything (recorded by dynalite).
            return lambda item: not _are_equal(left(item), right(item))
        test = _TESTS[symbol]
        return lambda item: _in_order(left(item), right(item), test)

    def _between(self, node: Between) -> Condition:
        self._check_types("BETWEEN", (node.operand, node.low, node.high), _ORDERED)
        operand = self.operand(node.operand)
        low, high = self.operand(node.low), self.operand(node.high)
        if isinstance(node.low, ValueRef) and isinstance(node.high, ValueRef):
            self._scope.varies = True
            self.check_bounds(
                self._scope.value(node.low, self._kind), self._scope.value(node.high, self._kind)
            )

        def within(item: Item) -> bool:
            value = operand(item)
            return _in_order(low(item), value, operator.le) and _in_order(
                value, high(item), operator.le
            )

        return within

    def check_bounds(self, low: Value, high: Value) -> None:
        """Refuse bounds of BETWEEN that are of two types or in the wrong order."""
        if type_of(low) != type_of(high):
            rule = "same data type for lower and upper bounds"
        elif (compare(low, high) or 0) > 0:
            rule = "upper bound to be greater than or equal to lower bound"
        else:
            return
        raise self._error(
            f"The BETWEEN operator requires {rule}; lower bound operand: AttributeValue: {_told(low)},"
            f" upper bound operand: AttributeValue: {_told(high)}"
        )

    def _function(self, node: Call) -> Condition:
        self._check_known(node)
        function, operands = node.function, node.operands
        if function == "size":
            raise self._error(
                "The function is not allowed to be used this way in an expression; function: size"
            )
        if function.startswith("attribute_"):
            path = operands[0]
            if not isinstance(path, Path):
                raise self._error(
                    f"Operator or function requires a document path; operator or function: {function}"
                )
            value = self.operand(path)
            if function == "attribute_exists":
                return lambda item: value(item) is not None
            if function == "attribute_not_exists":
                return lambda item: value(item) is None
            return self._is_type(value, operands[1])
        allowed = ("S", "B") if function == "begins_with" else ("S", "B", "SS", "NS", "BS", "L")
        self._check_types(function, operands[: 2 if function == "begins_with" else 1], allowed)
        left, right = self.operand(operands[0]), self.operand(operands[1])
        self._check_distinct(function, *operands)
        test = _begins_with if function == "begins_with" else _contains
        return lambda item: test(left(item), right(item))

    def _is_type(self, value: Operand, type_operand: Node) -> Condition:
        self._check_types("attribute_type", (type_operand,), ("S",))
        if not isinstance(type_operand, ValueRef):
            raise self._error(
                "Incorrect operand type for operator or function; operator or function: attribute_type,"
                " operand type: {document path}"
            )
        self._scope.varies = True
        wanted = self._scope.value(type_operand, self._kind)["S"]
        if wanted not in TYPES:
            raise self._error(
                f"Invalid attribute type name found; type: {wanted},"
                " valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
            )

        def has_type(item: Item) -> bool:
            found = value(item)
            return found is not None and wanted in found

        return has_type

    def _size(self, node: Call) -> Operand:
        self._check_known(node)
        self._check_types("size", node.operands, ("S", "B", "SS", "NS", "BS", "L", "M"))
        operand = self.operand(node.operands[0])
        return lambda item: _size_of(operand(item))

    def _check_known(self, node: Call) -> None:
        count = _COUNTS.get(node.function)
        if count is None:
            if node.function in _UPDATE_ONLY:
                raise self._error(
                    "The function is not allowed in a condition expression;"
                    f" function: {node.function}"
                )
            raise self._error(f"Invalid function name; function: {node.function}")
        if len(node.operands) != count:
            raise self._error(
                "Incorrect number of operands for operator or function; operator or function:"
                f" {node.function}, number of operands: {len(node.operands)}"
            )

    def _check_types(
        self, function: str, operands: tuple[Node, ...], allowed: tuple[str, ...]
    ) -> None:
        for operand in operands:
            if isinstance(operand, ValueRef):
                kind = type_of(self._scope.value(operand, self._kind))
                if kind not in allowed:
                    raise self._error(
                        "Incorrect operand type for operator or function;"
                        f" operator or function: {function}, operand type: {kind}"
                    )

    def _check_distinct(self, function: str, left: Node, right: Node) -> None:
        if isinstance(left, Path) and isinstance(right, Path):
            path = self.path(left)
            if path == self.path(right):
                raise self._error(
                    "The first operand must be distinct from the remaining operands for this operator or"
                    f" function; operator: {function}, first operand: {shown(path)}"
                )

    def _error(self, detail: str) -> AwsError:
        return invalid(f"Invalid {self._kind}: {detail}")


def _told(value: Value) -> str:
    ((kind, content),) = value.items()
    return f"{{{kind}:{content}}}"


def _are_equal(left: Value | None, right: Value | None) -> bool:
    return left is not None and right is not None and equal(left, right)


def _in_order(left: Value | None, right: Value | None, test: Callable[[int, int], bool]) -> bool:
    order = compare(left, right) if left is not None and right is not None else None
    return order is not None and test(order, 0)


def _is_one_of(value: Value | None, offered: list[Operand], item: Item) -> bool:
    return any(_are_equal(value, operand(item)) for operand in offered)


def _begins_with(value: Value | None, prefix: Value | None) -> bool:
    if value is None or prefix is None:
        return False
    (kind,) = prefix
    return kind in ("S", "B") and kind in value and value[kind].startswith(prefix[kind])


def _contains(value: Value | None, element: Value | None) -> bool:
    if value is None or element is None:
        return False
    ((kind, content),) = value.items()
    ((element_kind, wanted),) = element.items()
    if kind in ("S", "B"):
        return kind == element_kind and wanted in content
    if kind in SETS:
        return SETS[kind] == element_kind and wanted in content
    return kind == "L" and any(equal(entry, element) for entry in content)


def _size_of(value: Value | None) -> Value | None:
    if value is None:
        return None
    content: Any
    ((kind, content),) = value.items()
    return None if kind in ("N", "BOOL", "NULL") else {"N": str(len(content))}
