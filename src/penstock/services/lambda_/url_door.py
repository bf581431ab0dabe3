"""Requests to function URLs: the event that a function gets (payload format 2.0), and the response made of its answer."""

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import orjson

from penstock.api import Answering, Context, HttpRequest, HttpResponse
from penstock.core.errors import AwsError, PenstockError, StoreError
from penstock.core.lineage import new_trace, passed
from penstock.services.lambda_.asynchronous import loops
from penstock.services.lambda_.invocation import MAX_SYNC, Runner
from penstock.services.lambda_.repository import Function
from penstock.services.lambda_.surroundings import Surroundings
from penstock.services.lambda_.url_cors import cors_headers, preflight
from penstock.services.lambda_.urls import HOST, PATH, Urls

_log: Final = logging.getLogger("penstock.lambda")
Admit: TypeAlias = Callable[[HttpRequest], Awaitable[Context]]
"""Who sends a request. Raises AwsError for one whose signature does not hold."""
_Fields: TypeAlias = list[tuple[str, str]]

_JSON: Final = ("content-type", "application/json")
_DENIED: Final = ("x-amzn-ErrorType", "AccessDeniedException")
_FORBIDDEN: Final = (
    b'{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: '
    b'https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}'
)
_INVOKE: Final = "lambda:InvokeFunctionUrl"
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "te", "trailer", "upgrade"})
# AWS: bodies of other types reach the function in base64 (Lambda guide, "invoking function URLs": recorded for multipart).
_TEXT: Final = ("text/", "application/json", "application/xml", "application/javascript")


class UrlDoor:
    """Answers requests to function URLs. `admit` says who sends one that is signed."""

    def __init__(self, urls: Urls, runner: Runner, given: Surroundings, admit: Admit) -> None:
        self._urls = urls
        self._runner = runner
        self._ids = given.ids
        self._clock = given.clock
        self._admit = admit

    def __call__(self, request: HttpRequest) -> Answering | None:
        """Take what is addressed to a function URL: by host, or by the path for local use."""
        path = request.path
        if path.startswith(PATH):
            url_id, _, rest = path[len(PATH) :].partition("/")
            return self._serve(request, url_id, rest)
        host = request.headers.get("host") or ""
        url_id, found, _ = host.partition(HOST)
        if found and "." not in url_id:
            return self._serve(request, url_id, path)
        return None

    async def _serve(self, request: HttpRequest, url_id: str, path: str) -> HttpResponse:
        request_id = self._ids.uuid()
        try:
            response = await self._answer(request, url_id, path, request_id)
        except StoreError as error:
            _log.error("%s", error)
            response = HttpResponse(503, [_JSON], b'{"Message":"Service Unavailable"}')
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            response = HttpResponse(500, [_JSON], b'{"Message":"Internal Server Error"}')
        response.headers.append(("x-amzn-RequestId", request_id))
        return response

    async def _answer(
        self, request: HttpRequest, url_id: str, path: str, request_id: str
    ) -> HttpResponse:
        found = await self._urls.lead(url_id)
        if found is None:
            return HttpResponse(403, [_JSON, _DENIED], b'{"Message":null}')
        function, config = found
        cors = config.get("Cors")
        if cors and (answer := preflight(cors, request)) is not None:
            return answer
        caller = await self._caller(request, function, config)
        if caller is None:
            return HttpResponse(403, [_JSON, _DENIED], _FORBIDDEN)
        if len(request.body) > MAX_SYNC:
            return HttpResponse(413, [_JSON], b'{"Message":"Request Entity Too Large"}')
        now = self._clock.now()
        trace = request.headers.get("x-amzn-trace-id") or new_trace(self._ids, now)
        # AWS: slashes at the beginning are one (recorded).
        path = f"/{path.lstrip('/')}"
        call = {"id": request_id, "now": now, "trace": trace, "url": url_id, "path": path}
        event = url_event(request, call, caller)
        response = await self._run(function, orjson.dumps(event), call)
        if cors:
            given = cors_headers(cors, request)
            names = {name for name, _ in given}
            response.headers = [
                *(each for each in response.headers if each[0].lower() not in names),
                *given,
            ]
        response.headers.append(("x-amzn-trace-id", trace))
        return response

    async def _caller(
        self, request: HttpRequest, function: Function, config: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What the event tells of the caller: nothing for anybody at all; None for one who may not call."""
        if config["AuthType"] == "NONE":
            return {} if _is_public(function) else None
        signed = "authorization" in dict(request.headers.items())
        if not signed and "X-Amz-Signature" not in request.query:
            return None
        try:
            context = await self._admit(request)
        except AwsError:
            return None
        return {
            "accessKey": context.access_key,
            "accountId": context.account,
            "callerId": context.principal_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": context.principal,
            "userId": context.principal_id,
        }

    async def _run(
        self, function: Function, payload: bytes, call: Mapping[str, Any]
    ) -> HttpResponse:
        if loops(function, call["trace"]):
            return _failed()
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            body = {"Reason": permit, "Type": "User", "message": "Rate Exceeded."}
            return HttpResponse(429, [_JSON], orjson.dumps(body))
        trace = passed(call["trace"], function.arn)
        with permit:
            try:
                result = await self._runner.run(function, call["id"], payload, trace, call["now"])
            except PenstockError as error:
                _log.warning("function URL of %s: %s", function.arn, error)
                return _failed()
        return _failed() if result.error is not None else url_response(result.payload)


def url_event(
    request: HttpRequest, call: Mapping[str, Any], caller: Mapping[str, Any]
) -> dict[str, Any]:
    """The event, payload format 2.0."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        if name not in _HOP_BY_HOP:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    domain = headers.get("host", "")
    headers |= {
        "x-amzn-trace-id": call["trace"],
        "x-forwarded-for": request.source_ip,
        "x-forwarded-proto": request.scheme,
        "x-forwarded-port": domain.partition(":")[2] or _port(request.scheme),
    }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": call["path"],
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": _context(request, call, caller, domain),
        "isBase64Encoded": False,
    }
    if cookies := headers.get("cookie"):
        event["cookies"] = cookies.split("; ")
    if request.query:
        query: dict[str, str] = {}
        for name, value in parse_qsl(request.query, keep_blank_values=True):
            query[name] = f"{query[name]},{value}" if name in query else value
        event["queryStringParameters"] = query
    if request.body:
        event |= _body(request)
    return event


def _context(
    request: HttpRequest, call: Mapping[str, Any], caller: Mapping[str, Any], domain: str
) -> dict[str, Any]:
    at = datetime.fromtimestamp(call["now"] // 1000, UTC)
    context: dict[str, Any] = {
        "accountId": caller.get("accountId", "anonymous"),
        "apiId": call["url"],
        "domainName": domain,
        "domainPrefix": call["url"],
        "http": {
            "method": request.method,
            "path": unquote(call["path"]),
            "protocol": f"HTTP/{request.http_version}",
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent") or "",
        },
        "requestId": call["id"],
        "routeKey": "$default",
        "stage": "$default",
        "time": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": call["now"],
    }
    if caller:
        context["authorizer"] = {"iam": dict(caller)}
    return context


def _body(request: HttpRequest) -> dict[str, Any]:
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind.startswith(_TEXT) or kind.endswith(("+json", "+xml")):
        return {"body": request.body.decode(errors="replace")}
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def url_response(payload: bytes) -> HttpResponse:
    """The response that a function's answer makes; 502 for one that makes none."""
    try:
        document = orjson.loads(payload or b"null")
    except orjson.JSONDecodeError:
        return _failed()
    if not isinstance(document, dict) or "statusCode" not in document:
        # AWS: a text is sent without its quotes (recorded).
        body = document.encode() if isinstance(document, str) else orjson.dumps(document)
        return HttpResponse(200, [_JSON], body)
    status, headers = str(document["statusCode"]), document.get("headers") or {}
    if not status.isdigit() or not 100 <= int(status) < 600 or not isinstance(headers, dict):
        return _failed()
    fields: _Fields = [(str(name), _text(value)) for name, value in headers.items()]
    fields += [("set-cookie", str(cookie)) for cookie in document.get("cookies") or ()]
    if not all(_is_sendable(value) for each in fields for value in each):
        return _failed()
    if not any(name.lower() == "content-type" for name, _ in fields):
        fields.append(_JSON)
    try:
        return HttpResponse(
            int(status), fields, _bytes(document.get("body"), document.get("isBase64Encoded"))
        )
    except ValueError:
        return _failed()


def _bytes(body: Any, encoded: Any) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        return orjson.dumps(body)
    return base64.b64decode(body, validate=True) if encoded else body.encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _is_sendable(text: str) -> bool:
    """Whether a text can stand in a header field."""
    return text.isprintable() and (
        text.isascii() or text.encode("latin-1", "ignore").decode("latin-1") == text
    )


def _port(scheme: str) -> str:
    return "443" if scheme == "https" else "80"


def _failed() -> HttpResponse:
    return HttpResponse(502, [_JSON], b"Internal Server Error")


def _is_public(function: Function) -> bool:
    """Whether the resource policy lets anybody call the URL."""
    policy = function.document["policies"].get(function.ref.qualifier or "")
    return any(_opens(statement) for statement in (policy["statements"] if policy else ()))


def _opens(statement: Mapping[str, Any]) -> bool:
    equals = (statement.get("Condition") or {}).get("StringEquals") or {}
    return (
        statement["Principal"] == "*"
        and statement["Action"] in (_INVOKE, "lambda:*")
        and equals.get("lambda:FunctionUrlAuthType", "NONE") == "NONE"
    )
