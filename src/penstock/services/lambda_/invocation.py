"""Running functions: what a version needs to run, and the Invoke operation."""

import asyncio
import base64
import functools
from dataclasses import dataclass
from typing import Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.runtime.concurrency import Permit
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult
from penstock.runtime.spawner import SpawnError
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.code import CodeStore
from penstock.services.lambda_.repository import LATEST, Function, Repository, parse_ref
from penstock.services.lambda_.surroundings import Surroundings

# AWS: quotas of a synchronous and an asynchronous event (the latter was 256 KB until October 2025).
MAX_SYNC: Final = 6_291_456
MAX_ASYNC: Final = 1_048_576
_KEPT_SPECS: Final = 1024
CANNOT_ASSUME: Final = "The role defined for the function cannot be assumed by Lambda."


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A spec, good until its credentials are half spent."""

    spec: FunctionSpec
    until: int


class Runner:
    """Runs versions of functions under the concurrency ledger; every way of invoking ends here."""

    def __init__(self, code: CodeStore, given: Surroundings) -> None:
        self._code = code
        self._ids = given.ids
        self._runtime = given.runtime
        self._ledger = given.ledger
        self._credentials_for = given.credentials_for
        self._prepared: dict[str, _Prepared] = {}
        self._preparing: dict[str, asyncio.Task[_Prepared]] = {}

    def admit(self, function: Function) -> Permit | str:
        """A permit to run one event, or AWS's reason why not."""
        ref = function.ref
        return self._ledger.admit(ref.account, ref.region, ref.name)

    def forget(self) -> None:
        """Let go of what was prepared."""
        self._prepared.clear()
        self._preparing.clear()

    async def run(
        self, function: Function, request_id: str, payload: bytes, trace: str | None, now: int
    ) -> InvocationResult:
        """Run one event; the caller holds a permit. Raises SpawnError when there is no process to run it in."""
        event = Invocation(
            request_id=request_id,
            payload=payload,
            invoked_arn=function.ref.qualified_arn,
            trace=trace or self._new_trace(now),
        )
        return await self.run_invocation(function, event, now)

    async def run_invocation(
        self, function: Function, event: Invocation, now: int
    ) -> InvocationResult:
        """As `run`, with an event that the caller made."""
        return await self._runtime.invoke(await self._spec(function, now), event)

    def _new_trace(self, now: int) -> str:
        return f"Root=1-{now // 1000:08x}-{self._ids.hex(24)};Parent={self._ids.hex(16)};Sampled=0"

    async def _spec(self, function: Function, now: int) -> FunctionSpec:
        key = f"{function.arn}:{function.version}:{function.config['RevisionId']}"
        prepared = self._prepared.get(key)
        if prepared is None or now >= prepared.until:
            prepared = await self._prepared_once(function, key, now)
        return prepared.spec

    async def _prepared_once(self, function: Function, key: str, now: int) -> _Prepared:
        """Prepare, once for all who wait: a session of its own for each of a burst would give each its own pool."""
        task = self._preparing.get(key)
        if task is None:
            task = self._preparing[key] = asyncio.create_task(self._prepare(function, key, now))
            task.add_done_callback(functools.partial(self._keep, key))
        return await asyncio.shield(task)

    def _keep(self, key: str, task: "asyncio.Task[_Prepared]") -> None:
        if self._preparing.get(key) is not task:
            return  # forgotten meanwhile
        del self._preparing[key]
        if not task.cancelled() and task.exception() is None:
            if len(self._prepared) >= _KEPT_SPECS:
                self._prepared.clear()
            self._prepared[key] = task.result()

    async def _prepare(self, function: Function, key: str, now: int) -> _Prepared:
        config, ref = function.config, function.ref
        # AWS: the session is named after the function; a name too short for a session gets a suffix.
        session = ref.name if len(ref.name) > 1 else f"{ref.name}@lambda_function"
        try:
            credentials = await self._credentials_for(config["Role"], session, now)
        except AwsError as error:
            raise AwsError("AccessDeniedException", CANNOT_ASSUME, status=403) from error
        expires_at = int(credentials["Expiration"])
        spec = FunctionSpec(
            key=f"{key}:{expires_at}",
            name=ref.name,
            version=function.version,
            arn=function.arn,
            runtime=config["Runtime"],
            handler=config["Handler"],
            code=await self._code.unpacked(function.code),
            memory_mb=config["MemorySize"],
            timeout_ms=config["Timeout"] * 1000,
            environment={
                **(config.get("Environment") or {}).get("Variables", {}),
                "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
                "AWS_SESSION_TOKEN": credentials["SessionToken"],
            },
            log_group=config["LoggingConfig"]["LogGroup"],
            account=ref.account,
            region=ref.region,
        )
        return _Prepared(spec, now + (expires_at - now) // 2)


class Invocations:
    """The Invoke operation."""

    def __init__(self, repository: Repository, runner: Runner, events: AsyncInvocations) -> None:
        self._repository = repository
        self._runner = runner
        self._events = events

    @operation("Invoke", refuses=["DurableExecutionName", "TenantId"])
    async def invoke(self, ctx: Context, request: Request) -> Result:
        """Run a function and wait (RequestResponse), queue an event (Event), or only check (DryRun)."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        # AWS: Invoke without a qualifier reports `$LATEST` since 2025.
        missing = f"Function not found: {ref.arn}:{ref.qualifier or LATEST}"
        function = await self._repository.find(ref, missing=missing)
        kind = request.get("InvocationType") or "RequestResponse"
        payload = _event(request.get("Payload"), MAX_ASYNC if kind == "Event" else MAX_SYNC)
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            await self._events.accept(ref, ctx.request_id, payload, ctx.trace, ctx.now)
            return {"StatusCode": 202}
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            raise AwsError(
                "TooManyRequestsException",
                "Rate Exceeded.",
                fields={"Reason": permit, "Type": "User"},
            )
        with permit:
            result = await self._run(ctx, function, request, payload)
        answer: Result = {
            "StatusCode": 200,
            "ExecutedVersion": function.version,
            "Payload": result.payload,
        }
        if result.error is not None:
            answer["FunctionError"] = result.error
        if request.get("LogType") == "Tail":
            answer["LogResult"] = base64.b64encode(result.log_tail).decode()
        return answer

    async def _run(
        self, ctx: Context, function: Function, request: Request, payload: bytes
    ) -> InvocationResult:
        context = request.get("ClientContext")
        try:
            if context is None:
                return await self._runner.run(function, ctx.request_id, payload, ctx.trace, ctx.now)
            event = Invocation(
                request_id=ctx.request_id,
                payload=payload,
                invoked_arn=function.ref.qualified_arn,
                trace=ctx.trace,
                client_context=_client_context(context),
            )
            return await self._runner.run_invocation(function, event, ctx.now)
        except SpawnError as error:
            raise AwsError("ServiceException", str(error), status=500) from error


def _event(payload: bytes | None, limit: int) -> bytes:
    """The event of a request: checked, and `{}` where there is none."""
    if not payload:
        return b"{}"
    if len(payload) > limit:
        raise AwsError(
            "RequestTooLargeException",
            f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
            status=413,
        )
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise AwsError(
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payload into json: "
            f"Unexpected character: expected a valid value (JSON String, Number, Array, Object or token "
            f"'null', 'true' or 'false')\n at [Source: REDACTED; line: {error.lineno}, column: {error.colno}]",
        ) from None
    return payload


def _client_context(text: str) -> str:
    """The caller's JSON, which travels in a header: on one line."""
    try:
        return orjson.dumps(orjson.loads(base64.b64decode(text, validate=True))).decode()
    except ValueError as error:
        raise AwsError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ) from error
