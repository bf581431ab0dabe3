"""The error documents that are Lambda's own, and how it tells of processes and instants."""

import datetime
import signal
from dataclasses import dataclass
from typing import Final

import orjson

# AWS: Go's names of signals, which Lambda prints.
_SIGNALS: Final = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
    signal.SIGXCPU: "CPU time limit exceeded",
    signal.SIGXFSZ: "file size limit exceeded",
    signal.SIGSYS: "bad system call",
}


def ending(code: int) -> str:
    """How a process ended, from its exit code or minus the signal."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code < 0:
        name = _SIGNALS.get(-code, f"signal {-code}")  # type: ignore[call-overload]
        return f"Runtime exited with error: signal: {name}"
    return f"Runtime exited with error: exit status {code}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an init phase or the process of an event came to nothing."""

    kind: str
    """The `errorType` of the document."""
    message: str = ""
    body: bytes | None = None
    """The document, where the runtime has posted it itself."""
    status: str = ""
    """What the log's last line says, where that is not `kind`; for the time limit, `timeout`."""


# AWS: recorded in 2025; the document and the last line of the log give the error different types.
OUT_OF_MEMORY: Final = Failure("Runtime.ExitError", ending(-9), status="Runtime.OutOfMemory")


def document(kind: str, message: str) -> bytes:
    """An error document of Lambda's own."""
    return orjson.dumps({"errorType": kind, "errorMessage": message})


def timed_out(request_id: str, timeout_ms: int, at: int) -> tuple[bytes, str]:
    """The document and the log line of an event whose time is over at `at`."""
    how = f"Task timed out after {timeout_ms / 1000:.2f} seconds"
    # AWS: recorded with python3.12 in November 2025.
    body = document("Sandbox.Timedout", f"RequestId: {request_id} Error: {how}")
    return body, f"{timestamp(at)} {request_id} {how}"


def error_type(body: bytes, fallback: str) -> str:
    """The `errorType` of a document that a runtime posted."""
    try:
        found = orjson.loads(body).get("errorType")
    except (orjson.JSONDecodeError, AttributeError):
        return fallback
    return found if isinstance(found, str) and found else fallback


def timestamp(at: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    instant = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
