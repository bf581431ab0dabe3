"""The leaves of an event that somebody looks at, against a walk through all of it."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.leaves import Ways, flatten, ways_to

NAMES = st.sampled_from(["a", "b", "", "a.b", ".", "b.a"])
SCALARS = st.sampled_from([None, True, 0, 1.5, "a"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=3).map(".".join), max_size=5)


def _all(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every leaf with its path."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _all(member, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for element in value:
            yield from _all(element, path)
    else:
        yield path, value


@given(EVENTS, PATHS)
def test_leaves_are_those_that_lie_on_the_ways(event: dict[str, Any], paths: set[str]) -> None:
    """Names may have dots in them and may be empty: a path may lead to several leaves."""
    ways = {way for path in paths for way in ways_to(path)}

    found = flatten(event, Ways(ways))

    known = [(path, repr(value)) for path, value in _all(event, "") if path in ways]
    told = [(path, repr(value)) for path, leaves in found.items() for value, _ in leaves]
    assert sorted(told) == sorted(known)


def test_elements_are_told_apart() -> None:
    """A leaf says in which elements of arrays it lies."""
    event = {"a": [{"b": 1}, {"b": [2, 3]}], "c": {"d": 4}}

    found = flatten(event, Ways({"", "a", "a.b", "c", "c.d"}))

    assert found == {
        "a.b": [(1, {".a": 0}), (2, {".a": 1, ".a[1].b": 0}), (3, {".a": 1, ".a[1].b": 1})],
        "c.d": [(4, {})],
    }
