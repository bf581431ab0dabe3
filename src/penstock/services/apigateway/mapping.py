"""Parameter mappings and templates, compiled: from the request to the integration, and from its answer to the client."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from penstock.api import HttpResponse
from penstock.core.form_template import FormTemplate
from penstock.core.java import property_of, text_of
from penstock.core.json_path import MISSING, PathError, compile_path
from penstock.core.query_json import json_of
from penstock.core.velocity import Template, TemplateError
from penstock.services.apigateway.call import VARIABLES, Body, Call, HasBody
from penstock.services.apigateway.gateway_response import GatewayFailure, internal_error
from penstock.services.apigateway.repository import Document

_JSON: Final = "application/json"
# AWS: headers of an answer that API Gateway keeps for itself and passes on under another name.
_REMAPPED: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "date",
        "host",
        "server",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    }
)


class XmlBody(Body):
    """An answer of a query service, which API Gateway asks for as JSON."""

    def read(self) -> str:
        """The XML as the JSON that AWS's query services answer to `Accept: application/json`."""
        return json_of(super().read())


class Answer:
    """What an integration has answered. Most of it is looked at only when a mapping asks."""

    _body: Body | None = None

    def __init__(self, response: HttpResponse) -> None:
        self.response = response

    @property
    def _own_type(self) -> str:
        for name, value in self.response.headers:
            if name.lower() == "content-type":
                return value
        return ""

    @property
    def content_type(self) -> str:
        """The media type; that of an AWS service is JSON."""
        own = self._own_type
        return _JSON if own.startswith(("text/xml", "application/x-amz-json")) else own

    @property
    def body(self) -> Body:
        """The body; XML is told as JSON."""
        if self._body is None:
            kind = XmlBody if self._own_type.startswith("text/xml") else Body
            self._body = kind(self.response)
        return self._body

    @property
    def selector(self) -> str:
        """What patterns are held against."""
        return str(self.response.status)

    def header(self, name: str) -> str | None:
        """A header field by its lower-case name; of several the last."""
        if name == "content-type":
            return self.content_type
        found = [value for each, value in self.response.headers if each.lower() == name]
        return found[-1] if found else None


RequestValue: TypeAlias = Callable[[Call], str | None]
ResponseValue: TypeAlias = Callable[[Call, Answer], str | None]


def request_value(expression: str) -> RequestValue:
    """Compile the right side of a request parameter mapping: a source, or text in single quotes."""
    if expression.startswith("'") and expression.endswith("'"):
        text = expression[1:-1]
        return lambda call: text
    for prefix, make in _REQUEST_SOURCES.items():
        if expression.startswith(prefix):
            return make(expression[len(prefix) :])
    return lambda call: None


def response_value(expression: str) -> ResponseValue:
    """Compile the right side of a response parameter mapping."""
    if expression.startswith(
        ("integration.response.header.", "integration.response.multivalueheader.")
    ):
        name = expression.split(".", 3)[3].lower()
        return lambda call, answer: answer.header(name)
    if expression.startswith("integration.response.body"):
        find = _body_value(expression.removeprefix("integration.response.body"))
        return lambda call, answer: find(answer.body)
    value = request_value(expression)
    return lambda call, answer: value(call)


def _from_header(name: str) -> RequestValue:
    key = name.lower()
    return lambda call: call.request.headers.get(key)


def _from_query(name: str) -> RequestValue:
    return lambda call: call.query.get(name)


def _from_many(name: str) -> RequestValue:
    return lambda call: ",".join(call.multi_query[name]) if name in call.multi_query else None


def _from_path(name: str) -> RequestValue:
    return lambda call: call.path_parameters.get(name)


def _from_body(rest: str) -> RequestValue:
    find = _body_value(rest)
    return lambda call: find(call.body)


def _from_variables(name: str) -> RequestValue:
    return lambda call: call.stage.variables.get(name)


def _from_context(name: str) -> RequestValue:
    names = name.split(".")

    def value(call: Call) -> str | None:
        found: Any = call.context
        for each in names:
            found = property_of(found, each)
        return None if found is None else text_of(found)

    return value


def _body_value(rest: str) -> Callable[[Body], str | None]:
    """The whole body, or what is at a JSON path in it: text as it is, anything else as JSON."""
    path = rest.strip(".")
    if not path:
        return lambda body: body.text
    try:
        compiled = compile_path(path)
    except PathError:
        return lambda body: None

    def value(body: Body) -> str | None:
        found = compiled.find(body.document)
        if found is MISSING or found is None:
            return None
        return found if isinstance(found, str) else orjson.dumps(found).decode()

    return value


_REQUEST_SOURCES: Final[Mapping[str, Callable[[str], RequestValue]]] = {
    "method.request.header.": _from_header,
    "method.request.multivalueheader.": _from_header,
    "method.request.querystring.": _from_query,
    "method.request.multivaluequerystring.": _from_many,
    "method.request.path.": _from_path,
    "method.request.body": _from_body,
    "context.": _from_context,
    "stageVariables.": _from_variables,
}


def media_type(content_type: str | None) -> str:
    """The media type without parameters. AWS: a request without one has JSON."""
    return content_type.partition(";")[0].strip().lower() if content_type else _JSON


class MappingTemplate:
    """A template, and which variables it may ask for."""

    __slots__ = ("_fault", "_template", "_title", "_variables", "form")

    def __init__(self, text: str, title: str) -> None:
        """Compile. A template that cannot be parsed is told of when it is needed, by its `title`."""
        self._title = title
        self._fault = ""
        # A template cannot ask for a variable that its text does not name.
        self._variables = [(name, make) for name, make in VARIABLES.items() if name in text]
        self._template: Template | None = None
        self.form: FormTemplate | None = None
        """The template as that of a form, where it is one and overrides nothing."""
        try:
            self._template = Template(text)
        except TemplateError as error:
            self._fault = str(error)
        else:
            if "Override" not in text:
                self.form = FormTemplate.of(self._template.pieces)

    def render(self, call: Call, source: HasBody) -> str:
        """Map the body of the call or of the answer. Raises GatewayFailure."""
        if self._template is None:
            raise internal_error(f"{self._title} has a syntax error: {self._fault}")
        try:
            return self._template.render(self._scope(call, source))
        except (TemplateError, PathError) as error:
            raise self._failed(error) from error

    def render_form(self, form: FormTemplate, call: Call) -> list[str] | str:
        """Evaluate as a form: see `FormTemplate.render`. Raises GatewayFailure."""
        try:
            return form.render(self._scope(call, call))
        except (TemplateError, PathError) as error:
            raise self._failed(error) from error

    def _scope(self, call: Call, source: HasBody) -> dict[str, Any]:
        return {name: make(call, source) for name, make in self._variables}

    def _failed(self, error: Exception) -> GatewayFailure:
        return internal_error(f"{self._title} failed: {error}")


class RequestMapping:
    """What an integration sends: headers, query and path values, and the body."""

    def __init__(self, integration: Document) -> None:
        self.templates = {
            kind.lower(): MappingTemplate(text, f"the request template of {kind}")
            for kind, text in (integration.get("requestTemplates") or {}).items()
        }
        """By media type."""
        self._passthrough = integration["passthroughBehavior"]
        places: dict[str, dict[str, RequestValue]] = {"header": {}, "querystring": {}, "path": {}}
        self.constant_headers: dict[str, str] = {}
        """Headers that are the same for every request, by lower-case name; `values` does not tell them."""
        for target, source in (integration.get("requestParameters") or {}).items():
            _, _, place, name = target.split(".", 3)
            if place == "header" and source.startswith("'"):
                self.constant_headers[name.lower()] = source.strip("'")
            elif place in places:
                places[place][name] = request_value(source)
        self._places = places
        self.maps_values = any(places.values())
        """Whether there is anything that `values` tells."""

    def values(self, place: str, call: Call) -> dict[str, str]:
        """What is mapped to `header`, `querystring` or `path`, overrides of templates included."""
        values = self._places[place]
        if not values and not call.overridden:
            return {}
        found = {}
        for name, value in values.items():
            text = value(call)
            if text is not None:
                found[name] = text
        override = call.overrides("requestOverride").get(place)
        if override:
            found.update({name: text_of(value) for name, value in override.items()})
        return found

    def template(self, call: Call) -> MappingTemplate | None:
        """What maps the body; None where it passes as it is. Raises GatewayFailure for a media type that may not."""
        templates = self.templates
        content_type = call.request.headers.get("content-type") or _JSON
        found = templates.get(content_type) or templates.get(media_type(content_type))
        if found is None and (
            self._passthrough == "NEVER" or (self._passthrough == "WHEN_NO_TEMPLATES" and templates)
        ):
            raise GatewayFailure("UNSUPPORTED_MEDIA_TYPE")
        return found

    def body(self, call: Call) -> bytes:
        """The mapped body, or the request's own. Raises GatewayFailure."""
        template = self.template(call)
        return call.body.raw if template is None else template.render(call, call).encode()


class _Response:
    """One integration response."""

    def __init__(self, response: Document) -> None:
        self.status = int(response["statusCode"])
        self.pattern = re.compile(response.get("selectionPattern") or "")
        self.default = not response.get("selectionPattern")
        self._templates = {
            kind.lower(): MappingTemplate(
                text or "", f"the template of {kind} for the response {self.status}"
            )
            for kind, text in (response.get("responseTemplates") or {}).items()
        }
        self._headers: list[tuple[str, ResponseValue]] = []
        for target, source in (response.get("responseParameters") or {}).items():
            _, _, place, name = target.split(".", 3)
            if place in ("header", "multivalueheader"):
                self._headers.append((name, response_value(source)))
        self._first = next(iter(self._templates), None)

    def apply(self, call: Call, answer: Answer) -> HttpResponse:
        """The answer to the client."""
        headers = {}
        for name, value in self._headers:
            text = value(call, answer)
            if text is not None:
                headers[name.lower()] = text
        kind = self._kind(call)
        if kind is None:
            content_type, body = answer.content_type or _JSON, answer.body.text.encode()
        else:
            content_type, body = kind, self._templates[kind].render(call, answer).encode()
        if not headers and not call.overridden:
            return HttpResponse(self.status, [("content-type", content_type)], body)
        headers.setdefault("content-type", content_type)
        status = self.status
        override = call.overrides("responseOverride") if call.overridden else None
        if override:
            for name, value in (override.get("header") or {}).items():
                headers[name.lower()] = text_of(value)
            status = _status(override.get("status"), status)
        return HttpResponse(status, [(safe_name(n), v) for n, v in headers.items()], body)

    def _kind(self, call: Call) -> str | None:
        """The template for the client: what it accepts, else JSON, else the first."""
        templates = self._templates
        if len(templates) > 1:
            accepted = media_type(call.request.headers.get("accept"))
            for kind in (accepted, _JSON):
                if kind in templates:
                    return kind
        return self._first


def safe_name(name: str) -> str:
    """A header's name, changed when API Gateway keeps it for itself."""
    return f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name


def _status(value: Any, otherwise: int) -> int:
    text = text_of(value)
    return int(text) if text.isdigit() and 100 <= int(text) < 600 else otherwise


class ResponseMapping:
    """What the client is answered, by the integration responses whose patterns are tried in turn."""

    def __init__(self, integration: Document) -> None:
        responses = [_Response(r) for r in (integration.get("integrationResponses") or {}).values()]
        self._chosen = [response for response in responses if not response.default]
        self._default = next((response for response in responses if response.default), None)

    def apply(self, call: Call, answer: Answer) -> HttpResponse:
        """Choose a response and apply it. Raises GatewayFailure when there is none."""
        response = self._default
        for candidate in self._chosen:
            if candidate.pattern.fullmatch(answer.selector):
                response = candidate
                break
        if response is None:
            # AWS: as its execution log words it.
            raise internal_error(
                "No match for output mapping and no default output mapping configured."
                f" Endpoint Response Status Code: {answer.response.status}"
            )
        return response.apply(call, answer)
