"""A deployment as it is served: routes, compiled templates, parsed URIs, limits."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

from penstock.api import Answering, Context, Dispatcher
from penstock.core.arn import parse_arn
from penstock.core.throttle import TokenBucket
from penstock.services.apigateway.call import Call
from penstock.services.apigateway.integration_aws import AwsIntegration, TargetHeaders
from penstock.services.apigateway.integration_lambda import LambdaProxy
from penstock.services.apigateway.integration_mock import MockIntegration
from penstock.services.apigateway.mapping import MappingTemplate, RequestValue, request_value
from penstock.services.apigateway.repository import Document
from penstock.services.apigateway.routing import Routes
from penstock.services.apigateway.stages import throttle_of
from penstock.services.apigateway.target import Uri
from penstock.services.apigateway.validation import RequestCheck

# AWS: default quotas of an account in a large region.
_ACCOUNT_RATE: Final = 10_000.0
_ACCOUNT_BURST: Final = 5_000
# Services that may keep a caller waiting past the limit; the others answer, or fail, at once.
_SLOW: Final = frozenset({"lambda", "states"})
_LIMIT_MS: Final = 29_000


class Integration(Protocol):
    """What stands behind a method."""

    def invoke(self, call: Call) -> Answering:
        """Answer a call. Raises GatewayFailure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMethod:
    """A method of a deployment."""

    resource_id: str
    resource_path: str
    integration: Integration
    check: RequestCheck | None
    bucket: TokenBucket | None
    timeout_ms: int | None
    """None where no integration of this kind can take that long."""


@dataclass(frozen=True, slots=True)
class CustomResponse:
    """A gateway response that the API sets."""

    status: int | None
    templates: dict[str, MappingTemplate]
    headers: list[tuple[str, RequestValue]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStage:
    """A stage with its deployment. `version` is that of the stage's record."""

    version: int
    api_id: str
    name: str
    account: str
    region: str
    deployment_id: str
    disabled: bool
    variables: dict[str, str]
    routes: Routes[CompiledMethod]
    responses: dict[str, CustomResponse]
    bucket: TokenBucket
    """What limits the account in the region."""


class Compiler:
    """Compiles stages. Token buckets outlive a compilation, so that a new deployment does not refill them."""

    def __init__(self, dispatcher: Dispatcher, target_of: TargetHeaders) -> None:
        self._dispatcher = dispatcher
        self._target_of = target_of
        self._buckets: dict[tuple[Any, ...], TokenBucket] = {}
        self._accounts: dict[tuple[str, str], TokenBucket] = {}

    def compile(self, stage: Document, version: int, api: Document) -> CompiledStage:
        """A stage whose deployment is the snapshot `api`."""
        routes: Routes[CompiledMethod] = Routes()
        for resource in api["resources"].values():
            methods = {
                verb: self._method(stage, api, resource, method)
                for verb, method in resource["resourceMethods"].items()
            }
            if methods:
                routes.add(resource["path"], methods)
        return CompiledStage(
            version=version,
            api_id=stage["apiId"],
            name=stage["stageName"],
            account=stage["account"],
            region=stage["region"],
            deployment_id=stage["deploymentId"],
            disabled=bool(api.get("disableExecuteApiEndpoint")),
            variables=stage.get("variables") or {},
            routes=routes,
            responses={k: _custom(k, given) for k, given in api["gatewayResponses"].items()},
            bucket=self._accounts.setdefault(
                (stage["account"], stage["region"]), TokenBucket(_ACCOUNT_RATE, _ACCOUNT_BURST)
            ),
        )

    def forget(self, api_id: str) -> None:
        """Let go of an API's buckets."""
        self._buckets = {key: b for key, b in self._buckets.items() if key[0] != api_id}

    def _method(
        self, stage: Document, api: Document, resource: Document, method: Document
    ) -> CompiledMethod:
        integration = method["methodIntegration"]
        limit = integration["timeoutInMillis"]
        service = integration.get("uri", ":::::").split(":")[4]
        return CompiledMethod(
            resource_id=resource["id"],
            resource_path=resource["path"],
            integration=self._integration(stage, api, method),
            check=RequestCheck.of(api, method),
            bucket=self._bucket(stage, resource["path"], method["httpMethod"]),
            timeout_ms=limit if service in _SLOW or limit < _LIMIT_MS else None,
        )

    def _integration(self, stage: Document, api: Document, method: Document) -> Integration:
        integration = method["methodIntegration"]
        if integration["type"] == "MOCK":
            return MockIntegration(integration)
        uri = Uri(integration["uri"])
        ctx = _role(stage, uri, integration.get("credentials"))
        if integration["type"] == "AWS_PROXY":
            binary = api.get("binaryMediaTypes") or ()
            return LambdaProxy(uri, ctx, binary, method.get("operationName"), self._dispatcher)
        return AwsIntegration(integration, uri, ctx, self._target_of, self._dispatcher)

    def _bucket(self, stage: Document, path: str, verb: str) -> TokenBucket | None:
        limits = throttle_of(stage, path, verb)
        if limits is None:
            return None
        key = (stage["apiId"], stage["stageName"], path, verb, *limits)
        return self._buckets.setdefault(key, TokenBucket(*limits))


def _role(stage: Document, uri: Uri, credentials: str | None) -> Context:
    """The context of calls by an integration: its role's account and name, the URI's region."""
    account = stage["account"]
    principal = "apigateway.amazonaws.com"
    principal_id = principal
    if credentials is not None:
        role = parse_arn(credentials)
        account = role.account
        session = f"{role.name}/BackplaneAssumeRoleSession"
        principal = f"arn:aws:sts::{account}:assumed-role/{session}"
        principal_id = session.replace("/", ":")
    return Context(
        account=account,
        region=uri.region,
        now=0,
        request_id="",
        principal=principal,
        principal_id=principal_id,
    )


def _custom(kind: str, given: Document) -> CustomResponse:
    prefix = "gatewayresponse.header."
    return CustomResponse(
        int(given["statusCode"]) if given.get("statusCode") else None,
        {
            media: MappingTemplate(text, f"the template of {media} for the gateway response {kind}")
            for media, text in (given.get("responseTemplates") or {}).items()
        },
        [
            (name[len(prefix) :], request_value(source))
            for name, source in (given.get("responseParameters") or {}).items()
            if name.startswith(prefix)
        ],
    )
