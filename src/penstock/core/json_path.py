"""JSONPath, as far as mapping templates use it: names, indices, slices of one step, `*` and `..`.

A path is compiled once. A definite path has one value; an indefinite one (`*`, `..`, a slice) has the list of its matches.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, TypeAlias

Step: TypeAlias = Callable[[list[Any]], list[Any]]

_STEP: Final = re.compile(
    r"\.\.(?P<deep>[\w-]+|\*)"
    r"|\.(?P<name>[^.\[\]'\"()?@\s]+)"
    r"|\[\s*'(?P<single>(?:[^'\\]|\\.)*)'\s*\]"
    r"|\[\s*\"(?P<double>(?:[^\"\\]|\\.)*)\"\s*\]"
    r"|\[\s*(?P<index>-?\d+)\s*\]"
    r"|\[\s*(?P<low>-?\d*)\s*:\s*(?P<high>-?\d*)\s*\]"
    r"|\[\s*(?P<all>\*)\s*\]"
)


class PathError(ValueError):
    """The path is not one that is understood."""


class Missing:
    """The type of `MISSING`, which a definite path without a value gives."""


MISSING: Final = Missing()


class JsonPath:
    """A compiled path: `find(document)`."""

    __slots__ = ("_definite", "_steps")

    def __init__(self, steps: list[Step], definite: bool) -> None:
        self._steps = steps
        self._definite = definite

    def find(self, document: Any) -> Any:
        """The value, `MISSING`, or the list of matches of an indefinite path."""
        found = [document]
        for step in self._steps:
            found = step(found)
            if not found:
                break
        if self._definite:
            return found[0] if found else MISSING
        return found


@lru_cache(maxsize=4096)
def compile_path(text: str) -> JsonPath:
    """Compile a path; `$` and the dot after it may be left out. Raises PathError."""
    rest = text.strip()
    rest = rest[1:] if rest.startswith("$") else f".{rest}"
    steps: list[Step] = []
    definite = True
    at = 0
    while at < len(rest):
        match = _STEP.match(rest, at)
        if match is None:
            raise PathError(f"Invalid JSON path: {text}")
        step, single = _step(match)
        steps.append(step)
        definite = definite and single
        at = match.end()
    return JsonPath(steps, definite)


def _step(match: "re.Match[str]") -> tuple[Step, bool]:
    kind = match.lastgroup
    if kind == "index":
        return _index(int(match["index"])), True
    if kind == "all" or match["name"] == "*":
        return _all, False
    if kind == "deep":
        return _deep(match["deep"]), False
    if kind in ("low", "high"):
        return _slice(match["low"], match["high"]), False
    name = match["name"] or re.sub(r"\\(.)", r"\1", match["single"] or match["double"] or "")
    return _name(name), True


def _name(name: str) -> Step:
    return lambda found: [item[name] for item in found if isinstance(item, dict) and name in item]


def _index(index: int) -> Step:
    return lambda found: [
        item[index] for item in found if isinstance(item, list) and -len(item) <= index < len(item)
    ]


def _slice(low: str, high: str) -> Step:
    part = slice(int(low) if low else None, int(high) if high else None)
    return lambda found: [each for item in found if isinstance(item, list) for each in item[part]]


def _all(found: list[Any]) -> list[Any]:
    return [each for item in found for each in _children(item)]


def _deep(name: str) -> Step:
    def step(found: list[Any]) -> list[Any]:
        nodes = [node for item in found for node in _descendants(item)]
        if name == "*":
            return _all(nodes)
        return [node[name] for node in nodes if isinstance(node, dict) and name in node]

    return step


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _descendants(node: Any) -> Iterator[Any]:
    yield node
    for child in _children(node):
        yield from _descendants(child)
