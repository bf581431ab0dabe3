"""Filter policies of SNS: their limits, what is no policy, and what they match."""

import contextlib
import json
from typing import Any

import pytest

from penstock.core.sns_filter import (
    FilterError,
    Scope,
    attribute_values,
    body_value,
    compile_filter,
)


def fault(policy: Any, scope: Scope = "MessageAttributes") -> str:
    """What is wrong with a policy."""
    text = policy if isinstance(policy, str) else json.dumps(policy)
    with pytest.raises(FilterError) as caught:
        compile_filter(text, scope)
    return str(caught.value).partition("\n")[0]


@pytest.mark.parametrize(
    ("operand", "reason"),
    [
        ([], "Invalid member in numeric match: ]"),
        (["operator"], "Unrecognized numeric range operator: operator"),
        ([1, "<="], "Invalid member in numeric match: 1"),
        (["=", "000"], "Value of equals must be numeric"),
        ([">="], "Value of >= must be numeric"),
        (["<", 100, ">", 10], "Too many elements in numeric expression"),
        ([">=", 1, ">", 2], "Bad numeric range operator: >"),
        ([">", 3, "<", 1], "Bottom must be less than top"),
        ([">", 20, "<="], "Value of <= must be numeric"),
        ([">", 20, 30], "Bad value in numeric range: 30"),
        ([">", "20", "<", "30"], "Value of > must be numeric"),
        ([">", 20, "<", 30, "<", 50], "Too many terms in numeric range expression"),
        (["=", 2_000_000_000], "Value must be between -1.0E9 and 1.0E9, inclusive: 2000000000"),
    ],
)
def test_numbers_in_aws_words(operand: list[Any], reason: str) -> None:
    """The first fault, from left to right."""
    assert fault({"key": [{"numeric": operand}]}) == reason


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ('{"a": ', "failed to parse JSON. "),
        ("[]", "Filter is not an object"),
        ({"key": [["value"]]}, "Match value must be String, number, true, false, or null"),
        ({"key": [{"wrong": True}]}, "Unrecognized match type wrong"),
        ({"key": [{"suffix": "a", "prefix": "b"}]}, "Only one key allowed in match expression"),
        ({"key": []}, "Empty arrays are not allowed"),
        ({"key": "value"}, '"key" must be an object or an array'),
        ({"key": [{"suffix": 100}]}, "suffix match pattern must be a string"),
        ({"key": [{"cidr": "bad"}]}, "Malformed CIDR, one '/' required"),
        ({"key": [{"exists": "no"}]}, "exists match pattern must be either true or false."),
        (
            {"key": [{"anything-but": {"wrong": None}}]},
            "Unsupported anything-but pattern: wrong",
        ),
    ],
)
def test_what_is_no_policy(policy: Any, reason: str) -> None:
    """AWS's reasons."""
    assert fault(policy).startswith(reason)


def test_nested_policies_are_of_the_body() -> None:
    """Attributes have no depth."""
    policy = {"object": {"key": ["a"]}}
    assert "does not support nested filter policy" in fault(policy)
    assert compile_filter(json.dumps(policy), "MessageBody").matches({"object": {"key": "a"}})


@pytest.mark.parametrize(
    ("policy", "scope", "total"),
    [
        ({"a": ["v"] * 150}, "MessageAttributes", 150),
        ({"a": ["v"] * 151}, "MessageAttributes", 151),
        ({"a": ["v"] * 10, "b": ["v"] * 15}, "MessageAttributes", 150),
        ({"a": ["v"] * 100, "b": ["v"] * 51}, "MessageAttributes", 5100),
        ({"a": {"b": {"c": ["v"] * 50}}}, "MessageBody", 150),
        ({"a": {"b": {"c": ["v"] * 51}}}, "MessageBody", 153),
        (
            {"s": ["v"] * 3, "$or": [{"m": ["v"] * 6}, {"t": ["v"] * 4, "i": ["v"] * 11}]},
            "MessageAttributes",
            150,
        ),
        (
            {"s": ["v"] * 4, "$or": [{"m": ["v"] * 6}, {"t": ["v"] * 4, "i": ["v"] * 8}]},
            "MessageAttributes",
            152,
        ),
    ],
    ids=["150", "151", "10x15", "100x51", "3x50", "3x51", "or 150", "or 152"],
)
def test_combinations(policy: Any, scope: Scope, total: int) -> None:
    """The product of conditions, times their depth, summed over alternatives: 150 at most."""
    if total <= 150:
        compile_filter(json.dumps(policy), scope)
    else:
        assert fault(policy, scope) == "Filter policy is too complex"


def test_five_keys() -> None:
    """Fields are counted wherever they are."""
    five = {"a": ["v"], "b": {"c": ["v"], "d": ["v"]}, "e": ["v"], "f": ["v"]}
    compile_filter(json.dumps(five), "MessageBody")
    six = {**five, "g": ["v"]}
    assert fault(six, "MessageBody") == "Filter policy can not have more than 5 keys"


def test_what_a_filter_sees_of_attributes() -> None:
    """Text, numbers and lists; nothing of bytes."""
    seen = attribute_values(
        {
            "text": {"DataType": "String", "StringValue": "1"},
            "custom": {"DataType": "String.custom", "StringValue": "x"},
            "number": {"DataType": "Number.int", "StringValue": "1e2"},
            "list": {"DataType": "String.Array", "StringValue": '["a", 1, true, null]'},
            "bytes": {"DataType": "Binary", "BinaryValue": b"x"},
        }
    )
    assert seen == {"text": "1", "custom": "x", "number": 100.0, "list": ["a", 1, True, None]}


@pytest.mark.parametrize("body", ["text", "[1]", '"a"', "{", "null"])
def test_a_body_that_is_no_object_passes_nothing(body: str) -> None:
    """Not even what asks for something to be absent."""
    filter_ = compile_filter('{"a": [{"exists": false}]}', "MessageBody")
    assert not filter_.matches(body_value(body))
    assert filter_.matches(body_value("{}"))


@pytest.mark.parametrize(
    ("policy", "column"),
    [
        ({"key": [["value"]]}, 10),
        ({"key": [{"wrong-operator": True}]}, 31),
        ({"key": [{"suffix": "value", "prefix": "value2"}]}, 37),
        ({"key": []}, 10),
        ({"key": [{"suffix": 100}]}, 22),
        ({"key": [{"suffix": []}]}, 20),
        ({"key": {"suffix": "value"}}, 19),
        ({"key": [{"cidr": ["bad-filter"]}]}, 18),
        ({"key": [{"numeric": []}]}, 22),
        ({"key": [{"numeric": ["operator"]}]}, 32),
        ({"key": [{"numeric": ["<", 100, ">", 10]}]}, 30),
        ({"key": [{"numeric": [">=", 1, ">", 2]}]}, 31),
        ({"key": [{"numeric": [">", 3, "<", 1]}]}, 33),
        ({"key": [{"numeric": [">", 20, "<", 30, "<", 50]}]}, 36),
        ({"key": [{"exists": None}]}, 23),
        ({"key": [{"anything-but": {"exists": False}}]}, 40),
        ({"first": ["a", {"prefix": "b"}], "key": "value"}, 38),
        ({"$or": [{"a": ["b"]}, {"c": 1}]}, 27),
    ],
)
def test_where_aws_gave_up(policy: Any, column: int) -> None:
    """The place is a column of the policy without its spaces."""
    with pytest.raises(FilterError) as caught:
        compile_filter(json.dumps(policy), "MessageBody")
    source = json.dumps(policy, separators=(",", ":"))
    place = f'\n at [Source: (String)"{source}"; line: 1, column: {column}]'
    assert str(caught.value).endswith(place)


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        (
            "{invalidjson}",
            "Unexpected character ('i' (code 105)): was expecting double-quote to start field name",
            2,
        ),
        (
            "invalid",
            "Unrecognized token 'invalid': was expecting (JSON String, Number, Array, Object or token"
            " 'null', 'true' or 'false')",
            8,
        ),
    ],
)
def test_json_that_is_broken(text: str, reason: str, column: int) -> None:
    """AWS's parser has words of its own."""
    with pytest.raises(FilterError) as caught:
        compile_filter(text, "MessageAttributes")
    assert str(caught.value).startswith(f"failed to parse JSON. {reason}\n at [Source: REDACTED")
    assert str(caught.value).endswith(f"; line: 1, column: {column}]")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 900 + '["b"]' + "}" * 900,
        '{"a":' * 100_000,
        '{"a": [12345678901234567890123]}',
        '{"a": [NaN]}',
    ],
    ids=["lists", "deep", "objects", "long", "nan"],
)
def test_strange_policies_are_refused_or_taken(text: str) -> None:
    """Whatever is sent, nothing else is raised."""
    with contextlib.suppress(FilterError):
        compile_filter(text, "MessageBody")
