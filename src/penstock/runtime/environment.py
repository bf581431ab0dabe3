"""One execution environment: a process, its Runtime API endpoint, its log stream, and the event it works on.

    starting ── next ──▶ ready ── event handed over ──▶ busy ── response, error ──▶ ready ── ... ──▶ ended

A process lives in the machine's time, whatever clock the rest of Penstock follows, so deadlines here are the event loop's.
"""

import asyncio
import contextlib
import datetime
import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import orjson

from penstock.clock import SystemClock
from penstock.core.errors import PenstockError
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult, LogLine
from penstock.runtime.output import OutputReader
from penstock.runtime.runtime_api import MAX_RESPONSE, Connection
from penstock.runtime.spawner import Child, Spawner

# AWS: the init phase may take ten seconds; if it takes longer it is run again under the function's timeout
# (Lambda guide, "runtime environment lifecycle"). Here it goes on under that timeout instead.
INIT_LIMIT_MS: Final = 10_000
_TAIL: Final = 4096
_TAIL_SLACK: Final = 65_536
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class EnvironmentLost(PenstockError):
    """The environment ended before it was handed the event: another one may take it."""


class Environment:
    """See the module. `run` takes one event at a time; `started_at` and the log lines are in ms of the machine."""

    def __init__(self, spec: FunctionSpec, stream: str, on_output: Callable[[], None]) -> None:
        self.spec = spec
        self.stream = stream
        self.retired = False
        self.ended = False
        self.idle_since = 0
        self._lines: list[LogLine] = []
        self._tail = bytearray()
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._clock = SystemClock()
        self._began = perf_counter()
        self._init_ms: float | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._parked: Connection | None = None
        self._event: Invocation | None = None
        self._handed_over = 0.0
        self._busy = False
        self._last_id = ""
        self._init_error: bytes | None = None
        self._result: asyncio.Future[InvocationResult] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader: OutputReader | None = None
        self._memory_fd = -1
        self._spawner: Spawner | None = None
        self._child: Child | None = None
        self._max_memory_mb = 0

    async def start(self, spawner: Spawner, environ: dict[str, str]) -> None:
        """Open the Runtime API endpoint and fork the process; its init phase then runs by itself."""
        self._server = await self._loop.create_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        self._reader = OutputReader(read_end)
        self._say(f"INIT_START Runtime Version: {self.spec.runtime}\tRuntime Version ARN: ")
        try:
            request = {
                "cwd": str(self.spec.code),
                "handler": self.spec.handler,
                "environ": {**environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"},
                "memory_mb": self.spec.memory_mb,
            }
            self._child = await spawner.spawn(request, write_end)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(write_end)
        self._spawner = spawner
        with contextlib.suppress(OSError):
            self._memory_fd = os.open(f"/proc/{self._child.pid}/statm", os.O_RDONLY)
        self.resume_output()
        self._child.exited.add_done_callback(self._on_exit)

    async def run(self, event: Invocation) -> InvocationResult:
        """Hand an event to the function and wait for the result. Raises EnvironmentLost if it was not handed over."""
        if self.ended:
            raise EnvironmentLost("the environment has ended")
        if self._parked is not None and not self._parked.is_open:
            self.end()
            raise EnvironmentLost("the runtime client hung up between events")
        self._event = event
        self._result = self._loop.create_future()
        if self._parked is not None:
            self._hand_over(self._parked)
        else:
            limit = self.spec.timeout_ms + (INIT_LIMIT_MS if self._init_ms is None else 0)
            self._timer = self._loop.call_later(limit / 1000, self._on_timeout)
        try:
            return await self._result
        except asyncio.CancelledError:
            self.end()
            raise
        finally:
            self._result = None
            self._event = None

    def end(self) -> None:
        """Kill the process."""
        self.ended = True
        if self._child is not None and self._spawner is not None:
            self._spawner.kill(self._child)
        self._close()

    def take_lines(self) -> list[LogLine]:
        """The log since the last call."""
        self._collect()
        lines, self._lines = self._lines, []
        return lines

    def pause_output(self) -> None:
        """Let what the function prints wait in its pipe; the function waits with it when that is full."""
        if self._reader is not None:
            self._loop.remove_reader(self._reader.fd)

    def resume_output(self) -> None:
        """Read what the function prints."""
        if self._reader is not None:
            self._loop.add_reader(self._reader.fd, self._on_output)

    # The Runtime API's calls.

    def on_next(self, connection: Connection) -> None:  # noqa: D102
        if self._busy or self._init_error is not None:
            connection.refuse(403, "InvalidStateTransition", "State transition is not allowed")
            return
        if self._init_ms is None:
            self._init_ms = (perf_counter() - self._began) * 1000
        self._parked = connection
        if self._event is not None and self._result is not None and not self._result.done():
            self._hand_over(connection)

    def on_response(self, connection: Connection, request_id: str, body: bytes) -> None:  # noqa: D102
        if not self._may_answer(connection, request_id):
            return
        if connection.body_size > MAX_RESPONSE:
            connection.refuse(
                413,
                "Function.ResponseSizeTooLarge",
                f"Exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).",
            )
            text = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            document = {"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"}
            self._finish(orjson.dumps(document), "Unhandled")
            return
        connection.accept()
        self._finish(body, None)

    def on_error(self, connection: Connection, request_id: str, body: bytes) -> None:  # noqa: D102
        if self._may_answer(connection, request_id):
            connection.accept()
            self._finish(body, "Unhandled")

    def on_init_error(self, connection: Connection, body: bytes) -> None:  # noqa: D102
        if self._init_ms is not None:
            connection.refuse(403, "InvalidStateTransition", "State transition is not allowed")
            return
        self._init_error = body
        connection.accept()

    # What happens.

    def _connect(self) -> Connection:
        connection = Connection(self)
        self._connections.add(connection)
        return connection

    def _may_answer(self, connection: Connection, request_id: str) -> bool:
        if self._event is None or not self._busy or request_id != self._event.request_id:
            if request_id and request_id == self._last_id:
                connection.refuse(403, "InvalidStateTransition", "State transition is not allowed")
            else:
                connection.refuse(400, "InvalidRequestID", "Invalid request ID")
            return False
        return True

    def _hand_over(self, connection: Connection) -> None:
        event = self._event
        assert event is not None
        self._parked = None
        if self._timer is not None:
            self._timer.cancel()
        self._collect()
        now = self._clock.now()
        self._tail.clear()
        self._say(f"START RequestId: {event.request_id} Version: {self.spec.version}", now)
        headers = (
            f"Lambda-Runtime-Aws-Request-Id: {event.request_id}\r\n"
            f"Lambda-Runtime-Deadline-Ms: {now + self.spec.timeout_ms}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {event.invoked_arn}\r\n"
        )
        if event.trace:
            headers += f"Lambda-Runtime-Trace-Id: {event.trace}\r\n"
        if event.client_context:
            headers += f"Lambda-Runtime-Client-Context: {event.client_context}\r\n"
        self._busy = True
        self._handed_over = perf_counter()
        self._timer = self._loop.call_later(self.spec.timeout_ms / 1000, self._on_timeout)
        connection.answer(200, event.payload, headers)

    def _on_timeout(self) -> None:
        event = self._event
        if event is None:
            return
        seconds = f"{self.spec.timeout_ms / 1000:.2f}"
        # AWS: recorded with python3.12 in November 2025.
        message = f"RequestId: {event.request_id} Error: Task timed out after {seconds} seconds"
        document = {"errorType": "Sandbox.Timedout", "errorMessage": message}
        self._finish(
            orjson.dumps(document),
            "Unhandled",
            f"{_timestamp(self._clock.now())} {event.request_id} Task timed out after {seconds} seconds",
        )
        self.end()

    def _on_exit(self, exited: "asyncio.Future[int]") -> None:
        self.ended = True
        event = self._event
        if event is not None and self._result is not None and not self._result.done():
            if self._init_error is not None:
                self._finish(self._init_error, "Unhandled")
            elif self._busy or self._init_ms is None:
                message = f"RequestId: {event.request_id} Error: {_ending(exited.result())}"
                document = {"errorType": "Runtime.ExitError", "errorMessage": message}
                self._finish(orjson.dumps(document), "Unhandled", f"{message}\nRuntime.ExitError")
            else:
                self._result.set_exception(EnvironmentLost("the process ended between events"))
        self._close()

    def _finish(self, payload: bytes, error: str | None, remark: str | None = None) -> None:
        event, result = self._event, self._result
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if event is None or result is None or result.done():
            return
        duration = (perf_counter() - self._handed_over) * 1000 if self._busy else 0.0
        self._busy = False
        self._last_id = event.request_id
        # What an event printed is its own, also a last line without an end.
        self._collect(flush=True)
        now = self._clock.now()
        if remark is not None:
            self._say(remark, now)
        self._say(f"END RequestId: {event.request_id}", now)
        self._say(self._report(event, duration), now)
        result.set_result(
            InvocationResult(
                payload=payload,
                error=error,
                log_tail=bytes(self._tail[-_TAIL:]),
                duration_ms=duration,
            )
        )

    def _report(self, event: Invocation, duration: float) -> str:
        self._max_memory_mb = max(self._max_memory_mb, self._resident_mb())
        init = ""
        if self._init_ms is not None and self._init_ms >= 0:
            init = f"Init Duration: {self._init_ms:.2f} ms\t"
            self._init_ms = -1.0
        return (
            f"REPORT RequestId: {event.request_id}\tDuration: {duration:.2f} ms\t"
            f"Billed Duration: {int(duration) + 1} ms\tMemory Size: {self.spec.memory_mb} MB\t"
            f"Max Memory Used: {self._max_memory_mb} MB\t{init}"
        )

    def _resident_mb(self) -> int:
        try:
            pages = int(os.pread(self._memory_fd, 96, 0).split()[1])
        except (OSError, IndexError):
            return 0
        return pages * _PAGE // 1_048_576

    def _say(self, message: str, at: int | None = None) -> None:
        self._take([LogLine(self._clock.now() if at is None else at, message)])

    def _take(self, lines: Sequence[LogLine]) -> None:
        """Add lines to the log and to the tail of the event's log."""
        self._lines += lines
        for line in lines:
            self._tail += line.message[-_TAIL:].encode() + b"\n"
        if len(self._tail) > _TAIL_SLACK:
            del self._tail[:-_TAIL]

    def _collect(self, *, flush: bool = False) -> None:
        if self._reader is None:
            return
        lines, ended = self._reader.drain(self._clock.now(), flush=flush)
        self._take(lines)
        if ended:
            self._close_reader()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._loop.remove_reader(self._reader.fd)
            os.close(self._reader.fd)
            self._reader = None

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._collect()
        self._close_reader()
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.close()
        if self._memory_fd >= 0:
            os.close(self._memory_fd)
            self._memory_fd = -1


def _ending(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    if code < 0:
        names = {-9: "killed", -11: "segmentation fault", -6: "aborted", -15: "terminated"}
        return f"Runtime exited with error: signal: {names.get(code, str(-code))}"
    return f"Runtime exited with error: exit status {code}"


def _timestamp(at: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    instant = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
