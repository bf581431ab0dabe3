"""Requests of the REST protocols: members from the path, the query string, headers and the body."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import orjson

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.body import bucket_path, dechunk, is_chunked, load_json, plain_body
from penstock.wire.model import REQUEST_LOCATIONS, Model, Shape
from penstock.wire.scalar import malformed, text_reader
from penstock.wire.streamed import content_of
from penstock.wire.typed import JSON, ReaderCompiler
from penstock.wire.xml import XmlReaderCompiler, read_xml

Params: TypeAlias = dict[str, Any]
Values: TypeAlias = dict[str, list[str]]
BodyReader: TypeAlias = Callable[[bytes, Params], None]

_PAGE_SIZES: Final = {
    "max-keys": "maxKeys",
    "max-parts": "max-parts",
    "max-uploads": "max-uploads",
}
"""Parameters of S3 that say how long a page is, as its errors call them."""
_IN_BUCKET: Final = "/{Bucket}/{Key+}"
_LABEL: Final = re.compile(r"\{([^}]+?)(\+?)\}")
_ITEM: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?:,|$)')
_DATE_COMMA: Final = re.compile(r",\s*(?=[A-Z][a-z]{2},)")
_MAX_FIELDS: Final = 10_000


def path_pattern(template: str) -> re.Pattern[str]:
    """The regular expression of a request URI's path; groups are numbered in the order of the labels."""
    out = []
    at = 0
    for match in _LABEL.finditer(template):
        out.append(re.escape(template[at : match.start()]))
        out.append("(.+)" if match[2] else "([^/]+)")
        at = match.end()
    out.append(re.escape(template[at:].rstrip("/")))
    return re.compile(f"{''.join(out)}/?" if "+}" not in template else "".join(out), re.DOTALL)


def compile_rest_reader(
    model: Model, operation: dict[str, Any], xml: bool, max_body: int
) -> Callable[[HttpRequest], Params]:
    """The reader of an operation's requests. Raises `AwsError` when called with what it cannot read."""
    shape = model.optional(operation.get("input"))
    template = operation["http"]["requestUri"].partition("?")[0]
    read_path = _path_reader(model, shape, template, model.name == "s3")
    read_query = _query_reader(model, shape)
    read_headers = _header_reader(model, shape)
    read_body = _body_reader(model, shape, xml)
    # AWS: S3 keeps a compressed body as it is, for that is the object.
    inflates = model.name != "s3"
    streamed: str = shape.get("payload") or ""

    def read(request: HttpRequest) -> Params:
        params: Params = {}
        if read_path is not None:
            read_path(request, params)
        if read_query is not None:
            read_query(request.query, params)
        if request.stream is not None:
            # Only operations that take streams are handed one.
            params[streamed] = content_of(request)
        body = plain_body(request, max_body) if inflates else request.body
        trailers: dict[str, str] = {}
        if body and is_chunked(request):
            body, trailers = dechunk(request)
        if read_headers is not None:
            read_headers(request, trailers, params)
        if body:
            read_body(body, params)
        return params

    return read


def _located(model: Model, shape: Shape, location: str) -> list[tuple[str, Shape]]:
    return [
        (name, member)
        for name, member in model.members(shape)
        if member.get("location") == location
    ]


def _path_reader(
    model: Model, shape: Shape, template: str, by_host: bool
) -> Callable[[HttpRequest, Params], None] | None:
    members = {
        member.get("locationName", name): (name, text_reader(member))
        for name, member in _located(model, shape, "uri")
    }
    rows = [members.get(match[1]) for match in _LABEL.finditer(template)]
    if not any(rows):
        return None
    if by_host and template == _IN_BUCKET:
        return _read_bucket_and_key
    pattern = path_pattern(template)

    def read(request: HttpRequest, params: Params) -> None:
        match = pattern.fullmatch(bucket_path(request) if by_host else request.path)
        if match is None:
            raise _misplaced()
        for row, text in zip(rows, match.groups(), strict=True):
            if row is not None:
                params[row[0]] = row[1](unquote(text) if "%" in text else text)

    return read


def _read_bucket_and_key(request: HttpRequest, params: Params) -> None:
    """Read a path of S3 that is a bucket and a key, as most are: sooner than by its pattern."""
    parts = bucket_path(request).split("/", 2)
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        raise _misplaced()
    _, bucket, key = parts
    params["Bucket"] = unquote(bucket) if "%" in bucket else bucket
    params["Key"] = unquote(key) if "%" in key else key


def _misplaced() -> AwsError:
    return AwsError("UnknownOperationException", "The path does not fit the operation.")


def _query_reader(model: Model, shape: Shape) -> Callable[[str, Params], None] | None:
    rows: list[tuple[str, str, Callable[[list[str]], Any]]] = []
    rest: tuple[str, bool] | None = None
    for name, member in _located(model, shape, "querystring"):
        if member.kind == "map":
            rest = (name, model.value(member).kind == "list")
        else:
            wire_name = member.get("locationName", name)
            rows.append((name, wire_name, _query_value(model, wire_name, member)))
    if not rows and rest is None:
        return None

    def read(query: str, params: Params) -> None:
        if not query:
            return
        values = _query_values(query)
        for name, wire_name, convert in rows:
            if wire_name in values and (value := convert(values[wire_name])) is not None:
                params[name] = value
        if rest is not None:
            name, many = rest
            params[name] = {key: texts if many else texts[0] for key, texts in values.items()}

    return read


def _query_values(query: str) -> Values:
    values: Values = {}
    try:
        for key, text in parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS):
            values.setdefault(key, []).append(text)
    except ValueError:
        raise malformed("The query string has too many fields") from None
    return values


def _query_value(model: Model, wire_name: str, member: Shape) -> Callable[[list[str]], Any]:
    if member.kind == "list":
        return _each(text_reader(model.element(member)))
    convert = text_reader(member)
    if member.kind == "integer" and model.name == "s3":
        return _first(_integer_argument(wire_name, convert))
    return _first(convert)


def _integer_argument(name: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            # AWS: one without a value is as if it were not there (recorded by LocalStack).
            value = convert(text) if text else None
        except AwsError as error:
            # AWS: S3 has words of its own for these (API reference, "error responses").
            problem = f"Provided {name} not an integer or within integer range"
            raise _refused_argument(problem, name, text) from error
        if value is not None and value < 0 and name in _PAGE_SIZES:
            # AWS: seen by users of other gateways to S3, who compared.
            told = _PAGE_SIZES[name]
            problem = f"Argument {told} must be an integer between 0 and 2147483647"
            raise _refused_argument(problem, told, text)
        return value

    return read


def _refused_argument(problem: str, name: str, text: str) -> AwsError:
    fields = {"ArgumentName": name, "ArgumentValue": text}
    return AwsError("InvalidArgument", problem, status=400, fields=fields)


def _each(convert: Callable[[str], Any]) -> Callable[[list[str]], list[Any]]:
    return lambda texts: [convert(text) for text in texts]


def _first(convert: Callable[[str], Any]) -> Callable[[list[str]], Any]:
    return lambda texts: convert(texts[0])


def _header_reader(
    model: Model, shape: Shape
) -> Callable[[HttpRequest, dict[str, str], Params], None] | None:
    rows = {
        member.get("locationName", name).lower(): (name, _header_value(model, member))
        for name, member in _located(model, shape, "header")
    }
    prefixes = [
        (name, member.get("locationName", "").lower())
        for name, member in _located(model, shape, "headers")
    ]
    if not rows and not prefixes:
        return None

    def read(request: HttpRequest, trailers: dict[str, str], params: Params) -> None:
        # A model knows dozens of fields, a request has a few; the first of several of a name counts.
        fields = request.headers.items()
        for wire_name, text in chain(fields, trailers.items()) if trailers else fields:
            if wire_name in rows and text:
                name, convert = rows[wire_name]
                if name not in params:
                    params[name] = convert(text)
        for name, prefix in prefixes:
            # `in` is no call, and says no to nearly all.
            params[name] = {
                key[len(prefix) :]: text
                for key, text in fields
                if prefix in key and key.startswith(prefix)
            }

    return read


def _header_value(model: Model, shape: Shape) -> Callable[[str], Any]:
    if shape.get("jsonvalue"):
        return _json_value
    if shape.kind != "list":
        return text_reader(shape)
    element = model.element(shape)
    read_item = text_reader(element)
    if element.kind == "timestamp":
        return lambda text: [read_item(item) for item in _DATE_COMMA.split(text)]
    return lambda text: [read_item(item) for item in _split(text)]


def _json_value(text: str) -> Any:
    try:
        return orjson.loads(b64decode(text, validate=True))
    except (Base64Error, ValueError):
        raise malformed("The header is not JSON in base64") from None


def _split(text: str) -> list[str]:
    """The elements of a header list; quoted ones may contain commas."""
    items = []
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            items.append(text[at:].strip())
            break
        quoted, bare = match.groups()
        items.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare.strip())
        at = match.end()
    return items


def _body_reader(model: Model, shape: Shape, xml: bool) -> BodyReader:
    payload = shape.get("payload")
    if payload is not None:
        member = model.shape(shape.traits["members"][payload])
        return _payload_reader(payload, _value_reader(model, member, xml))
    if all(member.get("location") in REQUEST_LOCATIONS for _, member in model.members(shape)):
        return _ignore
    read_document = _document_reader(model, shape, xml)

    def read(body: bytes, params: Params) -> None:
        params.update(read_document(body))

    return read


def _ignore(_: bytes, __: Params) -> None:
    """Bodies of operations that have nothing in them."""


def _payload_reader(name: str, convert: Callable[[bytes], Any]) -> BodyReader:
    def read(body: bytes, params: Params) -> None:
        params[name] = convert(body)

    return read


def _value_reader(model: Model, member: Shape, xml: bool) -> Callable[[bytes], Any]:
    if member.kind == "blob":
        return bytes
    if member.kind == "string":
        return _text
    return _document_reader(model, member, xml)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise malformed("The body is not UTF-8 text") from None


def _document_reader(model: Model, shape: Shape, xml: bool) -> Callable[[bytes], Any]:
    if xml:
        from_element = XmlReaderCompiler(model).reader(shape)
        return lambda body: from_element(read_xml(body))
    from_json = ReaderCompiler(model, JSON).reader(shape)
    return lambda body: from_json(load_json(body))
