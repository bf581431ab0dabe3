"""TestInvokeMethod: a method is called as it is now, without a deployment, and tells how it went."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from penstock.api import (
    Context,
    Dispatcher,
    Headers,
    HttpRequest,
    HttpResponse,
    Request,
    Result,
    SendForm,
    operation,
)
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.services.apigateway.call import Call
from penstock.services.apigateway.compiled import Compiler
from penstock.services.apigateway.execute import Execution
from penstock.services.apigateway.integration_aws import TargetHeaders
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    not_found,
    resource_of,
)
from penstock.services.apigateway.stages import new_stage

# AWS: the stage and the host that templates and functions see (events of test invocations).
_STAGE: Final = "test-invoke-stage"
_HOST: Final = "testPrefix.testDomainName"


class _Log:
    """What happens, in the lines of API Gateway's execution log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lines: list[str] = []

    def tell(self, text: str) -> None:
        """Add a line."""
        at = datetime.fromtimestamp(self._clock.now() / 1000, UTC)
        self.lines.append(f"{at:%a %b %d %H:%M:%S UTC %Y} : {text}")

    def sent(self, request: HttpRequest) -> int:
        """Tell what an integration sends, and the instant of that."""
        uri = f"https://{request.headers.get('host')}{request.path}"
        if request.query:
            uri += f"?{request.query}"
        fields = {
            name.title(): value
            for name, value in request.headers.items()
            if name not in ("host", "authorization")
        }
        self.tell(f"Endpoint request URI: {uri}")
        self.tell(f"Endpoint request headers: {_shown(fields)}")
        body = request.body.decode(errors="replace")
        self.tell(f"Endpoint request body after transformations: {body}")
        self.tell(f"Sending request to {uri}")
        return self._clock.now()

    def received(self, began: int, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Tell what came back."""
        took = self._clock.now() - began
        self.tell(f"Received response. Status: {status}, Integration latency: {took} ms")
        self.tell(f"Endpoint response headers: {_shown(headers)}")
        text = body.decode(errors="replace")
        self.tell(f"Endpoint response body before transformations: {text}")


class _Observed:
    """A dispatcher whose requests and answers are told of."""

    def __init__(self, dispatcher: Dispatcher, log: _Log) -> None:
        self._dispatcher = dispatcher
        self._log = log
        self.call_document = dispatcher.call_document
        self.has_operation = dispatcher.has_operation
        self.check_action = dispatcher.check_action

    async def call(self, ctx: Context, service: str, operation: str, request: Request) -> Result:
        """Run an operation: integrations call none but Lambda's Invoke."""
        path = f"/2015-03-31/functions/{request['FunctionName']}/invocations"
        headers = {"host": f"lambda.{ctx.region}.amazonaws.com"}
        sent = HttpRequest("POST", path, "", cast(Headers, headers), request["Payload"])
        began = self._log.sent(sent)
        result = await self._dispatcher.call(ctx, service, operation, request)
        fields = {"Content-Type": "application/json"}
        if result.get("FunctionError"):
            fields["X-Amz-Function-Error"] = result["FunctionError"]
        self._log.received(began, result.get("StatusCode", 200), fields, result["Payload"])
        return result

    async def http(self, ctx: Context, request: HttpRequest) -> HttpResponse:
        """Send a request."""
        began = self._log.sent(request)
        response = await self._dispatcher.http(ctx, request)
        fields = {_title(name): value for name, value in response.headers}
        self._log.received(began, response.status, fields, response.body)
        return response

    def form(self, request: HttpRequest, names: Sequence[str]) -> SendForm | None:
        """None: what is to be told of goes as a request."""
        return None


class Trials:
    """See the module."""

    def __init__(
        self,
        repository: Repository,
        execution: Execution,
        ids: Ids,
        clock: Clock,
        dispatcher: Dispatcher,
        target_of: TargetHeaders,
    ) -> None:
        self._repository = repository
        self._execution = execution
        self._ids = ids
        self._clock = clock
        self._dispatcher = dispatcher
        self._target_of = target_of

    @operation("TestInvokeMethod", refuses=["clientCertificateId"])
    async def test_invoke_method(self, ctx: Context, request: Request) -> Result:
        """Call a method as it is now."""
        api = await self._repository.api(ctx, request["restApiId"])
        resource = resource_of(api, request["resourceId"])
        verb = request["httpMethod"].upper()
        methods = resource["resourceMethods"]
        method = methods.get(verb) or methods.get("ANY")
        if method is None:
            raise not_found("Invalid Method identifier specified")
        if "methodIntegration" not in method:
            raise not_found("Invalid Integration identifier specified")
        log = _Log(self._clock)
        call = self._call(ctx, request, {**api, "resources": {resource["id"]: resource}}, log)
        found = call.stage.routes.find(call.path, verb)
        call.path_parameters = {} if found is None else found[1]
        # AWS: the method is the one that is named, whatever the path says.
        compiled = call.stage.routes.find(resource["path"], verb)
        assert compiled is not None
        call.method = compiled[0]
        body = request.get("body") or ""
        log.lines.append(f"Execution log for request {call.request_id}")
        log.tell(f"Starting execution for request: {call.request_id}")
        log.tell(f"HTTP Method: {verb}, Resource Path: {call.path}")
        log.tell(f"Method request path: {_shown(call.path_parameters)}")
        log.tell(f"Method request query string: {_shown(call.query)}")
        log.tell(f"Method request headers: {_shown(_fields(request))}")
        log.tell(f"Method request body before transformations: {body}")
        response, fault = await self._execution.trial(call)
        return self._result(call, response, fault, log)

    def _call(self, ctx: Context, request: Request, api: Document, log: _Log) -> Call:
        """The call to the one resource of `api`."""
        stage = new_stage(ctx, api["id"], _STAGE)
        stage["variables"] = request.get("stageVariables") or {}
        (resource,) = api["resources"].values()
        built = {
            name: method
            for name, method in resource["resourceMethods"].items()
            if "methodIntegration" in method
        }
        api = {**api, "resources": {resource["id"]: {**resource, "resourceMethods": built}}}
        compiler = Compiler(_Observed(self._dispatcher, log), self._target_of)
        path, _, query = (request.get("pathWithQueryString") or resource["path"]).partition("?")
        headers = {name.lower(): value for name, value in _fields(request).items()}
        made = HttpRequest(
            request["httpMethod"].upper(),
            path,
            query,
            cast(Headers, headers),
            (request.get("body") or "").encode(),
            "https",
        )
        compiled = compiler.compile(stage, 0, api)
        return Call(made, compiled, path.lstrip("/"), self._clock.now(), self._ids.uuid(), _HOST)

    def _result(self, call: Call, response: HttpResponse, fault: str, log: _Log) -> Result:
        multiple: dict[str, list[str]] = {}
        for name, value in response.headers:
            # AWS: a failure has its type and no media type (recorded by LocalStack).
            if not fault or name != "content-type":
                multiple.setdefault(_title(name), []).append(value)
        headers = {name: values[-1] for name, values in multiple.items()}
        body = response.body.decode(errors="replace")
        if not fault:
            log.tell(f"Method response body after transformations: {body}")
            log.tell(f"Method response headers: {_shown(headers)}")
            log.tell("Successfully completed execution")
        elif response.status >= 500:
            log.tell(f"Execution failed due to configuration error: {fault}")
        else:
            log.tell(fault)
        log.tell(f"Method completed with status: {response.status}")
        latency = self._clock.now() - call.now
        call.end()
        return {
            "status": response.status,
            "body": body,
            "headers": headers,
            "multiValueHeaders": multiple,
            "latency": latency,
            "log": "\n".join([*log.lines, ""]),
        }


def _fields(request: Mapping[str, Any]) -> dict[str, str]:
    """The header fields of the call."""
    multiple = {
        name: values[-1] for name, values in (request.get("multiValueHeaders") or {}).items()
    }
    return {**multiple, **(request.get("headers") or {})}


def _shown(fields: Mapping[str, str]) -> str:
    """A map as Java prints it."""
    return "{" + ", ".join(f"{name}={value}" for name, value in fields.items()) + "}"


def _title(name: str) -> str:
    """A field's name as it is told."""
    if name == "x-amzn-errortype":
        return "x-amzn-ErrorType"
    return name.title() if name.islower() else name
