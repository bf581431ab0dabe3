"""Fixtures of black-box tests that several files share."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.aws.lambda_application import Application
from tests.conftest import Server


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
