"""`patchOperations`: changes of a document by paths, as every Update operation takes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from penstock.api import refuse
from penstock.services.apigateway.repository import Document, bad_request

Kind = Literal["text", "boolean", "integer", "map", "flags", "set", "refused"]
"""What is at a path: a value; a map of texts or booleans, or a set of texts, whose members are paths of their own; or
something that is not built."""

_OPERATIONS: Final = ("add", "remove", "replace")


def unescape(part: str) -> str:
    """A component of a path."""
    return part.replace("~1", "/").replace("~0", "~")


def operations_in(request: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """The operations of a request. Raises `AwsError` for those that no resource takes."""
    operations: Sequence[Mapping[str, str]] = request.get("patchOperations") or ()
    for operation in operations:
        if operation.get("op") in ("move", "copy", "test"):
            raise refuse(f"the patch operation {operation['op']}")
        if operation.get("op") not in _OPERATIONS:
            raise bad_request("Invalid patch operation specified. Must be 'add'|'remove'|'replace'")
    return operations


def apply(document: Document, request: Mapping[str, Any], paths: Mapping[str, Kind]) -> None:
    """Change `document` by the `patchOperations` of a request, where `paths` names what may be changed."""
    for operation in operations_in(request):
        path = operation.get("path") or ""
        name, *members = path.removeprefix("/").split("/")
        kind = paths.get(name)
        if kind is None or len(members) > 1:
            raise invalid_path(operation, paths)
        if kind == "refused":
            raise refuse(f"the patch path {path}")
        if kind in ("map", "flags", "set"):
            _change_member(document, operation, name, kind, members)
        elif operation["op"] == "remove":
            document.pop(name, None)
        else:
            document[name] = typed(operation.get("value") or "", kind)


def invalid_path(operation: Mapping[str, str], paths: Mapping[str, Kind]) -> Exception:
    """The error for a path that is none of `paths`."""
    allowed = ", ".join(f"/{name}" for name, kind in paths.items() if kind != "refused")
    return bad_request(
        f"Invalid patch path  '{operation.get('path')}' specified for op '{operation['op']}'."
        f" Must be one of: [{allowed}]"
    )


def typed(value: str, kind: Kind) -> Any:
    """The value that a patch's text means."""
    if kind == "boolean":
        return value.lower() == "true"
    if kind == "integer":
        if not value.isdigit():
            raise bad_request(f"Invalid integer value: {value}")
        return int(value)
    return value


def _change_member(
    document: Document, operation: Mapping[str, str], name: str, kind: Kind, members: list[str]
) -> None:
    value = operation.get("value") or ""
    member = unescape(members[0]) if members else value
    if kind == "set":
        values = [item for item in document.get(name) or [] if item != member]
        if operation["op"] != "remove":
            values.append(value if operation["op"] == "replace" and value else member)
        document[name] = values
        return
    if not members:
        if operation["op"] != "remove":
            raise bad_request(f"Invalid patch path {operation.get('path')}")
        document[name] = {}
        return
    table = document.setdefault(name, {})
    if operation["op"] == "remove":
        table.pop(member, None)
    else:
        table[member] = typed(value, "boolean") if kind == "flags" else value
