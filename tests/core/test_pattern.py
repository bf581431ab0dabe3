"""Event patterns against verdicts recorded from AWS and, where present, the vectors of aws/event-ruler."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.pattern import PatternError, compile_pattern

ROOT = Path(__file__).resolve().parents[2]
SUITES = Path(os.environ.get("PENSTOCK_SUITES", ROOT.parent / "shared" / "suites"))
VECTORS = SUITES / "event-ruler" / "vectors.jsonl"


def verdict(pattern: Any, event: Any) -> bool:
    return compile_pattern(json.dumps(pattern)).matches(event)


@pytest.mark.parametrize(
    ("leaf", "event", "expected"),
    [
        ([{"anything-but": "x"}], {}, False),
        ([{"anything-but": "x"}], {"f": None}, True),
        ([{"anything-but": {"prefix": "init"}}], {"f": 12}, True),
        ([{"anything-but": 0}], {"f": 789}, True),
        ([{"anything-but": {"wildcard": ""}}], {"f": "dir/init/file"}, True),
        ([{"exists": True}], {"f": []}, False),
        ([{"exists": False}], {}, True),
        ([{"exists": True}], {"f": {"g": 1}}, False),
        ([{"wildcard": ""}], {"f": "x"}, False),
        ([{"wildcard": "a*c"}], {"f": "abbc"}, True),
        ([{"wildcard": "a\\*c"}], {"f": "abc"}, False),
        ([{"prefix": ""}], {"f": "x"}, True),
        ([{"prefix": {"equals-ignore-case": "AB"}}], {"f": "abc"}, True),
        ([{"suffix": "c"}], {"f": "abc"}, True),
        ([{"equals-ignore-case": ""}], {"f": ""}, True),
        ([{"numeric": [">", 100]}], {"f": "300"}, False),
        ([{"numeric": [">", 100]}], {"f": None}, False),
        ([{"numeric": [">", 0, "<=", 5]}], {"f": 5}, True),
        ([300], {"f": 300.0}, True),
        ([300], {"f": "300"}, False),
        ([1], {"f": True}, False),
        ([None], {"f": []}, False),
        ([None], {"f": "null"}, False),
        ([None], {"f": None}, True),
        ([""], {"f": ""}, True),
        ([{"cidr": "10.0.0.0/24"}], {"f": 123}, False),
        ([{"cidr": "10.0.0.0/24"}], {"f": "10.0.0.7"}, True),
    ],
)
def test_leaf(leaf: Any, event: Any, expected: bool) -> None:
    """Each verdict was recorded from TestEventPattern."""
    assert expected == verdict({"f": leaf}, event)


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"state": {"status": ["running"]}}, {"state.status": "running"}, True),
        ({"state.status": ["running"]}, {"state": {"status": "running"}}, True),
        ({"state": {"status": ["running"]}}, {"state.status": {"status": "running"}}, False),
        ({"": {"b": [1]}}, {"": {"b": 1}}, True),
        ({"id": [{"exists": True}]}, [], False),
        ({"a": {"b": [1], "c": [2]}}, {"a": [{"b": 1, "c": 3}, {"b": 4, "c": 2}]}, False),
        ({"a": {"b": [1], "c": [2]}}, {"a": [{"b": 1, "c": 2}, {"b": 4, "c": 3}]}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}], "c": [3]}, {"b": 2, "c": 3}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}], "c": [3]}, {"b": 2}, False),
    ],
)
def test_structure(pattern: Any, event: Any, expected: bool) -> None:
    """Paths join by dots, the objects of one array must agree, and `$or` stands beside other fields."""
    assert expected == verdict(pattern, event if isinstance(event, dict) else {})


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ({"a": "x"}, '"a" must be an object or an array'),
        ({"a": []}, "Empty arrays are not allowed"),
        ({"a": [{"foo": 1}]}, "Unrecognized match type foo"),
        ({"a": [{"prefix": 3}]}, "prefix match pattern must be a string"),
        ({"a": [{"prefix": "a", "suffix": "b"}]}, "Only one key allowed in match expression"),
        ({"a": [{"wildcard": "a**"}]}, "Consecutive wildcard characters at pos 2"),
        (
            {"a": [{"wildcard": "*:*:*:*:*:x"}]},
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character",
        ),
        ({"a": [{"numeric": [">", 0, "<"]}]}, "Value of < must be numeric"),
        ({"a": [{"anything-but": {"prefix": 1}}]}, "prefix/suffix match pattern must be a string"),
        (
            {"a": [{"anything-but": None}]},
            "Value of anything-but must be an array or single string/number value.",
        ),
        (
            {"a": [{"anything-but": [None]}]},
            "Inside anything but list, start|null|boolean is not supported.",
        ),
        ({"a": [{"cidr": "foo"}]}, "Malformed CIDR, one '/' required"),
        ([1], "Filter is not an object"),
    ],
)
def test_reason(pattern: Any, reason: str) -> None:
    """Whoever puts a rule is told what AWS tells."""
    with pytest.raises(PatternError) as caught:
        compile_pattern(json.dumps(pattern))
    assert reason == str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from("abc$"), x, max_size=3),
        max_leaves=8,
    )
)
def test_never_crashes(document: Any) -> None:
    """A pattern from outside compiles or is refused with a reason, and what compiles has a verdict."""
    try:
        pattern = compile_pattern(json.dumps(document))
    except PatternError as error:
        assert str(error)
        return
    assert pattern.matches({"a": [{"b": 1}], "c": None}) in (True, False)


@pytest.mark.skipif(not VECTORS.exists(), reason="PENSTOCK_SUITES does not have the vectors")
def test_event_ruler_vectors() -> None:
    """All but six, whose verdicts are of the deprecated `Ruler.matches`: it does not join names by dots.

    For the same six, event-ruler's machine, which EventBridge runs, says that they match.
    """
    wrong = []
    for line in VECTORS.read_text().splitlines():
        vector = json.loads(line)
        try:
            pattern = compile_pattern(vector["pattern"])
        except PatternError:
            got = False
        else:
            got = vector["kind"] == "pattern" or pattern.matches(json.loads(vector["event"]))
        if got != vector["valid" if vector["kind"] == "pattern" else "matches"]:
            wrong.append((vector["source"], "detail.state" in json.loads(vector["event"]), got))
    deprecated = "RulerTest.WHEN_RulesFromReadmeAreTried_THEN_TheyWork"
    assert [(deprecated, True, True)] * 6 == wrong
