"""Velocity, JSON paths and token buckets without a server."""

from typing import Any

import pytest

from penstock.core.json_path import MISSING, PathError, compile_path
from penstock.core.throttle import TokenBucket
from penstock.core.velocity import Template, TemplateError


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$a.__class__ $a.items $s.upper()", "$a.__class__ $a.items $s.upper()"),
        ("#set($x = [1, 'b'])$x $x.get(1) #set($m = {'k': 'v'})$m.k $m", "[1, b] b v {k=v}"),
        ("#foreach($i in [3..1])$i#if($i == 2)#stop#end#end", "32"),
        ("#if(1 < 2 && 2 >= 2 || false)a#end#if(!true)b#elseif($none)c#{else}d#end", "ad"),
        ("#set($x = 1)#set($x = $none)$x", "1"),
        ("#set($x = 'lit $s')#set($y = \"int $s\")$x|$y", "lit $s|int text"),
        ("#foreach($v in $a)$v#end $velocityCount", "12 $velocityCount"),
        ("#if($s.equals('text'))same#end $s.length() $s.substring(1, 3)", "same 4 ex"),
        ("${s}ual cost: $5.00 #ff0000", "textual cost: $5.00 #ff0000"),
        ("#set($q = -7 / 2)$q #set($r = -7 % 2)$r", "-3 -1"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    """Velocity's rules are Java's, and a template reaches nothing of Python."""
    scope: dict[str, Any] = {"a": {"x": 1, "y": 2}, "s": "text"}
    assert expected == Template(template).render(scope)


def test_a_compiled_template_keeps_nothing() -> None:
    """One request must not see another one's variables."""
    template = Template("$!x#set($x = 1)")
    assert ("", "") == (template.render({}), template.render({}))


def test_loops_are_bounded() -> None:
    """AWS stops a template after 1,000 rounds."""
    with pytest.raises(TemplateError, match=r"1,000"):
        Template("#foreach($i in [1..1001])x#end").render({})


def test_what_cannot_be_parsed_is_told() -> None:
    """A broken template must not take down the compilation of its neighbours."""
    with pytest.raises(TemplateError):
        Template("#if($x")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", {"a": [{"b": 1}, {"b": 2}], "c d": 3}),
        ("$.a[0].b", 1),
        ("$['c d']", 3),
        ("a[-1].b", 2),
        ("$.a[*].b", [1, 2]),
        ("$..b", [1, 2]),
        ("$.a[5]", MISSING),
        ("$.x.y", MISSING),
    ],
)
def test_paths(path: str, expected: Any) -> None:
    """Mapping templates find their values by JSON path."""
    assert expected == compile_path(path).find({"a": [{"b": 1}, {"b": 2}], "c d": 3})


def test_a_filter_is_not_a_path() -> None:
    """What is not understood is an error, not an empty answer."""
    with pytest.raises(PathError):
        compile_path("$.a[?(@.b == 1)]")


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """A limit of two a second lets two through at once and then one each 500 ms."""
    bucket = TokenBucket(2.0, 2)
    taken = [bucket.take(now) for now in (1000, 1000, 1000, 1499, 1500, 1500, 9000, 9000, 9000)]
    assert [True, True, False, False, True, False, True, True, False] == taken
