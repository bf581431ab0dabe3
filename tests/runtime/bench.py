"""A runtime with one function, for tests."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from penstock.clock import VirtualClock
from penstock.core.ids import Ids
from penstock.runtime.interpreter import Interpreters
from penstock.runtime.launcher import Launcher
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult, LogLine
from penstock.runtime.process import ProcessRuntime
from penstock.runtime.sandbox import Mode, find_sandbox

OWN_RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
CACHE = Path.home() / ".cache" / "penstock"

HANDLER = """
import logging, os, sys, time
count = 0
process = os.urandom(8).hex()
log = logging.getLogger()
log.setLevel("INFO")

def handler(event, context):
    global count
    count += 1
    what = event.get("do")
    if what == "print":
        print("one")
        log.info("two\\nlines")
        print("three", file=sys.stderr)
    if what == "flood":
        for _ in range(event["lines"]):
            print("x" * 65535)
    if what == "raise":
        raise KeyError("missing")
    if what == "exit":
        sys.exit(event["code"])
    if what == "kill":
        os.kill(os.getpid(), 9)
    if what == "sleep":
        time.sleep(event["seconds"])
    if what == "big":
        return "x" * 6291556
    if what == "memory":
        return len(bytearray(600 * 1024 * 1024))
    if what == "environment":
        return dict(os.environ)
    if what == "background":
        import threading
        threading.Timer(0.05, lambda: os._exit(0)).start()
    return {"count": count, "process": process, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "cwd": os.getcwd()}
"""


class ListSink:
    """A LogSink that remembers."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.streams: set[str] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def write(
        self, account: str, region: str, group: str, stream: str, lines: Sequence[LogLine]
    ) -> None:
        await self.open.wait()
        self.streams.add(stream)
        self.lines += lines


class Bench:
    """A runtime with one function."""

    def __init__(self, folder: Path, *, mode: Mode = "none", init_limit_ms: int = 10_000) -> None:
        self.mode = mode
        self.clock = VirtualClock()
        self.sink = ListSink()
        path = os.environ["PATH"]
        self.launcher = Launcher(Interpreters(path, Path.home(), CACHE), path, mode, folder)
        self.runtime = ProcessRuntime(
            sink=self.sink,
            clock=self.clock,
            ids=Ids(1),
            endpoint_url="http://127.0.0.1:9",
            launcher=self.launcher,
            init_limit_ms=init_limit_ms,
        )
        code = folder / "code"
        code.mkdir(exist_ok=True)
        (code / "app.py").write_text(HANDLER)
        (code / "broken.py").write_text("import not_there\n")
        self.code = code
        self.number = 0

    def spec(self, **changes: Any) -> FunctionSpec:
        values: dict[str, Any] = {
            "key": "k1",
            "name": "f",
            "version": "$LATEST",
            "arn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
            "runtime": OWN_RUNTIME,
            "handler": "app.handler",
            "code": self.code,
            "memory_mb": 256,
            "timeout_ms": 3000,
            "environment": {"MINE": "yes"},
            "log_group": "/aws/lambda/f",
            "account": "123456789012",
            "region": "eu-west-1",
        }
        return FunctionSpec(**{**values, **changes})

    async def run(self, event: Any, **changes: Any) -> InvocationResult:
        self.number += 1
        invocation = Invocation(
            request_id=f"request-{self.number}",
            payload=json.dumps(event).encode(),
            invoked_arn="arn:aws:lambda:eu-west-1:123456789012:function:f:live",
        )
        return await self.runtime.invoke(self.spec(**changes), invocation)


Scenario = Callable[[Bench], Awaitable[None]]


def why_no_sandbox(folder: Path) -> str | None:
    """Why functions cannot be sandboxed on this machine, if so."""
    python, prefix = Path(sys.executable).resolve(), Path(sys.base_prefix)
    found = asyncio.run(find_sandbox(os.environ["PATH"], folder, python, prefix))
    return found if isinstance(found, str) else None


def play(folder: Path, scenario: Scenario, **options: Any) -> None:
    """Run a scenario against a new runtime."""

    async def whole() -> None:
        bench = Bench(folder, **options)
        await bench.runtime.start()
        try:
            await scenario(bench)
        finally:
            await bench.runtime.close()

    asyncio.run(whole())
