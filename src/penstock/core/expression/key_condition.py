"""Key conditions: which partition a query reads, and which part of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.core.dynamo_value import Value, invalid, invalid_parameters, type_of
from penstock.core.errors import AwsError
from penstock.core.expression.condition import ConditionBinder
from penstock.core.expression.node import (
    Between,
    Call,
    Compare,
    Logic,
    Node,
    Not,
    Path,
    ValueRef,
)
from penstock.core.expression.scope import Scope

_KIND: Final = "KeyConditionExpression"
_MIRRORED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_UNSUPPORTED: Final = "Query key condition not supported"


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """`hash = value`, and a test of the range key: its operator (None: any) and operands."""

    hash_value: Value
    operator: str | None = None
    """`=`, `<`, `<=`, `>`, `>=`, `BETWEEN` or `begins_with`."""
    operands: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class _Test:
    attribute: str
    operator: str
    operands: tuple[Value, ...]


def bind_key_condition(node: Node, scope: Scope, keys: Sequence[tuple[str, str]]) -> KeyCondition:
    """The key condition for `keys`, (name, type) of the hash and perhaps the range key. Raises `AwsError`."""
    tests: dict[str, _Test] = {}
    for test in _Binder(scope).tests(node):
        if test.attribute in tests:
            raise _error("KeyConditionExpressions must only contain one condition per key")
        tests[test.attribute] = test
    _check_attributes(tests, [name for name, _ in keys])
    for name, kind in keys:
        for operand in tests[name].operands if name in tests else ():
            if type_of(operand) != kind:
                raise invalid_parameters("Condition parameter type does not match schema type")
    hash_test = tests.pop(keys[0][0])
    if hash_test.operator != "=":
        raise invalid(_UNSUPPORTED)
    if not tests:
        return KeyCondition(hash_test.operands[0])
    (range_test,) = tests.values()
    return KeyCondition(hash_test.operands[0], range_test.operator, range_test.operands)


def _check_attributes(tests: Mapping[str, _Test], names: Sequence[str]) -> None:
    """The hash key must be tested, and beside it nothing but the range key."""
    if len(tests) > 2:
        raise invalid("Conditions can be of length 1 or 2 only")
    if names[0] not in tests:
        raise invalid(f"Query condition missed key schema element: {names[0]}")
    if len(tests) == 2:
        if len(names) == 1:
            raise invalid(_UNSUPPORTED)
        if names[1] not in tests:
            raise invalid(f"Query condition missed key schema element: {names[1]}")


class _Binder:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._conditions = ConditionBinder(scope, _KIND)

    def tests(self, node: Node) -> list[_Test]:
        match node:
            case Logic("AND", conditions):
                return [test for condition in conditions for test in self.tests(condition)]
            case Compare(symbol, left, right) if symbol != "<>":
                if isinstance(left, ValueRef):
                    return [self._test(right, _MIRRORED[symbol], left)]
                return [self._test(left, symbol, right)]
            case Between(operand, low, high):
                return [self._test(operand, "BETWEEN", low, high)]
            case Call("begins_with", (first, second)):
                self._conditions.bind(node)
                return [self._test(first, "begins_with", second)]
        # A malformed function call is told first.
        self._conditions.bind(node)
        raise _error(f"Invalid operator used in KeyConditionExpression: {_operator(node)}")

    def _test(self, path: Node, operator: str, *values: Node) -> _Test:
        if not isinstance(path, Path):
            if isinstance(path, Call):
                raise _error("KeyConditionExpressions cannot contain nested operations")
            raise _error(
                "Invalid condition in KeyConditionExpression:"
                f" {operator} operator must have one operand that is a key attribute"
            )
        resolved = self._scope.path(path, _KIND)
        if len(resolved) > 1:
            raise _error("KeyConditionExpressions cannot have conditions on nested attributes")
        operands = []
        for value in values:
            if isinstance(value, Call):
                raise _error("KeyConditionExpressions cannot contain nested operations")
            if not isinstance(value, ValueRef):
                raise _error(
                    "Invalid condition in KeyConditionExpression:"
                    " Multiple attribute names used in one condition"
                )
            operands.append(self._scope.value(value, _KIND))
        if operator == "BETWEEN":
            self._conditions.check_bounds(*operands)
        return _Test(str(resolved[0]), operator, tuple(operands))


def _operator(node: Node) -> str:
    match node:
        case Logic(symbol, _) | Compare(symbol, _, _) | Call(symbol, _):
            return symbol
        case Not():
            return "NOT"
    return "IN"


def _error(detail: str) -> AwsError:
    return invalid(f"Invalid {_KIND}: {detail}")
