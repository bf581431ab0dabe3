"""Many patterns at once: those that an event may match are found by its values, not by trying each.

Every alternative of a pattern is filed under one path that it demands: by the values that may be there, or what they
begin or end with, where the pattern tells; or else by the path alone. What demands nothing is tried with every event.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from penstock.core.leaves import Ways, flatten
from penstock.core.pattern import Demand, Pattern

_Owner = TypeVar("_Owner")


class _Path:
    """What is filed under one path: numbers of patterns."""

    __slots__ = ("always", "edges", "heads", "tails", "values")

    def __init__(self) -> None:
        self.always: list[int] = []
        self.values: dict[Any, list[int]] = {}
        self.heads: dict[int, dict[str, list[int]]] = {}
        """By length, then by text."""
        self.tails: dict[int, dict[str, list[int]]] = {}
        self.edges = False
        """Whether there are heads or tails."""

    def file(self, number: int, demand: Demand) -> None:
        if demand.values is not None:
            for value in demand.values:
                self.values.setdefault(value, []).append(number)
        elif demand.heads is not None:
            self.edges = True
            for head in demand.heads:
                self.heads.setdefault(len(head), {}).setdefault(head, []).append(number)
        elif demand.tails is not None:
            self.edges = True
            for tail in demand.tails:
                self.tails.setdefault(len(tail), {}).setdefault(tail, []).append(number)
        else:
            self.always.append(number)

    def find_edges(self, value: Any, candidates: set[int]) -> None:
        """Add those that a leaf may pass by its beginning or its end."""
        if isinstance(value, str):
            for length, heads in self.heads.items():
                candidates.update(heads.get(value[:length], ()))
            for length, tails in self.tails.items():
                candidates.update(tails.get(value[-length:], ()))


def _places(demand: Demand) -> Iterator[tuple[str, str, Any]]:
    """Where a demand would be filed."""
    for kind in ("values", "heads", "tails"):
        found = getattr(demand, kind)
        if found is not None:
            return ((demand.path, kind, one) for one in found)
    return iter([(demand.path, "", None)])


class PatternIndex(Generic[_Owner]):
    """Patterns and whose they are; `find(event)` gives the owners of those that match, in the order they came in."""

    def __init__(self, patterns: Iterable[tuple[Pattern, _Owner]]) -> None:
        self._entries = list(patterns)
        self._paths: dict[str, _Path] = {}
        self._always: list[int] = []
        self._ways = Ways({way for pattern, _ in self._entries for way in pattern.ways})
        demands = [pattern.demands() for pattern, _ in self._entries]
        # How many would be found in the same place.
        company = Counter(
            place
            for alternatives in demands
            for alternative in alternatives
            for demand in alternative
            for place in _places(demand)
        )
        for number, alternatives in enumerate(demands):
            for alternative in alternatives:
                if not alternative:
                    self._always.append(number)
                    continue
                demand = min(alternative, key=lambda one: sum(company[at] for at in _places(one)))
                self._paths.setdefault(demand.path, _Path()).file(number, demand)

    def find(self, event: Mapping[str, Any]) -> list[_Owner]:
        """The owners of the patterns that an event, as parsed JSON, matches."""
        leaves = flatten(event, self._ways)
        candidates = set(self._always)
        paths = self._paths
        for path in paths.keys() & leaves.keys():
            filed = paths[path]
            candidates.update(filed.always)
            for value, _ in leaves[path]:
                if value in filed.values:
                    candidates.update(filed.values[value])
                if filed.edges:
                    filed.find_edges(value, candidates)
        if not candidates:
            return []
        entries = map(self._entries.__getitem__, sorted(candidates))
        return [owner for pattern, owner in entries if pattern.matches_leaves(leaves)]
