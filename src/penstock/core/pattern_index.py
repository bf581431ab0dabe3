"""Many patterns at once: those that an event may match are found by its values, not by trying each.

Every alternative of a pattern is filed under one path that it demands: by the values that may be there, where the
pattern names them, or else by the path alone. What demands nothing is tried with every event.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

from penstock.core.pattern import Leaves, Pattern

_Owner = TypeVar("_Owner")
_Demand = tuple[str, tuple[Any, ...] | None]
# A path alone tells events apart less well than a value does.
_PATH_ALONE: Final = 1_000_000


class PatternIndex(Generic[_Owner]):
    """Patterns and whose they are; `find(leaves)` gives the owners of those that match, in the order they came in."""

    def __init__(self, patterns: Iterable[tuple[Pattern, _Owner]]) -> None:
        self._entries = list(patterns)
        self._by_value: dict[str, dict[Any, list[int]]] = {}
        self._by_path: dict[str, list[int]] = {}
        self._always: list[int] = []
        demands = [pattern.demands() for pattern, _ in self._entries]
        shared = Counter(
            (path, value)
            for alternatives in demands
            for alternative in alternatives
            for path, values in alternative
            for value in values or ()
        )
        for number, alternatives in enumerate(demands):
            for alternative in alternatives:
                self._file(number, alternative, shared)

    def _file(
        self, number: int, alternative: list[_Demand], shared: Counter[tuple[str, Any]]
    ) -> None:
        """File an alternative where the fewest others are."""

        def company(demand: _Demand) -> int:
            path, values = demand
            return _PATH_ALONE if values is None else sum(shared[path, value] for value in values)

        if not alternative:
            self._always.append(number)
            return
        path, values = min(alternative, key=company)
        if values is None:
            self._by_path.setdefault(path, []).append(number)
            return
        for value in values:
            self._by_value.setdefault(path, {}).setdefault(value, []).append(number)

    def find(self, leaves: Leaves) -> list[_Owner]:
        """The owners of the patterns that an event matches."""
        candidates = set(self._always)
        for path, found in leaves.items():
            candidates.update(self._by_path.get(path, ()))
            by_value = self._by_value.get(path)
            if by_value is not None:
                for value, _ in found:
                    candidates.update(by_value.get(value, ()))
        entries = self._entries
        return [
            entries[number][1]
            for number in sorted(candidates)
            if entries[number][0].matches_leaves(leaves)
        ]
