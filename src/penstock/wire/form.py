"""Requests of the query protocol: `Entries.member.1.Id=a` becomes nested members."""

from binascii import a2b_qp
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from penstock.wire.model import Model, Shape
from penstock.wire.scalar import malformed, text_reader

Node: TypeAlias = dict[str, Any]
"""Children by path component; the text of the node itself is under the empty string."""

_MAX_FIELDS: Final = 100_000
_MAX_DEPTH: Final = 200


def parse_form(body: bytes, query: str) -> Node:
    """The tree of a form's fields, those of the query string first. Raises `AwsError`."""
    try:
        # Text from here on: a search for bytes in bytes raises and drops an exception within the interpreter.
        form = body.decode().replace("+", " ")
        if query:
            form = f"{query.replace('+', ' ')}&{form}"
        fields = form.split("&", _MAX_FIELDS)
        if len(fields) > _MAX_FIELDS:
            raise malformed("The request body is not a form")
        root: Node = {}
        for field in fields:
            name, _, value = field.partition("=")
            path = _unquoted(name) if "%" in name else name
            node = root
            if "." in path:
                for step in path.split(".", _MAX_DEPTH):
                    node = node.setdefault(step, {}) if step else node
            elif path:
                node = root.setdefault(path, {})
            if node is not root:
                node[""] = _unquoted(value) if "%" in value else value
    except UnicodeDecodeError:
        raise malformed("The request body is not a form") from None
    return root


def tree_of(fields: Iterable[tuple[str, str]]) -> Node:
    """The same tree of fields that are decoded already."""
    root: Node = {}
    for path, value in fields:
        node = root
        for step in path.split(".", _MAX_DEPTH):
            node = node.setdefault(step, {}) if step else node
        if node is not root:
            node[""] = value
    return root


def _unquoted(text: str) -> str:
    """Undo percent-encoding. Quoted-printable is the same with another mark, and there is a decoder of it in C."""
    if not ("=" in text or "\n" in text or "\r" in text):
        raw = text.replace("%", "=").encode()
        found = a2b_qp(raw)
        if len(found) == len(raw) - 2 * text.count("%"):
            return found.decode()
    # There is a mark that no two digits follow.
    return unquote_to_bytes(text).decode()


class FormCompiler:
    """Compiles shapes of one model into readers of form nodes."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._structures: dict[str, Callable[[Node], Any]] = {}

    def reader(self, shape: Shape) -> Callable[[Node], Any]:
        """A function from a node to a member's value. Raises `AwsError`."""
        if shape.kind == "structure":
            return self.structure(shape)
        if shape.kind == "list":
            return self._list(shape)
        if shape.kind == "map":
            return self._map(shape)
        read = text_reader(shape)
        return lambda node: read(node.get("", ""))

    def structure(self, shape: Shape) -> Callable[[Node], dict[str, Any]]:
        """The reader of a structure: only members that the form names."""
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        rows: dict[str, tuple[str, tuple[str, ...], Callable[[Node], Any]]] = {}

        def read(node: Node) -> dict[str, Any]:
            # A form has far fewer fields than the structure has names.
            out = {}
            for wire_name, child in node.items():
                row = rows.get(wire_name)
                if row is not None:
                    name, likelier, convert = row
                    if not (likelier and any(each in node for each in likelier)):
                        out[name] = convert(child)
            return out

        self._structures[shape.name] = read
        for name, member in self._model.members(shape):
            wire_names, convert = self._names(name, member), self.reader(member)
            for at, wire_name in enumerate(wire_names):
                rows.setdefault(wire_name, (name, wire_names[:at], convert))
        return read

    def _names(self, name: str, member: Shape) -> tuple[str, ...]:
        """The names that clients use for a member, the likeliest first."""
        plain = member.get("queryName", member.get("locationName", name))
        names = [member.get("flatName"), plain]
        if member.kind == "list" and member.get("flattened"):
            names.insert(0, self._model.element(member).get("locationName"))
        return tuple(dict.fromkeys(each for each in names if each))

    def _list(self, shape: Shape) -> Callable[[Node], list[Any]]:
        element = self._model.element(shape)
        convert = self.reader(element)
        flat = shape.get("flattened", False)
        inner = element.get("locationName", "member")

        def read(node: Node) -> list[Any]:
            return [convert(child) for child in _numbered(node if flat else node.get(inner, {}))]

        return read

    def _map(self, shape: Shape) -> Callable[[Node], dict[str, Any]]:
        key, value = self._model.key(shape), self._model.value(shape)
        flat = shape.get("flattened", False)
        key_name = shape.get("flatKey", key.get("locationName", "key"))
        value_name = shape.get("flatValue", value.get("locationName", "value"))
        convert = self.reader(value)

        def read(node: Node) -> dict[str, Any]:
            return {
                child.get(key_name, {}).get("", ""): convert(child.get(value_name, {}))
                for child in _numbered(node if flat else node.get("entry", {}))
            }

        return read


def _numbered(node: Node) -> list[Node]:
    """The children that are numbered, by number."""
    numbers = sorted(
        (step for step in node if step.isdecimal() and step.isascii() and len(step) < 10), key=int
    )
    return [node[number] for number in numbers]
