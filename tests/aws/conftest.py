"""Fixtures of black-box tests that several files share."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.aws.lambda_application import Application
from tests.conftest import Server
from tests.trust import TRUST

Aws = Callable[..., Any]


@pytest.fixture
def functions(aws: Aws) -> Any:
    return aws("lambda")


@pytest.fixture(scope="module")
def role(aws: Aws) -> str:
    """A role that functions may be run as."""
    created = aws("iam").create_role(
        RoleName=f"functions-{time.time_ns()}", AssumeRolePolicyDocument=json.dumps(TRUST)
    )
    return str(created["Role"]["Arn"])


@pytest.fixture(scope="session")
def frozen_events() -> Iterator[Server]:
    """A Penstock for tests of EventBridge that steer its time; they keep apart by names."""
    running = Server(":memory:")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def frozen(launch: Callable[..., Server]) -> Server:
    """A Penstock of the module's own whose time stands still."""
    server = launch(":memory:")
    server.steer("clock", {"freeze": True})
    return server


@pytest.fixture
def application(frozen: Server, connect: Callable[..., Any], unique: str) -> Application:
    """What a test makes on it: queues and functions. A test before it may have let time run."""
    made = Application(frozen.endpoint, connect, unique)
    made.steer("clock", {"freeze": True})
    return made
