"""Running functions: what a version needs to run, and the Invoke operation."""

import asyncio
import base64
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.lineage import new_trace, passed
from penstock.runtime.concurrency import Permit
from penstock.runtime.model import (
    FunctionSpec,
    Invocation,
    InvocationResult,
    Logging,
    RuntimeUnavailable,
)
from penstock.runtime.spawner import SpawnError
from penstock.services.lambda_.asynchronous import TOO_MANY_PASSES, AsyncInvocations, loops
from penstock.services.lambda_.code import CodeStore
from penstock.services.lambda_.repository import LATEST, Function, Repository, parse_ref
from penstock.services.lambda_.surroundings import Surroundings

# AWS: quotas of a synchronous and an asynchronous event (the latter was 256 KB until October 2025).
MAX_SYNC: Final = 6_291_456
MAX_ASYNC: Final = 1_048_576
_KEPT_SPECS: Final = 1024
CANNOT_ASSUME: Final = "The role defined for the function cannot be assumed by Lambda."


@dataclass(frozen=True, slots=True)
class Prepared:
    """A spec, good until its credentials are half spent (ms)."""

    spec: FunctionSpec
    until: int


class Runner:
    """Runs versions of functions under the concurrency ledger; every way of invoking ends here."""

    def __init__(self, code: CodeStore, given: Surroundings) -> None:
        self._code = code
        self._ids = given.ids
        self._runtime = given.runtime
        self._ledger = given.ledger
        self._clock = given.clock
        self._credentials_for = given.credentials_for
        self._prepared: dict[str, Prepared] = {}
        self._preparing: dict[str, asyncio.Task[Prepared]] = {}

    def admit(self, function: Function) -> Permit | str:
        """A permit to run one event, or AWS's reason why not."""
        ref = function.ref
        return self._ledger.admit(
            ref.account, ref.region, ref.name, function.version, self._clock.now()
        )

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
            invoked_arn=function.qualified_arn,
            trace=trace or new_trace(self._ids, now),
        )
        return await self.run_invocation(function, event, now)

    async def run_invocation(
        self, function: Function, event: Invocation, now: int
    ) -> InvocationResult:
        """As `run`, with an event that the caller made."""
        return await self._runtime.invoke((await self.prepared(function, now)).spec, event)

    async def prepared(self, function: Function, now: int) -> Prepared:
        """What a version needs to run. Raises AwsError when its role cannot be assumed or its code is not there."""
        key = function.key
        prepared = self._prepared.get(key)
        if prepared is None or now >= prepared.until:
            prepared = await self._prepared_once(function, key, now)
        return prepared

    async def _prepared_once(self, function: Function, key: str, now: int) -> Prepared:
        """Prepare, once for all who wait: a session of its own for each of a burst would give each its own pool."""
        task = self._preparing.get(key)
        if task is None:
            task = self._preparing[key] = asyncio.create_task(self._prepare(function, key, now))
            task.add_done_callback(functools.partial(self._keep, key))
        return await asyncio.shield(task)

    def _keep(self, key: str, task: "asyncio.Task[Prepared]") -> None:
        if self._preparing.get(key) is not task:
            return  # forgotten meanwhile
        del self._preparing[key]
        if not task.cancelled() and task.exception() is None:
            if len(self._prepared) >= _KEPT_SPECS:
                self._prepared.clear()
            self._prepared[key] = task.result()

    async def _prepare(self, function: Function, key: str, now: int) -> Prepared:
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
            arn=_own_arn(function),
            runtime=config["Runtime"],
            handler=config["Handler"],
            code=await self._code.unpacked(function.code),
            opt=await self._code.merged(function.layers) if function.layers else None,
            memory_mb=config["MemorySize"],
            ephemeral_mb=config["EphemeralStorage"]["Size"],
            timeout_ms=config["Timeout"] * 1000,
            environment={
                **(config.get("Environment") or {}).get("Variables", {}),
                "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
                "AWS_SESSION_TOKEN": credentials["SessionToken"],
            },
            log_group=config["LoggingConfig"]["LogGroup"],
            logging=_logging(config["LoggingConfig"]),
            account=ref.account,
            region=ref.region,
        )
        return Prepared(spec, now + (expires_at - now) // 2)


def _logging(config: Mapping[str, str]) -> Logging:
    """What the runtime is to know of a function's `LoggingConfig`."""
    if config["LogFormat"] != "JSON":
        return Logging()
    return Logging(
        json=True, application=config["ApplicationLogLevel"], system=config["SystemLogLevel"]
    )


def _own_arn(function: Function) -> str:
    """What the environments of a version go by: those of published ones outlive changes of `$LATEST`."""
    return function.arn if function.version == LATEST else f"{function.arn}:{function.version}"


class Invocations:
    """The Invoke operation, and its forerunner."""

    def __init__(
        self, repository: Repository, runner: Runner, events: AsyncInvocations, ids: Ids
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._events = events
        self._ids = ids

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
        trace = ctx.trace or new_trace(self._ids, ctx.now)
        if loops(function, trace):
            raise AwsError("RecursiveInvocationException", TOO_MANY_PASSES)
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            raise AwsError(
                "TooManyRequestsException",
                "Rate Exceeded.",
                fields={"Reason": permit, "Type": "User"},
            )
        event = Invocation(
            request_id=ctx.request_id,
            payload=payload,
            invoked_arn=function.qualified_arn,
            trace=passed(trace, function.arn),
            client_context=_client_context(request.get("ClientContext")),
        )
        with permit:
            result = await self._run(function, event, ctx.now)
        answer: Result = {
            "StatusCode": 200,
            "ExecutedVersion": function.version,
            "Payload": result.payload,
        }
        if result.error is not None:
            answer["FunctionError"] = result.error
        if request.get("LogType") == "Tail":
            answer["LogResult"] = base64.b64encode(result.log_tail).decode()
        # What the function itself has stored was on disk before it heard of it.
        ctx.rests_on = function.stored
        return answer

    @operation("InvokeAsync")
    async def invoke_async(self, ctx: Context, request: Request) -> Result:
        """Queue an event. AWS: deprecated in favour of Invoke, and still answered."""
        ref = parse_ref(ctx, request["FunctionName"])
        await self._repository.find(ref, missing=f"Function not found: {ref.arn}:{LATEST}")
        payload = _event(bytes(request["InvokeArgs"]), MAX_ASYNC)
        await self._events.accept(ref, ctx.request_id, payload, ctx.trace, ctx.now)
        return {"Status": 202}

    async def _run(self, function: Function, event: Invocation, now: int) -> InvocationResult:
        try:
            return await self._runner.run_invocation(function, event, now)
        except RuntimeUnavailable as error:
            raise AwsError("InvalidRuntimeException", str(error), status=502) from error
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


def _client_context(text: str | None) -> str | None:
    """The caller's JSON, which travels in a header: on one line, and in ASCII."""
    if text is None:
        return None
    try:
        document = orjson.loads(base64.b64decode(text, validate=True))
        return json.dumps(document, separators=(",", ":"))
    except ValueError as error:
        raise AwsError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        ) from error
