"""Functions as processes on this machine: warm pools, spawning on demand, and where the logs go.

Environments of equal key are interchangeable. The one used last is used first, so that a lull lets the others go.
"""

import asyncio
import datetime
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Final

from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.runtime.environment import Environment, EnvironmentLost
from penstock.runtime.log_buffer import LogBuffer
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult, LogSink
from penstock.runtime.spawner import Spawner, SpawnError

IDLE_MS: Final = 5 * 60_000
MAX_IDLE: Final = 32


def supported_runtime() -> str:
    """The Lambda runtime whose interpreter is the one that Penstock runs on."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


class ProcessRuntime:
    """A FunctionRuntime. `folder` is where unpacked code lives; `endpoint_url` is how functions reach Penstock."""

    def __init__(
        self, *, sink: LogSink, clock: Clock, ids: Ids, endpoint_url: str, folder: Path
    ) -> None:
        self.folder = folder
        self.endpoint_url = endpoint_url
        self._logs = LogBuffer(sink, self._listen_again)
        self._unheard: set[Environment] = set()
        self._clock = clock
        self._ids = ids
        self._spawner: Spawner | None = None
        self._idle: OrderedDict[Environment, None] = OrderedDict()
        self._warm: dict[str, list[Environment]] = {}
        self._all: set[Environment] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Be ready. No process starts before the first event."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._spawner = Spawner()

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> InvocationResult:
        """Run one event in a warm or new environment. The caller holds a concurrency permit."""
        while True:
            environment = self._take(spec.key)
            if environment is None:
                environment = await self._create(spec)
            try:
                result = await environment.run(invocation)
            except EnvironmentLost:
                continue
            finally:
                self._give(environment)
            self._log(environment)
            return result

    async def retire(self, function_arn: str) -> None:
        """End the idle environments of a function; busy ones end after their event."""
        for environment in list(self._all):
            if environment.spec.arn == function_arn:
                environment.retired = True
                if environment in self._idle:
                    self._forget_idle(environment)
                    self._end(environment)

    async def flush_logs(self) -> None:
        """Return when the log of every event that has ended is with the sink."""
        await self._logs.flush()

    async def close(self) -> None:
        """End every environment."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for environment in list(self._all):
            self._end(environment)
        await self._logs.close()
        if self._spawner is not None:
            await self._spawner.close()

    def _take(self, key: str) -> Environment | None:
        warm = self._warm.get(key)
        while warm:
            environment = warm[-1]
            self._forget_idle(environment)
            if not environment.ended:
                return environment
            self._end(environment)
        return None

    async def _create(self, spec: FunctionSpec) -> Environment:
        if self._spawner is None or self._closed:
            raise SpawnError("the runtime is not running")
        date = datetime.datetime.fromtimestamp(self._clock.now() / 1000, datetime.UTC)
        stream = f"{date:%Y/%m/%d}/[{spec.version}]{self._ids.hex(32)}"
        environment = Environment(spec, stream, lambda: self._on_output(environment))
        self._all.add(environment)
        try:
            await environment.start(self._spawner, self._environ(spec, stream))
        except BaseException:
            self._all.discard(environment)
            raise
        return environment

    def _give(self, environment: Environment) -> None:
        if environment.ended or environment.retired or self._closed:
            self._end(environment)
            return
        environment.idle_since = self._clock.now()
        self._idle[environment] = None
        self._warm.setdefault(environment.spec.key, []).append(environment)
        if len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            self._forget_idle(oldest)
            self._end(oldest)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    def _forget_idle(self, environment: Environment) -> None:
        del self._idle[environment]
        warm = self._warm[environment.spec.key]
        if warm[-1] is environment:
            warm.pop()
        else:
            warm.remove(environment)
        if not warm:
            del self._warm[environment.spec.key]

    def _end(self, environment: Environment) -> None:
        environment.end()
        self._all.discard(environment)
        self._log(environment)

    async def _sweep(self) -> None:
        """End environments that nothing has used for a while, until none is idle."""
        while self._idle:
            oldest = next(iter(self._idle))
            due = oldest.idle_since + IDLE_MS
            if due > self._clock.now():
                await self._clock.sleep_until(due)
                continue
            self._forget_idle(oldest)
            self._end(oldest)

    def _on_output(self, environment: Environment) -> None:
        self._log(environment)
        if self._logs.full:
            environment.pause_output()
            self._unheard.add(environment)

    def _listen_again(self) -> None:
        for environment in self._unheard:
            environment.resume_output()
        self._unheard.clear()

    def _log(self, environment: Environment) -> None:
        self._logs.add(environment.spec, environment.stream, environment.take_lines())

    def _environ(self, spec: FunctionSpec, stream: str) -> dict[str, str]:
        interpreter = Path(sys.executable).parent
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "HOME": "/home/sbx_user1051",
            "LANG": "en_US.UTF-8",
            "PATH": f"{interpreter}:/usr/local/bin:/usr/bin:/bin",
            "TZ": ":UTC",
            **spec.environment,
            "AWS_DEFAULT_REGION": spec.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            "AWS_REGION": spec.region,
            "LAMBDA_RUNTIME_DIR": str(interpreter),
            "LAMBDA_TASK_ROOT": str(spec.code),
            "_HANDLER": spec.handler,
        }
