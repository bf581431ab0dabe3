"""Functions of templates as they are written: whether each has arguments of the right kind."""

from collections.abc import Callable
from typing import Any, Final

from penstock.core.template.node import Node, invalid


def _text(node: Node) -> bool:
    return isinstance(node, str)


def _value(node: Node) -> bool:
    """Text, or what is to become text."""
    return isinstance(node, str | int | float | dict)


def _list(node: Node) -> bool:
    """A list, or a function that gives one."""
    return isinstance(node, list | dict)


def _any(_node: Node) -> bool:
    return True


def _of(*kinds: Callable[[Node], bool], least: int | None = None) -> Callable[[Node], bool]:
    """A list of these, of which `least` must be there."""

    def fits(node: Node) -> bool:
        if not isinstance(node, list):
            return False
        enough = (len(kinds) if least is None else least) <= len(node) <= len(kinds)
        return enough and all(kind(one) for kind, one in zip(kinds, node, strict=False))

    return fits


def _either(*kinds: Callable[[Node], bool]) -> Callable[[Node], bool]:
    return lambda node: any(kind(node) for kind in kinds)


def _sub_map(node: Node) -> bool:
    return isinstance(node, dict)


def _default(node: Node) -> bool:
    return isinstance(node, dict) and "DefaultValue" in node


def _attribute(node: Node) -> bool:
    if isinstance(node, str):
        return all(node.partition("."))
    return isinstance(node, list) and len(node) > 1 and isinstance(node[0], str) and all(node)


GETATT_ERROR: Final = (
    "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource "
    "attribute"
)
JOIN_ERROR: Final = (
    "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings "
    "to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
)
SPLIT_ERROR: Final = (
    "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be "
    "split or a function that returns a string to be split."
)
SELECT_ERROR: Final = "Template error: Fn::Select requires a list argument with two elements: an integer index and a list"
EQUALS_ERROR: Final = (
    "Template error: every Fn::Equals object requires a list of 2 string parameters."
)
FIND_IN_MAP_ERROR: Final = (
    "Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for "
    "return value"
)
CIDR_ERROR: Final = (
    "Template error: every Fn::Cidr object requires two or three parameters, the IP block, the count and the number of "
    "bits."
)
CONTAINS_ERROR: Final = (
    "Template error: every Fn::Contains object requires a list of strings and a string."
)
IMPORT_ERROR: Final = "Template error: the attribute in Fn::ImportValue must be a string or a function that returns a string"
LENGTH_ERROR: Final = "Template error: every Fn::Length object requires a list."
_CONDITIONS: Final = _of(*[_list] * 10, least=2)
_ARGUMENTS: Final[dict[str, tuple[Callable[[Node], bool], str]]] = {
    "Ref": (_text, "Template error: every Ref object must have a single String value."),
    "Fn::And": (
        _CONDITIONS,
        "Template error: every Fn::And object requires a list of at least 2 and at most 10 boolean parameters.",
    ),
    "Fn::Base64": (
        _value,
        "Template error: every Fn::Base64 object must have a String-typed value.",
    ),
    "Fn::Cidr": (
        _of(_value, _value, _value, least=2),
        CIDR_ERROR,
    ),
    "Fn::Contains": (
        _of(_list, _any),
        CONTAINS_ERROR,
    ),
    "Fn::Equals": (_of(_any, _any), EQUALS_ERROR),
    "Fn::FindInMap": (
        _of(_value, _value, _value, _default, least=3),
        FIND_IN_MAP_ERROR,
    ),
    "Fn::GetAZs": (
        _value,
        "Template error: every Fn::GetAZs object must have a String-typed value.",
    ),
    "Fn::GetAtt": (_attribute, GETATT_ERROR),
    "Fn::If": (
        _of(_text, _any, _any),
        "Template error: Fn::If requires a list argument with three elements",
    ),
    "Fn::ImportValue": (
        _value,
        IMPORT_ERROR,
    ),
    "Fn::Join": (_of(_text, _list), JOIN_ERROR),
    "Fn::Length": (_list, LENGTH_ERROR),
    "Fn::Not": (
        _of(_list),
        "Template error: every Fn::Not object requires a list of one boolean parameter.",
    ),
    "Fn::Or": (
        _CONDITIONS,
        "Template error: every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters.",
    ),
    "Fn::Select": (_of(_value, _list), SELECT_ERROR),
    "Fn::Split": (_of(_text, _value), SPLIT_ERROR),
    "Fn::Sub": (
        _either(_text, _of(_text, _sub_map)),
        "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string "
        "as first argument, and an optional second argument to specify a mapping of values to replace in the string",
    ),
    "Fn::ToJsonString": (
        _list,
        "Template error: every Fn::ToJsonString object requires an object or an array.",
    ),
}


def check_functions(node: Node) -> None:
    """Raise ValidationError for a function in `node` whose arguments are not what it takes."""
    if isinstance(node, list):
        for item in node:
            check_functions(item)
    elif isinstance(node, dict):
        if len(node) == 1:
            _check(*next(iter(node.items())))
        for value in node.values():
            check_functions(value)


def _check(name: Any, argument: Node) -> None:
    if str(name).startswith("Fn::") and name not in _ARGUMENTS:
        # AWS: in these words, with the names of all of its own (observed with ValidateTemplate).
        supported = ", ".join(_ARGUMENTS)
        raise invalid(
            f"Template error: Encountered unsupported function: {name} Supported functions are: [{supported}]"
        )
    fits, message = _ARGUMENTS.get(name, (_any, ""))
    if not fits(argument):
        raise invalid(message)
