"""What runs around a function's runtime: wrapper scripts, and the variables that Lambda sets or leaves out."""

import json
import shutil
from pathlib import Path

import pytest

from tests.runtime.bench import OWN_RUNTIME, Bench, play, why_no_sandbox

WRAPPER = """#!/bin/bash
export WRAPPED="$(basename "$1")"
exec "$@"
"""
PYTHON = """
import os
def handler(event, context):
    return {"echo": event, "variables": dict(os.environ)}
"""
NODE = """
exports.handler = async (event) => ({ echo: event, variables: process.env });
"""
node = pytest.param("nodejs20.x", marks=pytest.mark.skipif(not shutil.which("node"), reason="no Node.js"))  # fmt: skip


def need(mode: str, folder: Path) -> None:
    if mode == "bwrap" and (why := why_no_sandbox(folder)):
        pytest.skip(why)


@pytest.mark.parametrize("mode", ["none", "bwrap"])
@pytest.mark.parametrize("runtime", [OWN_RUNTIME, node])
def test_wrapper_script(tmp_path: Path, runtime: str, mode: str) -> None:
    """The runtime is started by a script of the function's, which is given what to run."""
    need(mode, tmp_path)

    async def scenario(bench: Bench) -> None:
        (bench.code / "index.py").write_text(PYTHON)
        (bench.code / "index.js").write_text(NODE)
        (bench.code / "wrapper").write_text(WRAPPER)
        (bench.code / "wrapper").chmod(0o755)
        chosen = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper", "PYTHONPATH": "/opt/mine"}
        kind = {"runtime": runtime, "handler": "index.handler", "environment": chosen}
        for number in (1, 2):
            document = json.loads((await bench.run({"n": number}, **kind)).payload)
            assert {"n": number} == document["echo"]
        assert document["variables"]["WRAPPED"].startswith(("python", "node"))
        assert "/opt/mine" in document["variables"]["PYTHONPATH"].split(":")

    play(tmp_path, scenario, mode=mode)


@pytest.mark.parametrize("mode", ["none", "bwrap"])
def test_wrapper_that_is_missing(tmp_path: Path, mode: str) -> None:
    """It is the function's fault, told as that of a bootstrap that cannot be run."""
    need(mode, tmp_path)

    async def scenario(bench: Bench) -> None:
        chosen = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/nowhere"}
        result = await bench.run({}, environment=chosen)
        document = json.loads(result.payload)
        assert "Runtime.InvalidEntrypoint" == document["errorType"]
        assert document["errorMessage"].endswith(
            "fork/exec /opt/nowhere: no such file or directory"
        )

    play(tmp_path, scenario, mode=mode)


def test_variables_in_the_sandbox(tmp_path: Path) -> None:
    """As on AWS: programs and libraries under `/var/lang`, a shell's level, and no home."""
    need("bwrap", tmp_path)

    async def scenario(bench: Bench) -> None:
        (bench.code / "index.py").write_text(PYTHON)
        found = json.loads((await bench.run({}, handler="index.handler")).payload)["variables"]
        assert "HOME" not in found
        assert {
            "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "PWD": "/var/task",
            "PYTHONPATH": "/var/runtime",
            "SHLVL": "0",
            "TZ": ":UTC",
        }.items() <= found.items()

    play(tmp_path, scenario, mode="bwrap")


@pytest.mark.skipif(
    not shutil.which("bash") or not shutil.which("curl"), reason="no bash or no curl"
)
def test_sh_is_bash_in_the_sandbox(tmp_path: Path) -> None:
    """Bootstraps for Amazon Linux rely on it."""
    need("bwrap", tmp_path)
    bootstrap = """#!/bin/sh
set -euo pipefail
source ./said.sh
next="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  curl -sS -D /tmp/head "$next/next" > /tmp/event
  id=$(grep -i Lambda-Runtime-Aws-Request-Id /tmp/head | tr -d '[:space:]' | cut -d: -f2)
  curl -sS -d "\\"$SAID\\"" "$next/$id/response"
done
"""

    async def scenario(bench: Bench) -> None:
        (bench.code / "bootstrap").write_text(bootstrap)
        (bench.code / "bootstrap").chmod(0o755)
        (bench.code / "said.sh").write_text("SAID=sourced\n")
        assert b'"sourced"' == (await bench.run({}, runtime="provided.al2023")).payload

    play(tmp_path, scenario, mode="bwrap")
