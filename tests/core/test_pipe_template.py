"""Input templates of Pipes."""

import json
from typing import Any

import pytest

from penstock.core.pipe_template import compile_pipe_template, resolved

EVENT = {
    "messageId": "1",
    "body": '{"order": {"id": "a\\"b", "lines": [1, 2]}, "n": 5}',
    "attributes": {"SenderId": "me"},
}
RESERVED = {"aws.pipes.pipe-name": "p", "aws.pipes.event.ingestion-time": "2026-01-01T00:00:00Z"}


def applied(template: str, event: Any = EVENT) -> str:
    return compile_pipe_template(template).apply(event, RESERVED).decode()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"id": "<$.body.order.id>", "n": <$.body.n>}', {"id": 'a"b', "n": 5}),
        ('{"id": <$.body.order.id>, "lines": <$.body.order.lines>}', {"id": 'a"b', "lines": [1, 2]}),
        ('{"second": <$.body.order.lines[1]>}', {"second": 2}),
        ('{"from": "<aws.pipes.pipe-name>", "at": <aws.pipes.event.ingestion-time>}', {"from": "p", "at": "2026-01-01T00:00:00Z"}),
        ('{"all": <aws.pipes.event>}', {"all": EVENT}),
        ('{"gone": "<$.body.gone>", "too": <$.gone>}', {"gone": "", "too": ""}),
        ('"Hello, <$.attributes.SenderId>"', "Hello, me"),
        ("<$.body.order>", {"id": 'a"b', "lines": [1, 2]}),
    ],
)  # fmt: skip
def test_variables(template: str, expected: Any) -> None:
    """Values go into documents as what they are, and into strings as text."""
    assert expected == json.loads(applied(template))


def test_text_is_text() -> None:
    """A template need not be a document."""
    assert applied("Hello, sender") == "Hello, sender"


def test_body_that_is_no_json_is_a_string() -> None:
    """A queue's messages may be any text."""
    assert applied("<$.body>", {"body": "plain"}) == '"plain"'


def test_unknown_names_are_refused() -> None:
    """Found when the pipe is made, not when a message comes."""
    with pytest.raises(KeyError):
        compile_pipe_template("<aws.pipes.nonsense>")


def test_parameters_may_be_paths() -> None:
    """A target's group or key may come from the event; what is not there is empty."""
    assert resolved("$.body.n", EVENT) == "5"
    assert resolved("$.body.order.id", EVENT) == 'a"b'
    assert resolved("constant", EVENT) == "constant"
    assert resolved("$.gone", EVENT) == ""
