"""What a function can see and take: its own files, its `/tmp`, and the interpreter its runtime names."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import six

from penstock.runtime.memory import delegated_group
from penstock.runtime.model import RuntimeUnavailable
from tests.runtime.bench import Bench, play, why_no_sandbox

LOOK = """
import json, os, socket, subprocess, sys, tempfile
def handler(event, context):
    if "write" in event:
        with open(os.path.join(tempfile.gettempdir(), "kept"), "a") as file:
            file.write(event["write"])
    if "fill" in event:
        with open("/tmp/large", "wb") as file:
            for _ in range(event["fill"]):
                file.write(bytes(1 << 20))
    if "exit" in event:
        os._exit(1)
    if "spoil" in event:
        open("/var/task/spoiled", "w")
    if "modules" in event:
        import boto3, six
        found = []
        for name in ("click", "apsw", "penstock"):
            try:
                __import__(name)
                found.append(name)
            except ImportError:
                pass
        return {"version": "%d.%d" % sys.version_info[:2], "boto3": boto3.__name__, "found": found, "six": six.__file__}
    kept = os.path.join(tempfile.gettempdir(), "kept")
    return {
        "kept": open(kept).read() if os.path.exists(kept) else "",
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "seen": [path for path in event.get("paths", []) if os.path.exists(path)],
        "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
    }
"""


def test_sandbox_shows_nothing_of_others(tmp_path: Path) -> None:
    """A function in the sandbox sees neither the data folder, nor a home, nor other processes, and has no rights."""
    if why := why_no_sandbox(tmp_path):
        pytest.skip(why)
    secret = tmp_path / "secret"
    secret.write_text("x")

    async def scenario(bench: Bench) -> None:
        (bench.code / "look.py").write_text(LOOK)
        paths = [
            str(secret),
            str(tmp_path),
            f"/run/functions/{secret.name}",
            str(Path.home() / ".cache"),
            "/run/penstock",
            "/run/scratch",
        ]
        seen = json.loads((await bench.run({"paths": paths}, handler="look.handler")).payload)
        assert ([], [1, 2], ["0000000000000000"]) == (
            seen["seen"],
            seen["processes"],
            seen["capabilities"],
        )
        spoiled = await bench.run({"spoil": 1}, handler="look.handler")
        assert "OSError" == json.loads(spoiled.payload)["errorType"]

    play(tmp_path, scenario, mode="bwrap")


@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_each_environment_has_its_own_tmp(tmp_path: Path, mode: str) -> None:
    """Files in /tmp outlive a crash in the same environment, as on AWS, and no other environment sees them."""
    if mode == "bwrap" and (why := why_no_sandbox(tmp_path)):
        pytest.skip(why)

    async def scenario(bench: Bench) -> None:
        (bench.code / "look.py").write_text(LOOK)

        async def run(key: str, **event: Any) -> Any:
            result = await bench.run(event, handler="look.handler", key=key)
            return json.loads(result.payload)

        assert "a" == (await run("k1", write="a"))["kept"]
        assert "Runtime.ExitError" == (await run("k1", exit=1))["errorType"]
        assert "ab" == (await run("k1", write="b"))["kept"]
        assert "" == (await run("k2"))["kept"]

    play(tmp_path, scenario, mode=mode)


def test_size_of_tmp_is_limited(tmp_path: Path) -> None:
    """In the sandbox /tmp holds what EphemeralStorage says and no more."""
    if why := why_no_sandbox(tmp_path):
        pytest.skip(why)

    async def scenario(bench: Bench) -> None:
        (bench.code / "look.py").write_text(LOOK)
        spec = {"handler": "look.handler", "ephemeral_mb": 20}
        assert None is (await bench.run({"fill": 10}, **spec)).error
        full = json.loads((await bench.run({"fill": 30}, **spec)).payload)
        assert "[Errno 28] No space left on device" == full["errorMessage"]

    play(tmp_path, scenario, mode="bwrap")


def test_own_packages_come_first(tmp_path: Path) -> None:
    """A function that packages a library of the SDK gets its own, though the parent has imported another."""

    async def scenario(bench: Bench) -> None:
        (bench.code / "look.py").write_text(LOOK)
        shutil.copy(six.__file__, bench.code / "six.py")
        result = await bench.run({"modules": 1}, handler="look.handler")
        assert str(bench.code / "six.py") == json.loads(result.payload)["six"]

    play(tmp_path, scenario)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_python_versions(tmp_path: Path, version: str) -> None:
    """Each runtime is run by a Python of its version, with boto3 and without what Penstock has installed."""

    async def scenario(bench: Bench) -> None:
        (bench.code / "look.py").write_text(LOOK)
        runtime = f"python{version}"
        try:
            await bench.runtime.prepare(runtime)
        except RuntimeUnavailable as error:
            pytest.skip(str(error))
        result = await bench.run({"modules": 1}, handler="look.handler", runtime=runtime)
        found = json.loads(result.payload)
        assert (version, "boto3", []) == (found["version"], found["boto3"], found["found"])

    play(tmp_path, scenario)


def test_missing_interpreter_says_what_to_install(tmp_path: Path) -> None:
    """Who lacks an interpreter is told which, and how to get it."""

    async def scenario(bench: Bench) -> None:
        bench.launcher._interpreters._folders = []
        bench.launcher._interpreters._home = tmp_path
        with pytest.raises(RuntimeUnavailable, match="nvm install 22"):
            await bench.runtime.prepare("nodejs22.x")

    play(tmp_path, scenario)


def test_idle_environment_is_small(tmp_path: Path) -> None:
    """Many idle environments fit a small machine because they share what their parent has imported."""

    async def scenario(bench: Bench) -> None:
        (bench.code / "small.py").write_text(
            "import boto3, os\nclient = boto3.client('sqs')\ndef handler(e, c): return os.getpid()\n"
        )
        pid = json.loads((await bench.run({}, handler="small.handler")).payload)
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()  # noqa: ASYNC240
        private = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        assert private < 25 * 1024

    play(tmp_path, scenario)


def test_delegated_group_is_divided(tmp_path: Path) -> None:
    """Where systemd delegates a control group, each environment is held to its memory by the kernel."""
    own = tmp_path / "user.slice"
    own.mkdir()
    (own / "cgroup.controllers").write_text("cpu memory pids")
    group = delegated_group(tmp_path, "/user.slice")
    assert group is not None
    assert str(os.getpid()) == (own / "penstock" / "cgroup.procs").read_text()
    assert "+memory" == (own / "functions" / "cgroup.subtree_control").read_text()
    group.enclose("one", os.getpid(), 128)
    assert str(128 << 20) == (own / "functions" / "one" / "memory.max").read_text()
    (own / "functions" / "one" / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.exceeded("one")
    (own / "cgroup.controllers").write_text("cpu pids")
    assert None is delegated_group(tmp_path, "/user.slice")
