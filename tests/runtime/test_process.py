"""Execution environments: real processes under AWS's own Python runtime client."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.line import AT_ONCE
from penstock.runtime.process import IDLE_MS
from tests.runtime.bench import OWN_RUNTIME, Bench, Scenario, why_no_sandbox
from tests.runtime.bench import play as play_on

Play = Callable[[Scenario], None]


@pytest.fixture(params=["none", "bwrap"])
def play(tmp_path: Path, request: pytest.FixtureRequest) -> Play:
    """Run a scenario against a new runtime, outside and inside the sandbox."""
    mode = request.param
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)
    return lambda scenario: play_on(tmp_path, scenario, mode=mode)


def test_warm_environment_keeps_its_state(play: Play) -> None:
    """A second event must meet the globals of the first: caches and connections rely on it."""

    async def scenario(bench: Bench) -> None:
        first = json.loads((await bench.run({})).payload)
        second = json.loads((await bench.run({})).payload)
        assert (first["process"], 1, 2) == (second["process"], first["count"], second["count"])
        assert second["id"] == "request-2"
        assert second["arn"].endswith(":live")
        assert 0 < second["left"] <= 3000
        expected = "/var/task" if bench.mode == "bwrap" else str(bench.code)
        assert expected == second["cwd"]

    play(scenario)


def test_concurrent_events_get_environments_of_their_own(play: Play) -> None:
    """One environment works on one event at a time."""

    async def scenario(bench: Bench) -> None:
        results = await asyncio.gather(
            *(bench.run({"do": "sleep", "seconds": 0.2}) for _ in range(3))
        )
        assert len({json.loads(result.payload)["process"] for result in results}) == 3

    play(scenario)


def test_a_burst_of_short_events_takes_turns_from_the_start(tmp_path: Path) -> None:
    """Also those who come before the first process of the runtime is up: not each of them needs its own."""

    async def scenario(bench: Bench) -> None:
        burst = [asyncio.ensure_future(bench.run({})) for _ in range(80)]
        while not bench.runtime._all:
            await asyncio.sleep(0)
        for _ in range(80):
            await asyncio.sleep(0)
        assert len(bench.runtime._all) == AT_ONCE
        await asyncio.gather(*burst)

    play_on(tmp_path, scenario)


def test_environment_variables(play: Play) -> None:
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


def test_log_lines(play: Play) -> None:
    """Log tools parse START, END and REPORT; a record of several lines stays one event."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "print"})
        await bench.runtime.flush_logs()
        assert all(line.message.endswith("\n") for line in bench.sink.lines)
        messages = [line.message[:-1] for line in bench.sink.lines]
        assert messages[0].startswith("INIT_START Runtime Version: python:3.")
        assert messages[1] == "START RequestId: request-1 Version: $LATEST"
        assert messages[2] == "one"
        assert messages[3].startswith("[INFO]\t")
        assert messages[3].endswith("\trequest-1\ttwo\nlines")
        assert messages[4:6] == ["three", "END RequestId: request-1"]
        assert messages[6].startswith("REPORT RequestId: request-1\tDuration: ")
        assert "\tInit Duration: " in messages[6]
        assert result.log_tail.startswith(b"START RequestId: request-1")

    play(scenario)


def test_a_flood_of_lines_waits_in_the_pipe(play: Play) -> None:
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
        assert 400 == sum(line.message == "x" * 65535 + "\n" for line in bench.sink.lines)
        assert 4096 == len(result.log_tail)
        assert b"\nREPORT RequestId: request-1" in result.log_tail

    play(scenario)


def test_unhandled_exception(play: Play) -> None:
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
def test_process_exit(play: Play, event: dict[str, Any], ending: str) -> None:
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


def test_timeout_kills(play: Play) -> None:
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


def test_init_error(play: Play) -> None:
    """A module that cannot be imported answers with what the runtime client posted."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({}, handler="broken.handler")
        assert json.loads(result.payload)["errorType"] == "Runtime.ImportModuleError"
        assert result.error == "Unhandled"
        missing = await bench.run({}, handler="app.nothing", key="k2")
        assert json.loads(missing.payload)["errorType"] == "Runtime.HandlerNotFound"

    play(scenario)


def test_response_too_large(play: Play) -> None:
    """AWS's limit of 6,291,556 bytes holds for the response."""

    async def scenario(bench: Bench) -> None:
        result = await bench.run({"do": "big"})
        assert json.loads(result.payload)["errorType"] == "Function.ResponseSizeTooLarge"

    play(scenario)


def test_memory_is_limited(play: Play) -> None:
    """A function that takes more than its memory dies, and its neighbours live."""

    async def scenario(bench: Bench) -> None:
        neighbour = asyncio.create_task(bench.run({"do": "sleep", "seconds": 1}))
        result = await bench.run({"do": "memory"})
        expected = {
            "errorType": "Runtime.ExitError",
            "errorMessage": "RequestId: request-1 Error: Runtime exited with error: signal: killed",
        }
        assert expected == json.loads(result.payload)
        assert b"\tMemory Size: 256 MB\tMax Memory Used: 256 MB\t" in result.log_tail
        assert result.log_tail.endswith(b"\tStatus: error\tError Type: Runtime.OutOfMemory\n")
        assert None is (await neighbour).error

    play(scenario)


def test_environment_that_died_between_events_is_replaced(
    play: Play,
) -> None:
    """A caller must not pay for what a background thread did after the event before."""

    async def scenario(bench: Bench) -> None:
        first = json.loads((await bench.run({"do": "background"})).payload)
        second = await bench.run({"do": "sleep", "seconds": 0.0})
        while json.loads(second.payload).get("process") == first["process"]:
            second = await bench.run({})
            if second.error is not None:
                break  # the process ended in the middle of this event, which is that event's own
            await asyncio.sleep(0.01)
        last = await bench.run({})
        assert None is last.error

    play(scenario)


def test_idle_environments_end(play: Play) -> None:
    """Environments that nothing uses give their memory back, by Penstock's clock."""

    async def scenario(bench: Bench) -> None:
        await bench.run({})

        async def settle() -> None:
            await asyncio.sleep(0)

        await bench.clock.advance(IDLE_MS + 1, settle)
        assert json.loads((await bench.run({})).payload)["count"] == 1

    play(scenario)


def test_retire(play: Play) -> None:
    """After an update no event may meet the old code."""

    async def scenario(bench: Bench) -> None:
        busy = asyncio.create_task(bench.run({"do": "sleep", "seconds": 0.3}))
        await bench.run({})
        await bench.runtime.retire(bench.spec().arn)
        await busy
        assert json.loads((await bench.run({})).payload)["count"] == 1

    play(scenario)


def test_zygote_death_is_survived(play: Play) -> None:
    """The parent of all environments is only a process: when it dies another one takes its place."""

    async def scenario(bench: Bench) -> None:
        await bench.run({})
        spawner = (await bench.launcher.parent(OWN_RUNTIME)).spawner
        assert spawner._process is not None
        spawner._process.kill()
        (environment,) = bench.runtime._all
        async with asyncio.timeout(10):
            while not environment._down:
                await asyncio.sleep(0)
        assert None is (await bench.run({})).error

    play(scenario)


def test_provisioned_environments(tmp_path: Path) -> None:
    """Provisioned environments are initialised before the first event, outlast idleness, and are made up for."""

    async def scenario(bench: Bench) -> None:
        assert 2 == await bench.runtime.provision(bench.spec(), 2)
        found = json.loads((await bench.run({"do": "environment"})).payload)
        assert "provisioned-concurrency" == found["AWS_LAMBDA_INITIALIZATION_TYPE"]
        first = json.loads((await bench.run({})).payload)["process"]

        async def settle() -> None:
            await asyncio.sleep(0)

        await bench.clock.advance(IDLE_MS + 1, settle)
        assert first == json.loads((await bench.run({})).payload)["process"]
        assert 3 == await bench.runtime.provision(bench.spec(), 3)
        assert 3 == len(bench.runtime._all)
        assert 0 == await bench.runtime.provision(bench.spec(), 0)
        await bench.clock.advance(IDLE_MS + 1, settle)
        assert 0 == len(bench.runtime._all)
        assert 0 == await bench.runtime.provision(bench.spec(handler="broken.handler", key="k2"), 2)

    play_on(tmp_path, scenario)
