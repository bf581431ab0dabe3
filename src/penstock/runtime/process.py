"""Functions as processes on this machine: warm pools, spawning on demand, and where the logs go.

Environments of equal key are interchangeable. The one used last is used first, so that a lull lets the others go.
"""

import asyncio
import datetime
import logging
from collections import Counter, OrderedDict
from collections.abc import Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from penstock.clock import Clock
from penstock.core.errors import PenstockError
from penstock.core.ids import Ids
from penstock.runtime.environment import INIT_LIMIT_MS, Environment, EnvironmentLost, Setting
from penstock.runtime.journal import journal_of
from penstock.runtime.launcher import Launcher
from penstock.runtime.line import AT_ONCE, Line
from penstock.runtime.log_buffer import LogBuffer
from penstock.runtime.memory import ControlGroup, delegated_group, own_group
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult, LogSink
from penstock.runtime.spawner import SpawnError

_log: Final = logging.getLogger("penstock.runtime")
IDLE_MS: Final = 5 * 60_000
MAX_IDLE: Final = 32
# How often busy environments are measured, and how large a part of the time that may take.
_WATCH_S: Final = 0.02
_WATCH_SHARE: Final = 0.1
# AWS: the init phase of a provisioned environment may take this long, or the function's timeout if that is longer.
_PROVISIONED_INIT_MS: Final = 130_000
_CGROUPS: Final = Path("/sys/fs/cgroup")


class ProcessRuntime:
    """A FunctionRuntime. `endpoint_url` is how functions reach Penstock."""

    def __init__(
        self,
        *,
        sink: LogSink,
        clock: Clock,
        ids: Ids,
        endpoint_url: str,
        launcher: Launcher,
        init_limit_ms: int = INIT_LIMIT_MS,
    ) -> None:
        self.endpoint_url = endpoint_url
        self._launcher = launcher
        self._init_limit_ms = init_limit_ms
        self._logs = LogBuffer(sink, self._listen_again)
        self._unheard: set[Environment] = set()
        self._clock = clock
        self._ids = ids
        self._group: ControlGroup | None = None
        self._kept: dict[str, tuple[FunctionSpec, int]] = {}
        self._idle: OrderedDict[Environment, None] = OrderedDict()
        self._warm: dict[str, list[Environment]] = {}
        self._all: set[Environment] = set()
        self._count: Counter[str] = Counter()
        """How many there are, by key."""
        self._lines: dict[str, Line[Environment]] = {}
        self._busy: dict[Environment, None] = {}
        self._watcher: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False

    async def start(self) -> None:
        """Be ready. No process starts before the first event. Raises RuntimeUnavailable if a sandbox is demanded in vain."""
        await self._launcher.start()
        self._group = delegated_group(_CGROUPS, own_group())
        self._open = True

    async def prepare(self, runtime: str) -> None:
        """Find, or make, what a runtime needs. Raises RuntimeUnavailable."""
        await self._launcher.prepare(runtime)

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> InvocationResult:
        """Run one event in a warm or new environment. The caller holds a concurrency permit."""
        while True:
            environment = self._take(spec.key) or await self._next_free(spec)
            if environment is None:
                environment = await self._create(spec)
            self._busy[environment] = None
            if self._watcher is None:
                self._watch_after(_WATCH_S)
            try:
                result = await environment.run(invocation)
            except EnvironmentLost:
                continue
            finally:
                del self._busy[environment]
                self._give(environment)
            self._log(environment)
            return result

    async def provision(self, spec: FunctionSpec, amount: int) -> int:
        """Keep so many environments initialised. Returns how many are when the last init phase is over."""
        self._kept[spec.key] = (spec, amount)
        kept = [one for one in self._all if one.provisioned and one.spec.key == spec.key]
        for surplus in kept[amount:]:
            # It would still say of itself how it was initialised: it does not go on as one of the others.
            surplus.provisioned, surplus.retired = False, True
            if surplus in self._warm.get(spec.key, ()):
                self._forget_idle(surplus)
                self._end(surplus)
        if not amount:
            del self._kept[spec.key]
            return 0
        new = [self._create(spec, provisioned=True) for _ in range(amount - len(kept))]
        for environment in await asyncio.gather(*new):
            kept.append(environment)
            self._give(environment)
        ready = await asyncio.gather(*(one.initialised() for one in kept[:amount]))
        return sum(ready)

    async def retire(self, function_arn: str) -> None:
        """End the idle environments of a function; busy ones end after their event, provisioned ones stay."""
        for environment in list(self._all):
            if environment.spec.arn == function_arn and not environment.provisioned:
                environment.retired = True
                if environment in self._idle:
                    self._forget_idle(environment)
                    self._end(environment)

    async def flush_logs(self) -> None:
        """Return when the log of every event that has ended is with the sink."""
        await self._logs.flush()

    async def close(self) -> None:
        """End every environment."""
        self._open = False
        if self._watcher is not None:
            self._watcher.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for environment in list(self._all):
            self._end(environment)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._logs.close()
        await self._launcher.close()

    def _take(self, key: str) -> Environment | None:
        warm = self._warm.get(key)
        while warm:
            environment = warm[-1]
            self._forget_idle(environment)
            if not environment.ended:
                return environment
            self._end(environment)
        return None

    async def _next_free(self, spec: FunctionSpec) -> Environment | None:
        """One that another event has done with, where there are enough of them; None if there shall be one more."""
        key = spec.key
        if self._open:
            # Environments are counted from here on, so whoever comes before there can be any waits.
            await self._launcher.parent(spec.runtime)
        if self._count[key] < AT_ONCE:
            return None
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(lambda: self._count[key])
        place = line.wait()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and (environment := place.result()):
                self._give(environment)
            raise

    async def _create(self, spec: FunctionSpec, *, provisioned: bool = False) -> Environment:
        if not self._open:
            raise SpawnError("the runtime is not running")
        date = datetime.datetime.fromtimestamp(self._clock.now() / 1000, datetime.UTC)
        stream = f"{date:%Y/%m/%d}/[{spec.version}]{self._ids.hex(32)}"
        parent = await self._launcher.parent(spec.runtime)
        setting = Setting(
            parent=parent,
            stream=stream,
            scratch=self._ids.hex(16),
            environ=self._environ(spec, stream, provisioned=provisioned),
            new_id=self._ids.uuid,
            on_output=self._on_output,
            journal=journal_of(spec, provisioned=provisioned),
            group=self._group,
            init_limit_ms=max(_PROVISIONED_INIT_MS, spec.timeout_ms)
            if provisioned
            else self._init_limit_ms,
        )
        environment = Environment(spec, setting)
        environment.provisioned = provisioned
        self._all.add(environment)
        self._count[spec.key] += 1
        self._busy[environment] = None
        try:
            await environment.start()
        except BaseException:
            self._end(environment)
            raise
        finally:
            del self._busy[environment]
        return environment

    def _give(self, environment: Environment) -> None:
        if environment.working and not environment.ended:
            self._do(self._give_when_settled(environment))
            return
        if environment.ended or environment.retired or not self._open:
            self._end(environment)
            return
        key = environment.spec.key
        if key in self._lines and self._lines[key].hand_on(environment):
            return
        self._warm.setdefault(key, []).append(environment)
        if environment.provisioned:
            return
        environment.idle_since = self._clock.now()
        self._idle[environment] = None
        if len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            self._forget_idle(oldest)
            self._end(oldest)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    def _forget_idle(self, environment: Environment) -> None:
        self._idle.pop(environment, None)
        warm = self._warm[environment.spec.key]
        if warm[-1] is environment:
            warm.pop()
        else:
            warm.remove(environment)
        if not warm:
            del self._warm[environment.spec.key]

    async def _give_when_settled(self, environment: Environment) -> None:
        await environment.settled()
        self._give(environment)

    def _end(self, environment: Environment) -> None:
        environment.end()
        if environment in self._all:
            self._all.remove(environment)
            self._uncount(environment.spec.key)
        self._log(environment)
        self._do(self._log_when_closed(environment))
        if environment.provisioned and self._open:
            environment.provisioned = False
            self._do(self._replace(environment.spec.key))

    def _uncount(self, key: str) -> None:
        self._count[key] -= 1
        if not self._count[key]:
            del self._count[key]
            if (line := self._lines.pop(key, None)) is not None:
                line.dissolve()

    async def _replace(self, key: str) -> None:
        """Make up for a provisioned environment that has ended."""
        spec, amount = self._kept.get(key, (None, 0))
        if spec is not None:
            try:
                await self.provision(spec, amount)
            except PenstockError:
                _log.exception("an environment of %s that was provisioned was lost", spec.name)

    async def _log_when_closed(self, environment: Environment) -> None:
        await environment.closed()
        self._log(environment)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _watch_after(self, seconds: float) -> None:
        self._watcher = asyncio.get_running_loop().call_later(seconds, self._watch)

    def _watch(self) -> None:
        """Measure who works, for as long as somebody does."""
        self._watcher = None
        began = perf_counter()
        for environment in list(self._busy):
            environment.watch(began)
        if self._busy and self._open:
            self._watch_after(max(_WATCH_S, (perf_counter() - began) / _WATCH_SHARE))

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
        environment.log.collect()
        self._log(environment)
        if self._logs.full:
            environment.log.pause()
            self._unheard.add(environment)

    def _listen_again(self) -> None:
        for environment in self._unheard:
            environment.log.resume()
        self._unheard.clear()

    def _log(self, environment: Environment) -> None:
        self._logs.add(environment.stream, environment.log.take_lines())

    def _environ(self, spec: FunctionSpec, stream: str, *, provisioned: bool) -> dict[str, str]:
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            **spec.environment,
            "AWS_DEFAULT_REGION": spec.region,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"
            if provisioned
            else "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": stream,
            **spec.logging.variables,
            "AWS_REGION": spec.region,
            "_HANDLER": spec.handler,
        }
        # AWS: OS-only runtimes have no AWS_EXECUTION_ENV.
        if not spec.runtime.startswith("provided"):
            variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{spec.runtime}"
        return variables
