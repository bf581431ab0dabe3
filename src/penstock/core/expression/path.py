"""Reading items by document path."""

from collections.abc import Sequence

from penstock.core.dynamo_value import Item, Value, invalid
from penstock.core.expression.node import DocumentPath, shown


def read(item: Item, path: DocumentPath) -> Value | None:
    """The value at a path; None where it leads nowhere."""
    value: Value | None = {"M": item}
    for part in path:
        value = step(value, part) if value is not None else None
    return value


def step(value: Value, part: str | int) -> Value | None:
    """An element of a map or list."""
    if isinstance(part, str):
        elements = value.get("M")
        found: Value | None = elements.get(part) if elements is not None else None
        return found
    items: list[Value] = value.get("L", [])
    return items[part] if part < len(items) else None


def check_apart(paths: Sequence[DocumentPath], kind: str) -> None:
    """Refuse paths of which one lies within another, or that take one thing for both a list and a map."""
    if len(paths) == 1:
        return
    for at, later in enumerate(paths):
        for earlier in paths[:at]:
            problem = _clash(earlier, later)
            if problem:
                raise invalid(
                    f"Invalid {kind}: Two document paths {problem} with each other; must remove or rewrite"
                    f" one of these paths; path one: {shown(earlier)}, path two: {shown(later)}"
                )


def _clash(one: DocumentPath, other: DocumentPath) -> str | None:
    for left, right in zip(one, other, strict=False):
        if isinstance(left, int) != isinstance(right, int):
            return "conflict"
        if left != right:
            return None
    return "overlap"
