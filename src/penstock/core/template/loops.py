"""Fn::ForEach of the transform AWS::LanguageExtensions: fragments of a template, written once for each of a list."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from penstock.core.errors import AwsError
from penstock.core.template.node import Node, Template, invalid

EXTENSIONS: Final = "AWS::LanguageExtensions"
_LOOP: Final = "Fn::ForEach::"
# AWS: no other section may have loops; five may stand in one another (template reference, Fn::ForEach).
_SECTIONS: Final = ("Conditions", "Resources", "Outputs")
_DEEPEST: Final = 5
# AWS: the quotas are those of what the loops make (the same page).
_LONGEST: Final = 1_000_000
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9]")
_Names = Mapping[str, str]


def expand_loops(template: Template, values: Mapping[str, Any], *, known: bool = True) -> Template:
    """The template without its loops. Raises ValidationError.

    `values` are those of the parameters; unless all are `known`, a loop over one that is not there is left out.
    """
    growth = _Growth(values, known=known)
    grown = dict(template)
    for section in _SECTIONS:
        if isinstance(template.get(section), dict):
            grown[section] = growth.of(template[section], {}, 0)
    return grown


def without_loops(template: Template) -> Template:
    """The template with what it has beside its loops."""
    resources = template.get("Resources")
    if not isinstance(resources, dict):
        return template
    plain = {name: one for name, one in resources.items() if not name.startswith(_LOOP)}
    return {**template, "Resources": plain}


class _Growth:
    """Writes nodes out with the names that the loops around them bind."""

    def __init__(self, values: Mapping[str, Any], *, known: bool) -> None:
        self._values = values
        self._known = known
        self._written = 0

    def of(self, node: Node, names: _Names, depth: int) -> Node:
        """The node with its loops written out."""
        if isinstance(node, str):
            return self._text(node, names)
        if isinstance(node, list):
            return [self.of(item, names, depth) for item in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and isinstance(node.get("Ref"), str) and node["Ref"] in names:
            return names[node["Ref"]]
        grown: dict[str, Node] = {}
        for key, value in self._members(node, names, depth):
            if key in grown:
                raise _failed(f"Fn::ForEach makes the key {key} twice")
            grown[key] = value
        return grown

    def _members(
        self, node: Mapping[str, Node], names: _Names, depth: int
    ) -> Iterator[tuple[str, Node]]:
        for key, value in node.items():
            if key.startswith(_LOOP):
                yield from self._loop(value, names, depth + 1)
            else:
                yield self._text(key, names), self.of(value, names, depth)

    def _text(self, text: str, names: _Names) -> str:
        filled = _filled(text, names)
        self._count(len(filled) + 1)
        return filled

    def _count(self, written: int) -> None:
        self._written += written
        if self._written > _LONGEST:
            raise invalid(f"Template may not exceed {_LONGEST} bytes in size.")

    def _loop(self, loop: Node, names: _Names, depth: int) -> Iterator[tuple[str, Node]]:
        if not isinstance(loop, list) or len(loop) != 3:
            raise _failed("Fn::ForEach layout is incorrect")
        name, collection, fragment = loop
        if not isinstance(name, str) or not isinstance(fragment, dict):
            raise _failed("Fn::ForEach layout is incorrect")
        if depth > _DEEPEST:
            raise _failed(f"Fn::ForEach may be nested {_DEEPEST} times at most")
        for key in fragment:
            if not key.startswith(_LOOP) and not re.search(rf"[$&]\{{{re.escape(name)}\}}", key):
                raise _failed(f"Fn::ForEach needs the identifier {name} in the key {key}")
        for item in self._items(collection, names):
            self._count(1)  # also rounds that write nothing take time
            yield from self._members(fragment, {**names, name: item}, depth)

    def _items(self, collection: Node, names: _Names) -> list[str]:
        found = self._value(collection, names)
        if found is None and not self._known:
            return []
        if not isinstance(found, list):
            raise _failed("Fn::ForEach needs a list of strings, or a Ref to a parameter of one")
        items = [self._value(item, names) for item in found]
        if not self._known:
            items = [item for item in items if item is not None]
        if not all(isinstance(item, str | int | float) for item in items):
            raise _failed("Fn::ForEach needs a list of strings, or a Ref to a parameter of one")
        return [str(item) for item in items]

    def _value(self, node: Node, names: _Names) -> Any:
        if isinstance(node, dict):
            reference = node.get("Ref") if len(node) == 1 else None
            if not isinstance(reference, str):
                return None
            return names.get(reference, self._values.get(reference))
        return _filled(node, names) if isinstance(node, str) else node


def _filled(text: str, names: _Names) -> str:
    """The text with the values of names: as they are for `${Name}`, their letters and digits for `&{Name}`."""
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
        text = text.replace(f"&{{{name}}}", _STRANGE.sub("", value))
    return text


def _failed(why: str) -> AwsError:
    return invalid(f"Transform {EXTENSIONS} failed with: {why}")
