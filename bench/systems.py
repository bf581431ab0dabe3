"""The systems under measurement: how each is started, and what it weighs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[1]
PEER_PYTHON = ROOT / ".venv-peer" / "bin" / "python"


@dataclass
class System:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    ready_s: float
    folder: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}, read_timeout=120),
        )

    def memory_mb(self) -> float:
        """Proportional memory of the process and its children."""
        return sum(_pss_kb(pid) for pid in _tree(self.process.pid)) / 1024


def commands(name: str, port: int, folder: str) -> tuple[list[str], dict[str, str], str]:
    """The command, extra environment and the path that tells readiness."""
    up = [sys.executable, "-m", "penstock", "up", "--port", str(port), "--data", f"{folder}/data"]
    if name == "penstock":
        return up, {}, "/_penstock/health"
    if name == "counted":
        counter = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        out = f"--callgrind-out-file={folder}/callgrind"
        return [*counter, out, *up], {}, "/_penstock/health"
    if name == "limit":
        return (
            [sys.executable, str(ROOT / "bench" / "limit.py"), str(port), f"{folder}/data"],
            {},
            "/",
        )
    environment = {"GATEWAY_PORT": str(port), "EDGE_PORT": str(port), "LOG_LEVEL": "ERROR"}
    return [str(PEER_PYTHON), "-m", "ministack"], environment, "/_ministack/health"


@contextlib.contextmanager
def running(name: str) -> Iterator[System]:
    """A system on a free port and in a folder of its own, ended with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(
        prefix=f"bench-{name}-", dir=os.environ.get("BENCH_DIR")
    ) as folder:
        command, extra, path = commands(name, port, folder)
        log = Path(folder) / "log"
        # The servers' functions must not find the credentials of whoever runs the benchmark.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | extra
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
        try:
            while True:
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1),
                ):
                    break
                if process.poll() is not None or time.perf_counter() - started > 60:
                    raise RuntimeError(f"{name} did not start:\n{log.read_text()}")
                time.sleep(0.005)
            yield System(name, port, process, time.perf_counter() - started, Path(folder))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def processes(system: System) -> list[int]:
    """The process ids of a system."""
    return _tree(system.process.pid)


def private_mb(pid: int) -> float:
    """What a process has for itself alone."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return (
        sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
        / 1024
    )


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        direct = [int(text) for text in children.read_text().split()]
    except FileNotFoundError:
        return []
    return [pid, *(p for child in direct for p in _tree(child))]


def _pss_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
