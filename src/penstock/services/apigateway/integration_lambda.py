"""AWS_PROXY integrations: a function gets the whole request as an event, and answers with status, headers and body."""

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Dispatcher, HttpResponse
from penstock.core.errors import AwsError
from penstock.services.apigateway.call import Call, identity, request_time
from penstock.services.apigateway.gateway_response import (
    GatewayFailure,
    bad_gateway,
    internal_error,
)
from penstock.services.apigateway.mapping import media_type, safe_name
from penstock.services.apigateway.target import Uri

_MEMBERS: Final = frozenset(
    {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
)
_STATUS: Final = re.compile(r"[1-5][0-9]{2}")


class LambdaProxy:
    """See the module."""

    def __init__(
        self,
        uri: Uri,
        ctx: Context,
        binary: Sequence[str],
        operation: str | None,
        dispatcher: Dispatcher,
    ) -> None:
        self._uri = uri
        self._ctx = ctx
        self._binary = frozenset(kind.lower() for kind in binary)
        self._operation = operation
        self._dispatcher = dispatcher

    async def invoke(self, call: Call) -> HttpResponse:
        """Run the function and answer what it says. Raises GatewayFailure."""
        name = re.sub(r"^.*/functions/(.*)/invocations$", r"\1", self._uri.path(call, {}))
        request = {"FunctionName": name, "Payload": orjson.dumps(self.event(call))}
        ctx = self._ctx.child(trace=call.trace)
        try:
            result = await self._dispatcher.call(ctx, "lambda", "Invoke", request)
        except AwsError as error:
            # AWS: a function that is throttled, missing or not to be called is an internal error to the client.
            raise internal_error(f"function {name} was not invoked: {error}") from error
        if result.get("FunctionError"):
            raise bad_gateway(f"function {name} failed: {result['FunctionError']}")
        return self._answer(call, result["Payload"])

    def event(self, call: Call) -> dict[str, Any]:
        """The event, payload format 1.0."""
        method = call.method
        assert method is not None
        binary = self._is_binary(call.request.headers.get("content-type"))
        raw = call.body.raw
        body = (base64.b64encode(raw).decode() if binary else call.body.text) if raw else None
        headers = {
            **call.headers,
            "X-Amzn-Trace-Id": call.trace,
            "X-Forwarded-For": call.request.source_ip,
        }
        headers.setdefault("X-Forwarded-Proto", call.request.scheme)
        context = {
            "resourceId": method.resource_id,
            "resourcePath": method.resource_path,
            "operationName": self._operation,
            "httpMethod": call.request.method,
            "extendedRequestId": call.extended_id,
            "requestTime": request_time(call.now),
            "path": f"/{call.stage.name}{call.path}",
            "accountId": call.stage.account,
            "protocol": f"HTTP/{call.request.http_version}",
            "stage": call.stage.name,
            "domainPrefix": call.domain.partition(".")[0],
            "requestTimeEpoch": call.now,
            "requestId": call.request_id,
            "identity": identity(call),
            "domainName": call.domain,
            "deploymentId": call.stage.deployment_id,
            "apiId": call.stage.api_id,
        }
        if self._operation is None:
            del context["operationName"]
        return {
            "resource": method.resource_path,
            "path": call.path,
            "httpMethod": call.request.method,
            "headers": headers,
            "multiValueHeaders": {key: [value] for key, value in headers.items()},
            "queryStringParameters": call.query or None,
            "multiValueQueryStringParameters": call.multi_query or None,
            "pathParameters": call.path_parameters or None,
            "stageVariables": call.stage.variables or None,
            "requestContext": context,
            "body": body,
            "isBase64Encoded": binary and body is not None,
        }

    def _is_binary(self, content_type: str | None) -> bool:
        if not self._binary:
            return False
        return "*/*" in self._binary or media_type(content_type) in self._binary

    def _answer(self, call: Call, payload: bytes) -> HttpResponse:
        try:
            document = orjson.loads(payload or b"null")
        except orjson.JSONDecodeError:
            raise _malformed("it is not JSON") from None
        # AWS: anything but these members makes the answer malformed.
        if not isinstance(document, dict) or not _MEMBERS.issuperset(document):
            raise _malformed("it is no object with the members of a proxy's answer")
        status = _status_of(document.get("statusCode"))
        headers = _headers_of(document)
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        text = document.get("body")
        if text is not None and not isinstance(text, str):
            raise _malformed("its body is no text")
        body = (text or "").encode()
        accepted = (call.request.headers.get("accept") or "").partition(",")[0]
        if document.get("isBase64Encoded") and self._is_binary(accepted or "*/*"):
            try:
                body = base64.b64decode(body, validate=True)
            except ValueError:
                raise _malformed("its body is not base64") from None
        return HttpResponse(status, headers, body)


def _malformed(why: str) -> GatewayFailure:
    # AWS: in these words, to which ours are added (execution log of API Gateway).
    return bad_gateway(f"Malformed Lambda proxy response: {why}")


def _status_of(value: Any) -> int:
    text = str(value)
    if _STATUS.fullmatch(text) is None:
        raise _malformed("it has no valid statusCode")
    return int(text)


def _headers_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The header fields; those of `multiValueHeaders` win over those of `headers`."""
    single, multiple = document.get("headers") or {}, document.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multiple, dict):
        raise _malformed("its headers are no map")
    fields = [
        (safe_name(n), _text(v)) for n, v in single.items() if n not in multiple and v is not None
    ]
    for name, values in multiple.items():
        if not isinstance(values, list):
            raise _malformed("its multiValueHeaders are no lists")
        fields += [(safe_name(name), _text(value)) for value in values]
    return fields


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise _malformed("a header is no text")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
