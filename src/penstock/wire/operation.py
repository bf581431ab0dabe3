"""One AWS operation in one protocol, compiled from the model: how it is read, checked and answered."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from penstock.api import ChunkedResponse, Chunks, HttpRequest, HttpResponse, LateResponse, refuse
from penstock.core.errors import AwsError
from penstock.wire import cbor
from penstock.wire.body import MAX_BODY, load_json, plain_body
from penstock.wire.constraint import BAD_XML, compile_validator
from penstock.wire.decoder import Decode, compile_decoder
from penstock.wire.error import ErrorCompiler, ErrorWriter
from penstock.wire.form import FormCompiler, parse_form, tree_of
from penstock.wire.model import Model, Shape
from penstock.wire.presigned import with_fields_of_query
from penstock.wire.profile import Profile, profile_of
from penstock.wire.rest_read import compile_rest_reader
from penstock.wire.rest_write import blob_text, compile_rest_writer, s3_ids
from penstock.wire.scalar import malformed
from penstock.wire.typed import CBOR, JSON, ReaderCompiler, WriterCompiler
from penstock.wire.xml import XmlWriterCompiler

Params: TypeAlias = dict[str, Any]
Fields: TypeAlias = Iterable[tuple[str, str]]
Parse: TypeAlias = Callable[..., Params]
Validate: TypeAlias = Callable[[Params], None]
Serialize: TypeAlias = Callable[[Params | None, str], HttpResponse]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation's four functions. They keep no state: one `Operation` serves every request."""

    service: str
    name: str
    protocol: str
    """`json`, `query`, `rest-json`, `rest-xml` or `smithy-rpc-v2-cbor`."""
    parse: Parse
    """(request) -> its members, checked. Raises `AwsError`.

    In the query protocol also (request, fields): the same of a form that has these fields, decoded, instead of the body's.
    """
    validate: Validate
    """Check the members of a call that did not come over the wire. Raises `AwsError`."""
    serialize: Serialize
    """(result, request id) -> the answer."""
    error: ErrorWriter
    """(error, request id) -> the answer."""
    streams: bool = False
    """Whether the request's body may come as a stream."""


def compile_operation(
    model: Model, name: str, protocol: str, max_body: int = MAX_BODY
) -> Operation:
    """Compile `name` for `protocol`; compressed bodies may grow to `max_body` bytes.

    Raises `AwsError` for an operation that needs event streams.
    """
    operation = model.operations[name]
    source = model.optional(operation.get("input"))
    target = model.optional(operation.get("output"))
    for shape in (source, target):
        if any(member.get("eventstream") for _, member in model.members(shape)):
            raise refuse(f"{model.name}:{name} (an event stream)")
    profile = profile_of(model.name, model.metadata["protocol"])
    validate = compile_validator(model, source, profile)
    read, write = _PROTOCOLS[protocol](model, operation, source, target, max_body)
    parse = _guarded(read, validate, profile)
    if protocol == "json":
        parse = _decoded(compile_decoder(model, source, profile, validate), parse)
    return Operation(
        model.name,
        name,
        protocol,
        parse,
        validate or _unconstrained,
        write,
        ErrorCompiler(model, protocol).write,
        # S3 is the service whose bodies do not fit in memory.
        model.name == "s3" and _takes_stream(model, source),
    )


def _takes_stream(model: Model, source: Shape) -> bool:
    payload = source.get("payload")
    return payload is not None and bool(
        model.shape(source.traits["members"][payload]).get("streaming")
    )


def _unconstrained(_: Params) -> None:
    """The check of an operation whose service checks by itself."""


def _guarded(read: Parse, validate: Validate | None, profile: Profile) -> Parse:
    """Read and check; what cannot be read is told under the service's own code."""
    code = profile.unreadable

    def parse(request: HttpRequest, fields: Fields | None = None) -> Params:
        try:
            params = read(request) if fields is None else read(request, fields)
        except AwsError as error:
            if error.code != "SerializationException" or code == error.code:
                raise
            message = BAD_XML if code == "MalformedXML" else error.message
            raise AwsError(code, message) from None
        except RecursionError:
            raise AwsError(code, "The request is nested too deeply") from None
        if validate is not None:
            validate(params)
        return params

    return parse


def _decoded(decode: Decode, parse: Parse) -> Parse:
    """Decode what is as it should be, as nearly all is; `parse` what is not."""

    def read(request: HttpRequest) -> Params:
        body = request.body
        params = decode(body) if body[:1] == b"{" else None
        return parse(request) if params is None else params

    return read


def _json(
    model: Model, _: Any, source: Shape, target: Shape, max_body: int
) -> tuple[Parse, Serialize]:
    structure = ReaderCompiler(model, JSON).structure(source)
    convert = WriterCompiler(model, JSON).writer(target)
    content_type = f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.0')}"
    content = ("Content-Type", content_type)
    checksum = profile_of(model.name, "json").checksum
    dumps = orjson.dumps

    def read(request: HttpRequest) -> Params:
        params: Params = structure(load_json(plain_body(request, max_body)))
        return params

    def write(result: Params | None, request_id: str) -> HttpResponse:
        if not result:
            body = b"{}" if target.name else b""
        else:
            body = dumps(result if convert is None else convert(result), default=blob_text)
        headers = [("x-amzn-RequestId", request_id), content]
        if checksum:
            headers.append(("x-amz-crc32", str(zlib.crc32(body))))
        return HttpResponse(200, headers, body)

    return read, write


def _cbor(
    model: Model, _: Any, source: Shape, target: Shape, max_body: int
) -> tuple[Parse, Serialize]:
    structure = ReaderCompiler(model, CBOR).structure(source)
    convert = WriterCompiler(model, CBOR).writer(target)

    def read(request: HttpRequest) -> Params:
        body = plain_body(request, max_body)
        try:
            document = cbor.decode(body) if body else {}
        except cbor.CborError as error:
            raise malformed(f"Could not parse request body into cbor: {error}") from None
        params: Params = structure(document)
        return params

    def write(result: Params | None, request_id: str) -> HttpResponse:
        document = result or {}
        body = cbor.encode(document if convert is None else convert(document))
        headers = [
            ("smithy-protocol", "rpc-v2-cbor"),
            ("x-amzn-RequestId", request_id),
            ("Content-Type", "application/cbor"),
        ]
        return HttpResponse(200, headers, body)

    return read, write


def _query(
    model: Model, operation: dict[str, Any], source: Shape, target: Shape, max_body: int
) -> tuple[Parse, Serialize]:
    structure = FormCompiler(model).structure(source)
    by_path = profile_of(model.name, "query").queue_path and "QueueUrl" in source.traits["members"]
    name = operation["name"]
    elsewhere = name in profile_of(model.name, "query").not_on_queues
    namespace = model.metadata.get("xmlNamespace", "")
    opening = f'<{name}Response xmlns="{namespace}">'
    closing = f"</RequestId></ResponseMetadata></{name}Response>"
    wrapper = operation.get("output", {}).get("resultWrapper", "")
    if not wrapper and model.metadata["protocol"] != "query":
        wrapper = f"{name}Result"  # The models of services that moved to other protocols lost it.
    result_writer = _result_writer(model, target, wrapper)

    def read(request: HttpRequest, fields: Fields | None = None) -> Params:
        if fields is None:
            params = structure(parse_form(plain_body(request, max_body), request.query))
        else:
            params = structure(tree_of(fields))
        if elsewhere and request.path.count("/") > 1:
            # AWS: what is no operation on a queue is none at its URL (recorded by LocalStack).
            raise AwsError("InvalidAction", f"The action {name} is not valid for this endpoint.")
        if by_path and not params.get("QueueUrl") and len(request.path) > 1:
            host = request.headers.get("host") or "localhost"
            params["QueueUrl"] = f"{request.scheme}://{host}{request.path}"
        return params

    def write(result: Params | None, request_id: str) -> HttpResponse:
        def body() -> bytes:
            out = [opening]
            result_writer(out, result or {})
            out.append(f"<ResponseMetadata><RequestId>{request_id}{closing}")
            return "".join(out).encode()

        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
        return LateResponse(200, headers, body)

    return read, write


def _result_writer(
    model: Model, target: Shape, wrapper: str
) -> Callable[[list[str], Params], None]:
    """AWS leaves the result element out of answers without a modelled output."""
    if not target.name:
        return lambda _, __: None
    if not wrapper:
        return XmlWriterCompiler(model).content(target)[1]
    plain = Shape(target.name, "structure", {**target.traits, "xmlNamespace": None})
    write = XmlWriterCompiler(model).writer(plain, wrapper)

    def write_or_nothing(out: list[str], result: Params) -> None:
        before = len(out)
        write(out, result)
        if len(out) == before + 2:
            # AWS: a result without members is one tag (recorded by LocalStack).
            out[before:] = [f"<{wrapper}/>"]

    return write_or_nothing


def _rest(xml: bool) -> Callable[..., tuple[Parse, Serialize]]:
    def compile_rest(
        model: Model, operation: dict[str, Any], _: Shape, target: Shape, max_body: int
    ) -> tuple[Parse, Serialize]:
        status = operation["http"].get("responseCode", 200)
        write_result = compile_rest_writer(model, target, status, xml)
        read = compile_rest_reader(model, operation, xml, max_body)

        def write(result: Params | None, request_id: str) -> HttpResponse:
            return write_result(result or {}, [("x-amzn-RequestId", request_id)])

        if model.name != "s3":
            return read, write

        def write_with_ids(result: Params | None, request_id: str) -> HttpResponse:
            return write_result(result or {}, s3_ids(request_id))

        def write_body(result: Params | None, request_id: str) -> HttpResponse:
            response = write_with_ids(result, request_id)
            if result and result.get("Body").__class__ is Chunks:
                response = ChunkedResponse(response.status, response.headers, result["Body"])
            if result and result.get("ContentRange"):
                # AWS: the model knows one status; a part of an object is a 206 (RFC 9110, S3 API reference).
                response.status = 206
            return response

        def read_presigned(request: HttpRequest) -> Params:
            if "Signature=" in request.query:
                return read(with_fields_of_query(request))
            return read(request)

        gives_body = any(name in ("Body", "ContentRange") for name, _ in model.members(target))
        return read_presigned, write_body if gives_body else write_with_ids

    return compile_rest


_PROTOCOLS: Final[dict[str, Callable[..., tuple[Parse, Serialize]]]] = {
    "json": _json,
    "query": _query,
    "rest-json": _rest(xml=False),
    "rest-xml": _rest(xml=True),
    "smithy-rpc-v2-cbor": _cbor,
}
