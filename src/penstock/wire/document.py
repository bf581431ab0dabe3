"""Requests as plain JSON documents, as schedules and state machines write them: members by name, wherever HTTP has them."""

from typing import Any

from penstock.core.errors import AwsError
from penstock.wire.model import Model, Shape
from penstock.wire.typed import JSON, ReaderCompiler


def read_document(model: Model, name: str, document: Any) -> dict[str, Any]:
    """The members of an operation's request. A blob is its text. Raises AwsError."""
    if not isinstance(document, dict):
        raise AwsError("ValidationException", "The request is no JSON object.")
    found: dict[str, Any] = _read(
        model, model.optional(model.operations[name].get("input")), document
    )
    return found


def _read(model: Model, shape: Shape, value: Any) -> Any:
    match shape.kind, value:
        case "structure", dict():
            members = dict(model.members(shape))
            unknown = value.keys() - members.keys()
            if unknown:
                raise AwsError("ValidationException", f"Unknown member: {min(unknown)}")
            return {
                name: _read(model, members[name], item)
                for name, item in value.items()
                if item is not None
            }
        case "list", list():
            element = model.element(shape)
            return [_read(model, element, item) for item in value]
        case "map", dict():
            each = model.value(shape)
            return {key: _read(model, each, item) for key, item in value.items()}
        case "blob", str():
            return value.encode()
    return ReaderCompiler(model, JSON).reader(shape)(value)
