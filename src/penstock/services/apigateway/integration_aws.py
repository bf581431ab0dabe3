"""AWS integrations: the mapped request is sent to a service as AWS's own API would get it."""

from collections.abc import Callable
from typing import Final, cast
from urllib.parse import urlencode

from penstock.api import Context, Dispatcher, Headers, HttpRequest, HttpResponse
from penstock.core.query_json import json_of
from penstock.services.apigateway.call import Body, Call
from penstock.services.apigateway.gateway_response import internal_error
from penstock.services.apigateway.mapping import Answer, RequestMapping, ResponseMapping
from penstock.services.apigateway.repository import Document
from penstock.services.apigateway.target import Uri

TargetHeaders = Callable[[str, str], dict[str, str]]
"""(signing name, operation) -> the headers by which a JSON-protocol service knows its operation; empty for others."""

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"


class XmlBody(Body):
    """An answer of a query service, which API Gateway asks for as JSON."""

    def read(self) -> str:
        """The XML as the JSON that AWS's query services answer to `Accept: application/json`."""
        return json_of(super().read())


class AwsIntegration:
    """See the module."""

    def __init__(
        self,
        integration: Document,
        uri: Uri,
        ctx: Context,
        target_of: TargetHeaders,
        dispatcher: Dispatcher,
    ) -> None:
        self._uri = uri
        self._ctx = ctx
        self._dispatcher = dispatcher
        self._verb = integration["httpMethod"]
        self._is_function = uri.service == "lambda"
        self._request = RequestMapping(integration)
        self._response = ResponseMapping(integration)
        self._target = target_of(uri.service, uri.action) if uri.action else {}
        self._headers: dict[str, str] = {
            "content-type": "application/json",
            "host": f"{uri.service}.{uri.region}.amazonaws.com",
            **self._request.constant_headers,
            "authorization": (
                f"AWS4-HMAC-SHA256 Credential=apigateway/20260101/{uri.region}/{uri.service}"
                "/aws4_request, SignedHeaders=host, Signature=0"
            ),
        }
        # Where nothing but the body depends on the call, the rest is made here.
        fixed = uri.fixed and not self._request.maps_values
        self._template = self._addressed(uri.fixed_path, self._headers, {}) if fixed else None

    async def invoke(self, call: Call) -> HttpResponse:
        """Send, and map the answer. Raises GatewayFailure."""
        request = self._made(call)
        role = self._ctx
        # By position: by keyword it takes several times as long.
        ctx = Context(
            role.account,
            role.region,
            call.now,
            call.request_id,
            role.principal,
            role.principal_id,
        )
        ctx.trace = call.trace
        response = await self._dispatcher.http(ctx, request)
        return self._response.apply(call, self._answer(response))

    def _made(self, call: Call) -> HttpRequest:
        mapping = self._request
        # The body first: its template may override what else is mapped.
        body = mapping.body(call)
        template = self._template
        if template is not None and not call.overridden:
            return HttpRequest(
                template.method, template.path, template.query, template.headers, body
            )
        headers = self._headers.copy()
        for name, value in mapping.values("header", call).items():
            # The signature is API Gateway's own: it says which service this request is for.
            if name.lower() != "authorization":
                headers[name.lower()] = value
        query = mapping.values("querystring", call)
        path = self._uri.path(call, mapping.values("path", call))
        request = self._addressed(path, headers, query)
        request.body = body
        return request

    def _addressed(
        self, uri_path: str, headers: dict[str, str], query: dict[str, str]
    ) -> HttpRequest:
        """The request without its body."""
        path, _, own = uri_path.partition("?")
        if self._uri.action:
            self._name_operation(headers, query)
        text = urlencode(query) if query else ""
        if own:
            text = f"{own}&{text}" if text else own
        return HttpRequest(self._verb, path, text, cast(Headers, headers))

    def _name_operation(self, headers: dict[str, str], query: dict[str, str]) -> None:
        """Name the operation of an `action` URI: by a header where the service speaks JSON, else as a query's Action."""
        form = headers["content-type"].startswith(_FORM)
        if self._target and not form and "Action" not in query and self._verb == "POST":
            headers.update(self._target)
        else:
            query["Action"] = self._uri.action
            if self._verb == "POST":
                headers["content-type"] = _FORM

    def _answer(self, response: HttpResponse) -> Answer:
        content_type = _content_type(response)
        body = (XmlBody if content_type.startswith("text/xml") else Body)(response)
        selector = self._selector(response, body) if self._is_function else str(response.status)
        json = content_type.startswith(("text/xml", "application/x-amz-json"))
        return Answer(response, _JSON if json else content_type, body, selector)

    @staticmethod
    def _selector(response: HttpResponse, body: Body) -> str:
        """What selection patterns see of a function: the `errorMessage` of one that failed."""
        if response.status >= 400:
            raise internal_error(f"the function was not invoked: status {response.status}")
        if not any(name.lower() == "x-amz-function-error" for name, _ in response.headers):
            return ""
        document = body.document
        return str(document.get("errorMessage", "")) if isinstance(document, dict) else ""


def _content_type(response: HttpResponse) -> str:
    for name, value in response.headers:
        if name.lower() == "content-type":
            return value
    return ""
