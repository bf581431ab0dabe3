"""The data plane: requests to deployed APIs.

A request is routed, throttled, checked and mapped, sent to what stands behind its method, and the answer is mapped back. What ends
this early is a GatewayFailure, which becomes a gateway response.
"""

import asyncio
import logging
from typing import Any, Final

import orjson

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.clock import Clock, finished_by
from penstock.core.errors import AwsError, StoreError
from penstock.core.ids import Ids
from penstock.services.apigateway.call import Call
from penstock.services.apigateway.compiled import CompiledMethod, CompiledStage, Compiler
from penstock.services.apigateway.gateway_response import GatewayFailure
from penstock.services.apigateway.repository import Repository
from penstock.storage.primitives import Row

_log: Final = logging.getLogger("penstock.apigateway")
# AWS: the size of a request is fixed.
MAX_BODY: Final = 10 * 1024 * 1024
_KEPT_STAGES: Final = 1000
_LIMIT_MS: Final = 29_000
_PREFIX: Final = "/_aws/execute-api/"
_LEGACY: Final = "_user_request_"
_MARK: Final = ".execute-api."
_JSON: Final = ("content-type", "application/json")
_FORBIDDEN: Final = HttpResponse(
    403,
    [_JSON, ("x-amzn-errortype", "ForbiddenException")],
    b'{"message":"Forbidden"}',
)


class Execution:
    """Serves the stages of every API."""

    def __init__(self, repository: Repository, compiler: Compiler, ids: Ids, clock: Clock) -> None:
        self._repository = repository
        self._compiler = compiler
        self._ids = ids
        self._clock = clock
        self._stages: dict[tuple[str, str], CompiledStage] = {}
        self._current: dict[tuple[str, str], CompiledStage] = {}
        """Those that are as they are stored, for as long as the stamp is that of the records."""
        self._stamp = -1
        self._late: set[asyncio.Future[Any]] = set()

    def door(self, request: HttpRequest) -> Answering | None:
        """Take what is addressed to a deployed API: by host, or by one of the two paths for local use."""
        path = request.path
        if path.startswith(_PREFIX):
            api_id, _, rest = path[len(_PREFIX) :].partition("/")
            return self._serve(request, api_id, rest, "")
        if path.startswith("/restapis/"):
            # /restapis/API/STAGE/_user_request_/PATH
            _, _, api_id, *parts = path.split("/", 5)
            if parts[1:2] == [_LEGACY]:
                return self._serve(request, api_id, "/".join((parts[0], *parts[2:])), "")
        host = request.headers.get("host") or ""
        api_id, found, rest = host.partition(_MARK)
        if found and "." not in api_id and not api_id.startswith("vpce"):
            return self._serve(request, api_id, path[1:], host.partition(":")[0])
        return None

    async def _serve(self, request: HttpRequest, api_id: str, rest: str, host: str) -> HttpResponse:
        """Answer. `rest` is the stage and the path within it."""
        try:
            name, _, path = rest.partition("/")
            key = (api_id, name)
            stage = self._known(key) or await self._stage(key)
            if stage is None or stage.disabled:
                return _FORBIDDEN
            call = Call(request, stage, path, self._clock.now(), self._ids.uuid(), host)
            try:
                response = await self._answer(call)
            except (GatewayFailure, AwsError) as error:
                response = _refused(call, error)
            call.end()
            response.headers += (
                ("x-amzn-requestid", call.request_id),
                ("x-amz-apigw-id", call.extended_id),
                ("x-amzn-trace-id", call.trace),
            )
            return response
        except StoreError as error:
            _log.error("%s", error)
            return HttpResponse(503, [_JSON], b'{"message":"Service Unavailable"}')
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            return HttpResponse(500, [_JSON], b'{"message":"Internal server error"}')

    def _answer(self, call: Call) -> Answering:
        """Begin to answer. Raises GatewayFailure, then or later, and later AwsError."""
        method = self._admit(call)
        if method.timeout_ms is None:
            return method.integration.invoke(call)
        return self._in_time(call, method, method.timeout_ms)

    def _admit(self, call: Call) -> CompiledMethod:
        """The method that a call is for. Raises GatewayFailure for a call that ends here."""
        request = call.request
        found = call.stage.routes.find(call.path, request.method)
        if found is None:
            raise GatewayFailure("MISSING_AUTHENTICATION_TOKEN")
        method, call.path_parameters = found
        call.method = method
        self._throttle(call, method)
        if len(request.body) > MAX_BODY:
            raise GatewayFailure("REQUEST_TOO_LARGE")
        if method.check is not None:
            method.check.check(call)
        return method

    async def trial(self, call: Call) -> tuple[HttpResponse, str]:
        """The answer to a call whose method is known, which no limit holds up; and why it failed, if it did."""
        method = call.method
        assert method is not None
        try:
            if method.check is not None:
                method.check.check(call)
            return await self._in_time(call, method, method.timeout_ms or _LIMIT_MS), ""
        except GatewayFailure as error:
            return _failed(call, error), error.reason or error.message or error.kind
        except AwsError as error:
            return _failed(
                call, GatewayFailure("INTEGRATION_FAILURE", error.message)
            ), error.message

    async def _in_time(self, call: Call, method: CompiledMethod, limit_ms: int) -> HttpResponse:
        task = asyncio.ensure_future(method.integration.invoke(call))
        if not await finished_by(self._clock, task, call.now + limit_ms):
            # AWS: what has begun runs on; only its answer is no longer waited for.
            self._late.add(task)
            task.add_done_callback(self._finish)
            raise GatewayFailure("INTEGRATION_TIMEOUT")
        return task.result()

    def _finish(self, task: "asyncio.Future[Any]") -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report a failure nobody waits for

    def _throttle(self, call: Call, method: CompiledMethod) -> None:
        """AWS: the method's limit is asked first, then the account's."""
        if method.bucket is not None and not method.bucket.take(call.now):
            raise GatewayFailure("THROTTLED")
        if not call.stage.bucket.take(call.now):
            raise GatewayFailure("THROTTLED")

    def _known(self, key: tuple[str, str]) -> CompiledStage | None:
        """The stage of an API's id and a name, if no stage has changed since it was looked at."""
        stamp = self._repository.releases.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._current.clear()
        return self._current.get(key)

    async def _stage(self, key: tuple[str, str]) -> CompiledStage | None:
        """The same by a look at its record."""
        stamp = self._stamp
        row = await self._repository.releases.stage_row(*key)
        stage = self._stages.get(key)
        if row is None:
            if stage is not None:
                del self._stages[key]
                self._compiler.forget(key[0])
            return None
        if stage is None or stage.version != row.version:
            stage = await self._compiled(key, row)
        if stamp == self._repository.releases.stamp():
            self._current[key] = stage
        return stage

    async def _compiled(self, key: tuple[str, str], row: Row) -> CompiledStage:
        """The stage of a record, compiled once for each version of it."""
        api_id = key[0]
        document = orjson.loads(row.document)
        deployment = await self._repository.releases.deployment(api_id, document["deploymentId"])
        if len(self._stages) >= _KEPT_STAGES:
            self._stages.clear()
            self._current.clear()
        stage = self._compiler.compile(document, row.version, deployment["snapshot"])
        self._stages[key] = stage
        return stage


def _refused(call: Call, error: GatewayFailure | AwsError) -> HttpResponse:
    """The answer to a call that has ended early."""
    if isinstance(error, AwsError):
        _log.warning("%s: the integration failed: %s", _place(call), error)
        return _failed(call, GatewayFailure("INTEGRATION_FAILURE", error.message))
    if error.status >= 500:
        _log.warning("%s: %s: %s", _place(call), error.kind, error.reason or error.message)
    return _failed(call, error)


def _place(call: Call) -> str:
    """The request and where in which API it went, for the log."""
    method = call.method
    resource = call.path if method is None else method.resource_path
    stage = call.stage
    return f"{call.request_id}: API {stage.api_id}, stage {stage.name}, {call.request.method} {resource}"


def _failed(call: Call, failure: GatewayFailure) -> HttpResponse:
    """The gateway response to a failure: the API's own, else AWS's."""
    fallback = "DEFAULT_4XX" if failure.status < 500 else "DEFAULT_5XX"
    responses = call.stage.responses
    custom = responses.get(failure.kind) or responses.get(fallback)
    headers = [("x-amzn-errortype", failure.error)]
    if custom is None:
        body = orjson.dumps({"message": failure.message})
        return HttpResponse(failure.status, [_JSON, *headers], body)
    call.error = failure
    call.context.pop("error", None)
    for name, value in custom.headers:
        text = value(call)
        if text is not None:
            headers.append((name.lower(), text))
    kind = next(iter(custom.templates), "application/json")
    body = orjson.dumps({"message": failure.message})
    if custom.templates:
        try:
            body = custom.templates[kind].render(call, call).encode()
        except GatewayFailure as fault:
            # What cannot be evaluated leaves AWS's own text.
            _log.warning("%s: %s", _place(call), fault.reason or fault.message)
    if not any(name == "content-type" for name, _ in headers):
        headers.insert(0, ("content-type", kind))
    return HttpResponse(custom.status or failure.status, headers, body)
