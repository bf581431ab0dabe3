"""Celery on its SQS transport: real workers, with processes of their own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import eventually

JOBS = Path(__file__).with_name("celery_jobs.py")
FAST = {"polling_interval": 0.05}
WORKER = ("-A", "celery_jobs", "worker", "-c", "2", "--prefetch-multiplier", "16", "-l", "WARNING")


@pytest.fixture
def celery(
    snippet: Callable[[str, str], str],
    put: Callable[[str, str], Path],
    client_program: Callable[[str], str],
    run: Callable[..., str],
    unique: str,
) -> Callable[..., str]:
    """`celery(**options)`: the application in the test's folder, with more options of its transport; its program."""

    def prepare(**options: Any) -> str:
        more = f"app.conf.broker_transport_options.update({options!r})\n"
        put("connection.py", snippet("Celery", "python") + more)
        put("queue.txt", unique)
        shutil.copy(JOBS, put("celery_jobs.py", ""))
        return client_program("celery")

    return prepare


@pytest.fixture
def enqueue(client_program: Callable[[str], str], run: Callable[..., str]) -> Callable[[str], str]:
    """`enqueue(expression)`: send jobs as an application would, from a process of its own."""
    return lambda code: run([client_program("python"), "-c", f"from celery_jobs import *\n{code}"])


def test_thousand_jobs(
    celery: Any,
    enqueue: Any,
    work: Any,
    records: Callable[[], list[int]],
    depth: Callable[[str], int],
    unique: str,
) -> None:
    """Every job is done, none twice while nothing fails, and nothing is left: what a worker is trusted with."""
    program = celery(**FAST)
    work([program, *WORKER])
    enqueue("for n in range(1000): record.delay(n)")
    eventually(lambda: len(records()), lambda done: done >= 1000)
    eventually(lambda: depth(unique), lambda left: left == 0)

    assert list(range(1000)) == sorted(records())


def test_killed_worker(
    celery: Any,
    enqueue: Any,
    work: Any,
    records: Callable[[], list[int]],
    depth: Callable[[str], int],
    unique: str,
    tmp_path: Path,
) -> None:
    """What a worker had in its hands when it was killed is done by the next one, after the visibility timeout."""
    program = celery(**FAST, visibility_timeout=4)
    enqueue("stall.delay(0)\nfor n in range(1, 100): record.delay(n)")
    first = work([program, *WORKER])
    eventually(lambda: ((tmp_path / "stalled").exists(), len(records()) > 10), all)
    first.kill()
    work([program, *WORKER])
    eventually(lambda: len(set(records())), lambda done: done >= 100)
    eventually(lambda: depth(unique), lambda left: left == 0)

    assert set(range(100)) == set(records())


def test_from_the_environment(
    celery: Any,
    put: Callable[[str, str], Path],
    client_program: Callable[[str], str],
    run: Callable[..., str],
    variables: dict[str, str],
    depth: Callable[[str], int],
    unique: str,
) -> None:
    """An application whose broker is `sqs://` on AWS runs here by the variables alone."""
    celery()
    put("connection.py", 'from celery import Celery\n\napp = Celery("jobs", broker="sqs://")\n')
    code = "from celery_jobs import record; record.delay(1)"
    run([client_program("python"), "-c", code], **variables)

    assert 1 == depth(unique)
