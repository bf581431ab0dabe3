"""DynamoDB's expressions: grammar, errors in AWS's words, conditions, updates, projections, key conditions."""

import pytest

from penstock.core.errors import AwsError
from penstock.core.expression import (
    ConditionBinder,
    Scope,
    bind_key_condition,
    bind_projection,
    bind_update,
    parse_condition,
    parse_projection,
    parse_update,
    project,
)

ITEM = {
    "id": {"S": "a"},
    "n": {"N": "5"},
    "s": {"S": "hello"},
    "flag": {"BOOL": True},
    "tags": {"SS": ["x", "y"]},
    "l": {"L": [{"N": "1"}, {"S": "two"}, {"M": {"deep": {"N": "3"}}}]},
    "m": {"M": {"k": {"S": "v"}, "c": {"N": "1"}}},
}


def holds(text, values=None, names=None, item=ITEM):
    scope = Scope(names, values)
    kind = "ConditionExpression"
    condition = ConditionBinder(scope, kind).bind(parse_condition(text, kind))
    scope.finish()
    return condition(item)


def updated(text, values=None, names=None, item=ITEM):
    scope = Scope(names, values)
    update = bind_update(parse_update(text), scope, ("id",))
    scope.finish()
    return update.apply(item)


def message_of(function, *arguments):
    with pytest.raises(AwsError) as caught:
        function(*arguments)
    assert caught.value.code == "ValidationException"
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("n = :v", {":v": {"N": "5.0"}}, True),
        ("n = :v", {":v": {"S": "5"}}, False),
        ("n <> :v", {":v": {"S": "5"}}, True),
        ("nothing <> :v", {":v": {"S": "5"}}, True),
        ("nothing = :v", {":v": {"S": "5"}}, False),
        ("n > :v", {":v": {"N": "-10"}}, True),
        ("n > :v", {":v": {"S": ""}}, False),
        (
            "n BETWEEN :a AND :b AND s = :s",
            {":a": {"N": "1"}, ":b": {"N": "5"}, ":s": {"S": "hello"}},
            True,
        ),
        ("n IN (:a, :b)", {":a": {"N": "4"}, ":b": {"N": "5"}}, True),
        ("NOT n IN (:a, :b)", {":a": {"N": "4"}, ":b": {"N": "6"}}, True),
        ("attribute_exists(m.k) and attribute_not_exists(m.zz)", None, True),
        ("attribute_exists(l[2].deep)", None, True),
        ("attribute_exists(l[9])", None, False),
        ("attribute_exists(s.k)", None, False),
        ("attribute_type(tags, :t)", {":t": {"S": "SS"}}, True),
        ("begins_with(s, :p)", {":p": {"S": "he"}}, True),
        ("contains(s, :p)", {":p": {"S": "ell"}}, True),
        ("contains(tags, :p)", {":p": {"S": "x"}}, True),
        ("contains(l, :p)", {":p": {"S": "two"}}, True),
        ("contains(tags, :p)", {":p": {"N": "1"}}, False),
        ("size(s) = :v", {":v": {"N": "5"}}, True),
        ("size(l) > :v", {":v": {"N": "3"}}, False),
        ("size(n) = :v", {":v": {"N": "1"}}, False),
        ("tags = :v", {":v": {"SS": ["y", "x"]}}, True),
        ("n = :w OR n = :v AND s = :w", {":v": {"N": "5"}, ":w": {"S": "q"}}, False),
        ("(n = :v OR s = :w) AND n = :v", {":v": {"N": "5"}, ":w": {"S": "q"}}, True),
        ("(n) = (:v)", {":v": {"N": "5"}}, True),
    ],
)
def test_conditions(text, values, expected):
    """What is true of an item on AWS is true here: comparisons are typed, what is absent is unequal to all."""
    assert expected == holds(text, values)


def test_names_may_hold_dots():
    """A substituted name is one attribute, whatever it contains."""
    assert holds("#n = :v", {":v": {"N": "1"}}, {"#n": "a.b"}, {"a.b": {"N": "1"}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The expression can not be empty;"),
        ("n = ", 'Syntax error; token: "<EOF>", near: "="'),
        ("n ! :v", 'Syntax error; token: "!", near: "n ! :v"'),
        ("n", 'Syntax error; token: "<EOF>", near: "n"'),
        ("n = :v AND", 'Syntax error; token: "<EOF>", near: "AND"'),
        ("status = :v", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("m.Count = :v", "Attribute name is a reserved keyword; reserved keyword: Count"),
        (
            "#x = :v",
            "An expression attribute name used in the document path is not defined; attribute name: #x",
        ),
        (
            "n = :x",
            "An expression attribute value used in expression is not defined; attribute value: :x",
        ),
        ("foo(n)", "Invalid function name; function: foo"),
        (
            "attribute_exists(n, s)",
            "Incorrect number of operands for operator or function;"
            " operator or function: attribute_exists, number of operands: 2",
        ),
        (
            "begins_with(s, :n)",
            "Incorrect operand type for operator or function;"
            " operator or function: begins_with, operand type: N",
        ),
        (
            "n < :t",
            "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
        ),
        (
            "attribute_exists(:v)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "size(n)",
            "The function is not allowed to be used this way in an expression; function: size",
        ),
        (
            "n = n",
            "The first operand must be distinct from the remaining operands for this operator or function;"
            " operator: =, first operand: [n]",
        ),
        ("((n = :v))", "The expression has redundant parentheses;"),
        (
            "n BETWEEN :n AND :one",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound;"
            " lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
        ),
        (
            "attribute_type(n, :v)",
            "Invalid attribute type name found; type: v, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
    ],
)
def test_condition_errors(text, message):
    """Tools and tests match on these texts, so they are AWS's to the letter."""
    values = {
        ":v": {"S": "v"},
        ":n": {"N": "2"},
        ":one": {"N": "1"},
        ":t": {"BOOL": True},
    }
    assert f"Invalid ConditionExpression: {message}" == message_of(holds, text, values)


@pytest.mark.parametrize(
    "text", ["(" * 2000 + "n", "NOT " * 900 + "n = :v", "n = :v" + " OR n = :v" * 301]
)
def test_expressions_are_bounded(text):
    """A hostile expression is an error of its sender, not of ours."""
    assert message_of(holds, text, {":v": {"S": "v"}}).startswith("Invalid ConditionExpression: ")


def test_substitutions_must_be_used():
    """AWS refuses what no expression uses: it is a mistake more often than not."""
    assert (
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}"
        == message_of(holds, "n = :v", {":v": {"N": "1"}, ":w": {"N": "1"}})
    )
    assert (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#w}"
        == message_of(holds, "n = :v", {":v": {"N": "1"}}, {"#w": "x"})
    )


def test_substitutions_must_be_well_formed():
    """Keys start with their sign, values are valid values."""
    assert 'ExpressionAttributeNames contains invalid key: Syntax error; key: "w"' == message_of(
        Scope, {"w": "x"}
    )
    assert "ExpressionAttributeNames must not be empty" == message_of(Scope, {})
    assert (
        "ExpressionAttributeValues contains invalid value:"
        " The parameter cannot be converted to a numeric value: x for key :v"
    ) == message_of(Scope, None, {":v": {"N": "x"}})


@pytest.mark.parametrize(
    ("text", "values", "changed"),
    [
        ("SET n = n + :o", {":o": {"N": "1.5"}}, {"n": {"N": "6.5"}}),
        ("SET n = :o - n", {":o": {"N": "1"}}, {"n": {"N": "-4"}}),
        ("SET a = n, n = :o", {":o": {"N": "1"}}, {"a": {"N": "5"}, "n": {"N": "1"}}),
        ("SET c = if_not_exists(c, :o) + :o", {":o": {"N": "1"}}, {"c": {"N": "2"}}),
        ("set m.k = :o", {":o": {"N": "1"}}, {"m": {"M": {"k": {"N": "1"}, "c": {"N": "1"}}}}),
        ("REMOVE m.k, flag", None, {"m": {"M": {"c": {"N": "1"}}}, "flag": None}),
        ("REMOVE l[0], l[1]", None, {"l": {"L": [{"M": {"deep": {"N": "3"}}}]}}),
        ("SET l[0] = :o REMOVE l[1], l[2]", {":o": {"N": "9"}}, {"l": {"L": [{"N": "9"}]}}),
        (
            "SET q = list_append(:l, q2), q2 = :l",
            {":l": {"L": [{"N": "1"}]}},
            {"q": {"L": [{"N": "1"}, {"N": "0"}]}, "q2": {"L": [{"N": "1"}]}},
        ),
        ("ADD n :o, fresh :o", {":o": {"N": "2"}}, {"n": {"N": "7"}, "fresh": {"N": "2"}}),
        ("ADD tags :t", {":t": {"SS": ["y", "z"]}}, {"tags": {"SS": ["x", "y", "z"]}}),
        ("DELETE tags :t", {":t": {"SS": ["y", "z"]}}, {"tags": {"SS": ["x"]}}),
        ("DELETE tags :t", {":t": {"SS": ["y", "x"]}}, {"tags": None}),
        ("DELETE gone :t", {":t": {"SS": ["y", "x"]}}, {}),
    ],
)
def test_updates(text, values, changed):
    """Everything is read before anything is written; sets and lists shrink and grow as on AWS."""
    item = {**ITEM, "q2": {"L": [{"N": "0"}]}}
    before = repr(item)
    expected = {k: v for k, v in {**item, **changed}.items() if v is not None}
    assert expected == updated(text, values, None, item)
    assert before == repr(item)


def test_elements_beyond_the_end_are_appended_in_order():
    """Indexes past the end are not holes: they append, lowest first."""
    item = {"l": {"L": [{"N": "0"}]}}
    values = {":a": {"N": "1"}, ":b": {"N": "2"}}
    assert {"l": {"L": [{"N": "0"}, {"N": "2"}, {"N": "1"}]}} == updated(
        "SET l[9] = :a, l[5] = :b", values, None, item
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "SET a = :s SET b = :s",
            'Invalid UpdateExpression: The "SET" section can only be used once in an update expression;',
        ),
        (
            "SET a = :s, a = :s",
            "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite"
            " one of these paths; path one: [a], path two: [a]",
        ),
        (
            "SET a.b = :s, a[0] = :s",
            "Invalid UpdateExpression: Two document paths conflict with each other; must remove or rewrite"
            " one of these paths; path one: [a, b], path two: [a, [0]]",
        ),
        (
            "SET id = :s",
            "One or more parameter values were invalid: Cannot update attribute id. This attribute is part of the key",
        ),
        (
            "SET a = gone",
            "The provided expression refers to an attribute that does not exist in the item",
        ),
        ("SET a = s + n", "An operand in the update expression has an incorrect data type"),
        ("ADD s :one", "An operand in the update expression has an incorrect data type"),
        (
            "SET gone.k = :s",
            "The document path provided in the update expression is invalid for update",
        ),
        (
            "ADD n :s",
            "Invalid UpdateExpression: Incorrect operand type for operator or function;"
            " operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND",
        ),
        (
            "SET a = :s + :one",
            "Invalid UpdateExpression: Incorrect operand type for operator or function;"
            " operator or function: +, operand type: S",
        ),
        (
            "SET a = if_not_exists(:s, :one)",
            "Invalid UpdateExpression: Operator or function requires a document path;"
            " operator or function: if_not_exists",
        ),
        ("SET a", 'Invalid UpdateExpression: Syntax error; token: "<EOF>", near: "a"'),
        ("a = :s", 'Invalid UpdateExpression: Syntax error; token: "a", near: "a ="'),
    ],
)
def test_update_errors(text, message):
    """Tools and tests match on these texts, so they are AWS's to the letter."""
    values = {":s": {"S": "v"}, ":one": {"N": "1"}}
    used = {name: value for name, value in values.items() if name in text}
    assert message == message_of(updated, text, used or None)


def test_projections_rebuild_structure():
    """Nested paths come back nested; list elements move together in the order of the list."""
    scope = Scope({"#m": "m"})
    tree = bind_projection(parse_projection("id, #m.k, l[2].deep, l[0], gone, n.x"), scope)
    assert {
        "id": {"S": "a"},
        "m": {"M": {"k": {"S": "v"}}},
        "l": {"L": [{"N": "1"}, {"M": {"deep": {"N": "3"}}}]},
    } == project(ITEM, tree)


def key_condition(text, values, keys=(("id", "S"), ("n", "N"))):
    scope = Scope(None, values)
    return bind_key_condition(parse_condition(text, "KeyConditionExpression"), scope, keys)


def test_key_conditions_come_in_either_order():
    """The range key may be tested first, and the value may stand on the left."""
    values = {":i": {"S": "a"}, ":n": {"N": "1"}}
    one = key_condition("id = :i AND n < :n", values)
    other = key_condition("(:n > n) AND (:i = id)", values)
    assert one == other
    assert ({"S": "a"}, "<", ({"N": "1"},)) == (one.hash_value, one.operator, one.operands)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n = :n", "Query condition missed key schema element: id"),
        ("id > :i", "Query key condition not supported"),
        (
            "id = :n",
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            "id = :i AND id = :i",
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ),
        (
            "id = :i OR n = :n",
            "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: OR",
        ),
        (
            "id.x = :i",
            "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on nested attributes",
        ),
        (
            "id = :i AND size(n) = :n",
            "Invalid KeyConditionExpression: KeyConditionExpressions cannot contain nested operations",
        ),
        ("id = :i AND q = :n", "Query condition missed key schema element: n"),
    ],
)
def test_key_condition_errors(text, message):
    """Tools and tests match on these texts, so they are AWS's to the letter."""
    assert message == message_of(key_condition, text, {":i": {"S": "a"}, ":n": {"N": "1"}})
