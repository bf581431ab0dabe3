"""What the end-to-end tests share: the command line as a user runs it, and the orders application."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ORDERS = Path(__file__).parents[2] / "examples" / "orders"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(endpoint: str, home: Path) -> dict[str, str]:
    """The variables of a user who works against `endpoint`, with a home of their own and nothing configured.

    `PYTHONPATH` is handed on: whoever tests a work tree by it must not run another tree's commands.
    """
    path = os.environ.get("PYTHONPATH")
    return ({"PYTHONPATH": path} if path else {}) | {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
        "SAM_CLI_TELEMETRY": "0",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="session")
def shell(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a program with the shared Penstock as its AWS and returns when it has ended."""
    home = tmp_path_factory.mktemp("home")

    def run(
        *command: str | Path, at: str = endpoint, folder: Path = home, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            env=environment(at, home),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def penstock(shell: Shell) -> Shell:
    """Runs a command of Penstock's."""
    return partial(shell, sys.executable, "-m", "penstock")


@pytest.fixture(scope="session")
def orders_folder() -> Path:
    """The application's sources."""
    return ORDERS


class Shop:
    """The orders application as its clients see it: one stack of `examples/orders`."""

    def __init__(self, endpoint: str, connect: Callable[..., Any], outputs: dict[str, str]) -> None:
        self.host = endpoint.removeprefix("http://")
        self.outputs = outputs
        self.dynamodb = connect(endpoint, "dynamodb")
        self.sqs = connect(endpoint, "sqs")
        self.base = f"/restapis/{outputs['ApiId']}/v1/_user_request_"

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and JSON document of a plain HTTP request to a path of this server."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def place(self, order: dict[str, Any], key: str | None = None) -> str:
        """Send an order; the id by which it can be asked for."""
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        status, document = self.request(
            "POST", f"{self.base}/orders", json.dumps(order).encode(), headers
        )
        assert (202, "QUEUED") == (status, document["status"]), document
        return str(document["id"])

    def status(self, order_id: str) -> str:
        """What the API says about an order."""
        status, document = self.request("GET", f"{self.base}/orders/{order_id}")
        assert (200, order_id) == (status, document["id"]), document
        return str(document["status"])

    def wait_until_done(self, order_ids: Iterable[str]) -> None:
        """Poll, as the application's clients do."""
        for order_id in order_ids:
            eventually(
                lambda order_id=order_id: self.status(order_id), lambda status: status == "DONE"
            )

    def item(self, order_id: str) -> dict[str, Any]:
        """What the table holds of an order: text and numbers by attribute."""
        answer = self.dynamodb.get_item(
            TableName=self.outputs["TableName"], Key={"id": {"S": order_id}}, ConsistentRead=True
        )
        return {name: next(iter(value.values())) for name, value in answer["Item"].items()}


def outputs_of(connect: Callable[..., Any], endpoint: str, stack: str) -> dict[str, str]:
    """A stack's outputs."""
    (found,) = connect(endpoint, "cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}


@pytest.fixture(scope="session")
def open_shop(endpoint: str, connect: Callable[..., Any]) -> Callable[[str], Shop]:
    """The application that is deployed as a stack of the shared Penstock."""
    return lambda stack: Shop(endpoint, connect, outputs_of(connect, endpoint, stack))


def eventually(look: Callable[[], Any], good: Callable[[Any], bool], within_s: float = 30) -> Any:
    """What `look` finds once it is good; fails after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not good(found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {found}")
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session", name="eventually")
def eventually_fixture() -> Callable[..., Any]:
    """`eventually(look, good)`: what `look` finds once it is good."""
    return eventually
