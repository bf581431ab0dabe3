"""One execution environment: a runtime's process and its extensions, their API endpoint, a log stream, and the event in work.

    init ── all wait ──▶ ready ── event handed over ──▶ busy ── response, error, all wait ──▶ ready ── ...
      │ failed                                            │ crashed, timed out
      └───▶ down ── at the event: init once more, under the function's timeout ──▶ busy        └──▶ down ── ...

AWS: what ends a process resets the environment and does not replace it: the log stream and `/tmp` stay.
A process lives in the machine's time, whatever clock the rest of Penstock follows, so deadlines here are the event loop's.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal

from penstock.clock import SystemClock
from penstock.core.errors import PenstockError
from penstock.runtime.deadline import Deadline
from penstock.runtime.environment_log import EnvironmentLog
from penstock.runtime.extension import Extensions, external_extensions
from penstock.runtime.journal import Journal
from penstock.runtime.launcher import EntrypointError, Parent
from penstock.runtime.memory import ControlGroup
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult
from penstock.runtime.process_set import RUNTIME, ProcessSet
from penstock.runtime.report import (
    OUT_OF_MEMORY,
    Failure,
    document,
    ending,
    error_type,
    timed_out,
)
from penstock.runtime.runtime_api import MAX_RESPONSE, Connection, Endpoint, event_headers

# AWS: the init phase may take ten seconds; what fails or takes longer is done again when the event is there, under the
# function's timeout (Lambda guide, "runtime environment lifecycle").
INIT_LIMIT_MS: Final = 10_000
# AWS: the shutdown phase, with external extensions and with internal ones only.
_SHUTDOWN_MS: Final = {True: 2_000, False: 500}
# How long a runtime that has posted its init error may take to end by itself.
_LAST_WORDS_S: Final = 0.2
# The memory of what an event starts beside the runtime is measured when it works for longer, or after so long.
_SHORT_S: Final = 0.02
_UNMEASURED_S: Final = 0.2
_STATE: Final = (403, "InvalidStateTransition", "State transition is not allowed")


class EnvironmentLost(PenstockError):
    """The environment ended before it was handed the event: another one may take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What an environment works with beside its function."""

    parent: Parent
    stream: str
    scratch: str
    """The name of its `/tmp`, and of its control group."""
    environ: Mapping[str, str]
    new_id: Callable[[], str]
    on_output: Callable[["Environment"], None]
    journal: Journal
    group: ControlGroup | None = None
    init_limit_ms: int = INIT_LIMIT_MS


class Environment:
    """See the module. `run` takes one event at a time; log lines are in ms of the machine."""

    def __init__(self, spec: FunctionSpec, setting: Setting) -> None:
        self.spec = spec
        self.stream = (spec.account, spec.region, spec.log_group, setting.stream)
        self.log = EnvironmentLog(lambda: setting.on_output(self))
        self.retired = self.provisioned = False
        self.ended = False
        self.idle_since = 0
        self._setting = setting
        self._parent = setting.parent
        self._journal = setting.journal
        self._environ = dict(setting.environ)
        self._loop = asyncio.get_running_loop()
        self._clock = SystemClock()
        self._extensions = Extensions(
            spec, setting.new_id, self._on_extension_change, self._on_extension_failure
        )
        self._endpoint = Endpoint()
        self._connections: set[Connection] = set()
        # The present processes, and how far they have come.
        self._phase: Literal["init", "invoke"] = "init"
        self._down = True
        self._initialised = False
        self._began = 0.0
        self._processes = ProcessSet(
            spec, setting.parent, setting.scratch, setting.group, self._on_exit
        )
        self._registration: asyncio.Future[None] | None = None
        self._init_error: Failure | None = None
        self._failure: Failure | None = None
        self._init_ms: float | None = None
        self._init_over = asyncio.Event()
        self._parked: Connection | None = None
        self._launching: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        # The event.
        self._event: Invocation | None = None
        self._result: asyncio.Future[InvocationResult] | None = None
        self._settled: asyncio.Future[None] | None = None
        self._busy = False
        self._taken = 0.0
        self._deadline_at = 0
        self._last_id = ""
        self._deadline = Deadline(self._on_timeout)
        self._measured = 0.0

    async def start(self) -> None:
        """Open the API endpoint and begin the init phase, which then goes on by itself. Raises SpawnError."""
        self._environ.update(await self._endpoint.open(self._connect, self._setting.new_id()))
        self.log.say(*self._journal.init_start(*self._parent.version(self.spec.region)))
        self._deadline.set(self._setting.init_limit_ms)
        try:
            await self._launch("init")
        except BaseException:
            self.end()
            raise

    async def run(self, event: Invocation) -> InvocationResult:
        """Hand an event to the function and wait for the result. Raises EnvironmentLost if it was not handed over."""
        if self.ended:
            raise EnvironmentLost("the environment has ended")
        if self._parked is not None and not self._parked.is_open:
            self.end()
            raise EnvironmentLost("the runtime client hung up between events")
        self._event = event
        self._result = self._loop.create_future()
        self._proceed()
        if not self._deadline.is_set and not self._result.done():
            self._deadline.set(self.spec.timeout_ms)
        try:
            return await self._result
        except asyncio.CancelledError:
            self.end()
            raise
        finally:
            self._result = None
            self._event = None

    async def initialised(self) -> bool:
        """Return when the init phase is over: whether it has succeeded."""
        await self._init_over.wait()
        return self._initialised

    @property
    def working(self) -> bool:
        """Whether extensions still work after the event's result."""
        return self._settled is not None and not self._settled.done()

    async def settled(self) -> None:
        """Return when the extensions have done their work, or the event's time is over."""
        if self._settled is not None:
            await self._settled

    def end(self) -> None:
        """Begin the shutdown phase: at once without extensions, else they are told and given time."""
        if self.ended:
            return
        self.ended = True
        if self._extensions.present and not self._down:
            self._ending = self._loop.create_task(self._shut_down("SPINDOWN"))
            self._ending.add_done_callback(lambda _: self._close())
        else:
            self._kill()
            self._close()

    async def closed(self) -> None:
        """Return when `end` has done its work."""
        if self._ending is not None:
            await asyncio.wait([self._ending])

    def watch(self, now: float) -> None:
        """Measure, and end the event if the function has more memory than it may have. `now` is of `perf_counter`.

        Events that have only begun are passed over, but not for long: they may come one upon the other.
        """
        due = min(self._taken + _SHORT_S, self._measured + _UNMEASURED_S)
        if self._event is not None and now >= due:
            self._measured = now
            if self._processes.exceed_memory(everything=True):
                self._break(OUT_OF_MEMORY)

    # The Runtime API's calls.

    def on_next(self, connection: Connection) -> None:  # noqa: D102
        if self._busy or self._init_error is not None:
            connection.refuse(*_STATE)
            return
        self._parked = connection
        self._proceed()

    def on_response(self, connection: Connection, request_id: str, body: bytes) -> None:  # noqa: D102
        if not self._may_answer(connection, request_id):
            return
        if connection.headers.get(b"lambda-runtime-function-response-mode") == "streaming":
            text = "Penstock does not implement response streaming yet."
            connection.refuse(501, "NotImplemented", text)
            self._finish(document("NotImplemented", text), "Unhandled")
        elif connection.body_size > MAX_RESPONSE:
            text = f"Exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            kind = "Function.ResponseSizeTooLarge"
            connection.refuse(413, kind, text)
            text = text.replace("Exceeded", "Response payload size exceeded")
            self._finish(document(kind, text), "Unhandled")
        elif self._processes.exceed_memory():
            self._break(OUT_OF_MEMORY)
        else:
            connection.accept()
            self._finish(body, None)

    def on_error(self, connection: Connection, request_id: str, body: bytes) -> None:  # noqa: D102
        if self._may_answer(connection, request_id):
            connection.accept()
            self._finish(body, "Unhandled")

    def on_init_error(self, connection: Connection, body: bytes) -> None:  # noqa: D102
        if self._initialised or not self._processes.runs:
            connection.refuse(*_STATE)
            return
        header = connection.headers.get(b"lambda-runtime-function-error-type")
        self._init_error = Failure(error_type(body, header or "Runtime.Unknown"), body=body)
        connection.accept()
        self._processes.kill_later(_LAST_WORDS_S)

    def on_extension(self, connection: Connection, action: str, body: bytes) -> None:  # noqa: D102
        self._extensions.call(connection, action, body)

    # The init phase.

    async def _launch(self, phase: Literal["init", "invoke"]) -> None:
        """Start the extensions and, when they have registered, the runtime."""
        self._phase = phase
        self._began = perf_counter()
        self._down = self._initialised = False
        self._init_error = self._failure = self._parked = None
        names = external_extensions(self.spec)
        self._extensions.begin(names)
        registration = self._registration = self._loop.create_future()
        try:
            for name in sorted(names):
                await self._processes.start(name, self._environ, self.log.output)
            if names:
                await registration
            if self._failure is None:
                await self._processes.start(RUNTIME, self._environ, self.log.output)
        except EntrypointError as error:
            self._fail_init(Failure("Runtime.InvalidEntrypoint", str(error)))
        if self.ended or self._failure is not None:
            self._kill()

    def _relaunch(self) -> None:
        """The init phase once more, for an event and under its timeout."""
        self._down = False
        self._failure = None
        self._take_time()
        self._launching = self._loop.create_task(self._launch_again())

    async def _launch_again(self) -> None:
        if self._ending is not None:
            await asyncio.wait([self._ending])
        await self._processes.gone()
        try:
            if not self.ended:
                await self._launch("invoke")
        except PenstockError as error:
            if self._result is not None and not self._result.done():
                self._result.set_exception(error)
            self.end()

    def _on_extension_change(self) -> None:
        registration = self._registration
        if registration is not None and not registration.done() and self._extensions.all_registered:
            registration.set_result(None)
        if self.working and self._extensions.all_wait:
            self._settle()
        self._proceed()

    def _on_extension_failure(self, kind: str) -> None:
        self._break(Failure(kind, f"{kind.partition('.')[2]} reported by an extension"))

    def _on_exit(self, name: str, code: int) -> None:
        self.log.collect(flush=True)
        if name != RUNTIME:
            how = f"exit status {code}" if code >= 0 else ending(code).rpartition("error: ")[2]
            self._break(Failure("Extension.Crash", how))
        elif self._init_error is not None:
            self._break(self._init_error)
        elif self._processes.over_group_limit:
            self._break(OUT_OF_MEMORY)
        else:
            self._break(Failure("Runtime.ExitError", ending(code)))

    # What happens.

    def _connect(self) -> Connection:
        connection = Connection(self)
        self._connections.add(connection)
        return connection

    def _may_answer(self, connection: Connection, request_id: str) -> bool:
        if self._busy and self._event is not None and request_id == self._event.request_id:
            return True
        if request_id and request_id == self._last_id:
            connection.refuse(*_STATE)
        else:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        return False

    def _proceed(self) -> None:
        """Do what can be done next, now that something has changed."""
        if self._parked is not None and not self._initialised and self._extensions.all_wait:
            self._initialised = True
            self._init_over.set()
            self._extensions.close_registration()
            if self._phase == "init":
                self._deadline.lift()
                self._init_ms = (perf_counter() - self._began) * 1000
            self.log.say(*self._journal.init_over(self._began, self._phase, None))
            self._processes.exceed_memory()
        if self._event is None or self._busy or self._result is None or self._result.done():
            return
        if self._failure is not None:
            if self._phase == "init":
                self._relaunch()
            else:
                self._fail_event(self._failure)
        elif self._down:
            self.log.say(*self._journal.init_start(*self._parent.version(self.spec.region)))
            self._relaunch()
        elif self._parked is not None and self._extensions.all_wait:
            self._hand_over(self._parked)

    def _hand_over(self, connection: Connection) -> None:
        event = self._event
        assert event is not None
        self._parked = None
        self.log.collect()
        if self._phase == "init":
            self._take_time()
        self._phase = "init"  # the time of an init in the invoke phase is counted once
        self.log.begin()
        self._say_start()
        self._busy = True
        connection.answer(200, event.payload, event_headers(event, self._deadline_at))
        if self._extensions.present:
            self._extensions.invoke(event, self._deadline_at)

    def _take_time(self) -> None:
        """The event's time begins."""
        self._taken = perf_counter()
        self._deadline_at = self._clock.now() + self.spec.timeout_ms
        self._deadline.set(self.spec.timeout_ms)

    def _on_timeout(self) -> None:
        event = self._event
        if not self._initialised and self._phase == "init" and not self._down:
            self._kill()
            self._fail_init(Failure("timeout"))
        elif event is not None:
            if not self._busy:
                self.log.say(*self._journal.init_over(self._began, self._phase, "timeout"))
                self._say_start()
            now = self._clock.now()
            body, remark = timed_out(event.request_id, self.spec.timeout_ms, now)
            self._finish(body, "Unhandled", remark, "timeout")
            self._reset("TIMEOUT")
        elif self.working:
            self._reset("TIMEOUT")

    def _fail_init(self, failure: Failure) -> None:
        self.log.collect(flush=True)
        status = failure.status or failure.kind
        self.log.say(*self._journal.init_over(self._began, self._phase, status))
        self._failure = failure
        self._down = True
        self._init_over.set()
        if self._registration is not None and not self._registration.done():
            self._registration.set_result(None)
        self._proceed()

    def _break(self, failure: Failure) -> None:
        """A process has failed, and with it all of them."""
        if self.ended:
            return
        if self._busy:
            self._fail_event(failure)
        elif not self._initialised:
            self._kill()
            self._fail_init(failure)
        else:
            if self._result is not None and not self._result.done():
                self._result.set_exception(EnvironmentLost("the process ended between events"))
            self.end()

    def _fail_event(self, failure: Failure) -> None:
        event = self._event
        assert event is not None
        if not self._busy:
            self._say_start()
        body, remark = failure.body, None
        if body is None:
            message = f"RequestId: {event.request_id} Error: {failure.message}"
            body = document(failure.kind, message)
            remark = f"{message}\n{failure.kind}"
        self._finish(body, "Unhandled", remark, failure.status or failure.kind)
        self._failure = None
        self._reset("FAILURE")

    def _finish(
        self,
        payload: bytes,
        error: str | None,
        remark: str | None = None,
        status: str | None = None,
    ) -> None:
        event, result = self._event, self._result
        if event is None or result is None or result.done():
            return
        duration = (perf_counter() - self._taken) * 1000
        self._busy = False
        self._last_id = event.request_id
        if self._extensions.present and not self._extensions.all_wait and status is None:
            self._settled = self._loop.create_future()  # the timer goes on for them
        else:
            self._deadline.lift()
        # What an event printed is its own, also a last line without an end.
        self.log.collect(flush=True)
        if remark is not None:
            self.log.say(*self._journal.remark(remark))
        if error is not None:  # else the response was taken after a look
            self._processes.exceed_memory()
        # AWS: never says that more was used than there is.
        used = min(self._processes.most_mb, self.spec.memory_mb)
        init_ms, self._init_ms = self._init_ms, None
        self.log.say(*self._journal.end(event.request_id, duration, used, init_ms, status))
        result.set_result(
            InvocationResult(
                payload=payload, error=error, log=self.log.recent, duration_ms=duration
            )
        )

    # The end of processes.

    def _reset(self, reason: str) -> None:
        """End the processes; the next event starts new ones."""
        if self.ended:
            return
        self._processes.kill_one(RUNTIME)
        if self._processes.empty:
            self._kill()
        else:
            self._down = True
            self._initialised = False
            self._ending = self._loop.create_task(self._shut_down(reason))
        self._settle()

    async def _shut_down(self, reason: str) -> None:
        limit = _SHUTDOWN_MS[self._extensions.external]
        self._extensions.shut_down(reason, self._clock.now() + limit)
        await self._processes.shut_down(limit / 1000)
        self._kill()

    def _kill(self) -> None:
        self._down = True
        self._initialised = False
        self._parked = None
        self._processes.kill()
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _settle(self) -> None:
        self._deadline.lift()
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _close(self) -> None:
        self._settle()
        self._deadline.close()
        self._init_over.set()
        self.log.close()
        self._endpoint.close()
        self._processes.forget()

    def _say_start(self) -> None:
        assert self._event is not None
        self.log.say(*self._journal.start(self._event.request_id))
