"""Which operation a request means.

By the `X-Amz-Target` header, by a Smithy path, by the `Action` of a form, and else by method and path within the service that
the signature's scope names; unsigned requests are tried against every REST service, S3 last because it takes any path.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_plus

from penstock.api import HttpRequest, HttpResponse, refuse
from penstock.core.errors import AwsError
from penstock.wire.body import MAX_BODY, bucket_path, host_bucket, plain_body
from penstock.wire.document import read_document
from penstock.wire.error import ErrorCompiler
from penstock.wire.model import Catalog
from penstock.wire.operation import Operation, compile_operation
from penstock.wire.profile import profile_of
from penstock.wire.rest_route import RestTable
from penstock.wire.sigv4 import Credential, credential_of
from penstock.wire.unbuilt import Unbuilt

_CBOR: Final = "smithy-rpc-v2-cbor"
_REST: Final = ("rest-json", "rest-xml")
_FORM: Final = "application/x-www-form-urlencoded"
_ACTION_FIRST: Final = b"Action="
_KEPT_FORMS: Final = 1024


class Wire:
    """The AWS APIs of a fixed set of services. Models are read and operations compiled when first needed."""

    def __init__(self, services: Iterable[str], max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        self._catalog = Catalog(services)
        self._operations: dict[tuple[str, str, str], Operation] = {}
        self._by_target: dict[str, Operation] = {}
        self._by_form: dict[tuple[str, bytes, str | None, str], Operation] = {}
        self._tables: dict[str, tuple[RestTable, str]] = {}
        self._errors: dict[tuple[str, str], ErrorCompiler] = {}
        self._prefixes: dict[str, str] = {}
        self._versions: dict[str, list[str]] = {}
        self._signing: dict[str, list[str]] = {}
        self._rest: list[str] = []
        for name, metadata in self._catalog.metadata.items():
            if "targetPrefix" in metadata:
                self._prefixes[metadata["targetPrefix"]] = name
            if "query" in metadata["protocols"]:
                self._versions.setdefault(metadata["apiVersion"], []).append(name)
            if metadata["protocol"] in _REST:
                self._rest.append(name)
            signing = metadata.get("signingName", metadata["endpointPrefix"])
            self._signing.setdefault(signing, []).append(name)
        self._unbuilt = Unbuilt(self._catalog.metadata.keys())
        self._rest.sort(key=lambda name: name == "s3")
        self._signed_rest = {
            signing: [name for name in named if name in self._rest]
            for signing, named in self._signing.items()
        }

    def operation(self, service: str, name: str) -> Operation:
        """An operation in its service's main protocol. Raises `AwsError` when there is none."""
        if service not in self._catalog.metadata:
            raise refuse(f"the service {service}")
        return self._compiled(service, name, self._catalog.metadata[service]["protocol"])

    def has_operation(self, service: str, name: str) -> bool:
        """Whether a service's model has an operation."""
        return name in self._catalog.model(service).operations

    def by_service_id(self, identifier: str) -> str:
        """The model's name of a service by its id in lower case without spaces, as `eventbridge`. Raises AwsError."""
        for name, metadata in self._catalog.metadata.items():
            if metadata["serviceId"].replace(" ", "").lower() == identifier:
                return name
        raise refuse(f"the service {identifier}")

    def by_signing_name(self, signing_name: str) -> str:
        """The model's name of the service that signatures call `signing_name`. Raises AwsError."""
        for name in self._signing.get(signing_name, ()):
            return name
        raise refuse(f"the service {signing_name}")

    def names_operations(self, service: str) -> bool:
        """Whether a request can name an operation of the service, other than by its method and path."""
        return service not in self._rest

    def read_document(self, service: str, name: str, document: Any) -> dict[str, Any]:
        """The request of an operation from a JSON document. Raises AwsError."""
        self.operation(service, name)
        return read_document(self._catalog.model(service), name, document)

    def route(self, request: HttpRequest) -> Operation:
        """The operation that a request means. Raises `AwsError`."""
        target = request.headers.get("x-amz-target")
        if target:
            found = self._by_target.get(target)
            return found if found is not None else self._route_target(request, target)
        if request.body.startswith(_ACTION_FIRST):
            # Service integrations send forms that begin with their action, at full rate.
            found = self._by_form.get(self._form_key(request))
            if found is not None:
                return found
        if request.path.startswith("/service/"):
            smithy = self._route_smithy(request)
            if smithy is not None:
                return smithy
        if request.body[:1] == b"\x1f" and _is_form(request):
            plain_body(request, self._max_body)  # the action is in there
        action = _action(request)
        if action:
            form = self._route_query(request, action)
            if form is not None:
                return form
        return self._route_rest(request)

    def takes_stream(self, request: HttpRequest) -> bool:
        """Whether the operation that a request's header names takes its body as a stream."""
        try:
            return request.method == "PUT" and self.route(request).streams
        except AwsError:
            return False

    def check_scope(self, request: HttpRequest, credential: Credential) -> None:
        """Raise `AwsError` when a signature was made for another service than the one that the request names."""
        target = request.headers.get("x-amz-target")
        if not target and not request.path.startswith("/service/"):
            return  # the scope itself is what names the service
        prefix = target.rpartition(".")[0] if target else _smithy_prefix(request.path)
        service = self._prefixes.get(prefix)
        if service is not None and service not in self._signing.get(credential.service, ()):
            metadata = self._catalog.metadata[service]
            expected = metadata.get("signingName", metadata["endpointPrefix"])
            raise AwsError(
                "SignatureDoesNotMatch",
                f"Credential should be scoped to correct service: '{expected}'.",
            )

    def target_headers(self, signing_name: str, operation: str) -> dict[str, str]:
        """The headers that name an operation in a service's JSON protocol; none when it has no such protocol."""
        for name in self._signing.get(signing_name, ()):
            metadata = self._catalog.metadata[name]
            if "json" in metadata["protocols"] and "targetPrefix" in metadata:
                return {
                    "x-amz-target": f"{metadata['targetPrefix']}.{operation}",
                    "content-type": f"application/x-amz-json-{metadata.get('jsonVersion', '1.0')}",
                }
        return {}

    def error(self, request: HttpRequest, error: AwsError, request_id: str) -> HttpResponse:
        """The answer to a request that could not be routed, in the envelope that its client most likely expects."""
        service, protocol, version = self._guess(request)
        if (
            error.code == "UnknownOperationException"
            and service
            and self._is_queue(service, request)
        ):
            # AWS: a queue's URL without an action answers this, in no envelope at all (recorded by LocalStack).
            return HttpResponse(
                404, [("Content-Type", "text/xml")], b"<UnknownOperationException/>\n"
            )
        key = (service, protocol + version)
        compiler = self._errors.get(key)
        if compiler is None:
            model = self._catalog.model(service) if service else None
            compiler = self._errors[key] = ErrorCompiler(model, protocol, version)
        return compiler.write(error, request_id)

    @staticmethod
    def _is_queue(service: str, request: HttpRequest) -> bool:
        """Whether the request is to a queue's URL, and does not name an operation."""
        return (
            profile_of(service, "query").queue_path
            and request.path.count("/") > 1
            and not request.headers.get("x-amz-target")
            and not _action(request)
        )

    def _compiled(self, service: str, name: str, protocol: str) -> Operation:
        key = (service, name, protocol)
        operation = self._operations.get(key)
        if operation is None:
            model = self._catalog.model(service)
            if name not in model.operations:
                raise _unknown(name, protocol)
            operation = self._operations[key] = compile_operation(
                model, name, protocol, self._max_body
            )
        return operation

    def _route_target(self, request: HttpRequest, target: str) -> Operation:
        prefix, _, name = target.rpartition(".")
        credential = credential_of(request)
        credential_service = credential.service if credential is not None else ""
        service = self._prefixes.get(prefix)
        if service is None and credential_service:
            if credential_service not in self._signing:
                raise refuse(f"{credential_service[:64]}:{name[:128]}")
            refused = self._unbuilt.by_target(credential_service, prefix, name)
            if refused is not None:
                raise refused
        if service is None or "json" not in self._catalog.metadata[service]["protocols"]:
            raise _unknown(target, "json")
        operation = self._by_target[target] = self._compiled(service, name, "json")
        return operation

    def _route_smithy(self, request: HttpRequest) -> Operation | None:
        service = self._prefixes.get(_smithy_prefix(request.path))
        if service is None or _CBOR not in self._catalog.metadata[service]["protocols"]:
            return None
        return self._compiled(service, request.path.rpartition("/")[2], _CBOR)

    def _route_query(self, request: HttpRequest, action: str) -> Operation | None:
        credential = credential_of(request)
        version = _field(request, "Version")
        if credential is not None:
            candidates = self._signing.get(credential.service, [])
        else:
            candidates = self._versions.get(version or "", [])
        candidates = [name for name in candidates if self._has_query(name)]
        if not candidates and credential is not None and credential.service not in self._signing:
            raise refuse(f"{credential.service[:64]}:{action[:128]}")
        if not candidates and credential is None:
            candidates = [name for name in self._catalog.metadata if self._has_query(name)]
        for service in candidates:
            if action in self._catalog.model(service).operations:
                found = self._compiled(service, action, "query")
                if credential is not None and request.body.startswith(_ACTION_FIRST):
                    if len(self._by_form) >= _KEPT_FORMS:
                        self._by_form.clear()
                    self._by_form[self._form_key(request)] = found
                return found
        if "sqs" in candidates:
            raise _unknown(action, "query")
        if candidates:
            # AWS: SQS has words of its own; the others tell the version as well (observed on IAM, STS, CloudFormation).
            raise AwsError(
                "InvalidAction",
                f"Could not find operation {action[:256]} for version {version or 'NO_VERSION_SPECIFIED'}",
            )
        return None

    @staticmethod
    def _form_key(request: HttpRequest) -> tuple[str, bytes, str | None, str]:
        """What decides the operation of a form that begins with its action, when it is signed."""
        credential = credential_of(request)
        body = request.body
        end = body.find(b"&")
        return (
            "" if credential is None else credential.service,
            body[: end if end >= 0 else len(body)],
            request.headers.get("content-type"),
            request.query,
        )

    def _has_query(self, service: str) -> bool:
        return "query" in self._catalog.metadata[service]["protocols"]

    def _route_rest(self, request: HttpRequest) -> Operation:
        credential = credential_of(request)
        candidates = self._rest_candidates(request, credential)
        found = self._find_rest(request, candidates)
        if found is not None:
            return self._compiled(*found)
        if candidates == ["s3"]:
            raise _not_allowed(request)
        refused = self._unbuilt.by_path(credential.service, request) if credential else None
        raise refused or _unknown(request.path, "rest-json")

    def _find_rest(
        self, request: HttpRequest, candidates: Iterable[str]
    ) -> tuple[str, str, str] | None:
        """(service, operation, protocol) of the first service that knows the method and the path."""
        for service in candidates:
            table, protocol = self._tables.get(service) or self._table(service)
            path = bucket_path(request) if service == "s3" else request.path
            name = table.find(request.method, path, request.query, request.headers)
            if name is not None:
                return service, name, protocol
        return None

    def _rest_candidates(self, request: HttpRequest, credential: Credential | None) -> list[str]:
        if credential is None:
            if "s3" in self._rest and host_bucket(request.headers.get("host") or ""):
                return ["s3"]
            return self._rest
        candidates = self._signed_rest.get(credential.service)
        if candidates:
            return candidates
        named = self._signing.get(credential.service)
        if named is None:
            if request.headers.get("smithy-protocol"):
                operation = request.path.rpartition("/")[2]
                raise refuse(f"{credential.service[:64]}:{operation[:128]}")
            refused = self._unbuilt.by_path(credential.service, request)
            raise refused or refuse(f"the service {credential.service[:64]}")
        if self._catalog.metadata[named[0]]["protocol"] == "query":
            raise AwsError("MissingAction", "The request must contain the parameter Action.")
        raise _unknown(request.path, self._catalog.metadata[named[0]]["protocol"])

    def _table(self, service: str) -> tuple[RestTable, str]:
        """The operations of a REST service, and its protocol."""
        model = self._catalog.model(service)
        found = self._tables[service] = RestTable(model), model.metadata["protocol"]
        return found

    def _guess(self, request: HttpRequest) -> tuple[str, str, str]:
        """(service or an empty string, protocol, JSON version)"""
        credential = credential_of(request)
        named = self._signing.get(credential.service, []) if credential else []
        content_type = request.headers.get("content-type") or ""
        target = request.headers.get("x-amz-target")
        if target:
            service = self._prefixes.get(target.rpartition(".")[0], "")
            return service, "json", "1.1" if "json-1.1" in content_type else "1.0"
        if request.headers.get("smithy-protocol"):
            return "", _CBOR, ""
        if _action(request) or content_type.startswith(_FORM):
            return next((name for name in named if self._has_query(name)), ""), "query", ""
        if credential is not None:
            return self._guess_by_scope(credential.service)
        return self._guess_unsigned(request)

    def _guess_unsigned(self, request: HttpRequest) -> tuple[str, str, str]:
        """By the bucket in the host's name, or by the path: a bucket's, where it is no other service's."""
        candidates = self._rest_candidates(request, None)
        if candidates == ["s3"]:
            return "s3", "rest-xml", ""
        found = self._find_rest(request, candidates) if request.path != "/" else None
        return ("s3", "rest-xml", "") if found and found[0] == "s3" else ("", "rest-json", "")

    def _guess_by_scope(self, scope: str) -> tuple[str, str, str]:
        named = self._signing.get(scope)
        if not named:
            return "", self._unbuilt.rest_protocol(scope), ""
        return named[0], self._catalog.metadata[named[0]]["protocol"], ""


def _not_allowed(request: HttpRequest) -> AwsError:
    parts = [part for part in bucket_path(request).split("/", 2) if part]
    return AwsError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        status=405,
        fields={
            "Method": request.method,
            "ResourceType": ("SERVICE", "BUCKET", "OBJECT")[len(parts)],
        },
    )


def _unknown(name: str, protocol: str) -> AwsError:
    if protocol == "query":
        return AwsError(
            "InvalidAction", f"The action {name[:256]} is not valid for this endpoint.", status=400
        )
    return AwsError("UnknownOperationException", f"Unknown operation: {name[:256]}")


def _smithy_prefix(path: str) -> str:
    """The service of `/service/<its target prefix>/operation/<name>`; empty for any other path."""
    parts = path.split("/")
    return parts[2].rpartition(".")[2] if len(parts) == 5 and parts[3] == "operation" else ""


def _action(request: HttpRequest) -> str | None:
    """The `Action` of a form or of the query string."""
    if "Action=" in request.query or b"Action=" in request.body[: 1 << 20]:
        return _field(request, "Action")
    return None


def _is_form(request: HttpRequest) -> bool:
    return (request.headers.get("content-type") or "").lower().startswith(_FORM)


def _field(request: HttpRequest, name: str) -> str | None:
    """One field, found without reading the whole form: service integrations send forms at full rate."""
    if request.method == "POST" and _is_form(request):
        text = _after(b"&" + request.body, b"&" + name.encode() + b"=")
        if text is not None:
            return unquote_plus(text.decode(errors="replace"))
    text = _after(b"&" + request.query.encode(errors="replace"), b"&" + name.encode() + b"=")
    return None if text is None else unquote_plus(text.decode(errors="replace"))


def _after(form: bytes, mark: bytes) -> bytes | None:
    at = form.find(mark)
    if at < 0:
        return None
    end = form.find(b"&", at + 1)
    return form[at + len(mark) : end if end >= 0 else len(form)]
