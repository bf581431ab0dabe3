"""AWS integrations: the mapped request is sent to a service as AWS's own API would get it."""

from collections.abc import Callable, Iterator
from typing import Final, cast
from urllib.parse import urlencode

from penstock.api import (
    Answering,
    Context,
    Dispatcher,
    Headers,
    HttpRequest,
    HttpResponse,
    SendForm,
)
from penstock.core.form_template import FormTemplate
from penstock.services.apigateway.call import Call
from penstock.services.apigateway.gateway_response import internal_error
from penstock.services.apigateway.mapping import (
    Answer,
    MappingTemplate,
    RequestMapping,
    ResponseMapping,
)
from penstock.services.apigateway.repository import Document
from penstock.services.apigateway.target import Uri

TargetHeaders = Callable[[str, str], dict[str, str]]
"""(signing name, operation) -> the headers by which a JSON-protocol service knows its operation; empty for others."""

_FORM: Final = "application/x-www-form-urlencoded"


class FunctionAnswer(Answer):
    """What a function has answered. Patterns see the `errorMessage` of one that failed."""

    @property
    def selector(self) -> str:
        """Empty unless it failed."""
        if not any(name.lower() == "x-amz-function-error" for name, _ in self.response.headers):
            return ""
        document = self.body.document
        return str(document.get("errorMessage", "")) if isinstance(document, dict) else ""


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
        fixed = uri.fixed and not self._request.maps_values
        self._prepared = self._addressed(uri.fixed_path, self._headers, {}) if fixed else None
        """The request without its body, where nothing else depends on the call."""
        self._forms = dict(self._prepared_forms())

    def _prepared_forms(self) -> Iterator[tuple[MappingTemplate, tuple[FormTemplate, SendForm]]]:
        """The templates that write forms of known fields, and how their values are sent."""
        prepared = self._prepared
        if prepared is None or prepared.query:
            return
        for template in self._request.templates.values():
            form = template.form
            # The operation is known if nothing of the call decides it.
            if form is not None and form.names[:1] == ["Action"] and "Action" in form.fixed:
                body = form.blank.encode()
                request = HttpRequest(prepared.method, prepared.path, "", prepared.headers, body)
                send = self._dispatcher.form(request, form.names)
                if send is not None:
                    yield template, (form, send)

    async def invoke(self, call: Call) -> HttpResponse:
        """Send, and map the answer. Raises GatewayFailure."""
        role = self._ctx
        # By position: by keyword it takes several times as long.
        ctx = Context(
            role.account,
            role.region,
            call.now,
            call.request_id,
            role.principal,
            role.principal_id,
            role.access_key,
            role.endpoint,
            call.trace,
        )
        response = await self._sent(call, ctx)
        if not self._is_function:
            return self._response.apply(call, Answer(response))
        if response.status >= 400:
            raise internal_error(f"the function was not invoked: status {response.status}")
        return self._response.apply(call, FunctionAnswer(response))

    def _sent(self, call: Call, ctx: Context) -> Answering:
        template = self._request.template(call)
        if template is None:
            return self._dispatcher.http(ctx, self._made(call, call.body.raw))
        known = self._forms.get(template)
        if known is None:
            # The body first: its template may override what else is mapped.
            body = template.render(call, call).encode()
            return self._dispatcher.http(ctx, self._made(call, body))
        form, send = known
        values = template.render_form(form, call)
        if isinstance(values, str):
            return self._dispatcher.http(ctx, self._made(call, values.encode()))
        return send(ctx, values)

    def _made(self, call: Call, body: bytes) -> HttpRequest:
        mapping = self._request
        prepared = self._prepared
        if prepared is not None and not call.overridden:
            return HttpRequest(
                prepared.method, prepared.path, prepared.query, prepared.headers, body
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
