"""Projections: the parts of an item that some paths lead to."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from penstock.core.dynamo_value import Item, Value
from penstock.core.expression.node import DocumentPath, Path
from penstock.core.expression.path import check_apart, step
from penstock.core.expression.scope import Scope

Tree: TypeAlias = dict[str | int, Any]
"""Path elements to the trees below them; an empty tree is the end of a path and means all that is there."""


def bind_projection(
    paths: Sequence[Path], scope: Scope, kind: str = "ProjectionExpression"
) -> Tree:
    """The tree of a projection's paths. Raises `AwsError` when they overlap."""
    resolved = [scope.path(path, kind) for path in paths]
    check_apart(resolved, kind)
    return path_tree(resolved)


def path_tree(paths: Iterable[DocumentPath]) -> Tree:
    """Paths that do not overlap, as one tree."""
    root: Tree = {}
    for path in paths:
        tree = root
        for part in path:
            tree = tree.setdefault(part, {})
    return root


def project(item: Item, tree: Tree) -> Item:
    """The item with only what the tree leads to; list elements move together."""
    projected: Item = {}
    for name, below in tree.items():
        value = item.get(str(name))
        if value is not None:
            part = _project(value, below)
            if part is not None:
                projected[str(name)] = part
    return projected


def _project(value: Value, tree: Tree) -> Value | None:
    if not tree:
        return value
    # AWS: elements come in the order of the list, not of the expression (recorded by dynalite).
    ordered = sorted(tree, key=lambda part: part if isinstance(part, int) else 0)
    found: list[tuple[str | int, Value]] = []
    for part in ordered:
        element = step(value, part)
        inner = None if element is None else _project(element, tree[part])
        if inner is not None:
            found.append((part, inner))
    if not found:
        return None
    if isinstance(ordered[0], int):
        return {"L": [element for _, element in found]}
    return {"M": {str(name): element for name, element in found}}
