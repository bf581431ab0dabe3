"""Fixtures shared by every suite: engines for conformance, a running Penstock for black-box tests."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CREDENTIALS = {
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "region_name": "us-east-1",
}


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """A Penstock process of its own."""

    def __init__(self, data: str, *arguments: str) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.data = data
        self.log = Path(data if data != ":memory:" else "/tmp") / f"penstock-{self.port}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.arguments = arguments
        self.start()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "penstock",
                    "up",
                    "--port",
                    str(self.port),
                    "--data",
                    self.data,
                    *self.arguments,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.endpoint}/_penstock/health", timeout=1),
            ):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"Penstock did not start:\n{self.log.read_text()}")

    def steer(self, what: str, document: dict[str, Any] | None = None) -> Any:
        """GET, or POST a document, to `/_penstock/clock` or `/_penstock/faults`."""
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.endpoint}/_penstock/{what}", data=data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process as an operator would."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def make_client(endpoint: str, service: str, **options: Any) -> Any:
    """A boto3 client that fails at once instead of retrying."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"max_attempts": 0}, read_timeout=60)
    return boto3.client(service, endpoint_url=endpoint, config=config, **{**CREDENTIALS, **options})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One Penstock for all black-box tests; they keep apart by names."""
    running = Server(str(tmp_path_factory.mktemp("data")))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Server]]:
    """Starts a Penstock of the test's own: `launch(data, *arguments)`. It is ended with the module."""
    running: list[Server] = []

    def start(data: Path | str, *arguments: str) -> Server:
        running.append(Server(str(data), *arguments))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


@pytest.fixture(scope="session")
def connect() -> Callable[..., Any]:
    """Makes boto3 clients for any Penstock: `connect(endpoint, service, **options)`."""
    return make_client


@pytest.fixture(scope="session")
def endpoint(server: Server) -> str:
    """Where Penstock answers."""
    return server.endpoint


@pytest.fixture(scope="session")
def aws(endpoint: str) -> Callable[..., Any]:
    """A factory of boto3 clients, one for each service."""
    cache: dict[str, Any] = {}

    def client(service: str, **options: Any) -> Any:
        if options:
            return make_client(endpoint, service, **options)
        if service not in cache:
            cache[service] = make_client(endpoint, service)
        return cache[service]

    return client


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"{request.node.name[:30].replace('[', '-').replace(']', '')}-{os.urandom(4).hex()}".replace(
        "_", "-"
    )
