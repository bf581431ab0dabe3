"""Answers of the REST protocols: members to the status, headers and the body."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from penstock.api import Chunks, HttpResponse
from penstock.core.ids import s3_request_ids
from penstock.wire.model import RESPONSE_LOCATIONS, Model, Shape
from penstock.wire.scalar import text_writer
from penstock.wire.typed import JSON, WriterCompiler
from penstock.wire.xml import DECLARATION, XmlWriterCompiler, escape

Result: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]
BodyWriter: TypeAlias = Callable[[Result], tuple[bytes, str]]
"""-> (body, content type or an empty string)"""


def blob_text(value: Any) -> str:
    """orjson's way out for what JSON has no type for: blobs are base64."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} does not belong into a result")


def compile_rest_writer(
    model: Model, shape: Shape, status: int, xml: bool
) -> Callable[[Result, Headers], HttpResponse]:
    """The writer of a structure's answers; the headers handed in come first."""
    write_headers = compile_header_writer(model, shape)
    status_member = next(
        (name for name, member in model.members(shape) if member.get("location") == "statusCode"),
        None,
    )
    write_body = _body_writer(model, shape, xml)
    typed_by = next(
        (
            name
            for name, wire_name, _ in _header_rows(model, shape)
            if wire_name.lower() == "content-type"
        ),
        "",
    )

    def write(result: Result, headers: Headers) -> HttpResponse:
        body, content_type = write_body(result)
        write_headers(result, headers)
        if content_type and result.get(typed_by) is None:
            headers.append(("Content-Type", content_type))
        code = result.get(status_member) if status_member else None
        return HttpResponse(code or status, headers, body)

    return write


def compile_header_writer(model: Model, shape: Shape) -> Callable[[Result, Headers], None]:
    """What appends the members that a structure has in headers."""
    rows = {name: (wire_name, text) for name, wire_name, text in _header_rows(model, shape)}
    prefixes = [
        (name, member.get("locationName", ""))
        for name, member in model.members(shape)
        if member.get("location") == "headers"
    ]

    def write(result: Result, headers: Headers) -> None:
        # A model knows dozens of fields, an answer has a few.
        for name, value in result.items():
            if name in rows and value is not None:
                wire_name, write_text = rows[name]
                text = write_text(value)
                headers.append((wire_name, text if text.isprintable() else one_line(text)))
        for name, prefix in prefixes:
            for key, value in (result.get(name) or {}).items():
                headers.append((prefix + key, one_line(value)))

    return write


def s3_ids(request_id: str) -> Headers:
    """The two ids of S3's answers, and who answers."""
    digits, host_id = s3_request_ids(request_id)
    return [("x-amz-request-id", digits), ("x-amz-id-2", host_id), ("server", "AmazonS3")]


def one_line(text: str) -> str:
    """A header value that cannot begin another header."""
    return text.replace("\r", " ").replace("\n", " ") if "\r" in text or "\n" in text else text


def _header_rows(model: Model, shape: Shape) -> list[tuple[str, str, Callable[[Any], str]]]:
    return [
        (name, member.get("locationName", name), _header_text(model, member))
        for name, member in model.members(shape)
        if member.get("location") == "header"
    ]


def _header_text(model: Model, shape: Shape) -> Callable[[Any], str]:
    if shape.get("jsonvalue"):
        return lambda value: b64encode(orjson.dumps(value)).decode()
    if shape.kind != "list":
        return text_writer(shape, "rfc822")
    element = model.element(shape)
    text = text_writer(element, "rfc822")
    if element.kind == "string":
        return lambda value: ", ".join(_quoted(item) for item in value)
    return lambda value: ", ".join(text(item) for item in value)


def _quoted(text: str) -> str:
    if "," not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _body_writer(model: Model, shape: Shape, xml: bool) -> BodyWriter:
    payload = shape.get("payload")
    if payload is not None:
        member = model.shape(shape.traits["members"][payload])
        return _payload_writer(model, payload, member, xml)
    if all(member.get("location") in RESPONSE_LOCATIONS for _, member in model.members(shape)):
        # AWS: REST-JSON answers of modelled, empty outputs are an empty object.
        empty = b"{}" if shape.name and not xml and not shape.traits["members"] else b""
        return lambda _: (empty, "application/json" if empty else "")
    if xml:
        return _xml_writer(model, shape, _root(shape))
    write_json = WriterCompiler(model, JSON).structure(shape)
    return lambda result: (
        orjson.dumps(write_json(result), default=blob_text),
        "application/json",
    )


def _root(shape: Shape) -> str:
    name: str = shape.get("rootName") or shape.get("locationName") or shape.name
    return name


def _xml_writer(model: Model, shape: Shape, root: str) -> BodyWriter:
    write = XmlWriterCompiler(model).writer(shape, root, _default_namespace(model))

    def write_body(result: Result) -> tuple[bytes, str]:
        out = [DECLARATION]
        write(out, result)
        return "".join(out).encode(), "application/xml"

    return write_body


def _default_namespace(model: Model) -> str:
    uri = model.metadata.get("xmlNamespace")
    if isinstance(uri, dict):
        uri = uri.get("uri")
    return f' xmlns="{uri}"' if uri else ""


def _bytes(value: bytes | Chunks | None) -> bytes:
    """A body that is there; chunks follow by themselves."""
    return b"" if value is None or isinstance(value, Chunks) else value


def _payload_writer(model: Model, name: str, member: Shape, xml: bool) -> BodyWriter:
    if member.get("xmlText"):
        return _text_element(model, name)
    if member.kind == "blob":
        return lambda result: (_bytes(result.get(name)), "application/octet-stream")
    if member.kind == "string":
        return lambda result: ((result.get(name) or "").encode(), "text/plain")
    if xml:
        write_xml = _xml_writer(model, member, _root(member))
        return lambda result: (b"", "") if result.get(name) is None else write_xml(result[name])
    convert = WriterCompiler(model, JSON).writer(member)

    def write(result: Result) -> tuple[bytes, str]:
        value = result.get(name)
        if value is None:
            return b"", ""
        document = value if convert is None else convert(value)
        return orjson.dumps(document, default=blob_text), "application/json"

    return write


def _text_element(model: Model, name: str) -> BodyWriter:
    """A root element that is nothing but text."""
    opening = f"{DECLARATION}<{name}{_default_namespace(model)}"

    def write(result: Result) -> tuple[bytes, str]:
        text = result.get(name)
        content = f">{escape(text)}</{name}>" if text else "/>"
        return f"{opening}{content}".encode(), "application/xml"

    return write
