"""From text to a template: JSON, or YAML with the short forms of functions."""

import json
from typing import Any, Final

import yaml

from penstock.core.template.node import Template, invalid

_BARE: Final = frozenset({"Ref", "Condition"})
_TEXT_TAGS: Final = frozenset({"tag:yaml.org,2002:timestamp"})


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it: dates stay text, tags are functions, keys are text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read a node that is no alias: those make large documents of small ones."""
        if self.check_event(yaml.AliasEvent):
            # AWS: refused, in these words (observed with ValidateTemplate).
            raise invalid(
                "Template error: YAML aliases are not allowed in CloudFormation templates"
            )
        return super().compose_node(parent, index)


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in _BARE else f"Fn::{suffix}"
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        # AWS: the short form takes "Resource.Attribute"; the attribute may have dots (CloudFormation guide, Fn::GetAtt).
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        value = None
    return {name: value}


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_multi_constructor("!", _function)
for _tag in _TEXT_TAGS:
    _Loader.add_constructor(_tag, _text)


def parse_template(text: str) -> Template:
    """The template that `text` holds. Raises ValidationError naming the place where it is not well-formed."""
    try:
        template = _json(text) if text.lstrip().startswith("{") else _yaml(text)
    except (RecursionError, ValueError, TypeError) as fault:
        # A tag that does not fit its value, or brackets without end.
        raise invalid("Template format error: unsupported structure.") from fault
    if not isinstance(template, dict):
        raise invalid("Template format error: unsupported structure.")
    return template


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        try:
            # YAML in flow style begins with a brace, too.
            return yaml.load(text, _Loader)
        except yaml.YAMLError:
            place = f"(line {error.lineno}, column {error.colno})"
            raise invalid(f"Template format error: JSON not well-formed. {place}") from error


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise invalid(f"Template format error: YAML not well-formed.{place}") from error
    except yaml.YAMLError as error:
        raise invalid("Template format error: YAML not well-formed.") from error
