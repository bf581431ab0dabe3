"""An event as patterns see it: its leaves by dotted path, each with the array elements that it lies in."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

Leaf: TypeAlias = tuple[Any, dict[str, int]]
"""A value without members, and the element of each array that it lies in."""
Leaves: TypeAlias = dict[str, list[Leaf]]
"""Leaves by path. A path leads to several where there are arrays."""


def ways_to(path: str) -> Iterator[str]:
    """A path and its beginnings: names may be empty, and may themselves have dots in them."""
    yield ""
    at = -1
    while (at := path.find(".", at + 1)) >= 0:
        yield path[:at]
    yield path


def flatten(event: Mapping[str, Any], ways: Collection[str]) -> Leaves:
    """An event, as parsed JSON, by the paths of its leaves; only those that lie on some ways."""
    leaves: Leaves = {}
    _flatten(event, "", {}, "", ways, leaves)
    return leaves


def _flatten(
    value: Any,
    path: str,
    place: dict[str, int],
    where: str,
    ways: Collection[str],
    leaves: Leaves,
) -> None:
    """Add the leaves of a JSON value. `place` tells the element of each array on the way to it."""
    kind = value.__class__
    if kind is dict:
        start = f"{path}." if path else ""
        for key, member in value.items():
            below = start + key
            if below not in ways:
                continue
            if member.__class__ is dict or member.__class__ is list:
                _flatten(member, below, place, f"{where}.{key}", ways, leaves)
            else:
                leaves.setdefault(below, []).append((member, place))
    elif kind is list:
        for index, element in enumerate(value):
            _flatten(element, path, {**place, where: index}, f"{where}[{index}]", ways, leaves)
    else:
        leaves.setdefault(path, []).append((value, place))
