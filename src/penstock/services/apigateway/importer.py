"""OpenAPI 3.0 and Swagger 2.0 definitions, with API Gateway's extensions, turned into resources and methods."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson
import yaml

from penstock.api import refuse
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.apigateway.integrations import integration_response, new_integration
from penstock.services.apigateway.methods import method_response, new_method
from penstock.services.apigateway.models import add_gateway_response, add_validator
from penstock.services.apigateway.repository import Document, bad_request
from penstock.services.apigateway.resources import add_resource

_X: Final = "x-amazon-apigateway-"
_VERBS: Final = ("get", "put", "post", "delete", "patch", "options", "head", f"{_X}any-method")
_PLACES: Final = {"path": "path", "query": "querystring", "header": "header"}
# AWS: a definition has at most 6 MB (API Gateway quotas).
_MAX_EXPANDED: Final = 6 * 1024 * 1024
_UNBUILT: Final = (
    "api-key-source",
    "policy",
    "minimum-compression-size",
    "authorizer",
    "endpoint-configuration",
)
# `mode` and `failonwarnings` are members of their own that the model's map of parameters takes in as well.
_PARAMETERS: Final = frozenset(
    {"endpointConfigurationTypes", "basepath", "ignore", "mode", "failonwarnings"}
)


def read(body: bytes, parameters: Mapping[str, str]) -> Document:
    """The definition in `body`, JSON or YAML. Raises `AwsError`."""
    unknown = sorted(set(parameters) - _PARAMETERS)
    if unknown:
        raise refuse(f"the import parameter {unknown[0]}")
    if parameters.get("basepath", "ignore") != "ignore":
        raise refuse(f"the import parameter basepath={parameters['basepath']}")
    try:
        definition = _parsed(body)
    except (orjson.JSONDecodeError, yaml.YAMLError, UnicodeDecodeError, RecursionError, TypeError):
        raise _malformed() from None
    if not isinstance(definition, dict) or not isinstance(definition.get("info", {}), dict):
        raise _malformed()
    if not ("openapi" in definition or "swagger" in definition):
        raise bad_request(
            "Unable to parse API definition because of missing swagger or openapi version"
        )
    if not (definition.get("info") or {}).get("title"):
        raise bad_request("API title is required")
    for name in _UNBUILT:
        if definition.get(_X + name):
            raise refuse(f"{_X}{name} in definitions")
    if definition.get("security"):
        raise refuse("security in definitions")
    return definition


def load(api: Document, definition: Document, ids: Ids) -> None:
    """Bring a definition into an API: new methods replace those of the same path and verb."""
    info = definition["info"]
    api["name"] = info["title"]
    for name in ("description", "version"):
        if info.get(name):
            api[name] = info[name]
    if definition.get(f"{_X}binary-media-types"):
        api["binaryMediaTypes"] = definition[f"{_X}binary-media-types"]
    try:
        _Import(api, definition, ids).run()
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        # The walk takes the shapes of the specification for granted; what has others is no definition.
        raise _malformed() from fault


def _parsed(body: bytes) -> Any:
    if body.lstrip()[:1] == b"{":
        return orjson.loads(body)
    document = yaml.safe_load(body)
    if _expanded(document, {}) > _MAX_EXPANDED:
        raise _malformed()
    # YAML dates and integer keys become what JSON would have had.
    return orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


def _expanded(node: Any, known: dict[int, int]) -> int:
    """How many nodes and characters a document has when every alias is written out, for aliases of aliases are cheap."""
    if not isinstance(node, (dict, list)):
        return 1 + (len(node) if isinstance(node, str) else 0)
    if id(node) not in known:
        known[id(node)] = _MAX_EXPANDED  # what contains itself has no end
        below = [*node, *node.values()] if isinstance(node, dict) else node
        known[id(node)] = 1 + sum(_expanded(child, known) for child in below)
    return known[id(node)]


def _malformed() -> AwsError:
    return bad_request("Unable to parse API definition because of a malformed definition")


class _Import:
    """One definition on its way into one API."""

    def __init__(self, api: Document, definition: Document, ids: Ids) -> None:
        self._api = api
        self._definition = definition
        self._ids = ids
        self._validators: dict[str, str] = {}

    def run(self) -> None:
        """Bring in models, validators, gateway responses and paths."""
        definition = self._definition
        schemas = (definition.get("components") or {}).get("schemas") or {}
        for name, schema in {**schemas, **(definition.get("definitions") or {})}.items():
            self._model(name, schema)
        for name, given in (definition.get(f"{_X}request-validators") or {}).items():
            self._validators[name] = self._validator(name, given)
        for kind, given in (definition.get(f"{_X}gateway-responses") or {}).items():
            add_gateway_response(self._api, kind, _gateway_response(given))
        for path, item in (definition.get("paths") or {}).items():
            self._path(path, self._resolved(item))

    def _model(self, name: str, schema: Any) -> None:
        url = f"https://apigateway.amazonaws.com/restapis/{self._api['id']}/models/"
        text = re.sub(
            r'"#/(?:components/schemas|definitions)/([^"/]+)"',
            lambda found: f'"{url}{found[1]}"',
            orjson.dumps(schema).decode(),
        )
        self._api["models"][name] = {
            "id": self._ids.token(6),
            "name": name,
            "contentType": "application/json",
            "schema": text,
        }

    def _validator(self, name: str, given: Mapping[str, Any]) -> str:
        for validator in self._api["validators"].values():
            if validator["name"] == name:
                validator.update(given)
                return str(validator["id"])
        return str(add_validator(self._api, self._ids, {"name": name, **given})["id"])

    def _path(self, path: str, item: Document) -> None:
        resource = self._resource(path)
        for verb in _VERBS:
            if verb in item:
                self._method(resource, verb, item[verb], item.get("parameters") or [])

    def _resource(self, path: str) -> Document:
        api = self._api
        resource: Document = api["resources"][api["rootResourceId"]]
        for part in path.strip("/").split("/"):
            if not part:
                continue
            child = next(
                (
                    each
                    for each in api["resources"].values()
                    if each.get("parentId") == resource["id"] and each["pathPart"] == part
                ),
                None,
            )
            resource = child or add_resource(api, resource["id"], part, self._ids)
        return resource

    def _method(
        self, resource: Document, verb: str, given: Document, shared: list[Document]
    ) -> None:
        _refuse_security(given)
        verb = "ANY" if verb.startswith("x-") else verb.upper()
        members: dict[str, Any] = {"operationName": given.get("operationId")}
        parameters = [self._resolved(each) for each in [*shared, *(given.get("parameters") or [])]]
        members["requestParameters"] = {
            f"method.request.{_PLACES[each['in']]}.{each['name']}": bool(each.get("required"))
            for each in parameters
            if each.get("in") in _PLACES
        }
        members["requestModels"] = self._request_models(given, parameters)
        validator = given.get(
            f"{_X}request-validator", self._definition.get(f"{_X}request-validator")
        )
        if validator:
            if validator not in self._validators:
                raise bad_request(f"Invalid request validator specified: {validator}")
            members["requestValidatorId"] = self._validators[validator]
        method = new_method(self._api, verb, members)
        method["methodResponses"] = self._method_responses(given)
        integration = given.get(f"{_X}integration")
        if integration:
            self._integration(resource, method, integration)
        resource["resourceMethods"][verb] = method

    def _request_models(self, given: Document, parameters: list[Document]) -> dict[str, str]:
        content = self._resolved(given.get("requestBody") or {}).get("content") or {}
        models = {kind: self._body_model(part.get("schema")) for kind, part in content.items()}
        kinds = given.get("consumes") or self._definition.get("consumes") or ["application/json"]
        for each in parameters:
            if each.get("in") == "body":
                models.update(dict.fromkeys(kinds, self._body_model(each.get("schema"))))
        return {kind: name for kind, name in models.items() if name}

    def _body_model(self, schema: Any) -> str:
        """The model of a body: the one that a schema refers to, or one made of a schema written in place."""
        name = _model_name(schema)
        if name or not schema:
            return name
        # Validators find what to ask of a body by the name of its model.
        name = f"MODEL{self._ids.hex(6)}"
        self._model(name, schema)
        return name

    def _method_responses(self, given: Document) -> Document:
        responses = {}
        for status, response in (given.get("responses") or {}).items():
            if not re.fullmatch(r"\d{3}", status):
                continue
            resolved = self._resolved(response)
            headers = {f"method.response.header.{n}": False for n in resolved.get("headers") or {}}
            content = resolved.get("content") or {}
            models = {kind: _model_name(part.get("schema")) for kind, part in content.items()}
            members = {
                "responseParameters": headers,
                "responseModels": {kind: name for kind, name in models.items() if name},
            }
            responses[status] = method_response(status, members)
        return responses

    def _integration(self, resource: Document, method: Document, given: Document) -> None:
        members = {
            **given,
            "type": str(given.get("type", "")).upper(),
            "integrationHttpMethod": given.get("httpMethod"),
            "passthroughBehavior": str(given.get("passthroughBehavior") or "when_no_match").upper(),
        }
        made = new_integration(resource["id"], members)
        responses = {}
        for pattern, response in (given.get("responses") or {}).items():
            selection = None if pattern == "default" else pattern
            status = str(response.get("statusCode") or "200")
            entry = integration_response(status, {**response, "selectionPattern": selection})
            responses[status] = entry
        if responses:
            made["integrationResponses"] = responses
        method["methodIntegration"] = made

    def _resolved(self, node: Document) -> Document:
        """What `$ref` points to within the definition."""
        for _ in range(16):
            reference = node.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return node
            target: Any = self._definition
            for part in reference[2:].split("/"):
                target = target.get(part) if isinstance(target, dict) else None
            if not isinstance(target, dict):
                raise bad_request(f"Unable to resolve reference {reference}")
            node = target
        raise bad_request("References in the definition are cyclical")


def _refuse_security(given: Document) -> None:
    if given.get("security"):
        raise refuse("security in definitions")
    kind = (given.get(f"{_X}auth") or {}).get("type", "NONE")
    if kind.upper() != "NONE":
        raise refuse(f"the authorization type {kind}")


def _model_name(schema: Any) -> str:
    """The model that a schema refers to; schemas written in place have none."""
    reference = schema.get("$ref", "") if isinstance(schema, dict) else ""
    return str(reference).rpartition("/")[2]


def _gateway_response(given: Document) -> Document:
    parameters = given.get("responseParameters") or {}
    return {
        "statusCode": str(given["statusCode"]) if given.get("statusCode") else None,
        "responseTemplates": given.get("responseTemplates"),
        "responseParameters": {
            name if name.startswith("gatewayresponse.") else f"gatewayresponse.{name}": value
            for name, value in parameters.items()
        },
    }
