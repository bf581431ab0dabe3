"""Templates of forms hand over what a reader of the written form would find."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.form_template import FormTemplate, url_encode
from penstock.core.java import Bean
from penstock.core.velocity import Template
from penstock.wire.form import parse_form, tree_of


class Util(Bean):
    """`$util`, as far as forms need it."""

    methods = {"urlEncode": lambda _, text: url_encode(str(text))}  # noqa: RUF012 -- as Bean declares it


TEMPLATES = [
    "Action=SendMessage&MessageBody=$util.urlEncode($a)",
    "Action=SendMessage&MessageBody=$a",
    "Action=SendMessage&MessageBody=%7B+$util.urlEncode($a)-${b}%C3%BC&MessageGroupId=$b",
    "Action=S&A.1.Name=n&A.1.Value.String=$util.urlEncode($a)&A.2.Name=$!none&B=$none",
    "Action=S&Empty=&Odd==$a=#x ## not written",
]


@pytest.mark.parametrize("text", TEMPLATES)
@settings(max_examples=40)
@given(st.text(), st.text(alphabet='&%+= a1é"{}'))
def test_values_are_those_of_the_written_form(text: str, a: str, b: str) -> None:
    """What is handed over is what would be read; what might be read otherwise is written."""
    scope: dict[str, Any] = {"a": a, "b": b, "util": Util()}
    template = Template(text)
    form = FormTemplate.of(template.pieces)
    assert form is not None
    written = template.render(scope).encode(errors="replace")
    values = form.render(scope)
    if isinstance(values, str):
        assert written == values.encode(errors="replace")
        assert not (a + b).isascii() or set(a + b) & set("&%+")
    else:
        assert parse_form(written, "") == tree_of(zip(form.names, values, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "$a",
        "Action=S&$a=1",
        "Action=S&a$b&c=1",
        "Action=S&A=1&A=$a",
        "Action=S&A=%$a",
        "Action=S&A=%4$a",
        "Action=S&A=%C3$a",
        "Action=S&A=#if($a)1#end",
        "#set($x = 1)Action=S&A=$x",
        "Action=S&=1",
    ],
)
def test_what_a_value_decides_is_not_known(text: str) -> None:
    """Where a value or a directive may change what the fields are, the form has to be written."""
    assert FormTemplate.of(Template(text).pieces) is None
