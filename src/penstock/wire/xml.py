"""XML bodies: rest-xml both ways, and the answers of the query protocol."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from xml.etree.ElementTree import Element, ParseError, XMLParser

from penstock.wire.model import REQUEST_LOCATIONS, RESPONSE_LOCATIONS, Model, Shape
from penstock.wire.scalar import malformed, text_reader, text_writer

Write: TypeAlias = Callable[[list[str], Any], None]
"""(fragments, value)"""

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_SPECIAL: Final = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def _escape_one(match: re.Match[str]) -> str:
    character = match[0]
    if character >= "\ud800":
        return "\ufffd"
    return _ESCAPES.get(character) or f"&#x{ord(character):x};"


def escape(text: str) -> str:
    """Text as XML content or attribute value."""
    # AWS: S3 writes control characters as references although XML 1.0 has none (observed on object keys).
    return _SPECIAL.sub(_escape_one, text)


def read_xml(body: bytes) -> Element:
    """The root element, names without their namespaces. Raises `AwsError`."""
    # Entities are how small documents become large ones; AWS takes no document type either.
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise malformed("Document types are not allowed")
    parser = XMLParser()
    try:
        parser.feed(body)
        root = parser.close()
    except (ParseError, LookupError, ValueError) as error:
        raise malformed(f"The body is not well-formed XML: {error}") from None
    for element in root.iter():
        element.tag = _local(element.tag)
        if element.attrib:
            attributes = {_local(name): value for name, value in element.attrib.items()}
            element.attrib.clear()
            element.attrib.update(attributes)
    return root


def _local(name: str) -> str:
    return name.rpartition("}")[2]


class XmlReaderCompiler:
    """Compiles shapes of one model into readers of elements."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._structures: dict[str, Callable[[Element], Any]] = {}

    def reader(self, shape: Shape) -> Callable[[Element], Any]:
        """A function from an element to a value. Raises `AwsError`."""
        if shape.kind == "structure":
            return self.structure(shape)
        if shape.kind == "list":
            return self._list(shape)
        if shape.kind == "map":
            return self._map(shape)
        read = text_reader(shape)
        return lambda element: read(element.text or "")

    def structure(self, shape: Shape) -> Callable[[Element], dict[str, Any]]:
        """The reader of a structure whose members are child elements and attributes."""
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        rows: dict[str, tuple[str, bool, Callable[[Element], Any]]] = {}
        attributes: dict[str, tuple[str, Callable[[str], Any]]] = {}

        def read(element: Element) -> dict[str, Any]:
            out: dict[str, Any] = {}
            for child in element:
                if child.tag in rows:
                    _put(out, child, *rows[child.tag])
            for wire_name in element.attrib.keys() & attributes.keys():
                name, parse = attributes[wire_name]
                out[name] = parse(element.attrib[wire_name])
            return out

        self._structures[shape.name] = read
        for name, member in self._model.members(shape):
            wire_name = member.get("locationName", name)
            local_name = wire_name.rpartition(":")[2]
            if member.get("xmlAttribute"):
                attributes[local_name] = (name, text_reader(member))
            elif member.get("location") not in REQUEST_LOCATIONS:
                flat = bool(member.get("flattened"))
                row = (name, flat, self._flat(member) if flat else self.reader(member))
                rows[local_name] = row
                if flat and member.kind == "list":
                    # botocore names a flattened list by its member, other clients by its element.
                    inner = self._model.element(member).get("locationName", local_name)
                    rows.setdefault(inner, row)
        return read

    def _flat(self, shape: Shape) -> Callable[[Element], Any]:
        """One element of a flattened collection, as a collection of one."""
        if shape.kind == "list":
            convert = self.reader(self._model.element(shape))
            return lambda element: [convert(element)]
        entry = self._entry(shape)
        return lambda element: dict([entry(element)])

    def _list(self, shape: Shape) -> Callable[[Element], list[Any]]:
        convert = self.reader(self._model.element(shape))
        return lambda element: [convert(child) for child in element]

    def _map(self, shape: Shape) -> Callable[[Element], dict[str, Any]]:
        entry = self._entry(shape)
        return lambda element: dict(entry(child) for child in element)

    def _entry(self, shape: Shape) -> Callable[[Element], tuple[str, Any]]:
        key, value = self._model.key(shape), self._model.value(shape)
        key_name = key.get("locationName", "key")
        value_name = value.get("locationName", "value")
        convert = self.reader(value)

        def read(element: Element) -> tuple[str, Any]:
            child = element.find(value_name)
            return element.findtext(key_name, ""), convert(
                Element(value_name) if child is None else child
            )

        return read


def _put(
    out: dict[str, Any],
    child: Element,
    name: str,
    repeats: bool,
    convert: Callable[[Element], Any],
) -> None:
    """Set a member; a flattened collection grows with each of its elements."""
    value = convert(child)
    if not repeats or name not in out:
        out[name] = value
    elif isinstance(value, list):
        out[name].extend(value)
    else:
        out[name].update(value)


class XmlWriterCompiler:
    """Compiles shapes of one model into writers of elements; `timestamp` is the format where the shape names none."""

    def __init__(self, model: Model, timestamp: str = "") -> None:
        self._model = model
        usual = "wholeSeconds" if model.name == "s3" else "iso8601"
        self._timestamp = timestamp or usual
        self._contents: dict[str, tuple[Callable[[Any], str] | None, Write]] = {}

    def writer(self, shape: Shape, name: str, namespace: str = "") -> Write:
        """Writes one element `name` (a flattened collection: as many as it has elements)."""
        if shape.kind == "list" and shape.get("flattened"):
            return self._repeated(shape, name)
        if shape.kind == "map" and shape.get("flattened"):
            return self._entries(shape, shape.get("flatName", name))
        opening = f"<{name}{_namespace(shape) or namespace}"
        closing = f"</{name}>"
        if shape.kind == "structure":
            return self._structure_element(shape, opening, closing)
        if shape.kind == "list":
            element = self._model.element(shape)
            inner = self.writer(element, element.get("locationName", "member"))
            return _wrapped(opening, closing, inner)
        if shape.kind == "map":
            return _filled(opening, closing, self._entries(shape, "entry"))
        text = text_writer(shape, self._timestamp)

        def write(out: list[str], value: Any) -> None:
            out.append(f"{opening}>{escape(text(value))}{closing}")

        return write

    def _structure_element(self, shape: Shape, opening: str, closing: str) -> Write:
        def write(out: list[str], value: Any) -> None:
            attributes, content = self.content(shape)
            out.append(f"{opening}{attributes(value)}>" if attributes else f"{opening}>")
            content(out, value)
            out.append(closing)

        return write

    def content(self, shape: Shape) -> tuple[Callable[[Any], str] | None, Write]:
        """The writers of a structure's attributes and of its child elements."""
        known = self._contents.get(shape.name)
        if known is not None:
            return known
        rows: list[tuple[str, Write]] = []
        attributes: list[tuple[str, str, Callable[[Any], str]]] = []
        for name, member in self._model.members(shape):
            if member.get("location") in RESPONSE_LOCATIONS:
                continue
            wire_name = member.get("locationName", name)
            if member.get("xmlAttribute"):
                attributes.append((name, wire_name, text_writer(member, self._timestamp)))
            else:
                rows.append((name, self.writer(member, wire_name)))

        def write_attributes(value: dict[str, Any]) -> str:
            return "".join(
                f' {wire_name}="{escape(text(value[name]))}"'
                for name, wire_name, text in attributes
                if value.get(name) is not None
            )

        def write(out: list[str], value: dict[str, Any]) -> None:
            for name, element in rows:
                item = value.get(name)
                if item is not None:
                    element(out, item)

        self._contents[shape.name] = (write_attributes if attributes else None, write)
        return self._contents[shape.name]

    def _repeated(self, shape: Shape, name: str) -> Write:
        inner = self.writer(self._model.element(shape), shape.get("flatName", name))

        def write(out: list[str], value: Any) -> None:
            for item in value:
                if item is not None:
                    inner(out, item)

        return write

    def _entries(self, shape: Shape, name: str) -> Write:
        key, value = self._model.key(shape), self._model.value(shape)
        flat = shape.get("flattened")
        opening = f"<{name}{_namespace(shape) if flat else ''}>"
        closing = f"</{name}>"
        key_name = shape.get("flatKey", key.get("locationName", "key"))
        write_key = self.writer(key, key_name)
        write_value = self.writer(value, shape.get("flatValue", value.get("locationName", "value")))

        def write(out: list[str], table: Any) -> None:
            for each, item in table.items():
                if item is not None:
                    out.append(opening)
                    write_key(out, each)
                    write_value(out, item)
                    out.append(closing)

        return write


def _namespace(shape: Shape) -> str:
    trait = shape.get("xmlNamespace")
    if not trait:
        return ""
    if isinstance(trait, str):
        return f' xmlns="{trait}"'
    prefix = trait.get("prefix")
    return f' xmlns{":" + prefix if prefix else ""}="{trait["uri"]}"'


def _wrapped(opening: str, closing: str, inner: Write) -> Write:
    def write(out: list[str], value: Any) -> None:
        out.append(f"{opening}>")
        for item in value:
            if item is not None:
                inner(out, item)
        out.append(closing)

    return write


def _filled(opening: str, closing: str, inner: Write) -> Write:
    def write(out: list[str], value: Any) -> None:
        out.append(f"{opening}>")
        inner(out, value)
        out.append(closing)

    return write
