"""dramatiq on SQS: real workers, with processes and threads of their own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import eventually

JOBS = Path(__file__).with_name("dramatiq_jobs.py")


@pytest.fixture
def python(
    put: Callable[[str, str], Path], client_program: Callable[[str], str], unique: str
) -> Callable[[str], list[str]]:
    """`python(connection)`: the jobs in the test's folder; how to run a line of Python with them."""

    def prepare(connection: str) -> list[str]:
        put("connection.py", connection)
        put("queue.txt", unique)
        shutil.copy(JOBS, put("dramatiq_jobs.py", ""))
        return [client_program("python"), "-c"]

    return prepare


def test_thousand_jobs(
    python: Any,
    snippet: Callable[[str, str], str],
    client_program: Callable[[str], str],
    run: Callable[..., str],
    work: Any,
    records: Callable[[], list[int]],
    depth: Callable[[str], int],
    unique: str,
) -> None:
    """Every job is done once, the one that fails three times is put aside, and nothing is left in the queue."""
    command = python(snippet("dramatiq", "python"))
    code = "from dramatiq_jobs import *\nfail.send(-1)\nfor n in range(1000): record.send(n)"
    work([client_program("dramatiq"), "dramatiq_jobs", "--threads", "4"])
    run([*command, code])
    eventually(lambda: len(records()), lambda done: done >= 1003)
    eventually(lambda: depth(unique), lambda left: left == 0)

    assert [-1, -1, -1, *range(1000)] == sorted(records())
    assert 1 == depth(f"{unique}_dlq")


def test_from_the_environment(
    python: Any,
    run: Callable[..., str],
    variables: dict[str, str],
    depth: Callable[[str], int],
    unique: str,
) -> None:
    """An application that names no endpoint runs here by the variables alone."""
    command = python(
        "import dramatiq\nfrom dramatiq_sqs import SQSBroker\n\n"
        "broker = SQSBroker()\ndramatiq.set_broker(broker)\n"
    )
    run([*command, "from dramatiq_jobs import record; record.send(1)"], **variables)

    assert 1 == depth(unique)
