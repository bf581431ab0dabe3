"""The index finds what trying every pattern finds, whatever the patterns ask for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.pattern import PatternError, compile_pattern
from penstock.core.pattern_index import PatternIndex

TEXT = st.sampled_from(["", "a", "ab", "abc", "b", "ba", "A"])
SCALAR = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from([1.0, 2.5]) | TEXT
LEAF = st.one_of(
    SCALAR,
    st.fixed_dictionaries({"prefix": TEXT}),
    st.fixed_dictionaries({"suffix": TEXT}),
    st.fixed_dictionaries({"equals-ignore-case": TEXT}),
    st.fixed_dictionaries({"wildcard": st.sampled_from(["a*", "*b", "a*c", "*", "\\\\*a", "ab"])}),
    st.fixed_dictionaries({"anything-but": TEXT}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.just({"numeric": [">", 1]}),
    st.just({"prefix": {"equals-ignore-case": "A"}}),
)
FIELDS = st.dictionaries(
    st.sampled_from("xyz"), st.lists(LEAF, min_size=1, max_size=2), min_size=1, max_size=2
)
PATTERN = FIELDS | st.fixed_dictionaries({"$or": st.lists(FIELDS, min_size=2, max_size=3)})
EVENT = st.dictionaries(st.sampled_from("xyz"), SCALAR | st.lists(SCALAR, max_size=3), max_size=3)


@given(st.lists(PATTERN, max_size=6), EVENT)
def test_finds_what_trying_all_finds(sources: list[Any], event: dict[str, Any]) -> None:
    """An index may only save work."""
    compiled = []
    for source in sources:
        try:
            compiled.append(compile_pattern(json.dumps(source)))
        except PatternError:
            continue
    index = PatternIndex([(pattern, number) for number, pattern in enumerate(compiled)])
    expected = [number for number, pattern in enumerate(compiled) if pattern.matches(event)]
    assert expected == index.find(event)


@pytest.mark.parametrize(
    "leaf",
    [
        lambda n: f"k{n}",
        lambda n: {"prefix": f"k{n}-"},
        lambda n: {"suffix": f"-{n}k"},
        lambda n: {"wildcard": f"k{n}-*k"},
    ],
)
def test_a_thousand_patterns_are_not_tried_one_by_one(leaf: Any) -> None:
    """Only those are tried that the event's own values lead to."""
    tried = []

    class Tried:
        def __init__(self, number: int) -> None:
            self._pattern = compile_pattern({"source": ["s"], "detail": {"kind": [leaf(number)]}})
            self.number = number
            self.demands = self._pattern.demands
            self.ways = self._pattern.ways

        def matches_leaves(self, leaves: Any) -> bool:
            tried.append(self.number)
            return self._pattern.matches_leaves(leaves)

    index: PatternIndex[int] = PatternIndex([(Tried(n), n) for n in range(1000)])  # type: ignore[misc]
    for kind in ("k7", "k7-7k", "other"):
        index.find({"source": "s", "detail": {"kind": kind}})
    assert {7} == set(tried)
