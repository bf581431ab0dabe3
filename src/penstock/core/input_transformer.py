"""EventBridge's input transformer: a template with placeholders becomes what a target gets.

A placeholder where a JSON value stands becomes the value as JSON; one inside a quoted string becomes text, in which
objects and arrays lose their quotes if the whole template is text. Source: EventBridge guide, "input transformation", and recorded deliveries.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from penstock.core.json_path import MISSING, JsonPath, PathError, compile_path

_PLACEHOLDER: Final = re.compile(r"<([A-Za-z0-9_.\-]+)>")
PREDEFINED: Final = frozenset(
    [
        "aws.events.rule-arn",
        "aws.events.rule-name",
        "aws.events.event.ingestion-time",
        "aws.events.event",
        "aws.events.event.json",
    ]
)


class TransformError(ValueError):
    """The template, or what it became, cannot be delivered."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A placeholder and whether it stands inside a quoted string."""

    name: str
    quoted: bool
    plain: bool
    """Whether the template is text in quotes rather than a JSON document."""


class InputTransformer:
    """A compiled transformer: `apply(event, predefined)`."""

    __slots__ = ("_parts", "_paths")

    def __init__(self, paths: Mapping[str, JsonPath], parts: list[str | _Slot]) -> None:
        self._paths = paths
        self._parts = parts

    def apply(self, event: Mapping[str, Any], predefined: Mapping[str, Any]) -> bytes:
        """What the target gets. Raises TransformError when that is not JSON, line by line if it is text in quotes."""
        found: dict[str, Any] = {
            name: _value(path.find(event)) for name, path in self._paths.items()
        }
        values = {**predefined, **found}
        text = "".join(
            part if isinstance(part, str) else _insert(part, values[part.name])
            for part in self._parts
        )
        _check(text)
        return text.encode()


def compile_transformer(template: str, paths: Mapping[str, str]) -> InputTransformer:
    """Compile a template and its paths. Raises TransformError, whose text is the name of a placeholder nobody defines,
    or PathError for a path that is none.
    """
    compiled = {name: compile_path(path) for name, path in paths.items()}
    parts: list[str | _Slot] = []
    at = 0
    quoted = False
    plain = template.lstrip().startswith('"')
    for match in _PLACEHOLDER.finditer(template):
        literal = template[at : match.start()]
        quoted = quoted_after(literal, quoted)
        name = match[1]
        if name not in compiled and name not in PREDEFINED:
            raise TransformError(name)
        parts += [literal, _Slot(name, quoted, plain)]
        at = match.end()
    parts.append(template[at:])
    return InputTransformer(compiled, parts)


def quoted_after(literal: str, quoted: bool) -> bool:
    """Whether a JSON text is inside a quoted string behind `literal`, if it was (not) before it."""
    escaped = False
    for character in literal:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
    return quoted


def _value(found: Any) -> Any:
    # AWS: what is not in the event leaves nothing in a text and an empty string in JSON (recorded).
    return "" if found is MISSING else found


def _insert(slot: _Slot, value: Any) -> str:
    if not slot.quoted:
        return dumps(value).decode()
    if isinstance(value, str):
        # What would end the string is escaped; the quotes around it are the template's.
        return dumps(value).decode()[1:-1]
    text = dumps(value).decode()
    # AWS: in a text an object loses its quotes; in a string of a document it keeps them, and is not delivered (recorded).
    return text.replace('"', "") if slot.plain else text


def _check(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if lines and all(_is_text(line.strip()) for line in lines):
            return
        raise TransformError("The input template did not become JSON.") from error


def _is_text(line: str) -> bool:
    """Whether a line is a string in quotes. AWS delivers a template of such lines as it is (recorded)."""
    try:
        return isinstance(json.loads(line), str)
    except ValueError:
        return False


def dumps(value: Any) -> bytes:
    """A value as compact JSON; integers of any size."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


__all__ = [
    "PREDEFINED",
    "InputTransformer",
    "PathError",
    "TransformError",
    "compile_transformer",
    "dumps",
    "quoted_after",
]
