"""Fixtures of black-box tests that several files share."""

from collections.abc import Iterator

import pytest

from tests.conftest import Server


@pytest.fixture(scope="session")
def frozen_events() -> Iterator[Server]:
    """A Penstock for tests of EventBridge that steer its time; they keep apart by names."""
    running = Server(":memory:")
    yield running
    running.stop()
