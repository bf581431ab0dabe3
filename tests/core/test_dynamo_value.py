"""DynamoDB's values: numbers, sizes, order, encoding of keys."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.dynamo_value import (
    add_numbers,
    canonical_number,
    canonicalize,
    compare,
    dump_item,
    encode_key,
    equal,
    join_keys,
    load_item,
    successor,
)
from penstock.core.errors import AwsError

numbers = st.builds(
    lambda digits, exponent: str(Decimal(digits).scaleb(exponent)),
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.integers(-130, 87),
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    st.binary().map(lambda data: {"B": data}),
    numbers.map(lambda number: {"N": canonical_number(number)}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: {"L": items}),
        st.dictionaries(texts, inner, max_size=3).map(lambda items: {"M": items}),
    ),
    max_leaves=10,
)


@given(numbers, numbers)
def test_encoded_numbers_are_ordered_as_numbers(left, right):
    """Range keys are compared as bytes, so their encoding must keep the order of numbers."""
    one, other = encode_key({"N": left}), encode_key({"N": right})
    assert (Decimal(left) < Decimal(right)) == (one < other)
    assert (Decimal(left) == Decimal(right)) == (one == other)


@given(texts, texts)
def test_encoded_text_is_ordered_as_code_points(left, right):
    """UTF-8 bytes and code points sort alike, which conditions rely on."""
    order = compare({"S": left}, {"S": right})
    one, other = encode_key({"S": left}), encode_key({"S": right})
    assert (one > other) - (one < other) == order


@given(st.tuples(st.binary(), st.binary()), st.tuples(st.binary(), st.binary()))
def test_joined_keys_are_ordered_part_by_part(left, right):
    """An index sorts by its range key first and by the item's key only among equals."""
    assert (left < right) == (join_keys(left) < join_keys(right))


@given(st.binary(min_size=1), st.binary())
def test_everything_with_a_prefix_is_before_its_successor(prefix, rest):
    """begins_with reads the range from the prefix to its successor."""
    end = successor(prefix)
    assert prefix <= prefix + rest
    assert end is None or prefix + rest < end


@given(numbers)
def test_canonical_number_keeps_the_value_and_is_stable(number):
    """A number is shown in one way only, so equal numbers have equal texts."""
    canonical = canonical_number(number)
    assert Decimal(number) == Decimal(canonical)
    assert canonical == canonical_number(canonical)
    assert "E" not in canonical.upper()


@given(st.dictionaries(texts, values, max_size=4))
def test_an_item_survives_storage(item):
    """What is read is what was written, blobs in any depth included."""
    canonicalize(item)
    assert item == load_item(dump_item(item))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        ("+7", "7"),
        ("1e3", "1000"),
        ("007.1400", "7.14"),
        ("-1.5E-3", "-0.0015"),
        ("0e999999999999", "0"),
    ],
)
def test_numbers_are_shown_plainly(text, expected):
    """AWS answers numbers without exponents, signs and zeros that say nothing."""
    assert expected == canonical_number(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" * 39, "Attempting to store more than 38 significant digits in a Number"),
        (
            "1e126",
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
        (
            "1e-131",
            "Number underflow. Attempting to store a number with magnitude smaller than supported range",
        ),
        ("x", "The parameter cannot be converted to a numeric value: x"),
        ("1_0", "The parameter cannot be converted to a numeric value: 1_0"),
        ("NaN", "The parameter cannot be converted to a numeric value: NaN"),
        ("", "The parameter cannot be converted to a numeric value"),
        (".", "The parameter cannot be converted to a numeric value: ."),
    ],
)
def test_numbers_that_cannot_be_stored(text, message):
    """AWS says which of its limits a number breaks."""
    with pytest.raises(AwsError) as caught:
        canonical_number(text)
    assert message == caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {},
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (
            {"S": "a", "N": "1"},
            "Supplied AttributeValue has more than one datatypes set,"
            " must contain exactly one of the supported datatypes",
        ),
        (
            {"NULL": False},
            "One or more parameter values were invalid: Null attribute value types must have the value of true",
        ),
        (
            {"SS": []},
            "One or more parameter values were invalid: An string set  may not be empty",
        ),
        (
            {"NS": ["1", "1.0"]},
            "One or more parameter values were invalid: Input collection [1, 1] contains duplicates.",
        ),
        (
            {"BS": [b"a", b"a"]},
            "One or more parameter values were invalid:"
            " Input collection [YQ==, YQ==]of type BS contains duplicates.",
        ),
    ],
)
def test_values_that_cannot_be_stored(value, message):
    """AWS's texts, their slips of spacing included."""
    with pytest.raises(AwsError) as caught:
        canonicalize({"a": value})
    assert message == caught.value.message


def test_nesting_is_limited():
    """32 levels are stored, 33 are not."""
    value = {"S": "x"}
    for _ in range(32):
        value = {"L": [value]}
    canonicalize({"a": value})
    with pytest.raises(AwsError, match="Nesting Levels"):
        canonicalize({"a": {"L": [value]}})


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": "abc"}}, 4),
        ({"ä": {"S": "ö"}}, 4),
        ({"a": {"BOOL": True}}, 2),
        ({"a": {"N": "1"}}, 3),
        ({"a": {"N": "-1"}}, 4),
        ({"a": {"N": "1000000"}}, 3),
        ({"a": {"L": [{"S": "x"}]}}, 6),
        ({"a": {"M": {"k": {"S": "x"}}}}, 7),
        ({"a": {"SS": ["x", "yz"]}}, 4),
    ],
)
def test_sizes(item, size):
    """Sizes decide about limits and capacity, so they follow the developer guide."""
    assert size == canonicalize(item)


def test_sets_are_equal_in_any_order():
    """A set has no order, also deep inside a list."""
    left = {"L": [{"NS": ["1", "2"]}]}
    assert equal(left, {"L": [{"NS": ["2", "1"]}]})
    assert not equal(left, {"L": [{"SS": ["2", "1"]}]})


def test_sums_are_exact_to_38_digits():
    """Counters must not drift as binary floats do."""
    assert "0.3" == add_numbers("0.1", "0.2")
    assert "-1" == add_numbers("1", "2", -1)
    assert "99999999999999999999999999999999999999" == add_numbers(
        "99999999999999999999999999999999999998", "1"
    )
