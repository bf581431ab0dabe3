"""What the runtime is asked and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from penstock.core.errors import PenstockError

LOG_TAIL: Final = 4096
"""Bytes of the log that an invocation may bring with its result."""


class RuntimeUnavailable(PenstockError):
    """This machine cannot run a Lambda runtime; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """How a function's log is written: `application` and `system` are the least levels of what is in a JSON one."""

    json: bool = False
    application: str = "INFO"
    system: str = "INFO"

    @property
    def variables(self) -> dict[str, str]:
        """What the runtime in the function's process has to know of it."""
        if not self.json:
            return {}
        return {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": self.application}


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSpec:
    """Everything that an execution environment is made from. Equal `key`s share a warm pool."""

    key: str
    """Changes with every change of code or configuration: function ARN, version and revision."""
    name: str
    version: str
    arn: str
    runtime: str
    """`python3.11`, `nodejs20.x`, `provided.al2023`, ..."""
    handler: str
    code: Path
    """The unpacked package: `/var/task`."""
    opt: Path | None = None
    """The unpacked layers, merged: `/opt`."""
    ephemeral_mb: int = 512
    """The size of `/tmp`, where the sandbox can hold to it."""
    memory_mb: int
    timeout_ms: int
    environment: Mapping[str, str]
    """Region, credentials of the role and the user's variables; the runtime adds what AWS reserves."""
    log_group: str
    logging: Logging = Logging()
    account: str
    region: str


@dataclass(slots=True, kw_only=True)
class Invocation:
    """One event for one environment."""

    request_id: str
    payload: bytes
    invoked_arn: str
    trace: str | None = None
    client_context: str | None = None


@dataclass(slots=True, kw_only=True)
class InvocationResult:
    """How it ended. `error` is None or `Unhandled`; `payload` is then the error document."""

    payload: bytes
    error: str | None = None
    log: Sequence[str] = ()
    """What was logged, or the end of it where that is much."""
    duration_ms: float = 0.0

    @property
    def log_tail(self) -> bytes:
        """The last 4 KB of the log."""
        lines = (message if message.endswith("\n") else f"{message}\n" for message in self.log)
        return "".join(lines).encode()[-LOG_TAIL:]


@dataclass(slots=True)
class LogLine:
    """One event for CloudWatch Logs, with the line break at its end; `at` in ms."""

    at: int
    message: str


class LogSink(Protocol):
    """Where functions' output goes."""

    async def write(
        self, account: str, region: str, group: str, stream: str, lines: Sequence[LogLine]
    ) -> None:
        """Append lines to a log stream, which is created when it is new."""
        ...


class FunctionRuntime(Protocol):
    """Runs functions."""

    async def prepare(self, runtime: str) -> None:
        """Find, or make, what a runtime needs on this machine. Raises RuntimeUnavailable, which says what to install."""
        ...

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> InvocationResult:
        """Run one event in a warm or new environment. The caller holds a concurrency permit."""
        ...

    async def provision(self, spec: FunctionSpec, amount: int) -> int:
        """Keep so many environments of a spec's key initialised, whether they are used or not; 0 ends that.

        Returns how many there are, when each is initialised or could not be. Raises SpawnError or RuntimeUnavailable.
        """
        ...

    async def retire(self, function_arn: str) -> None:
        """End the idle environments of a function's older keys; busy ones end after their event."""
        ...

    async def close(self) -> None:
        """End every environment."""
        ...
