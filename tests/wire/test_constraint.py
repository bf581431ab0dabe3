"""Constraint violations: counted, worded and joined for any model and any value."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import AwsError
from penstock.core.java_pattern import Pattern
from penstock.wire.constraint import compile_validator
from penstock.wire.model import Catalog, Model
from penstock.wire.profile import Profile

NAMES = ["Alpha", "beta", "GammaRay"]
STRINGS = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "min": st.integers(0, 3),
        "max": st.integers(1, 4),
        "pattern": st.sampled_from(["[a-c]*", "a+", r"\d{1,2}"]),
        "enum": st.just(["ab", "b"]),
    },
)
NUMBERS = st.fixed_dictionaries(
    {"type": st.just("integer")}, optional={"min": st.integers(-2, 2), "max": st.integers(0, 5)}
)
SHAPES = st.recursive(
    st.one_of(STRINGS, NUMBERS, st.just({"type": "boolean"})),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("structure"),
                "members": st.dictionaries(st.sampled_from(NAMES), inner, min_size=1),
                "required": st.lists(st.sampled_from(NAMES), unique=True),
            }
        ),
        st.fixed_dictionaries(
            {"type": st.just("list"), "member": inner}, optional={"max": st.integers(0, 2)}
        ),
    ),
    max_leaves=6,
)


def model_of(shape: dict[str, Any]) -> tuple[Model, str]:
    """A model with every nested shape under a name of its own."""
    shapes: dict[str, Any] = {}

    def keep(node: dict[str, Any]) -> dict[str, str]:
        name = f"Shape{len(shapes)}"
        shapes[name] = kept = dict(node)
        if node["type"] == "structure":
            kept["members"] = {key: keep(each) for key, each in node["members"].items()}
            kept["required"] = [key for key in node["required"] if key in node["members"]]
        elif node["type"] == "list":
            kept["member"] = keep(node["member"])
        return {"shape": name}

    top = keep({"type": "structure", "members": {"Top": shape}, "required": ["Top"]})["shape"]
    document = {"metadata": {"protocol": "json"}, "operations": {}, "shapes": shapes}
    return Model("m", document), top


def values(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of the right type, that may or may not keep the constraints."""
    match shape["type"]:
        case "structure":
            members = {key: values(each) for key, each in shape["members"].items()}
            return st.fixed_dictionaries({}, optional=members)
        case "list":
            return st.lists(values(shape["member"]), max_size=3)
        case "string":
            return st.text("abc1", max_size=5)
        case "integer":
            return st.integers(-3, 7)
        case _:
            return st.booleans()


def broken(shape: dict[str, Any], value: Any) -> list[str]:
    """The texts of the rules that a scalar or a list breaks, naively."""
    size = value if shape["type"] == "integer" else len(value)
    noun = "value" if shape["type"] == "integer" else "length"
    texts = []
    if "max" in shape and size > shape["max"]:
        texts.append(f"Member must have {noun} less than or equal to {shape['max']}")
    if "min" in shape and size < shape["min"]:
        texts.append(f"Member must have {noun} greater than or equal to {shape['min']}")
    tried = size <= 2 * shape.get("max", 99)  # see test_long_texts_are_refused_quickly
    if "pattern" in shape and tried and not Pattern(shape["pattern"]).fits(value):
        texts.append(f"Member must satisfy regular expression pattern: {shape['pattern']}")
    if "enum" in shape and value not in shape["enum"]:
        texts.append(f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]")
    return texts


def count(shape: dict[str, Any], value: Any) -> list[str]:
    """What is wrong, found without paths and in the model's order."""
    match shape["type"]:
        case "structure":
            found = []
            for name, member in shape["members"].items():
                if name in value:
                    found += count(member, value[name])
                elif name in shape["required"]:
                    found.append("Member must not be null")
            return found
        case "list":
            found = broken(shape, value)
            element = shape["member"]
            if element["type"] in ("structure", "list"):
                return found + [text for item in value for text in count(element, item)]
            if element["type"] != "boolean" and any(broken(element, item) for item in value):
                found.append("Member must satisfy constraint: [")
            return found
        case "boolean":
            return []
        case _:
            return broken(shape, value)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), shape=SHAPES)
def test_every_violation_is_told_once(data: st.DataObject, shape: dict[str, Any]) -> None:
    """The count in front, the texts and their order follow from the model alone."""
    value = data.draw(values(shape))
    model, top = model_of(shape)
    validate = compile_validator(model, model.shape({"shape": top}), Profile(enums=True))
    assert validate is not None
    expected = count(shape, value)
    if not expected:
        validate({"Top": value})
        return
    with pytest.raises(AwsError) as caught:
        validate({"Top": value})
    head, _, rest = caught.value.message.partition(" detected: ")
    noun = "error" if len(expected) == 1 else "errors"
    assert f"{len(expected)} validation {noun}" == head
    told = rest.split("; ")
    assert len(expected) == len(told)
    for text, each in zip(expected, told, strict=True):
        assert each.startswith("Value ")
        assert " at 'top" in each
        assert f"failed to satisfy constraint: {text}" in each


def test_null_among_the_values_that_are_told() -> None:
    """A list that is refused may hold nulls."""
    model, top = model_of({"type": "list", "max": 1, "member": {"type": "string"}})
    validate = compile_validator(model, model.shape({"shape": top}), Profile())
    assert validate is not None
    with pytest.raises(AwsError, match=r"Value '\[null, a\]' at 'top' failed"):
        validate({"Top": [None, "a"]})


@given(text=st.text("aZ09 _.:/=+-@é中\u2028!\n", max_size=6))
def test_classes_of_unicode(text: str) -> None:
    """Tags may be in any script; what no script writes is refused."""
    pattern = Pattern(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")

    assert pattern.fits(text) == ("!" not in text and "\n" not in text)


def test_dialects() -> None:
    """What Java takes and Python does not."""
    assert Pattern(r"[\w-_]*").fits("a-_")
    assert Pattern(r"\p{ASCII}*").fits("a~\n")
    assert not Pattern(r"\p{ASCII}*").fits("é")
    assert Pattern(r"[\uD800\uDC00-\uDBFF\uDFFF]").fits("😀")
    assert not Pattern(r"[^\p{L}]+").fits("ab")


def test_every_pattern_of_the_models_is_understood() -> None:
    """A pattern that Python cannot express would be a limit that is not enforced."""
    services = ["apigateway", "cloudformation", "cloudwatch", "dynamodb", "iam", "lambda", "logs", "ssm", "sts"]  # fmt: skip
    catalog = Catalog(services)
    missed = set()
    for service in services:
        for definition in catalog.model(service)._shapes.values():
            pattern = Pattern(definition.get("pattern", ""))
            if pattern.compiled is None:
                missed.add(pattern.source)
    assert set() == missed


def test_long_texts_are_refused_quickly() -> None:
    """Some patterns of the models take cubic time: one request must not stop the server."""
    shape = {"type": "string", "max": 255, "pattern": r"^[a-z0-9A-Z]+[\.\-\w]*[a-z0-9A-Z]+$"}
    model, top = model_of(shape)
    validate = compile_validator(model, model.shape({"shape": top}), Profile())
    assert validate is not None
    with pytest.raises(AwsError, match="length less than or equal to 255"):
        validate({"Top": "a" * 100_000 + "!"})
