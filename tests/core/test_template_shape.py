"""The shape of a resource type's properties: its notation, what it reads, and what it says of the rest."""

from typing import Any

import pytest

from penstock.core.template.node import UNKNOWN
from penstock.core.template.shape import record
from penstock.services.cloudformation.resources import resource_types

SHAPE = record("""
    Name!, Count: Integer, Rate: Double, On: Boolean
    Tags: [{Key!, Value}], Variables: {*: String}, Policy: Json
    Network: {Subnets: [String], -Vpc}
    -Later
""")


def read(**properties: Any) -> tuple[Any, list[str]]:
    faults: list[str] = []
    return SHAPE.read({"Name": "n", **properties}, "#", faults), faults


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"Name": 5}, {"Name": "5"}),
        ({"Name": True}, {"Name": "true"}),
        ({"Count": "-5"}, {"Count": -5}),
        ({"Count": 5.0}, {"Count": 5}),
        ({"Rate": "0.5"}, {"Rate": 0.5}),
        ({"Rate": 2}, {"Rate": 2}),
        ({"On": "True"}, {"On": True}),
        ({"Variables": {"A": 1}}, {"Variables": {"A": "1"}}),
        ({"Policy": "{}"}, {"Policy": "{}"}),
        ({"Policy": {"A": [1]}}, {"Policy": {"A": [1]}}),
        ({"Count": "{{resolve:ssm:/a}}"}, {"Count": "{{resolve:ssm:/a}}"}),
        ({"Count": UNKNOWN, "Tags": UNKNOWN, "Network": UNKNOWN},) * 2,
        ({"Tags": [UNKNOWN, {"Key": UNKNOWN}]},) * 2,
    ],
)
def test_values_become_what_their_type_says(given: Any, found: Any) -> None:
    """Templates have text where services want numbers; what is not known yet is of any type."""
    assert ({"Name": "n", **found}, []) == read(**given)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"Count": "5.5"}, "#/Count: expected type: Integer, found: String"),
        ({"Count": True}, "#/Count: expected type: Integer, found: Boolean"),
        ({"Rate": "x"}, "#/Rate: expected type: Number, found: String"),
        ({"On": 1}, "#/On: expected type: Boolean, found: Integer"),
        ({"Tags": [{}]}, "#/Tags/0: required key [Key] not found"),
        ({"Tags": {}}, "#/Tags: expected type: JSONArray, found: JSONObject"),
        ({"Variables": {"A": []}}, "#/Variables/A: expected type: String, found: JSONArray"),
        ({"Policy": []}, "#/Policy: expected type: JSONObject, found: JSONArray"),
        ({"Network": {"Subnet": []}}, "#/Network: extraneous key [Subnet] is not permitted"),
        ({"Network": {"Vpc": 1}}, "#/Network: Penstock does not support the key [Vpc] yet"),
        ({"Later": 1}, "#: Penstock does not support the key [Later] yet"),
    ],
)
def test_each_fault_has_its_place(given: Any, fault: str) -> None:
    """A pointer leads to what is wrong."""
    assert [fault] == read(**given)[1]


def test_what_is_wrong_is_left_out_of_what_fits() -> None:
    """What was stored by an older version is used as far as it is right."""
    given = {"Count": "x", "Tags": [{"Key": "a"}, {}, "b"], "Network": [], "Other": 1}
    assert {"Tags": [{"Key": "a"}]} == SHAPE.fitting(given, "#", [])


def test_rows_name_properties_that_there_are() -> None:
    """A misspelt name in a row would make an update change in place what it must replace."""
    for row in resource_types().values():
        assert (row.immutable | row.fixed) <= row.shape.members.keys(), row.name
