"""`penstock doctor`: what this machine has, and what would keep Penstock from running well on it."""

import asyncio
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from penstock.cli.client import ask
from penstock.config import from_environment
from penstock.runtime.catalogue import RUNTIMES
from penstock.runtime.interpreter import Interpreters
from penstock.runtime.model import RuntimeUnavailable
from penstock.runtime.sandbox import find_sandbox


class Finding(NamedTuple):
    """One line of the report; `ok` None for a mere fact."""

    ok: bool | None
    what: str
    advice: str = ""


def findings(endpoint: str, data: str) -> Iterator[Finding]:
    """Look at the interpreter, the data folder, the disk, the port and the running server."""
    yield Finding(
        sys.version_info >= (3, 11),
        f"Python {platform.python_version()}",
        "use Python 3.11 or newer",
    )
    yield Finding(None, f"SQLite {apsw.sqlite_lib_version()} by apsw {apsw.apsw_version()}")
    yield from _folder(Path(data))
    yield from _server(endpoint)
    yield from asyncio.run(_runtimes(Path(sys.executable).resolve()))


async def _runtimes(python: Path) -> list[Finding]:
    """What functions can be run with here, and in what."""
    config = from_environment()
    interpreters = Interpreters(config.search_path, Path.home(), config.cache)
    found = []
    for runtime in RUNTIMES.values():
        if runtime.family == "provided":
            continue
        try:
            interpreter = await interpreters.find(runtime)
        except RuntimeUnavailable:
            found.append(Finding(None, f"{runtime.identifier}: {runtime.label} is not installed"))
            continue
        what = f"{runtime.identifier}: {interpreter.given}"
        if runtime.family == "python" and not await interpreters.has_sdk(runtime, interpreter):
            what += ", boto3 and awslambdaric will be fetched when a function first needs them"
        if runtime.family == "nodejs":
            what += ", without the AWS SDK: package @aws-sdk/* with the function or in a layer"
        found.append(Finding(None, what))
    with tempfile.TemporaryDirectory() as folder:
        sandbox = await find_sandbox(
            config.search_path, Path(folder), python, Path(sys.base_prefix)
        )
    why = f"not available: {sandbox}" if isinstance(sandbox, str) else "works"
    return [*found, Finding(None, f"the sandbox of functions (bubblewrap): {why}")]


def _folder(folder: Path) -> Iterator[Finding]:
    existing = next(p for p in [folder.resolve(), *folder.resolve().parents] if p.exists())
    writable = os.access(existing, os.W_OK) and shutil.disk_usage(existing).total > 0
    yield Finding(
        writable,
        f"data folder {folder} is writable",
        f"make {existing} writable, or choose another --data",
    )
    if not writable:
        return
    free = shutil.disk_usage(existing).free
    yield Finding(
        free > 1 << 30, f"{free >> 20:,} MiB free", "free some space: a full disk refuses writes"
    )
    took = _sync_ms(existing)
    yield Finding(
        took < 50,
        f"a flush to disk takes {took:.1f} ms",
        "a slow disk answers slowly; throughput is kept by grouping",
    )


def _sync_ms(folder: Path) -> float:
    """The median time of a small flush."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(9):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return sorted(times)[4]


def _server(endpoint: str) -> Iterator[Finding]:
    try:
        health = ask(endpoint, "GET", "/_penstock/health")
    except OSError:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        with socket.socket() as probe:
            busy = probe.connect_ex((host, int(port or 80))) == 0
        yield Finding(
            not busy,
            f"nothing else answers at {endpoint}",
            "another program has the port; use up --port",
        )
        return
    yield Finding(True, f"Penstock {health['version']} answers at {endpoint}")
