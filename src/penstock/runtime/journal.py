"""What Lambda itself writes into a function's log, between the lines of the function: as text, or as JSON."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final, Protocol

import orjson

from penstock.clock import SystemClock
from penstock.runtime.model import FunctionSpec
from penstock.runtime.report import timestamp

_LEVELS: Final = ("DEBUG", "INFO", "WARN")


class Journal(Protocol):
    """The lines for what happens in an environment; there may be none for something.

    `status` of what has failed is `timeout` or the error's type; None of what has not.
    """

    def init_start(self, version: str, arn: str) -> Sequence[str]:
        """The init phase begins with this version of the runtime."""
        ...

    def init_over(self, began: float, phase: str, status: str | None) -> Sequence[str]:
        """The init phase, begun at `began` of `perf_counter`, is over just now."""
        ...

    def start(self, request_id: str) -> Sequence[str]:
        """An event begins."""
        ...

    def remark(self, text: str) -> Sequence[str]:
        """Why an event came to nothing."""
        ...

    def end(
        self,
        request_id: str,
        duration_ms: float,
        used_mb: int,
        init_ms: float | None,
        status: str | None,
    ) -> Sequence[str]:
        """An event is over; `init_ms` where it is the first of its environment."""
        ...


class TextJournal:
    """The lines of old."""

    def __init__(self, spec: FunctionSpec) -> None:
        self._version = spec.version
        self._memory_mb = spec.memory_mb

    def init_start(self, version: str, arn: str) -> Sequence[str]:
        """INIT_START."""
        return (f"INIT_START Runtime Version: {version}\tRuntime Version ARN: {arn}",)

    def init_over(self, began: float, phase: str, status: str | None) -> Sequence[str]:
        """INIT_REPORT, of a failure only."""
        if status is None:
            return ()
        milliseconds = (perf_counter() - began) * 1000
        how = "timeout" if status == "timeout" else f"error\tError Type: {status}"
        return (f"INIT_REPORT Init Duration: {milliseconds:.2f} ms\tPhase: {phase}\tStatus: {how}",)

    def start(self, request_id: str) -> Sequence[str]:
        """START."""
        return (f"START RequestId: {request_id} Version: {self._version}",)

    def remark(self, text: str) -> Sequence[str]:
        """As it is."""
        return (text,)

    def end(
        self,
        request_id: str,
        duration_ms: float,
        used_mb: int,
        init_ms: float | None,
        status: str | None,
    ) -> Sequence[str]:
        """END and REPORT."""
        line = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {self._memory_mb} MB\t"
            f"Max Memory Used: {used_mb} MB\t"
        )
        if init_ms is not None:
            line += f"Init Duration: {init_ms:.2f} ms\t"
        # AWS: recorded in 2025; an event that succeeds, or whose handler raises, has no status.
        if status == "timeout":
            line += "Status: timeout"
        elif status is not None:
            line += f"Status: error\tError Type: {status}"
        return (f"END RequestId: {request_id}", line)


class JsonJournal:
    """Events of the platform, those from a level on (Lambda guide, "Working with system logs")."""

    def __init__(self, spec: FunctionSpec, *, provisioned: bool) -> None:
        self._spec = spec
        self._least = _LEVELS.index(spec.logging.system)
        self._kind = "provisioned-concurrency" if provisioned else "on-demand"
        self._clock = SystemClock()

    def init_start(self, version: str, arn: str) -> Sequence[str]:
        """platform.initStart."""
        record = {
            "initializationType": self._kind,
            "phase": "init",
            "runtimeVersion": version,
            "runtimeVersionArn": arn,
            "functionName": self._spec.name,
            "functionVersion": self._spec.version,
        }
        return self._event("INFO", "initStart", record)

    def init_over(self, began: float, phase: str, status: str | None) -> Sequence[str]:
        """platform.initRuntimeDone and platform.initReport."""
        what = {"initializationType": self._kind, "phase": phase, **_outcome(status)}
        metrics = {"durationMs": round((perf_counter() - began) * 1000, 3)}
        fails = status is not None
        reported = "WARN" if fails else "DEBUG" if self._kind == "on-demand" else "INFO"
        return [
            *self._event("WARN" if fails else "DEBUG", "initRuntimeDone", what),
            *self._event(reported, "initReport", {**what, "metrics": metrics}),
        ]

    def start(self, request_id: str) -> Sequence[str]:
        """platform.start."""
        record = {"requestId": request_id, "version": self._spec.version}
        return self._event("INFO", "start", record)

    def remark(self, _: str) -> Sequence[str]:
        """Nothing: the report has the reason."""
        return ()

    def end(
        self,
        request_id: str,
        duration_ms: float,
        used_mb: int,
        init_ms: float | None,
        status: str | None,
    ) -> Sequence[str]:
        """platform.runtimeDone and platform.report."""
        what = {"requestId": request_id, **_outcome(status)}
        duration = {"durationMs": round(duration_ms, 3)}
        metrics: dict[str, Any] = {
            **duration,
            "billedDurationMs": int(duration_ms) + 1,
            "memorySizeMB": self._spec.memory_mb,
            "maxMemoryUsedMB": used_mb,
        }
        if init_ms is not None:
            metrics["initDurationMs"] = round(init_ms, 3)
        fails = status is not None
        return [
            *self._event(
                "WARN" if fails else "DEBUG", "runtimeDone", {**what, "metrics": duration}
            ),
            *self._event("WARN" if fails else "INFO", "report", {**what, "metrics": metrics}),
        ]

    def _event(self, level: str, kind: str, record: dict[str, Any]) -> Sequence[str]:
        if _LEVELS.index(level) < self._least:
            return ()
        event = {
            "time": timestamp(self._clock.now()),
            "type": f"platform.{kind}",
            "record": record,
        }
        return (orjson.dumps(event).decode(),)


def journal_of(spec: FunctionSpec, *, provisioned: bool) -> Journal:
    """The journal in a function's log format."""
    return JsonJournal(spec, provisioned=provisioned) if spec.logging.json else TextJournal(spec)


def _outcome(status: str | None) -> dict[str, str]:
    if status is None or status == "timeout":
        return {"status": status or "success"}
    return {"status": "error", "errorType": status}
