"""Time and faults as a product: a whole Penstock whose clock and deliveries a test steers."""

import io
import json
import sys
import urllib.error
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server

SIX_HOURS = 6 * 3600


class Application:
    """An echo function whose events are told to a queue, whether they succeed or fail."""

    def __init__(self, server: Server, connect: Callable[..., Any]) -> None:
        self.server = server
        self.sqs = connect(server.endpoint, "sqs")
        self.functions = connect(server.endpoint, "lambda")
        iam = connect(server.endpoint, "iam")
        role = iam.create_role(
            RoleName="r", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'
        )["Role"]["Arn"]
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("main.py", "def handler(event, context):\n    return event\n")
        self.url = self.sqs.create_queue(QueueName="told")["QueueUrl"]
        queue = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.queue = queue["Attributes"]["QueueArn"]
        self.arn = self.functions.create_function(
            FunctionName="echo",
            Runtime=f"python3.{sys.version_info.minor}",
            Role=role,
            Handler="main.handler",
            Code={"ZipFile": package.getvalue()},
        )["FunctionArn"]
        told = {"Destination": self.queue}
        self.functions.put_function_event_invoke_config(
            FunctionName="echo", DestinationConfig={"OnSuccess": told, "OnFailure": told}
        )

    def send(self, number: int) -> None:
        payload = json.dumps({"n": number}).encode()
        self.functions.invoke(FunctionName="echo", InvocationType="Event", Payload=payload)

    def told(self) -> list[dict[str, Any]]:
        """The records that have come, in order."""
        found = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=43_200
        ).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
        return found


@pytest.fixture
def application(launch: Callable[..., Server], connect: Callable[..., Any]) -> Application:
    return Application(launch(":memory:"), connect)


def test_clock_stands_moves_and_flows(application: Application) -> None:
    """A frozen clock moves only when it is told to, and what is due then has happened when the answer comes."""
    server, sqs = application.server, application.sqs
    frozen = server.steer("clock", {"freeze": True})
    assert frozen["frozen"] is True
    assert server.steer("clock")["now"] == frozen["now"]
    sqs.send_message(QueueUrl=application.url, MessageBody="late", DelaySeconds=900)
    assert server.steer("clock", {"advance": 899})["now"] == frozen["now"] + 899_000
    assert "Messages" not in sqs.receive_message(QueueUrl=application.url)
    server.steer("clock", {"advance": 1})
    assert len(sqs.receive_message(QueueUrl=application.url)["Messages"]) == 1
    assert server.steer("clock", {"resume": True})["now"] >= frozen["now"] + 900_000


def test_flowing_time_is_not_advanced(application: Application) -> None:
    """To move a clock that runs by itself is an error that says what to do."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        application.server.steer("clock", {"advance": 1})
    assert "freeze" in json.load(refused.value)["message"]


def test_six_hours_of_throttling(application: Application) -> None:
    """A throttled event is retried for six hours, then told to the failure destination with AWS's condition."""
    server = application.server
    server.steer("faults", {"faults": [{"arn": application.arn, "fault": "throttle"}]})
    server.steer("clock", {"freeze": True})
    application.send(1)
    server.steer("clock", {"advance": SIX_HOURS - 400})
    assert application.told() == []
    server.steer("clock", {"advance": 400})
    (record,) = application.told()
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0


def _order(server: Server, connect: Callable[..., Any]) -> list[int]:
    application = Application(server, connect)
    fault = {"arn": application.arn, "fault": "throttle", "probability": 0.7, "seed": 7}
    server.steer("faults", {"faults": [fault]})
    server.steer("clock", {"freeze": True})
    for number in range(20):
        application.send(number)
        server.steer("clock", {"advance": 1})
    server.steer("clock", {"advance": SIX_HOURS})
    return [record["requestPayload"]["n"] for record in application.told()]


def test_a_restart_goes_on_where_the_clock_was_steered_to(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Path
) -> None:
    """Otherwise what was stored an hour ahead would be hidden for an hour."""
    server = launch(tmp_path)
    sqs = connect(server.endpoint, "sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    begun = server.steer("clock")["now"]
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 3600})
    sqs.send_message(QueueUrl=url, MessageBody="while it stands")
    server.kill()
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"resume": True})
    sqs.send_message(QueueUrl=url, MessageBody="while it flows")
    server.stop()
    server.start()
    told = server.steer("clock")
    assert told["frozen"] is False
    assert told["now"] >= begun + 3_600_000
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(one["Body"] for one in received) == ["while it flows", "while it stands"]


def test_same_seed_same_run(launch: Callable[..., Server], connect: Callable[..., Any]) -> None:
    """Two runs of the same faults from the same seed happen alike: retries come in the same order."""
    first, second = (_order(launch(":memory:", "--seed", "1"), connect) for _ in range(2))
    assert sorted(first) == list(range(20))
    assert first != sorted(first)
    assert second == first


def test_lost_acknowledgement_and_duplicate(application: Application) -> None:
    """What the network may do to a delivery can be made to happen: the function runs again."""
    server = application.server
    server.steer("clock", {"freeze": True})
    faults = [{"arn": application.arn, "fault": "lose-acknowledgement", "probability": 1}]
    server.steer("faults", {"faults": faults})
    application.send(1)
    server.steer("clock", {"advance": 1})
    assert application.told() == []
    assert server.steer("faults", {"faults": []}) == {"faults": []}
    server.steer("clock", {"advance": 3600})
    (record,) = application.told()
    assert record["requestContext"]["approximateInvokeCount"] == 2


def test_crash_between_delivery_and_settling(
    launch: Callable[..., Server], connect: Callable[..., Any], tmp_path: Any
) -> None:
    """An event whose function has run when the process dies runs once more after the restart: at least once."""
    server = launch(tmp_path)
    application = Application(server, connect)
    server.steer("faults", {"faults": [{"arn": application.arn, "fault": "crash"}]})
    application.send(1)
    server.process.wait(20)
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 3600})
    (record,) = application.told()
    assert record["requestContext"]["approximateInvokeCount"] == 2


@pytest.mark.parametrize(
    ("what", "document"),
    [
        ("clock", {"advance": -1}),
        ("clock", {"freeze": True, "advance": 1}),
        ("faults", {"faults": [{"arn": "a", "fault": "magic"}]}),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "probability": 2}]}),
        ("faults", {"faults": [{"arn": "a", "fault": "delay", "sed": 2}]}),
    ],
)
def test_nonsense_is_refused(server: Server, what: str, document: Any) -> None:
    """A misspelt fault must not be a fault that never happens."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.steer(what, document)
    assert refused.value.code == 400
