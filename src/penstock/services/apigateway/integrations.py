"""The operations on integrations and their responses."""

import re
from collections.abc import Mapping
from typing import Any, Final

from penstock.api import Context, Dispatcher, Request, Result, operation, refuse
from penstock.core.velocity import Template, TemplateError, UnsupportedDirective
from penstock.services.apigateway.patch import Kind, apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    integration_of,
    method_of,
    not_found,
    response_of,
)

_URI: Final = re.compile(
    r"arn:aws[\w-]*:apigateway:[\w-]+:(?P<service>[\w.-]+):(?P<kind>path|action)/(?P<target>.*)"
)
_REQUEST_PARAMETER: Final = re.compile(r"integration\.request\.(header|querystring|path)\..+")
_RESPONSE_PARAMETER: Final = re.compile(r"method\.response\.(header|multivalueheader)\..+")
_PATHS: Final[dict[str, Kind]] = {
    "type": "text",
    "httpMethod": "text",
    "uri": "text",
    "credentials": "text",
    "requestParameters": "map",
    "requestTemplates": "map",
    "passthroughBehavior": "text",
    "timeoutInMillis": "integer",
    "cacheNamespace": "text",
    "cacheKeyParameters": "refused",
    "connectionId": "refused",
    "connectionType": "refused",
    "contentHandling": "refused",
    "tlsConfig": "refused",
    "responseTransferMode": "refused",
}
_RESPONSE_PATHS: Final[dict[str, Kind]] = {
    "selectionPattern": "text",
    "responseParameters": "map",
    "responseTemplates": "map",
    "contentHandling": "refused",
}
_PASSTHROUGH: Final = ("WHEN_NO_MATCH", "WHEN_NO_TEMPLATES", "NEVER")
_UNBUILT: Final = (
    "connectionId",
    "tlsConfig",
    "contentHandling",
    "integrationTarget",
    "cacheKeyParameters",
)

IN_PART: Final = (
    "connectionType: VPC_LINK",
    "credentials of the caller",
    "responseTransferMode: STREAM",
    "type: HTTP or HTTP_PROXY",
    "uri of a service or an operation that is not built",
)


def new_integration(resource_id: str, given: Mapping[str, Any]) -> Document:
    """An integration from the members of PutIntegration. Raises `AwsError` where AWS does, and for what is not built."""
    for name in _UNBUILT:
        if given.get(name):
            raise refuse(f"the integration's {name}")
    if given.get("connectionType", "INTERNET") != "INTERNET":
        raise refuse(f"the connection type {given['connectionType']}")
    if given.get("responseTransferMode", "BUFFERED") != "BUFFERED":
        raise refuse(f"the response transfer mode {given['responseTransferMode']}")
    integration: Document = {
        "type": given["type"],
        "passthroughBehavior": given.get("passthroughBehavior") or "WHEN_NO_MATCH",
        "timeoutInMillis": given.get("timeoutInMillis") or 29000,
        "cacheNamespace": given.get("cacheNamespace") or resource_id,
        "cacheKeyParameters": [],
    }
    if given.get("integrationHttpMethod"):
        integration["httpMethod"] = given["integrationHttpMethod"]
    for name in ("uri", "credentials", "requestParameters", "requestTemplates"):
        if given.get(name):
            integration[name] = given[name]
    check_integration(integration)
    return integration


def check_integration(integration: Document) -> None:
    """Whether an integration is one that can be served. Raises `AwsError`."""
    kind = integration["type"]
    if kind in ("HTTP", "HTTP_PROXY"):
        raise refuse(f"the integration type {kind}")
    if kind not in ("AWS", "AWS_PROXY", "MOCK"):
        raise bad_request(
            "Enumeration value for Integration type must be one of [HTTP, MOCK, AWS_PROXY, HTTP_PROXY, AWS]"
        )
    if integration["passthroughBehavior"] not in _PASSTHROUGH:
        raise bad_request(
            "Enumeration value for passthroughBehavior must be one of"
            " [WHEN_NO_MATCH, NEVER, WHEN_NO_TEMPLATES]"
        )
    if not 50 <= integration["timeoutInMillis"] <= 29000:
        raise bad_request("Timeout should be between 50 ms and 29000 ms")
    for target in integration.get("requestParameters", {}):
        if not _REQUEST_PARAMETER.fullmatch(target):
            raise bad_request(f"Invalid mapping expression parameter specified: {target}")
    for template in integration.get("requestTemplates", {}).values():
        check_template(template)
    if kind != "MOCK":
        _check_target(integration)


def _check_target(integration: Document) -> None:
    if not integration.get("httpMethod"):
        raise bad_request("Enumeration value for HttpMethod must be non-empty")
    match = _URI.fullmatch(integration.get("uri") or "")
    if match is None:
        raise bad_request("AWS ARN for integration must contain path or action")
    if "." in match["service"]:
        raise refuse("integration URIs with a subdomain")
    is_function = match["service"] == "lambda" and "/functions/" in integration["uri"]
    if integration["type"] == "AWS_PROXY" and not is_function:
        if match["service"] == "firehose":
            raise refuse("the integration of Firehose streams by AWS_PROXY")
        raise bad_request(
            "Integrations of type 'AWS_PROXY' currently only supports Lambda function and Firehose"
            " stream invocations."
        )
    credentials = integration.get("credentials")
    if credentials is None and not is_function:
        raise bad_request("Role ARN must be specified for AWS integrations")
    if credentials is not None and not re.fullmatch(
        r"arn:aws[\w-]*:iam::\d{12}:role/.+", credentials
    ):
        if credentials.endswith(":user/*"):
            raise refuse("integrations with the caller's credentials")
        raise bad_request("Invalid ARN specified in the request")


def check_service(integration: Document, dispatcher: Dispatcher) -> None:
    """Whether there is what an integration calls: it must not be found missing by every single call. Raises `AwsError`."""
    match = _URI.fullmatch(integration.get("uri") or "")
    if match is None or integration["type"] == "MOCK":
        return
    action = match["target"] if match["kind"] == "action" else ""
    if re.search("[&?{]", action):
        raise refuse("integration URIs with parameters in the action")
    dispatcher.check_action(match["service"], action)


def check_template(text: str) -> None:
    """Refuse a template with a directive that is not built.

    AWS: a template that cannot be parsed is accepted, and its method answers with 500.
    """
    try:
        Template(text)
    except UnsupportedDirective as error:
        raise refuse(f"the Velocity directive {error}") from None
    except TemplateError:
        return


def integration_response(status: str, given: Mapping[str, Any]) -> Document:
    """An integration response from the members of PutIntegrationResponse."""
    if given.get("contentHandling"):
        raise refuse("the integration response's contentHandling")
    response: Document = {"statusCode": status}
    for name in ("selectionPattern", "responseParameters", "responseTemplates"):
        if given.get(name):
            response[name] = given[name]
    check_response(response)
    return response


def check_response(response: Document) -> None:
    """Whether an integration response can be served. Raises `AwsError`."""
    if not re.fullmatch(r"[1-5]\d\d", response["statusCode"]):
        raise bad_request(f"Invalid status code specified: {response['statusCode']}")
    for target in response.get("responseParameters", {}):
        if not _RESPONSE_PARAMETER.fullmatch(target):
            raise bad_request(f"Invalid mapping expression parameter specified: {target}")
    for template in response.get("responseTemplates", {}).values():
        check_template(template or "")
    try:
        re.compile(response.get("selectionPattern") or "")
    except re.error as error:
        raise bad_request(f"Invalid selection pattern: {error}") from None


class Integrations:
    """See the module."""

    def __init__(self, repository: Repository, dispatcher: Dispatcher) -> None:
        self._repository = repository
        self._dispatcher = dispatcher

    @operation("PutIntegration", refuses=_UNBUILT, in_part=IN_PART)
    async def put_integration(self, ctx: Context, request: Request) -> Result:
        """Set what stands behind a method."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            method = method_of(api, request)
            integration = new_integration(request["resourceId"], request)
            check_service(integration, self._dispatcher)
            method["methodIntegration"] = integration
        return integration

    @operation("GetIntegration")
    async def get_integration(self, ctx: Context, request: Request) -> Result:
        """What stands behind a method."""
        return integration_of(await self._repository.api(ctx, request["restApiId"]), request)

    @operation("UpdateIntegration", in_part=IN_PART)
    async def update_integration(self, ctx: Context, request: Request) -> Result:
        """Change an integration by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            integration = integration_of(api, request)
            apply(integration, request, _PATHS)
            check_integration(integration)
            check_service(integration, self._dispatcher)
        return integration

    @operation("DeleteIntegration")
    async def delete_integration(self, ctx: Context, request: Request) -> None:
        """Take away what stands behind a method."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            integration_of(api, request)
            del method_of(api, request)["methodIntegration"]

    @operation("PutIntegrationResponse", refuses=["contentHandling"])
    async def put_integration_response(self, ctx: Context, request: Request) -> Result:
        """How an answer from behind becomes an answer of the method."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            status = request["statusCode"]
            responses = integration_of(api, request).setdefault("integrationResponses", {})
            if status not in method_of(api, request).get("methodResponses", {}):
                raise not_found("Invalid Response status code specified")
            response = responses[status] = integration_response(status, request)
        return response

    @operation("GetIntegrationResponse")
    async def get_integration_response(self, ctx: Context, request: Request) -> Result:
        """One integration response."""
        api = await self._repository.api(ctx, request["restApiId"])
        return response_of(integration_of(api, request).get("integrationResponses", {}), request)

    @operation("UpdateIntegrationResponse")
    async def update_integration_response(self, ctx: Context, request: Request) -> Result:
        """Change an integration response by patches."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            responses = integration_of(api, request).get("integrationResponses", {})
            response = response_of(responses, request)
            apply(response, request, _RESPONSE_PATHS)
            check_response(response)
        return response

    @operation("DeleteIntegrationResponse")
    async def delete_integration_response(self, ctx: Context, request: Request) -> None:
        """Remove an integration response."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            responses = integration_of(api, request).get("integrationResponses", {})
            if responses.pop(request["statusCode"], None) is None:
                raise not_found("Invalid Response status code specified")
