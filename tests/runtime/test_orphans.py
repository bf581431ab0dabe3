"""Functions do not outlive the server, however it ends and whatever they are doing."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.runtime.bench import Bench, play, why_no_sandbox

BUSY = """
import time
def handler(event, context):
    while True:
        time.sleep(0.01)
"""


def descendants(pid: int) -> set[int]:
    """Every process below one."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found |= {child} | descendants(child)
    return found


def zygote(bench: Bench) -> int:
    """The process that forks those of functions; 0 before there is one."""
    for parent in bench.runtime._launcher._parents.values():
        if parent.spawner._process is not None:
            return parent.spawner._process.pid
    return 0


def alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_processes_end_with_their_parent(tmp_path: Path, mode: str) -> None:
    """bubblewrap has the parent killed together with the server: it cannot end its children itself."""
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)

    async def scenario(bench: Bench) -> None:
        (bench.code / "busy.py").write_text(BUSY)
        event = asyncio.create_task(bench.run({}, handler="busy.handler", timeout_ms=60_000))
        # In the sandbox bubblewrap has the zygote, that one the first process of the function's own, and that one the function.
        while len(children := descendants(zygote(bench))) < (3 if mode == "bwrap" else 1):
            await asyncio.wait([event], timeout=0.05)
        if mode == "bwrap":
            os.kill(zygote(bench), signal.SIGKILL)
        else:
            await bench.runtime.close()
        for _ in range(200):
            if not alive(children):
                break
            await asyncio.sleep(0.05)
        assert not alive(children)
        event.cancel()
        await asyncio.gather(event, return_exceptions=True)

    play(tmp_path, scenario, mode=mode)
