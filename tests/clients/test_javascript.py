"""The JavaScript SDK, version 3, on Node.js."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = Path(__file__).with_name("scenarios.mjs")


@pytest.fixture
def sdk(node_modules: Path, tmp_path: Path) -> None:
    """The SDK where the test's own modules look for it."""
    (tmp_path / "node_modules").symlink_to(node_modules)


@pytest.mark.parametrize(
    "scenario", ["roundTrip", "batch", "longPoll", "visibility", "fifo", "errors"]
)
@pytest.mark.usefixtures("sdk")
def test_sqs(
    scenario: str,
    snippet: Callable[[str, str], str],
    put: Callable[[str, str], Path],
    run: Callable[..., str],
    unique: str,
) -> None:
    """Half of the functions on AWS are JavaScript: its SDK checks digests and makes classes of errors by itself."""
    put("sqs.mjs", snippet("JavaScript", "js"))
    shutil.copy(SCENARIOS, put("scenarios.mjs", ""))

    run(["node", "scenarios.mjs", scenario, unique])


@pytest.mark.usefixtures("sdk")
def test_from_the_environment(
    put: Callable[[str, str], Path],
    run: Callable[..., str],
    variables: dict[str, str],
    unique: str,
    sqs: Any,
) -> None:
    """Code that was written for AWS names no endpoint: the variables alone bring it here."""
    put(
        "create.mjs",
        """
        import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
        const command = new CreateQueueCommand({ QueueName: process.argv[2] });
        console.log((await new SQSClient().send(command)).QueueUrl);
        """,
    )
    printed = run(["node", "create.mjs", unique], **variables)

    assert sqs.get_queue_url(QueueName=unique)["QueueUrl"] == printed.strip()
