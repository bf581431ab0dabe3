"""Input templates of EventBridge Pipes: text with `<$.path>` and `<aws.pipes.NAME>` in it.

A variable in quotes becomes text, any other JSON. Of a body or a payload that is JSON as text, a path sees the inside.
Source: EventBridge guide, "Pipes input transformation".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from penstock.core.input_transformer import dumps, quoted_after
from penstock.core.json_path import MISSING, JsonPath, compile_path

_VARIABLE: Final = re.compile(r"<(\$[^<>]*|aws\.pipes\.[a-z.-]+)>")
RESERVED: Final = frozenset(
    [
        "aws.pipes.enrichment-arn",
        "aws.pipes.event",
        "aws.pipes.event.ingestion-time",
        "aws.pipes.event.json",
        "aws.pipes.pipe-arn",
        "aws.pipes.pipe-name",
        "aws.pipes.source-arn",
        "aws.pipes.target-arn",
    ]
)
# AWS: these members of a record are looked into where they are JSON (EventBridge guide, "implicit body data parsing").
_PARSED: Final = ("body", "data", "value")


@dataclass(frozen=True, slots=True)
class _Slot:
    path: JsonPath | None
    name: str
    quoted: bool


_Part: TypeAlias = str | _Slot


class PipeTemplate:
    """A compiled template: `apply(event, reserved)`."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts

    def apply(self, event: Any, reserved: Mapping[str, Any]) -> bytes:
        """The text for one event. `reserved` has values by their names without brackets."""
        inside = _parsed(event)
        return "".join(
            part if isinstance(part, str) else _insert(part, inside, event, reserved)
            for part in self._parts
        ).encode()


def compile_pipe_template(template: str) -> PipeTemplate:
    """Compile a template. Raises PathError for a path that is none, KeyError for a name that is not reserved."""
    parts: list[_Part] = []
    at, quoted = 0, False
    for match in _VARIABLE.finditer(template):
        literal, name = template[at : match.start()], match[1]
        quoted = quoted_after(literal, quoted)
        path = compile_path(name) if name.startswith("$") else None
        if path is None and name not in RESERVED:
            raise KeyError(name)
        parts += [literal, _Slot(path, name, quoted)]
        at = match.end()
    return PipeTemplate([*parts, template[at:]])


def resolved(text: str, event: Any) -> str:
    """A parameter of a target: the value at a path if it is one, else the text itself."""
    if not text.startswith("$."):
        return text
    found = compile_path(text).find(_parsed(event))
    if found is MISSING:
        return ""
    return found if isinstance(found, str) else dumps(found).decode()


def _parsed(event: Any) -> Any:
    """The event with what is JSON as text in it opened."""
    if not isinstance(event, dict):
        return event
    opened = dict(event)
    for name in _PARSED:
        text = event.get(name)
        if isinstance(text, str):
            try:
                opened[name] = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
    return opened


def _insert(slot: _Slot, inside: Any, event: Any, reserved: Mapping[str, Any]) -> str:
    if slot.path is not None:
        value = slot.path.find(inside)
        if value is MISSING:
            return "" if slot.quoted else '""'
    elif slot.name in ("aws.pipes.event", "aws.pipes.event.json"):
        value = event
    else:
        value = reserved[slot.name]
    if not slot.quoted:
        return dumps(value).decode()
    text = value if isinstance(value, str) else dumps(value).decode()
    # What would end the string is escaped; the quotes around it are the template's.
    return dumps(text).decode()[1:-1]
