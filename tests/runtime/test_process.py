"""Execution environments: real processes under AWS's own Python runtime client."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import VirtualClock
from penstock.core.ids import Ids
from penstock.runtime.model import FunctionSpec, Invocation, InvocationResult, LogLine
from penstock.runtime.process import IDLE_MS, ProcessRuntime, supported_runtime

HANDLER = """
import logging, os, sys, time
count = 0
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
    return {"count": count, "pid": os.getpid(), "id": context.aws_request_id, "arn": context.invoked_function_arn,
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

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.sink = ListSink()
        self.runtime = ProcessRuntime(
            sink=self.sink,
            clock=self.clock,
            ids=Ids(1),
            endpoint_url="http://127.0.0.1:9",
            folder=folder / "runtime",
        )
        code = folder / "code"
        code.mkdir()
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
            "runtime": supported_runtime(),
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


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario against a new runtime."""

    async def whole(scenario: Scenario) -> None:
        bench = Bench(tmp_path)
        await bench.runtime.start()
        try:
            await scenario(bench)
        finally:
            await bench.runtime.close()

    return lambda scenario: asyncio.run(whole(scenario))


def test_warm_environment_keeps_its_state(play: Callable[[Scenario], None]) -> None:
    """A second event must meet the globals of the first: caches and connections rely on it."""

    async def scenario(bench: Bench) -> None:
        first = json.loads((await bench.run({})).payload)
        second = json.loads((await bench.run({})).payload)
        assert (first["pid"], 1, 2) == (second["pid"], first["count"], second["count"])
        assert second["id"] == "request-2"
        assert second["arn"].endswith(":live")
        assert 0 < second["left"] <= 3000
        assert str(bench.code) == second["cwd"]

    play(scenario)


def test_concurrent_events_get_environments_of_their_own(play: Callable[[Scenario], None]) -> None:
    """One environment works on one event at a time."""

    async def scenario(bench: Bench) -> None:
        results = await asyncio.gather(
            *(bench.run({"do": "sleep", "seconds": 0.2}) for _ in range(3))
        )
        assert len({json.loads(result.payload)["pid"] for result in results}) == 3

    play(scenario)


def test_environment_variables(play: Callable[[Scenario], None]) -> None:
    """SDKs and tools in a function find their way by these names, and see nothing of the server's own."""

    async def scenario(bench: Bench) -> None:
        found = json.loads((await bench.run({"do": "environment"})).payload)
        assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
        assert (
            found["MINE"],
            found["AWS_LAMBDA_FUNCTION_NAME"],
            found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        ) == ("yes", "f", "256")
        assert found["AWS_REGION"] == "eu-west-1"
        assert "PYTEST_CURRENT_TEST" not in found

    play(scenario)


def test_log_lines(play: Callable[[Scenario], None]) -> None:
    """Log tools parse START, END and REPORT; a record of several lines stays one event."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "print"})
        await bench.runtime.flush_logs()
        messages = [line.message for line in bench.sink.lines]
        assert messages[0].startswith("INIT_START Runtime Version: python3.")
        assert messages[1] == "START RequestId: request-1 Version: $LATEST"
        assert messages[2] == "one"
        assert messages[3].startswith("[INFO]\t")
        assert messages[3].endswith("\trequest-1\ttwo\nlines")
        assert messages[4:6] == ["three", "END RequestId: request-1"]
        assert messages[6].startswith("REPORT RequestId: request-1\tDuration: ")
        assert "\tInit Duration: " in messages[6]
        assert result.log_tail.startswith(b"START RequestId: request-1")

    play(scenario)


def test_a_flood_of_lines_waits_in_the_pipe(play: Callable[[Scenario], None]) -> None:
    """A function that prints faster than its log is written must not fill the server's memory."""

    async def scenario(bench: Bench) -> None:
        bench.sink.open.clear()
        flood = asyncio.create_task(bench.run({"do": "flood", "lines": 400}, timeout_ms=60_000))
        while not bench.runtime._logs.full and not flood.done():
            await asyncio.wait([flood], timeout=0.01)
        assert not flood.done()  # the function waits for its log to be taken
        bench.sink.open.set()
        result = await flood
        await bench.runtime.flush_logs()
        assert 400 == sum(line.message == "x" * 65535 for line in bench.sink.lines)
        assert 4096 == len(result.log_tail)
        assert b"\nREPORT RequestId: request-1" in result.log_tail

    play(scenario)


def test_unhandled_exception(play: Callable[[Scenario], None]) -> None:
    """The error document is AWS's client's own, and the environment lives on."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "raise"})
        document = json.loads(result.payload)
        assert (result.error, document["errorType"]) == ("Unhandled", "KeyError")
        assert document["requestId"] == "request-1"
        assert json.loads((await bench.run({})).payload)["count"] == 2

    play(scenario)


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        ({"do": "exit", "code": 0}, "Runtime exited without providing a reason"),
        ({"do": "exit", "code": 3}, "Runtime exited with error: exit status 3"),
        ({"do": "kill"}, "Runtime exited with error: signal: killed"),
    ],
)
def test_process_exit(play: Callable[[Scenario], None], event: dict[str, Any], ending: str) -> None:
    """An event whose process dies is answered, and the next one gets a new process."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run(event)
        expected = {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: request-1 Error: {ending}",
        }
        assert expected == json.loads(result.payload)
        assert json.loads((await bench.run({})).payload)["count"] == 1

    play(scenario)


def test_timeout_kills(play: Callable[[Scenario], None]) -> None:
    """A function past its timeout is ended, not merely abandoned."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "sleep", "seconds": 60}, timeout_ms=200)
        expected = {
            "errorType": "Sandbox.Timedout",
            "errorMessage": "RequestId: request-1 Error: Task timed out after 0.20 seconds",
        }
        assert expected == json.loads(result.payload)
        assert json.loads((await bench.run({}, timeout_ms=200)).payload)["count"] == 1

    play(scenario)


def test_init_error(play: Callable[[Scenario], None]) -> None:
    """A module that cannot be imported answers with what the runtime client posted."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({}, handler="broken.handler")
        assert json.loads(result.payload)["errorType"] == "Runtime.ImportModuleError"
        assert result.error == "Unhandled"
        missing = await bench.run({}, handler="app.nothing", key="k2")
        assert json.loads(missing.payload)["errorType"] == "Runtime.HandlerNotFound"

    play(scenario)


def test_response_too_large(play: Callable[[Scenario], None]) -> None:
    """AWS's limit of 6,291,556 bytes holds for the response."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "big"})
        assert json.loads(result.payload)["errorType"] == "Function.ResponseSizeTooLarge"

    play(scenario)


def test_memory_is_limited(play: Callable[[Scenario], None]) -> None:
    """A function that takes more than its memory fails instead of taking the machine with it."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "memory"})
        assert json.loads(result.payload)["errorType"] == "MemoryError"

    play(scenario)


def test_environment_that_died_between_events_is_replaced(
    play: Callable[[Scenario], None],
) -> None:
    """A caller must not pay for what a background thread did after the event before."""

    async def scenario(bench: Bench) -> None:
        first = json.loads((await bench.run({"do": "background"})).payload)
        second = await bench.run({"do": "sleep", "seconds": 0.0})
        while json.loads(second.payload).get("pid") == first["pid"]:
            second = await bench.run({})
            if second.error is not None:
                break  # the process ended in the middle of this event, which is that event's own
            await asyncio.sleep(0.01)
        last = await bench.run({})
        assert None is last.error

    play(scenario)


def test_idle_environments_end(play: Callable[[Scenario], None]) -> None:
    """Environments that nothing uses give their memory back, by Penstock's clock."""

    async def scenario(bench: Bench) -> None:
        await bench.run({})

        async def settle() -> None:
            await asyncio.sleep(0)

        await bench.clock.advance(IDLE_MS + 1, settle)
        assert json.loads((await bench.run({})).payload)["count"] == 1

    play(scenario)


def test_retire(play: Callable[[Scenario], None]) -> None:
    """After an update no event may meet the old code."""

    async def scenario(bench: Bench) -> None:
        busy = asyncio.create_task(bench.run({"do": "sleep", "seconds": 0.3}))
        await bench.run({})
        await bench.runtime.retire(bench.spec().arn)
        await busy
        assert json.loads((await bench.run({})).payload)["count"] == 1

    play(scenario)


def test_zygote_death_is_survived(play: Callable[[Scenario], None]) -> None:
    """The parent of all environments is only a process: when it dies another one takes its place."""

    async def scenario(bench: Bench) -> None:
        await bench.run({})
        spawner = bench.runtime._spawner
        assert spawner is not None and spawner._process is not None
        spawner._process.kill()
        spawner._process.wait()
        await asyncio.sleep(0.05)
        assert None is (await bench.run({})).error

    play(scenario)
