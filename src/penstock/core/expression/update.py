"""Updates: a parsed update becomes a function from an item to the item that replaces it."""

from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias

from penstock.core.dynamo_value import (
    SETS,
    Item,
    Value,
    add_numbers,
    copy_value,
    invalid,
    invalid_parameters,
    type_of,
)
from penstock.core.errors import AwsError
from penstock.core.expression.node import (
    Arithmetic,
    Call,
    DocumentPath,
    Node,
    Path,
    UpdateNode,
    ValueRef,
)
from penstock.core.expression.path import check_apart, read, step
from penstock.core.expression.scope import Scope

_Source: TypeAlias = Callable[[Item], Value]
_Target: TypeAlias = tuple[DocumentPath, Callable[[Value | None], Value | None]]

_KIND: Final = "UpdateExpression"
_NAMES: Final = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "L": "LIST",
    "M": "MAP",
}


class Update:
    """A bound update. Everything it reads is of the item before any of its changes."""

    def __init__(self, node: UpdateNode, scope: Scope, keys: Collection[str]) -> None:
        binder = _Binder(scope, keys)
        self._set = [(binder.path(path), binder.source(source)) for path, source in node.set]
        self._remove = [binder.path(path) for path in node.remove]
        self._combine: list[_Target] = [
            *((binder.path(path), binder.adder(value)) for path, value in node.add),
            *((binder.path(path), binder.deleter(value)) for path, value in node.delete),
        ]
        self.paths: list[DocumentPath] = [
            *(path for path, _ in self._set),
            *self._remove,
            *(path for path, _ in self._combine),
        ]
        check_apart(self.paths, _KIND)
        self._copied = {str(path[0]) for path in self.paths if len(path) > 1}
        """Attributes of which the update changes a part."""
        self._indexes = any(isinstance(path[-1], int) for path in self.paths)

    def apply(self, item: Item) -> Item:
        """The item that replaces `item`, which is left as it is. Raises `AwsError`."""
        values: list[tuple[DocumentPath, Value | None]] = [
            (path, source(item)) for path, source in self._set
        ]
        if self._indexes:
            # What lies beyond the end of a list is appended in the order of the indexes.
            values.sort(key=lambda entry: entry[0][-1] if isinstance(entry[0][-1], int) else -1)
        values += [(path, combine(read(item, path))) for path, combine in self._combine]
        updated = dict(item)
        for name in self._copied:
            if name in updated:
                updated[name] = copy_value(updated[name])
        removed = self._remove.copy()
        for path, value in values:
            if value is None:
                removed.append(path)
            else:
                _store(updated, path, value)
        if self._indexes:
            # Later elements first: what is removed must not move what is yet to be.
            removed.sort(key=lambda path: -path[-1] if isinstance(path[-1], int) else 0)
        for path in removed:
            _remove(updated, path)
        return updated


def bind_update(node: UpdateNode, scope: Scope, keys: Collection[str]) -> Update:
    """The update with its names and values. `keys` are the attributes it may not touch. Raises `AwsError`."""
    return Update(node, scope, keys)


class _Binder:
    def __init__(self, scope: Scope, keys: Collection[str]) -> None:
        self._scope = scope
        self._keys = keys

    def path(self, node: Path) -> DocumentPath:
        path = self._scope.path(node, _KIND)
        if path[0] in self._keys:
            raise invalid_parameters(
                f"Cannot update attribute {path[0]}. This attribute is part of the key"
            )
        return path

    def source(self, node: Node) -> _Source:
        match node:
            case ValueRef():
                self._scope.value(node, _KIND)
                values, name = self._scope.values, node.name
                return lambda _: values[name]
            case Path():
                path = self._scope.path(node, _KIND)
                return lambda item: _present(read(item, path))
            case Arithmetic(symbol, left, right):
                self._check_types(symbol, (left, right), "N")
                augend, addend = self.source(left), self.source(right)
                sign = 1 if symbol == "+" else -1
                return lambda item: {
                    "N": add_numbers(_content(augend(item), "N"), _content(addend(item), "N"), sign)
                }
            case Call():
                return self._function(node)
        raise AssertionError(node)

    def _function(self, node: Call) -> _Source:
        function, operands = node.function, node.operands
        if function not in ("if_not_exists", "list_append"):
            known = ("attribute_exists", "attribute_not_exists", "attribute_type", "begins_with")
            if function in (*known, "contains", "size"):
                raise _error(
                    f"The function is not allowed in an update expression; function: {function}"
                )
            raise _error(f"Invalid function name; function: {function}")
        if len(operands) != 2:
            raise _error(
                "Incorrect number of operands for operator or function; operator or function:"
                f" {function}, number of operands: {len(operands)}"
            )
        first, second = operands
        if function == "if_not_exists":
            if not isinstance(first, Path):
                raise _error(
                    "Operator or function requires a document path;"
                    " operator or function: if_not_exists"
                )
            path = self._scope.path(first, _KIND)
            default = self.source(second)
            return lambda item: read(item, path) or default(item)
        self._check_types("list_append", operands, "L")
        head, tail = self.source(first), self.source(second)
        return lambda item: {"L": [*_content(head(item), "L"), *_content(tail(item), "L")]}

    def _check_types(self, function: str, operands: tuple[Node, ...], wanted: str) -> None:
        for operand in operands:
            if isinstance(operand, ValueRef):
                kind = type_of(self._scope.value(operand, _KIND))
                if kind != wanted:
                    raise _error(
                        "Incorrect operand type for operator or function;"
                        f" operator or function: {function}, operand type: {kind}"
                    )

    def adder(self, node: Node) -> Callable[[Value | None], Value | None]:
        """ADD: the sum of numbers, the union of sets."""
        kind, operand = self._operand("ADD", node, ("N", *SETS))

        def add(found: Value | None) -> Value:
            content = operand()
            if found is None:
                return {kind: content}
            current = _content(found, kind)
            if kind == "N":
                return {"N": add_numbers(current, content)}
            return {kind: [*current, *(element for element in content if element not in current)]}

        return add

    def deleter(self, node: Node) -> Callable[[Value | None], Value | None]:
        """DELETE: the difference of sets; None when nothing is left."""
        kind, operand = self._operand("DELETE", node, tuple(SETS))

        def delete(found: Value | None) -> Value | None:
            if found is None:
                return None
            content = operand()
            left = [element for element in _content(found, kind) if element not in content]
            return {kind: left} if left else None

        return delete

    def _operand(
        self, operator: str, node: Node, allowed: tuple[str, ...]
    ) -> tuple[str, Callable[[], Any]]:
        """The type of a value, and what finds its content."""
        assert isinstance(node, ValueRef)
        (kind,) = self._scope.value(node, _KIND)
        if kind not in allowed:
            raise _error(
                f"Incorrect operand type for operator or function; operator: {operator},"
                f" operand type: {_NAMES[kind]}, typeSet: ALLOWED_FOR_{operator}_OPERAND"
            )
        values, name = self._scope.values, node.name
        return kind, lambda: values[name][kind]


def _error(detail: str) -> AwsError:
    return invalid(f"Invalid {_KIND}: {detail}")


def _present(value: Value | None) -> Value:
    if value is None:
        raise invalid(
            "The provided expression refers to an attribute that does not exist in the item"
        )
    return value


def _content(value: Value, kind: str) -> Any:
    if kind not in value:
        raise invalid("An operand in the update expression has an incorrect data type")
    return value[kind]


def _parent(item: Item, path: DocumentPath) -> Any:
    """The map or list that holds the last element of a path."""
    if len(path) == 1:
        return item
    value: Value | None = {"M": item}
    for part in path[:-1]:
        value = step(value, part) if value is not None else None
    holder = None if value is None else value.get("L" if isinstance(path[-1], int) else "M")
    if holder is None:
        raise invalid("The document path provided in the update expression is invalid for update")
    return holder


def _store(item: Item, path: DocumentPath, value: Value) -> None:
    holder, last = _parent(item, path), path[-1]
    if isinstance(last, int) and last >= len(holder):
        holder.append(value)
    else:
        holder[last] = value


def _remove(item: Item, path: DocumentPath) -> None:
    holder, last = _parent(item, path), path[-1]
    if isinstance(last, str):
        holder.pop(last, None)
    elif last < len(holder):
        del holder[last]
