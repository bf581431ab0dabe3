"""The input transformer, by deliveries recorded from AWS and by what must hold for every event."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.input_transformer import TransformError, compile_transformer

EVENT = {
    "time": "2026-01-02T03:04:05Z",
    "detail": {
        "id": "0a78",
        "payload": {"acc_id": "0a78", "sf_id": "baz"},
        "one": ["HIGH"],
        "many": ["ACTIVE", "INACTIVE"],
        "valid": True,
        "large": 2**70,
    },
}
PATHS = {name: f"$.detail.{name}" for name in (*EVENT["detail"], "nothing")}  # type: ignore[misc]


def transformed(template: str, event: Any = EVENT, paths: dict[str, str] = PATHS) -> str:
    return compile_transformer(template, paths).apply(event, {}).decode()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"id" : <id>}', '{"id" : "0a78"}'),
        ('{"id" : "<id>"}', '{"id" : "0a78"}'),
        ('{"p": "users/<id>/x/<id>"}', '{"p": "users/0a78/x/0a78"}'),
        ('{"b": <payload>}', '{"b": {"acc_id":"0a78","sf_id":"baz"}}'),
        ('{"b": [<id>, "fixed"]}', '{"b": ["0a78", "fixed"]}'),
        ('{"l": <one>}', '{"l": ["HIGH"]}'),
        ('"<payload> of <id>"', '"{acc_id:0a78,sf_id:baz} of 0a78"'),
        ('"<many> items"', '"[ACTIVE,INACTIVE] items"'),
        ('"Command is <valid>!"', '"Command is true!"'),
        ('"<nothing> here"', '" here"'),
        ('{"n": <nothing>}', '{"n": ""}'),
        ('"<one>"\n"<id> id"', '"[HIGH]"\n"0a78 id"'),
        ("<large>", str(2**70)),
    ],
)
def test_recorded(template: str, expected: str) -> None:
    """What AWS made of such templates."""
    assert expected == transformed(template)


@pytest.mark.parametrize(
    "template",
    ["<one> single list item", '{"payload": "<payload>"}', '{"l": "<one>"}', "{", "id is <id>"],
)
def test_what_does_not_become_json_is_not_delivered(template: str) -> None:
    """A target is never given half a document."""
    with pytest.raises(TransformError):
        transformed(template)


def test_a_placeholder_that_nobody_defines() -> None:
    """Found when the template is put, not when an event comes."""
    with pytest.raises(TransformError, match=r"^other$"):
        compile_transformer('"<other>"', {})


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(VALUE)
def test_a_value_in_a_document_stays_what_it_is(value: Any) -> None:
    """Whatever an event has in it cannot break out of its place in a document."""
    made = transformed('{"v": <v>}', {"detail": {"v": value}}, {"v": "$.detail.v"})
    assert {"v": value} == json.loads(made)


@given(st.text())
def test_a_text_in_a_string_stays_in_it(text: str) -> None:
    """Quotes and line breaks of an event cannot end the string that they stand in."""
    made = transformed('{"v": "is <v>."}', {"v": text}, {"v": "$.v"})
    assert {"v": f"is {text}."} == json.loads(made)
