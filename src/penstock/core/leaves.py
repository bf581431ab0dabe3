"""An event as patterns see it: its leaves by dotted path, each with the array elements that it lies in."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

Leaf: TypeAlias = tuple[Any, dict[str, int]]
"""A value without members, and the element of each array that it lies in."""
_CONTAINERS: Final[frozenset[type]] = frozenset({dict, list})
Leaves: TypeAlias = dict[str, list[Leaf]]
"""Leaves by path. A path leads to several where there are arrays."""


def ways_to(path: str) -> Iterator[str]:
    """A path and its beginnings: names may be empty, and may themselves have dots in them."""
    yield ""
    at = -1
    while (at := path.find(".", at + 1)) >= 0:
        yield path[:at]
    yield path


class Ways:
    """The ways to some paths, compiled: under each beginning, the names that lead on and where to."""

    __slots__ = ("below",)

    def __init__(self, ways: Iterable[str]) -> None:
        """`ways` has every path with all its beginnings."""
        self.below: dict[str, dict[str, str]] = {}
        for way in ways:
            for start in ways_to(way):
                if not start:
                    self.below.setdefault(start, {})[way] = way
                elif start != way:
                    self.below.setdefault(start, {})[way[len(start) + 1 :]] = way


def flatten(event: Mapping[str, Any], ways: Ways) -> Leaves:
    """An event, as parsed JSON, by the paths of its leaves; only those that lie on some ways."""
    leaves: Leaves = {}
    _flatten(event, "", {}, "", ways.below, leaves)
    return leaves


def _flatten(
    value: Any,
    path: str,
    place: dict[str, int],
    where: str,
    below: Mapping[str, Mapping[str, str]],
    leaves: Leaves,
) -> None:
    """Add the leaves of a JSON value. `place` tells the element of each array on the way to it."""
    kind = value.__class__
    if kind is dict:
        known = below.get(path)
        if known is None:
            return
        # Looks through what is shorter: what somebody asks for, or what is there.
        for key in known.keys() & value.keys():
            member, way = value[key], known[key]
            if member.__class__ in _CONTAINERS:
                _flatten(member, way, place, f"{where}.{key}", below, leaves)
            elif way in leaves:
                leaves[way].append((member, place))
            else:
                leaves[way] = [(member, place)]
    elif kind is list:
        for index, element in enumerate(value):
            _flatten(element, path, {**place, where: index}, f"{where}[{index}]", below, leaves)
    else:
        leaves.setdefault(path, []).append((value, place))
