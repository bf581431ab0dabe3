"""boto3, as the documentation tells to make its client. What SQS does is in `tests/aws`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROUND_TRIP = """
import sys

url = sqs.create_queue(QueueName=sys.argv[1])["QueueUrl"]
sqs.send_message(QueueUrl=url, MessageBody="hello")
(message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
print(message["Body"])
"""


@pytest.fixture
def round_trip(
    client_program: Callable[[str], str],
    put: Callable[[str, str], Path],
    run: Callable[..., str],
    unique: str,
    depth: Callable[[str], int],
) -> Callable[..., None]:
    """`round_trip(connection, **variables)`: a message goes through a queue, and is gone."""

    def go(connection: str, **variables: str) -> None:
        put("round_trip.py", connection + ROUND_TRIP)
        printed = run([client_program("python"), "round_trip.py", unique], **variables)
        assert ("hello\n", 0) == (printed, depth(unique))

    return go


def test_documented_lines(round_trip: Any, snippet: Callable[[str, str], str]) -> None:
    """The lines of the documentation are all that it takes."""
    round_trip(snippet("boto3", "python"))


def test_from_the_environment(round_trip: Any, variables: dict[str, str]) -> None:
    """Code that was written for AWS names no endpoint: the variables alone bring it here."""
    round_trip('import boto3\n\nsqs = boto3.client("sqs")\n', **variables)
