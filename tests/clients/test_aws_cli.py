"""The AWS CLI, version 1, as scripts use it."""

import json
import subprocess
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Account, environment

Aws = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def aws_sqs(aws_program: str, account: Account, variables: dict[str, str], tmp_path: Path) -> Aws:
    """`aws_sqs(arguments...)`: an ended `aws sqs`."""
    return lambda *arguments: subprocess.run(
        [aws_program, "--endpoint-url", account.endpoint, "sqs", *arguments],
        env=environment(tmp_path, variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def answer(aws_sqs: Aws) -> Callable[..., Any]:
    """`answer(arguments...)`: the document that `aws sqs` printed, or nothing."""

    def call(*arguments: str) -> Any:
        ended = aws_sqs(*arguments)
        assert (0, "") == (ended.returncode, ended.stderr)
        return json.loads(ended.stdout or "null")

    return call


def test_documented_lines(
    aws_program: str, snippet: Callable[[str, str], str], run: Callable[..., str], sqs: Any
) -> None:
    """The lines of the documentation are pasted into a shell."""
    lines = snippet("AWS CLI", "console").replace("$ aws ", f"{aws_program} ").replace("$ ", "")
    printed = run(["bash", "-ec", lines])

    assert '"Body": "hello"' in printed
    assert sqs.get_queue_url(QueueName="greetings")["QueueUrl"] in printed


def test_message(answer: Callable[..., Any], put: Callable[[str, str], Path], unique: str) -> None:
    """A script sends, receives, gives back, receives again and deletes, with JSON in files and on the command line."""
    at = ["--queue-url", answer("create-queue", "--queue-name", unique)["QueueUrl"]]
    put(
        "attributes.json",
        '{"Kind": {"DataType": "String", "StringValue": "order"},'
        ' "Raw": {"DataType": "Binary", "BinaryValue": "raw"}}',
    )
    sent = answer(
        "send-message",
        *at,
        "--message-body",
        "grüße",
        "--message-attributes",
        "file://attributes.json",
    )
    receive = partial(answer, "receive-message", *at, "--wait-time-seconds", "5")
    (first,) = receive("--message-attribute-names", "All")["Messages"]
    handle = ["--receipt-handle", first["ReceiptHandle"]]
    answer("change-message-visibility", *at, *handle, "--visibility-timeout", "0")
    (again,) = receive("--attribute-names", "ApproximateReceiveCount")["Messages"]
    answer("delete-message", *at, "--receipt-handle", again["ReceiptHandle"])
    left = answer("get-queue-attributes", *at, "--attribute-names", "All")["Attributes"]

    assert ("grüße", sent["MessageId"]) == (first["Body"], first["MessageId"])
    # Version 1 sends the text of a blob as it stands, and prints base64.
    assert b"raw" == b64decode(first["MessageAttributes"]["Raw"]["BinaryValue"])
    assert sent["MD5OfMessageAttributes"] == first["MD5OfMessageAttributes"]
    assert {"ApproximateReceiveCount": "2"} == again["Attributes"]
    assert ("0", "0") == (
        left["ApproximateNumberOfMessages"],
        left["ApproximateNumberOfMessagesNotVisible"],
    )


def test_batch_to_fifo(
    answer: Callable[..., Any], put: Callable[[str, str], Path], unique: str
) -> None:
    """Ten messages from a file come out of a FIFO queue in the file's order."""
    name = f"{unique}.fifo"
    created = answer("create-queue", "--queue-name", name, "--attributes", "FifoQueue=true")
    at = ["--queue-url", created["QueueUrl"]]
    entries = [
        {
            "Id": f"e{n}",
            "MessageBody": f"{n}",
            "MessageGroupId": "g",
            "MessageDeduplicationId": f"{n}",
        }
        for n in range(10)
    ]
    put("entries.json", json.dumps(entries))
    sent = answer("send-message-batch", *at, "--entries", "file://entries.json")
    got = answer("receive-message", *at, "--max-number-of-messages", "10")

    assert [f"e{n}" for n in range(10)] == [entry["Id"] for entry in sent["Successful"]]
    assert [f"{n}" for n in range(10)] == [message["Body"] for message in got["Messages"]]


def test_missing_queue(aws_sqs: Aws, unique: str) -> None:
    """Scripts look at the exit status and at the code in the error's text."""
    ended = aws_sqs("get-queue-url", "--queue-name", unique)

    assert 255 == ended.returncode
    assert (
        "An error occurred (AWS.SimpleQueueService.NonExistentQueue) when calling the GetQueueUrl operation:"
        " The specified queue does not exist." in ended.stderr
    )
