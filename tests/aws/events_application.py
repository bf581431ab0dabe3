"""What tests of EventBridge share: a server whose time a test steers, with queues that take what rules match."""

import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Bus:
    """A bus of the test's own."""

    def __init__(self, endpoint: str, connect: Callable[..., Any], unique: str) -> None:
        self.endpoint = endpoint
        self.unique = unique
        self.events = connect(endpoint, "events")
        self.sqs = connect(endpoint, "sqs")
        self.name = unique
        self.arn: str = self.events.create_event_bus(Name=unique)["EventBusArn"]

    def queue(self, name: str = "q", **attributes: str) -> tuple[str, str]:
        """A new queue: URL and ARN."""
        ending = ".fifo" if "FifoQueue" in attributes else ""
        full = f"{self.unique}-{name}{ending}"
        url = self.sqs.create_queue(QueueName=full, Attributes=attributes)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, arn["Attributes"]["QueueArn"]

    def rule(self, pattern: Any, *targets: dict[str, Any], name: str = "r") -> str:
        """A rule with targets, each given an id if it has none. Returns its name."""
        rule = f"{self.unique}-{name}"
        self.events.put_rule(Name=rule, EventBusName=self.name, EventPattern=json.dumps(pattern))
        self.target(rule, *targets)
        return rule

    def target(self, rule: str, *targets: dict[str, Any]) -> None:
        given = [{"Id": f"t{n}", **target} for n, target in enumerate(targets)]
        if given:
            self.events.put_targets(Rule=rule, EventBusName=self.name, Targets=given)

    def put(self, detail: Any = None, **entry: Any) -> dict[str, Any]:
        """Put one event. Returns the answer to its entry."""
        made = {
            "Source": "shop",
            "DetailType": "order",
            "Detail": json.dumps({"n": 1} if detail is None else detail),
            "EventBusName": self.name,
            **entry,
        }
        return dict(self.events.put_events(Entries=[made])["Entries"][0])

    def messages(self, url: str) -> list[dict[str, Any]]:
        """Everything in a queue; it is removed."""
        found: list[dict[str, Any]] = []
        while True:
            batch = self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
                AttributeNames=["All"],
            ).get("Messages", [])
            if not batch:
                return found
            for message in batch:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found += batch

    def bodies(self, url: str) -> list[Any]:
        """The same, parsed."""
        return [json.loads(message["Body"]) for message in self.messages(url)]

    def steer(self, what: str, document: dict[str, Any]) -> dict[str, Any]:
        """Ask for something of Penstock's own."""
        request = urllib.request.Request(
            f"{self.endpoint}/_penstock/{what}", json.dumps(document).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.steer("clock", {"advance": seconds})


class Endpoint:
    """An HTTP endpoint that notes what it is asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.tokens: list[str] = []
        self.expires_in: Any = 3600
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                seen = {"path": self.path, "headers": dict(self.headers.items()), "body": body}
                endpoint.seen.append(seen)
                status, headers = endpoint.answers.pop(0) if endpoint.answers else (200, {})
                token = endpoint.tokens.pop(0) if self.path.startswith("/token") else ""
                told = json.dumps(
                    {"access_token": token, "expires_in": endpoint.expires_in}
                ).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_PUT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


KEY = {
    "AuthorizationType": "API_KEY",
    "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush"}},
}


def destination(bus: Bus, url: str, connection: dict[str, Any], **options: Any) -> str:
    """An API destination with a connection. Returns its ARN."""
    name = bus.unique[-64:]
    made = bus.events.create_connection(Name=name, **connection)
    return str(
        bus.events.create_api_destination(
            **{
                "Name": name,
                "ConnectionArn": made["ConnectionArn"],
                "InvocationEndpoint": url,
                "HttpMethod": "POST",
                **options,
            }
        )["ApiDestinationArn"]
    )
