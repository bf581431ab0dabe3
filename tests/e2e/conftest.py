"""What the end-to-end tests share: the command line as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ORDERS = Path(__file__).parents[2] / "examples" / "orders"
Penstock = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(endpoint: str, home: Path) -> dict[str, str]:
    """The variables of a user who works against `endpoint`, with a home of their own and nothing configured."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="session")
def penstock(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Penstock:
    """Runs a command against the shared Penstock and returns when it has ended."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str, at: str = endpoint, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "penstock", *arguments],
            env=environment(at, home),
            cwd=home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
