"""Functions and queues of one test, on a Penstock whose time the tests may steer."""

import io
import json
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable
from typing import Any

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
PATIENCE_S = 30


def zipped(code: str) -> bytes:
    """A package with one module."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("app.py", code)
    return data.getvalue()


class Application:
    """Makes functions and queues whose names begin with the test's own, and looks at what becomes of messages."""

    def __init__(self, endpoint: str, connect: Callable[..., Any], name: str) -> None:
        self.endpoint = endpoint
        self.name = name[-40:]
        self.sqs = connect(endpoint, "sqs")
        self.functions = connect(endpoint, "lambda")
        self.s3 = connect(endpoint, "s3")
        self.connect = lambda service: connect(endpoint, service)
        trust = '{"Version":"2012-10-17","Statement":[]}'
        iam = connect(endpoint, "iam")
        role = iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=trust)
        self.role = role["Role"]["Arn"]

    def steer(self, what: str, document: Any) -> Any:
        """POST to one of the steering endpoints."""
        data = json.dumps(document).encode()
        request = urllib.request.Request(f"{self.endpoint}/_penstock/{what}", data=data)
        with urllib.request.urlopen(request, timeout=100) as answer:
            return json.load(answer)

    def advance(self, seconds: float) -> None:
        """Move frozen time; returns when what is due is done."""
        self.steer("clock", {"advance": seconds})

    def function(self, code: str, suffix: str = "f", **options: Any) -> str:
        """Create a function of a module's text, with a `handler`. Returns its ARN."""
        created = self.functions.create_function(
            **{
                "FunctionName": f"{self.name}-{suffix}",
                "Runtime": RUNTIME,
                "Role": self.role,
                "Handler": "app.handler",
                "Code": {"ZipFile": zipped(code)},
                "Timeout": 10,
                **options,
            }
        )
        return str(created["FunctionArn"])

    def queue(self, suffix: str = "q", **attributes: str) -> tuple[str, str]:
        """Create a queue. Returns its URL and ARN."""
        name = f"{self.name}-{suffix}"
        url = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def feed(self, queue: str, function: str, **options: Any) -> str:
        """Map a queue to a function. Returns the mapping's UUID."""
        created = self.functions.create_event_source_mapping(
            EventSourceArn=queue, FunctionName=function, **options
        )
        return str(created["UUID"])

    def send(self, url: str, *bodies: str, **options: Any) -> None:
        """Send messages, ten at a time, or as many as a megabyte holds."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=url, MessageBody=body, **options)

    def event(self, function: str, event: Any, **options: Any) -> str:
        """Invoke asynchronously. Returns the request id."""
        answer = self.functions.invoke(
            FunctionName=function,
            InvocationType="Event",
            Payload=json.dumps(event),
            **options,
        )
        assert 202 == answer["StatusCode"]
        return str(answer["ResponseMetadata"]["RequestId"])

    def messages(self, url: str) -> list[dict[str, Any]]:
        """The messages that are in a queue, which loses them."""
        found: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            found += messages
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def bodies(self, url: str) -> list[Any]:
        """The parsed bodies of the messages that are in a queue, which loses them."""
        return [json.loads(message["Body"]) for message in self.messages(url)]

    def wait_for_bodies(self, url: str, count: int) -> list[Any]:
        """As many bodies as are expected, however long they take."""
        found: list[Any] = []
        until(lambda: len(found.extend(self.bodies(url)) or found) >= count)
        return found

    def counts(self, url: str) -> tuple[int, int]:
        """How many messages of a queue are visible, and how many in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def state(self, uuid: str) -> str:
        """The state of a mapping; nothing when there is none."""
        try:
            return str(self.functions.get_event_source_mapping(UUID=uuid)["State"])
        except self.functions.exceptions.ResourceNotFoundException:
            return ""


def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
