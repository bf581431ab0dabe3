"""The server's end of the zygote, with a real one."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.closure import closure
from penstock.runtime.sandbox import interpreted
from penstock.runtime.spawner import Spawner, SpawnError

PYTHON = Path(sys.executable).resolve()


def request(folder: Path, **environ: str) -> dict[str, Any]:
    """A process that complains that it has no Runtime API, and ends."""
    return {
        "command": None,
        "cwd": str(folder),
        "path": [],
        "handler": "app.handler",
        "environ": environ,
        "memory_mb": 128,
    }


def play(folder: Path, scenario: Callable[[Spawner, int, int], Awaitable[None]]) -> None:
    """Run a scenario with a spawner and a pipe."""

    async def whole() -> None:
        sdk = folder / "sdk"
        sdk.mkdir()
        for entry in closure():
            (sdk / Path(entry).name).symlink_to(entry)
        spawner = Spawner(interpreted(PYTHON), {"sdk": str(sdk)})
        read_end, write_end = os.pipe()
        try:
            await scenario(spawner, read_end, write_end)
        finally:
            await spawner.close()
            os.close(read_end)
            os.close(write_end)

    asyncio.run(whole())


def test_answer_to_a_cancelled_spawn_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """A caller that was given another's process would talk to a function that logs and ends elsewhere."""

    async def scenario(spawner: Spawner, read_end: int, write_end: int) -> None:
        elsewhere = os.open(os.devnull, os.O_WRONLY)
        given_up = asyncio.ensure_future(spawner.spawn(request(tmp_path), elsewhere))
        await asyncio.sleep(0)  # the request is sent; the zygote takes its time to begin
        given_up.cancel()
        child = await spawner.spawn(request(tmp_path), write_end)
        os.close(elsewhere)
        assert 1 == await child.exited
        assert b"Traceback" in os.read(read_end, 65_536)

    play(tmp_path, scenario)


def test_request_that_cannot_be_sent_fails_alone(tmp_path: Path) -> None:
    """One impossible request must not end the processes of every other function."""

    async def scenario(spawner: Spawner, read_end: int, write_end: int) -> None:
        child = await spawner.spawn(request(tmp_path), write_end)
        with pytest.raises(SpawnError):
            await spawner.spawn(request(tmp_path, HUGE="x" * 2_000_000), write_end)
        assert 1 == await child.exited

    play(tmp_path, scenario)
