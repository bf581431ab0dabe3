"""From text to a template: JSON, or YAML with the short forms of functions."""

import json
import math
from typing import Any, Final

import orjson
import yaml

from penstock.core.template.node import Template, invalid

_BARE: Final = frozenset({"Ref", "Condition"})
_TEXT: Final = "tag:yaml.org,2002:str"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_MERGE: Final = "tag:yaml.org,2002:merge"
_INTEGER: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_BITS: Final = 63


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

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read an object: its keys are text as it is written, be it that of a number or of `on`."""
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT
        return super().construct_mapping(node, deep)


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


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    number: int = loader.construct_yaml_int(node)
    return number if number.bit_length() <= _BITS else _text(loader, node)


def _float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    number: float = loader.construct_yaml_float(node)
    return number if math.isfinite(number) else _text(loader, node)


def _json_integer(text: str) -> int | str:
    return int(text) if len(text) < 19 else text


def _json_float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


_Loader.add_multi_constructor("!", _function)
_Loader.add_constructor(_TIMESTAMP, _text)
# What no document of the store can hold stays the text that it is.
_Loader.add_constructor(_INTEGER, _integer)
_Loader.add_constructor(_FLOAT, _float)


def parse_template(text: str) -> Template:
    """The template that `text` holds. Raises ValidationError naming the place where it is not well-formed."""
    try:
        template = _json(text) if text.lstrip().startswith("{") else _yaml(text)
        orjson.dumps(template)
    except (RecursionError, ValueError, TypeError) as fault:
        # A tag that does not fit its value, brackets without end, or half a character.
        raise invalid("Template format error: unsupported structure.") from fault
    if not isinstance(template, dict):
        raise invalid("Template format error: unsupported structure.")
    return template


def _json(text: str) -> Any:
    try:
        return json.loads(
            text, parse_int=_json_integer, parse_float=_json_float, parse_constant=str
        )
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
