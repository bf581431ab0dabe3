"""Templates: text, functions, conditions, parameters, order, difference."""

from typing import Any

import pytest

from penstock.core.errors import AwsError
from penstock.core.template.capability import require_capabilities
from penstock.core.template.check import check_template
from penstock.core.template.evaluate import Evaluator, Scope
from penstock.core.template.graph import creation_order
from penstock.core.template.node import UNKNOWN, Deployed
from penstock.core.template.parameter import given_values, shown_values, typed_values
from penstock.core.template.parse import parse_template
from penstock.core.template.plan import Action, Wanted, plan

PSEUDO = {"AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012", "AWS::StackName": "s"}


def evaluator(template: dict[str, Any], **scope: Any) -> Evaluator:
    template.setdefault("Resources", {"A": {"Type": "T"}, "B": {"Type": "T"}})
    given = {"template": template, "parameters": {}, "pseudo": PSEUDO, **scope}
    return Evaluator(Scope(**given))


def message(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(AwsError) as caught:
        call(*arguments, **named)
    return caught.value.message


def test_short_tags_are_functions() -> None:
    """YAML's short forms must mean what the long ones do, also nested."""
    text = """
Resources:
  A:
    Type: T
    Properties:
      X: !Sub "${B.Arn}-x"
      Y: !GetAtt B.Outputs.Name
      Z: !If [C, !Ref B, !Select [0, !Split [",", "a,b"]]]
      Date: 2012-10-17
"""
    expected = {
        "X": {"Fn::Sub": "${B.Arn}-x"},
        "Y": {"Fn::GetAtt": ["B", "Outputs.Name"]},
        "Z": {"Fn::If": ["C", {"Ref": "B"}, {"Fn::Select": [0, {"Fn::Split": [",", "a,b"]}]}]},
        "Date": "2012-10-17",
    }
    assert expected == parse_template(text)["Resources"]["A"]["Properties"]


def test_broken_json_names_the_place() -> None:
    """Users find the fault by the line and column that AWS tells."""
    expected = "Template format error: JSON not well-formed. (line 1, column 15)"
    assert expected == message(parse_template, '{"Resources": ]}')


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"Fn::Join": ["-", ["a", {"Ref": "AWS::NoValue"}, 1, True]]}, "a-1-true"),
        ({"Fn::Sub": "${AWS::Region}/${!Literal}/${B}/${B.Arn}"}, "eu-west-1/${Literal}/b/arn:b"),
        ({"Fn::Sub": ["${x}-${B}", {"x": {"Ref": "AWS::AccountId"}}]}, "123456789012-b"),
        ({"Fn::Select": ["1", ["a", "b"]]}, "b"),
        ({"Fn::Split": ["|", "a|b"]}, ["a", "b"]),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::GetAZs": ""}, ["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
        ({"Fn::Cidr": ["10.0.0.0/24", 2, 5]}, ["10.0.0.0/27", "10.0.0.32/27"]),
        ({"Fn::FindInMap": ["M", {"Ref": "AWS::Region"}, "k"]}, "v"),
        ({"Fn::ImportValue": "exported"}, "imported"),
        ({"Fn::Length": ["a", "b"]}, 2),
        ({"Fn::ToJsonString": {"a": 1}}, '{"a":1}'),
        ({"Ref": "A"}, UNKNOWN),
        ({"Fn::Join": ["", ["x", {"Fn::GetAtt": "A.Arn"}]]}, UNKNOWN),
        ({"p": {"Ref": "AWS::NoValue"}, "q": 1}, {"q": 1}),
        ({"Condition": {"StringEquals": {"a": "b"}}}, {"Condition": {"StringEquals": {"a": "b"}}}),
    ],
)
def test_functions(node: Any, expected: Any) -> None:
    """Each function gives what CloudFormation gives."""
    template = {"Mappings": {"M": {"eu-west-1": {"k": "v"}}}}
    scope = evaluator(
        template,
        resources={"B": Deployed("b", {"Arn": "arn:b"})},
        exports={"exported": "imported"},
    )
    assert expected == scope.evaluate(node)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            {"Fn::FindInMap": ["Map", "K1", "K2"]},
            "Template error: Mapping named 'Map' is not present in the 'Mappings' section of template.",
        ),
        (
            {"Fn::Select": ["x", ["a"]]},
            "Template error: Fn::Select requires a list argument with two elements: an integer index and a list",
        ),
        ({"Fn::If": ["C", 1, 2]}, "Template error: unresolved condition dependency C in Fn::If"),
        ({"Fn::ImportValue": "X"}, "No export named X found"),
        (
            {"Fn::GetAtt": ["B", "Nope"]},
            "Template error: resource B does not support attribute type Nope in Fn::GetAtt",
        ),
    ],
)
def test_function_errors(node: Any, expected: str) -> None:
    """The texts are AWS's, for people search for them."""
    scope = evaluator({}, resources={"B": Deployed("b")})
    assert expected == message(scope.evaluate, node)


def test_conditions_choose_resources() -> None:
    """A resource whose condition is false is not there."""
    template = {
        "Conditions": {
            "Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "Not": {"Fn::Not": [{"Condition": "Prod"}]},
            "Both": {"Fn::And": [{"Condition": "Prod"}, {"Condition": "Not"}]},
            "Any": {"Fn::Or": [{"Condition": "Prod"}, {"Condition": "Not"}]},
        },
        "Resources": {
            "A": {"Type": "T", "Condition": "Prod"},
            "B": {"Type": "T", "Condition": "Not"},
            "C": {"Type": "T", "Condition": "Both"},
            "D": {"Type": "T", "Condition": "Any"},
        },
    }
    assert ["B", "D"] == list(evaluator(template, parameters={"Stage": "dev"}).active())


def test_parameters_have_values_types_and_secrets() -> None:
    """Defaults, lists, hidden values and the error for a missing value."""
    template = {
        "Parameters": {
            "A": {"Type": "String", "Default": 5},
            "B": {"Type": "CommaDelimitedList"},
            "C": {"Type": "String", "NoEcho": True},
        }
    }
    assert "Parameters: [B, C] must have values" == message(given_values, template, [], None)
    given = [
        {"ParameterKey": "B", "ParameterValue": "x, y"},
        {"ParameterKey": "C", "UsePreviousValue": True},
    ]
    values = given_values(template, given, {"C": "secret"})
    assert {"A": "5", "B": ["x", "y"], "C": "secret"} == typed_values(template, values, {})
    assert {"ParameterKey": "C", "ParameterValue": "****"} == shown_values(template, values, {})[2]


def test_number_parameters_are_numbers() -> None:
    """The text is recorded from AWS."""
    template = {"Parameters": {"Value": {"Type": "Number"}}}
    given = [{"ParameterKey": "Value", "ParameterValue": "x"}]
    assert "Parameter 'Value' must be a number." == message(given_values, template, given, None)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({}, "Template format error: At least one Resources member must be defined."),
        (
            {"Resources": {"A": {}}},
            "Template format error: [/Resources/A] Every Resources object must contain a Type member.",
        ),
        ({"Resources": {"A": 1}}, "Template format error: Any Resources member must be an object."),
        (
            {"Resources": {"A::B": {"Type": "T"}}},
            "Template format error: Resource name A::B is non alphanumeric.",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Invalid": 1}}},
            "Invalid template resource property 'Invalid'",
        ),
        (
            {"Resources": {"A": {"Type": "T", "Properties": {"P": {"Ref": "X"}}}}},
            "Template format error: Unresolved resource dependencies [X] in the Resources block of the template",
        ),
        (
            {"Resources": {"A": {"Type": "T"}}, "Outputs": {"O": {"Value": {"Ref": "X"}}}},
            "Unresolved resource dependencies [X] in the Outputs block of the template",
        ),
        (
            {"Resources": {"A": {"Type": "T"}}, "Outputs": {"O": {}}},
            "Template format error: Every Outputs member must contain a Value object",
        ),
    ],
)
def test_malformed_templates(template: dict[str, Any], expected: str) -> None:
    """The texts are AWS's, recorded."""
    assert expected == message(check_template, template)


def test_resources_are_made_after_what_they_need() -> None:
    """References of every kind order the creation; a circle is an error."""
    resources = {
        "A": {"Type": "T", "Properties": {"P": {"Fn::Sub": "${B.Arn}"}}},
        "B": {"Type": "T", "DependsOn": "C"},
        "C": {"Type": "T", "Properties": {"P": {"Fn::GetAtt": ["D", "Arn"]}}},
        "D": {"Type": "T"},
    }
    assert ["D", "C", "B", "A"] == creation_order(resources)
    resources["D"] = {"Type": "T", "Properties": {"P": {"Ref": "A"}}}
    assert "Circular dependency between resources: [A, B, C, D]" == message(
        creation_order, resources
    )


def test_plan_tells_changes_apart() -> None:
    """Add, change in place, replace, remove, and leave alone."""
    have = {
        "Same": Wanted(type="T", properties={"Name": "x"}),
        "Changed": Wanted(type="T", properties={"Size": 1}),
        "Replaced": Wanted(type="T", properties={"Name": "x"}),
        "Gone": Wanted(type="T", properties={}),
    }
    wanted = {
        "Same": Wanted(type="T", properties={"Name": "x"}),
        "Changed": Wanted(type="T", properties={"Size": 2}),
        "Replaced": Wanted(type="T", properties={"Name": UNKNOWN}),
        "New": Wanted(type="T", properties={}),
    }
    changes = plan(have, wanted, list(wanted), lambda _: frozenset({"Name"}))
    expected = [
        (Action.MODIFY, "Changed", (), ()),
        (Action.MODIFY, "Replaced", ("Name",), ("Name",)),
        (Action.ADD, "New", (), ()),
        (Action.REMOVE, "Gone", (), ()),
    ]
    found = [(c.action, c.logical_id, c.replaced_by, c.uncertain) for c in changes]
    assert expected == found


def test_capabilities_are_asked_for() -> None:
    """A named role needs more than an unnamed one."""
    named = {"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r"}}}}
    expected = "Requires capabilities : [CAPABILITY_NAMED_IAM]"
    assert expected == message(require_capabilities, named, ["CAPABILITY_IAM"])
    plain = {"Resources": {"R": {"Type": "AWS::IAM::Role"}}}
    require_capabilities(plain, ["CAPABILITY_NAMED_IAM"])
