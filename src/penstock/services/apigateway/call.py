"""A request to a deployed API, and what mapping templates see of it: `$input`, `$util`, `$context`, `$stageVariables`.

Everything but the raw request is worked out when it is first asked for.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, unquote_plus

import orjson

from penstock.api import HttpRequest, HttpResponse
from penstock.core.form_template import url_encode
from penstock.core.java import Bean, text_of
from penstock.core.json_path import MISSING, compile_path
from penstock.services.apigateway.gateway_response import GatewayFailure

if TYPE_CHECKING:
    from penstock.services.apigateway.compiled import CompiledMethod, CompiledStage

_ESCAPES: Final = {
    **{chr(code): f"\\u{code:04X}" for code in range(32)},
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    "'": "\\'",
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
}
_SPECIAL: Final = re.compile(r"""[\x00-\x1f'"\\/]|[^\x00-\x7f]""")


class Body:
    """A body that is read, as text and as JSON, when a template asks."""

    _text: str | None = None
    _document: Any = MISSING

    def __init__(self, source: HttpRequest | HttpResponse) -> None:
        self._source = source

    @property
    def raw(self) -> bytes:
        """The bytes."""
        return self._source.body

    @property
    def text(self) -> str:
        """The bytes as UTF-8."""
        if self._text is None:
            self._text = self.read()
        return self._text

    @property
    def document(self) -> Any:
        """The JSON value; None for an empty body. Raises GatewayFailure."""
        if self._document is MISSING:
            text = self.text
            try:
                self._document = orjson.loads(text) if text.strip() else None
            except orjson.JSONDecodeError as error:
                raise GatewayFailure(
                    "BAD_REQUEST_BODY", f"Could not parse request body into json: {error}"
                ) from None
        return self._document

    def read(self) -> str:
        """Decode the bytes."""
        return self.raw.decode(errors="replace")


class HasBody(Protocol):
    """A call, or the answer to it."""

    @property
    def body(self) -> Body:
        """What is mapped."""
        ...


class Call:
    """One request on its way through a stage."""

    # What most calls never ask for stays here, on the class.
    method: "CompiledMethod | None" = None
    error: GatewayFailure | None = None
    overridden = False
    """Whether a template has touched an override."""
    _body: Body | None = None
    _context: "Context | None" = None
    _headers: dict[str, str] | None = None
    _query: dict[str, str] | None = None
    _multi_query: dict[str, list[str]] | None = None

    def __init__(
        self,
        request: HttpRequest,
        stage: "CompiledStage",
        path: str,
        now: int,
        request_id: str,
        host: str,
    ) -> None:
        """`path` is below the stage, without its first slash; `host` is empty unless it named the API."""
        self.request = request
        self.stage = stage
        self.path = f"/{path}"
        self.now = now
        self.request_id = request_id
        self.path_parameters: dict[str, str] = {}
        self._host = host
        digits = request_id.replace("-", "")
        self.extended_id = f"{digits[17:]}="
        self.trace = (
            request.headers.get("x-amzn-trace-id")
            or f"Root=1-{now // 1000:08x}-{digits[:8]}{digits[16:]}"
        )

    @property
    def body(self) -> Body:
        """The request's body."""
        if self._body is None:
            self._body = Body(self.request)
        return self._body

    @property
    def domain(self) -> str:
        """The host that the API is called by."""
        stage = self.stage
        return self._host or f"{stage.api_id}.execute-api.{stage.region}.amazonaws.com"

    @property
    def headers(self) -> dict[str, str]:
        """Header fields by name. The names arrive in lower case; they are told as HTTP/1.1 clients write them."""
        if self._headers is None:
            self._headers = {name.title(): value for name, value in self.request.headers.items()}
        return self._headers

    @property
    def multi_query(self) -> dict[str, list[str]]:
        """Every value of every query parameter."""
        if self._multi_query is None:
            found: dict[str, list[str]] = {}
            if self.request.query:
                for name, value in parse_qsl(self.request.query, keep_blank_values=True):
                    found.setdefault(name, []).append(value)
            self._multi_query = found
        return self._multi_query

    @property
    def query(self) -> dict[str, str]:
        """The last value of every query parameter."""
        if self._query is None:
            self._query = {name: values[-1] for name, values in self.multi_query.items()}
        return self._query

    @property
    def context(self) -> "Context":
        """`$context`."""
        if self._context is None:
            self._context = Context(self)
        return self._context

    def end(self) -> None:
        """Let go of what holds on to the call: a cycle in every call would keep the garbage collector busy."""
        self._context = None

    def overrides(self, kind: str) -> Mapping[str, Any]:
        """What templates have set in `$context.requestOverride` or `responseOverride`."""
        if self._context is None:
            return {}
        found: Mapping[str, Any] = dict.get(self._context, kind) or {}
        return found


class Context(dict[str, Any]):
    """`$context`: entries come into being when they are asked for, and can be changed by `#set`."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __missing__(self, name: str) -> Any:
        make = _CONTEXT.get(name)
        if make is None:
            raise KeyError(name)
        if name in _OVERRIDES:
            self._call.overridden = True
        value = make(self._call)
        dict.__setitem__(self, name, value)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        if name in _OVERRIDES:
            self._call.overridden = True
        super().__setitem__(name, value)


def request_time(now: int) -> str:
    """An instant in the Common Log Format."""
    return datetime.fromtimestamp(now // 1000, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


def identity(call: Call) -> dict[str, Any]:
    """Who calls, as far as an API without authorization knows."""
    return {
        "cognitoIdentityPoolId": None,
        "accountId": None,
        "cognitoIdentityId": None,
        "caller": None,
        "sourceIp": call.request.source_ip,
        "principalOrgId": None,
        "accessKey": None,
        "cognitoAuthenticationType": None,
        "cognitoAuthenticationProvider": None,
        "userArn": None,
        "userAgent": call.request.headers.get("user-agent"),
        "user": None,
    }


def _error(call: Call) -> dict[str, Any]:
    failure = call.error
    if failure is None:
        return {}
    return {
        "message": failure.message,
        "messageString": orjson.dumps(failure.message).decode(),
        "responseType": failure.kind,
        "validationErrorString": None,
    }


_OVERRIDES: Final = ("requestOverride", "responseOverride")
_CONTEXT: Final[Mapping[str, Any]] = {
    "accountId": lambda call: call.stage.account,
    "apiId": lambda call: call.stage.api_id,
    "awsEndpointRequestId": lambda call: call.request_id,
    "deploymentId": lambda call: call.stage.deployment_id,
    "domainName": lambda call: call.domain,
    "domainPrefix": lambda call: call.domain.partition(".")[0],
    "error": _error,
    "extendedRequestId": lambda call: call.extended_id,
    "httpMethod": lambda call: call.request.method,
    "identity": identity,
    "path": lambda call: f"/{call.stage.name}{call.path}",
    "protocol": lambda call: f"HTTP/{call.request.http_version}",
    "requestId": lambda call: call.request_id,
    "requestOverride": lambda call: {"header": {}, "path": {}, "querystring": {}},
    "responseOverride": lambda call: {"header": {}},
    "requestTime": lambda call: request_time(call.now),
    "requestTimeEpoch": lambda call: call.now,
    "resourceId": lambda call: call.method.resource_id if call.method else None,
    "resourcePath": lambda call: call.method.resource_path if call.method else None,
    "stage": lambda call: call.stage.name,
    "xrayTraceId": lambda call: call.trace,
}


class Input(Bean):
    """`$input`: the body that is mapped, and the parameters of the request."""

    __slots__ = ("_body", "_call")

    def __init__(self, call: Call, body: Body) -> None:
        self._call = call
        self._body = body

    def property(self, name: str) -> Any:
        """`$input.body`."""
        return self._body.text if name == "body" else None

    def json(self, path: str) -> str:
        """The JSON text of what is at a path.

        AWS: a path without a value gives an empty string literal; an empty body is an empty object.
        """
        document = self._body.document
        found = compile_path(path).find({} if document is None else document)
        return '""' if found is MISSING else orjson.dumps(found).decode()

    def path(self, path: str) -> Any:
        """What is at a path, for templates to walk through; null when there is nothing."""
        document = self._body.document
        found = None if document is None else compile_path(path).find(document)
        return None if found is MISSING else found

    def params(self, name: str | None = None) -> Any:
        """One parameter, looked for in path, query string and header, in this order; or all of them by kind."""
        call = self._call
        if name is None:
            return {
                "path": dict(call.path_parameters),
                "querystring": dict(call.query),
                "header": dict(call.headers),
            }
        found = call.path_parameters.get(name)
        if found is None and call.request.query:
            found = call.query.get(name)
        if found is None:
            found = call.request.headers.get(name.lower())
        return found or ""

    methods = {"json": json, "path": path, "params": params}  # noqa: RUF012 -- constant, as Bean declares it


class Util(Bean):
    """`$util`."""

    def escape_java_script(self, value: Any) -> str:
        """AWS: commons-lang's rules: also single quotes (which JSON does not know) and slashes are escaped."""
        return _SPECIAL.sub(_escaped, text_of(value))

    def parse_json(self, text: str) -> Any:
        """The value of a JSON text."""
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise TypeError(str(error)) from None

    def url_encode(self, value: Any) -> str:
        """Encode as Java's URLEncoder does: letters, digits and `.-*_` stay, a space becomes a plus."""
        return url_encode(text_of(value))

    def url_decode(self, text: str) -> str:
        """Undo url_encode."""
        return unquote_plus(text)

    def base64_encode(self, value: Any) -> str:
        """Base64 of UTF-8 text."""
        return base64.b64encode(text_of(value).encode()).decode()

    def base64_decode(self, text: str) -> str:
        """UTF-8 text of Base64."""
        try:
            return base64.b64decode(text).decode(errors="replace")
        except ValueError as error:
            raise TypeError(str(error)) from None

    methods = {  # noqa: RUF012 -- constant, as Bean declares it
        "escapeJavaScript": escape_java_script,
        "parseJson": parse_json,
        "urlEncode": url_encode,
        "urlDecode": url_decode,
        "base64Encode": base64_encode,
        "base64Decode": base64_decode,
    }


UTIL: Final = Util()
VARIABLES: Final[Mapping[str, Callable[[Call, HasBody], Any]]] = {
    "input": lambda call, source: Input(call, source.body),
    "context": lambda call, _: call.context,
    "util": lambda _, __: UTIL,
    "stageVariables": lambda call, _: dict(call.stage.variables),
}
"""The variables of a template that maps a body."""


def _escaped(found: "re.Match[str]") -> str:
    char = found[0]
    known = _ESCAPES.get(char)
    if known is not None:
        return known
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04X}" for at in range(0, len(units), 2))


def decoded(part: str) -> str:
    """A component of a path without its percent-encoding."""
    return unquote(part) if "%" in part else part
