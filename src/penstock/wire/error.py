"""Errors in the envelope of each protocol."""

import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from penstock.api import HttpResponse
from penstock.core.errors import AwsError
from penstock.wire import cbor
from penstock.wire.model import Model, Shape
from penstock.wire.profile import Profile, profile_of
from penstock.wire.rest_write import (
    Headers,
    blob_text,
    compile_header_writer,
    compile_rest_writer,
    s3_ids,
)
from penstock.wire.typed import CBOR, JSON, WriterCompiler
from penstock.wire.xml import DECLARATION, XmlWriterCompiler, escape

ErrorWriter: TypeAlias = Callable[[AwsError, str], HttpResponse]

_UNMODELLED: Final = Shape("", "structure", {"members": {}})

# AWS: one failure, told by each family of protocols under its own code and status (dossier, section 0.3):
# (AWS JSON and CBOR, REST-JSON, query, REST-XML).
_Row: TypeAlias = tuple[tuple[str, int], tuple[str, int], tuple[str, int], tuple[str, int]]
_FAMILIES: Final = {
    "json": 0,
    "smithy-rpc-v2-cbor": 0,
    "rest-json": 1,
    "query": 2,
    "rest-xml": 3,
}


def _same(code: str, status: int) -> _Row:
    return ((code, status),) * 4


_DENIED: Final[_Row] = (
    ("AccessDeniedException", 400),
    ("AccessDeniedException", 403),
    ("AccessDenied", 403),
    ("AccessDenied", 403),
)
_THROTTLED: Final[_Row] = (
    ("ThrottlingException", 400),
    ("ThrottlingException", 429),
    ("Throttling", 400),
    ("SlowDown", 503),
)
_SHARED: Final[dict[str, _Row]] = {
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "ExpiredTokenException": (
        ("ExpiredTokenException", 400),
        ("ExpiredTokenException", 403),
        ("ExpiredToken", 403),
        ("ExpiredToken", 400),
    ),
    "IncompleteSignature": (
        ("IncompleteSignatureException", 400),
        ("IncompleteSignatureException", 400),
        ("IncompleteSignature", 400),
        ("AuthorizationHeaderMalformed", 400),
    ),
    "InternalFailure": (
        ("InternalFailure", 500),
        ("InternalFailure", 500),
        ("InternalFailure", 500),
        ("InternalError", 500),
    ),
    "InvalidToken": (
        ("UnrecognizedClientException", 400),
        ("UnrecognizedClientException", 403),
        ("InvalidClientTokenId", 403),
        ("InvalidToken", 400),
    ),
    "MissingAuthenticationToken": (
        ("MissingAuthenticationTokenException", 403),
        ("MissingAuthenticationTokenException", 403),
        ("MissingAuthenticationToken", 403),
        ("AccessDenied", 403),
    ),
    "RequestTimeTooSkewed": (
        ("InvalidSignatureException", 403),
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("RequestTimeTooSkewed", 403),
    ),
    "RequestExpired": (
        ("InvalidSignatureException", 403),
        ("InvalidSignatureException", 403),
        ("RequestExpired", 400),
        ("AccessDenied", 403),
    ),
    "ServiceUnavailable": _same("ServiceUnavailable", 503),
    "SignatureDoesNotMatch": (
        ("InvalidSignatureException", 403),
        ("InvalidSignatureException", 403),
        ("SignatureDoesNotMatch", 403),
        ("SignatureDoesNotMatch", 403),
    ),
    "ThrottlingException": _THROTTLED,
    "UnknownOperationException": (
        ("UnknownOperationException", 404),
        ("UnknownOperationException", 404),
        ("InvalidAction", 400),
        ("MethodNotAllowed", 405),
    ),
    "UnrecognizedClientException": (
        ("UnrecognizedClientException", 400),
        ("UnrecognizedClientException", 403),
        ("InvalidClientTokenId", 403),
        ("InvalidAccessKeyId", 403),
    ),
    "ValidationException": (
        ("ValidationException", 400),
        ("ValidationException", 400),
        ("ValidationError", 400),
        ("InvalidRequest", 400),
    ),
}


_NOT_MODIFIED: Final = 304
# AWS: what S3's own front end says where that of the others has one text for all (S3 API reference, "Error responses").
_S3_TEXTS: Final = {
    "ExpiredTokenException": "The provided token has expired.",
    "InvalidToken": "The provided token is malformed or otherwise invalid.",
    "MissingAuthenticationToken": "Access Denied",
    "UnrecognizedClientException": "The AWS Access Key Id you provided does not exist in our records.",
}


class _Told(NamedTuple):
    """An error as it will be told."""

    shape: Shape
    code: str
    legacy: str
    status: int

    @property
    def fault(self) -> str:
        return "Sender" if self.status < 500 else "Receiver"


class ErrorCompiler:
    """Writers of one service's errors in one protocol; `model` is None while the service is unknown."""

    def __init__(self, model: Model | None, protocol: str, json_version: str = "1.0") -> None:
        self._model = model
        self._family = _FAMILIES[protocol]
        self._profile = profile_of(model.name, model.metadata["protocol"]) if model else Profile()
        metadata = model.metadata if model else {}
        self._compatible = "awsQueryCompatible" in metadata
        self._content_type = f"application/x-amz-json-{metadata.get('jsonVersion', json_version)}"
        self._namespace = metadata.get("xmlNamespace", "")
        self.write: ErrorWriter = {
            "json": self._json,
            "smithy-rpc-v2-cbor": self._cbor,
            "rest-json": self._rest_json,
            "query": self._query,
            "rest-xml": self._rest_xml if model is not None and model.name == "s3" else self._query,
        }[protocol]

    def _told(self, error: AwsError) -> _Told:
        shape = self._model.error(error.code) if self._model else None
        if shape is None:
            code, status = error.code, 400
            if code in _SHARED:
                code, status = _SHARED[code][self._family]
                if self._profile.checksum and status < 500:
                    status = 400  # AWS: DynamoDB's front end says 400 (recorded by dynalite).
            elif code.startswith("Internal"):
                status = 500
            return _Told(_UNMODELLED, code, code, error.status or status)
        trait = shape.get("error", {})
        status = trait.get("httpStatusCode") or (500 if shape.get("fault") else 400)
        return _Told(shape, shape.name, trait.get("code", shape.name), error.status or status)

    def _members(self, told: _Told, error: AwsError) -> dict[str, Any]:
        """The members of the error shape: the message under the name that the model has for it."""
        name = "message"
        for member in told.shape.traits["members"]:
            if member.lower() in ("message", "errormessage"):
                name = member
        members = dict(error.fields)
        if error.message:
            members.setdefault(name, error.message)
        return members

    def _type(self, told: _Told) -> str:
        return self._profile.framework.get(told.code, self._profile.namespace) + told.code

    def _compatibility(self, told: _Told) -> Headers:
        if not self._compatible:
            return []
        return [("x-amzn-query-error", f"{told.legacy};{told.fault}")]

    def _json(self, error: AwsError, request_id: str) -> HttpResponse:
        told = self._told(error)
        members = self._members(told, error)
        # AWS: the framework in front of DynamoDB spells it so for what it cannot read (recorded by dynalite).
        if told.code == "SerializationException" and "message" in members:
            members = {"Message": members["message"]}
        if self._model is not None and told.shape.name:
            members = _modelled(self._model, told.shape, members, cbor=False)
        body = orjson.dumps({"__type": self._type(told), **members}, default=blob_text)
        headers = [
            ("x-amzn-RequestId", request_id),
            ("Content-Type", self._content_type),
            *self._compatibility(told),
        ]
        if self._profile.checksum:
            headers.append(("x-amz-crc32", str(zlib.crc32(body))))
        return HttpResponse(told.status, headers, body)

    def _cbor(self, error: AwsError, request_id: str) -> HttpResponse:
        told = self._told(error)
        members = self._members(told, error)
        if self._model is not None and told.shape.name:
            members = _modelled(self._model, told.shape, members, cbor=True)
        headers = [
            ("smithy-protocol", "rpc-v2-cbor"),
            ("x-amzn-RequestId", request_id),
            ("Content-Type", "application/cbor"),
            *self._compatibility(told),
        ]
        body = cbor.encode({"__type": self._type(told), **members})
        return HttpResponse(told.status, headers, body)

    def _rest_json(self, error: AwsError, request_id: str) -> HttpResponse:
        told = self._told(error)
        members = self._members(told, error)
        headers = [("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", told.code)]
        if self._model is None or not told.shape.name:
            headers.append(("Content-Type", "application/json"))
            return HttpResponse(told.status, headers, orjson.dumps(members, default=blob_text))
        if self._profile.blamed and "Type" in told.shape.traits["members"]:
            members.setdefault("Type", "User" if told.status < 500 else "Service")
        write = compile_rest_writer(self._model, told.shape, told.status, xml=False)
        response = write(members, headers)
        response.status = told.status
        if not response.body:
            response.body = b"{}"
        return response

    def _elements(self, told: _Told, error: AwsError) -> str:
        """The error's members beside its code and message."""
        if self._model is None or not told.shape.name:
            fields = error.fields.items()
            return "".join(f"<{name}>{escape(str(item))}</{name}>" for name, item in fields)
        out: list[str] = []
        _, write = XmlWriterCompiler(self._model).content(told.shape)
        write(out, error.fields)
        return "".join(out)

    def _query(self, error: AwsError, request_id: str) -> HttpResponse:
        told = self._told(error)
        namespace = f' xmlns="{self._namespace}"' if self._namespace else ""
        detail = "<Detail/>" if self._profile.detail else ""
        text = (
            f"{DECLARATION}<ErrorResponse{namespace}><Error><Type>{told.fault}</Type>"
            f"<Code>{escape(told.legacy)}</Code><Message>{escape(error.message)}</Message>"
            f"{self._elements(told, error)}{detail}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
        if self._model is not None:
            compile_header_writer(self._model, told.shape)(error.fields, headers)
        return HttpResponse(told.status, headers, text.encode())

    def _rest_xml(self, error: AwsError, request_id: str) -> HttpResponse:
        told = self._told(error)
        headers = s3_ids(request_id)
        if told.status == _NOT_MODIFIED:
            # There is no body: what is told is header fields.
            return HttpResponse(told.status, [*headers, *error.fields.items()])
        message = _S3_TEXTS.get(error.code, error.message)
        # What is named in lower case is told in a header field, not in the body.
        headers += [item for item in error.fields.items() if item[0].islower()]
        fields = "".join(
            f"<{name}>{escape(str(item))}</{name}>"
            for name, item in error.fields.items()
            if not name.islower()
        )
        text = (
            f"{DECLARATION}<Error><Code>{escape(told.code)}</Code>"
            f"<Message>{escape(message)}</Message>{fields}"
            f"<RequestId>{headers[0][1]}</RequestId><HostId>{headers[1][1]}</HostId></Error>"
        )
        headers.append(("Content-Type", "application/xml"))
        return HttpResponse(told.status, headers, text.encode())


def _modelled(model: Model, shape: Shape, members: dict[str, Any], cbor: bool) -> dict[str, Any]:
    convert = WriterCompiler(model, CBOR if cbor else JSON).structure(shape)
    # The service may tell more than the model knows: `message` is modelled on few error shapes.
    return {**members, **convert(members)}
