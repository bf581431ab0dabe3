"""Webhooks: confirmation, schedules of retries in virtual time, dead letters, and what a crash leaves."""

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from penstock.services.sns.subscription import SubscriptionRecord
from tests.aws.test_sns import verify
from tests.conftest import Server

PATIENCE_S = 20


class Webhook:
    """An HTTP server on loopback that keeps what it gets and answers what it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        self._arrived = threading.Condition()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                with webhook._arrived:
                    webhook.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    webhook._arrived.notify_all()
                webhook.open.wait(PATIENCE_S)
                self.send_response(webhook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> list[tuple[dict[str, str], str]]:
        """What came, once there are so many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.got) >= count, PATIENCE_S)
        return list(self.got)

    def close(self) -> None:
        """Listen no more."""
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """An endpoint."""
    made = Webhook()
    yield made
    made.close()


class Hooked:
    """A topic with a confirmed webhook and a dead-letter queue."""

    def __init__(self, server: Server, connect: Callable[..., Any], name: str, url: str) -> None:
        self.server, self.url = server, url
        self.sns, self.sqs = connect(server.endpoint, "sns"), connect(server.endpoint, "sqs")
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        self.letters = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.letters_arn = self.topic.replace(":sns:", ":sqs:")

    def subscribe(self, webhook: Webhook, **policy: Any) -> str:
        """Subscribe the webhook and confirm it. Returns the subscription's ARN; the webhook has forgotten the letter."""
        attributes = {
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": self.letters_arn}),
            "RawMessageDelivery": "true",
        }
        if policy:
            attributes["DeliveryPolicy"] = json.dumps(policy)
        arn = self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="http",
            Endpoint=webhook.url,
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        ((_, letter),) = webhook.wait(1)
        self.sns.confirm_subscription(TopicArn=self.topic, Token=json.loads(letter)["Token"])
        webhook.got.clear()
        return str(arn)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due then has happened."""
        self.server.steer("clock", {"advance": seconds})

    def dead(self) -> list[str]:
        """The bodies of dead letters."""
        found = self.sqs.receive_message(QueueUrl=self.letters, MaxNumberOfMessages=10)
        return [message["Body"] for message in found.get("Messages", [])]


@pytest.fixture
def hooked(frozen: Server, connect: Callable[..., Any], unique: str, webhook: Webhook) -> Hooked:
    return Hooked(frozen, connect, unique, webhook.url)


def test_confirmation_and_farewell(hooked: Hooked, webhook: Webhook) -> None:
    """An endpoint is asked, visits the link, gets what is published, leaves by a link, and may come back by another."""
    sns, topic = hooked.sns, hooked.topic
    answer = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=webhook.url)
    assert answer["SubscriptionArn"] == "pending confirmation"
    sns.publish(TopicArn=topic, Message="too early")
    ((headers, body),) = webhook.wait(1)
    letter = json.loads(body)
    assert headers["x-amz-sns-message-type"] == letter["Type"] == "SubscriptionConfirmation"
    assert headers["x-amz-sns-topic-arn"] == topic
    assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
    verify(hooked.server.endpoint, letter)

    with urllib.request.urlopen(letter["SubscribeURL"]) as page:
        assert b"ConfirmSubscriptionResponse" in page.read()
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.publish(TopicArn=topic, Message="hello", Subject="news")
    headers, body = webhook.wait(2)[1]
    assert headers["x-amz-sns-subscription-arn"] == subscription["SubscriptionArn"]
    assert headers["content-type"] == "text/plain; charset=UTF-8"
    notification = json.loads(body)
    assert (notification["Message"], notification["Subject"]) == ("hello", "news")
    verify(hooked.server.endpoint, notification)

    with urllib.request.urlopen(notification["UnsubscribeURL"]) as page:
        assert b"UnsubscribeResponse" in page.read()
    farewell = json.loads(webhook.wait(3)[2][1])
    assert farewell["Type"] == "UnsubscribeConfirmation"
    verify(hooked.server.endpoint, farewell)
    sns.publish(TopicArn=topic, Message="gone")
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []

    with urllib.request.urlopen(farewell["SubscribeURL"]):
        pass
    sns.publish(TopicArn=topic, Message="back")
    assert json.loads(webhook.wait(4)[3][1])["Message"] == "back"


def test_a_locked_subscription_is_not_ended_by_a_link(hooked: Hooked, webhook: Webhook) -> None:
    """AuthenticateOnUnsubscribe: nobody without credentials may end it."""
    sns, topic = hooked.sns, hooked.topic
    arn = sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=webhook.url, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    ((_, letter),) = webhook.wait(1)
    sns.confirm_subscription(
        TopicArn=topic, Token=json.loads(letter)["Token"], AuthenticateOnUnsubscribe="true"
    )
    link = f"{hooked.server.endpoint}/?Action=Unsubscribe&SubscriptionArn={arn}"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link)
    assert caught.value.code == 403
    sns.unsubscribe(SubscriptionArn=arn)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_a_subscription_nobody_confirms_is_gone_after_two_days() -> None:
    """Directly: two days are 2,880 minutes in which everything else is looked at."""
    record = SubscriptionRecord(
        arn="arn:aws:sns:us-east-1:000000000000:t:s",
        protocol="http",
        endpoint="http://localhost",
        owner="000000000000",
        principal="",
        created_at=1_000,
        pending=True,
    )
    assert not record.gone(1_000 + 2 * 86_400_000 - 1)
    assert record.gone(1_000 + 2 * 86_400_000)
    record.pending = False
    assert not record.gone(1_000 + 2 * 86_400_000)


def test_the_four_phases(hooked: Hooked, webhook: Webhook) -> None:
    """Two retries at once, two after the minimum, a linear backoff of three, two after the maximum; then the dead letter."""
    hooked.subscribe(
        webhook,
        healthyRetryPolicy={
            "minDelayTarget": 10,
            "maxDelayTarget": 50,
            "numRetries": 9,
            "numNoDelayRetries": 2,
            "numMinDelayRetries": 2,
            "numMaxDelayRetries": 2,
            "backoffFunction": "linear",
        },
    )
    webhook.status = 500
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    hooked.advance(0)
    seen = [len(webhook.got)]
    for wait in (10, 10, 10, 30, 50, 50, 50):
        hooked.advance(wait - 1)
        before = len(webhook.got)
        hooked.advance(1)
        seen += [before, len(webhook.got)]

    assert seen == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10]
    assert hooked.dead() == ["m"]


def test_the_default_schedule(hooked: Hooked, webhook: Webhook) -> None:
    """Three retries, twenty seconds apart; an endpoint that recovers gets its message."""
    hooked.subscribe(webhook)
    webhook.status = 503
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    hooked.advance(40)
    assert len(webhook.got) == 3
    webhook.status = 200
    hooked.advance(3600)

    assert len(webhook.got) == 4
    assert hooked.dead() == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (429, 4), (500, 4)])
def test_what_is_tried_again(hooked: Hooked, webhook: Webhook, status: int, tries: int) -> None:
    """A client's fault is for good, but for 429; a server's fault may pass."""
    hooked.subscribe(webhook)
    webhook.status = status
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    hooked.advance(3600)

    assert len(webhook.got) == tries
    assert hooked.dead() == ["m"]


def test_an_endpoint_that_is_gone(hooked: Hooked, webhook: Webhook) -> None:
    """A connection that is refused is tried again by schedule, then dead-lettered."""
    hooked.subscribe(webhook)
    webhook.close()
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    hooked.advance(59)
    assert hooked.dead() == []
    hooked.advance(1)

    assert hooked.dead() == ["m"]


def test_a_throttled_endpoint(hooked: Hooked, webhook: Webhook) -> None:
    """No more than so many deliveries a second."""
    hooked.subscribe(webhook, throttlePolicy={"maxReceivesPerSecond": 2})
    for number in range(5):
        hooked.sns.publish(TopicArn=hooked.topic, Message=str(number))
    seen = []
    for _ in range(5):
        hooked.advance(0.5)
        seen.append(len(webhook.got))

    assert seen == [2, 3, 4, 5, 5]


def test_the_throttle_holds_for_retries(hooked: Hooked, webhook: Webhook) -> None:
    """What failed waits for a turn as everything does, and no wait for a turn is a try."""
    retries = {"numRetries": 3, "minDelayTarget": 1, "maxDelayTarget": 1}
    hooked.subscribe(
        webhook, throttlePolicy={"maxReceivesPerSecond": 2}, healthyRetryPolicy=retries
    )
    webhook.status = 503
    for number in range(3):
        hooked.sns.publish(TopicArn=hooked.topic, Message=str(number))
    seen = []
    for _ in range(11):
        hooked.advance(0.5)
        seen.append(len(webhook.got))
    hooked.advance(3600)

    assert all(number <= 2 + turn for turn, number in enumerate(seen))
    assert seen[-1] >= 10
    assert sorted(body for _, body in webhook.got) == sorted("012" * 4)
    assert sorted(hooked.dead()) == ["0", "1", "2"]


def test_the_content_type_of_a_policy(hooked: Hooked, webhook: Webhook) -> None:
    """The topic's request policy holds for its subscriptions, unless they have one of their own."""
    arn = hooked.subscribe(webhook)
    hooked.sns.set_topic_attributes(
        TopicArn=hooked.topic,
        AttributeName="DeliveryPolicy",
        AttributeValue='{"http": {"defaultRequestPolicy": {"headerContentType": "application/json"}}}',
    )
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    webhook.wait(1)
    hooked.sns.set_subscription_attributes(
        SubscriptionArn=arn,
        AttributeName="DeliveryPolicy",
        AttributeValue='{"requestPolicy": {"headerContentType": "text/csv"}}',
    )
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")

    headers = [headers for headers, _ in webhook.wait(2)]
    assert [one["content-type"] for one in headers] == ["application/json", "text/csv"]
    assert {one["x-amz-sns-rawdelivery"] for one in headers} == {"true"}


@pytest.mark.parametrize(
    ("retry", "reason"),
    [
        ({"minDelayTarget": 0}, "minDelayTarget"),
        ({"minDelayTarget": 30}, "maxDelayTarget"),
        ({"maxDelayTarget": 3601}, "maxDelayTarget"),
        ({"numRetries": 101}, "numRetries"),
        ({"numNoDelayRetries": 4}, "numRetries"),
        ({"backoffFunction": "steep"}, "backoffFunction"),
    ],
    ids=["low", "order", "high", "many", "phases", "function"],
)
def test_policies_that_are_not_possible(hooked: Hooked, retry: dict[str, Any], reason: str) -> None:
    """What a policy cannot be is refused."""
    with pytest.raises(ClientError, match=reason) as caught:
        hooked.sns.set_topic_attributes(
            TopicArn=hooked.topic,
            AttributeName="DeliveryPolicy",
            AttributeValue=json.dumps({"http": {"defaultHealthyRetryPolicy": retry}}),
        )
    assert caught.value.response["Error"]["Code"] == "InvalidParameter"


def test_a_slow_endpoint_holds_up_nobody(hooked: Hooked, webhook: Webhook) -> None:
    """While one endpoint takes its time with all that it may have, another gets its messages."""
    hooked.subscribe(webhook)
    quick = Webhook()
    webhook.open.clear()
    try:
        hooked.subscribe(quick)
        for number in range(40):
            hooked.sns.publish(TopicArn=hooked.topic, Message=str(number))
        assert len(quick.wait(40)) == 40
    finally:
        webhook.open.set()
        quick.close()


def test_the_rate_of_a_fifo_topic(hooked: Hooked) -> None:
    """300 publishes a second; a second later there is room again."""
    topic = hooked.sns.create_topic(
        Name=hooked.topic.rsplit(":", 1)[1] + ".fifo",
        Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"},
    )["TopicArn"]

    def publish() -> None:
        hooked.sns.publish(TopicArn=topic, Message="m", MessageGroupId="g")

    for _ in range(300):
        publish()
    with pytest.raises(ClientError) as caught:
        publish()
    assert caught.value.response["Error"] == {
        "Type": "Sender",
        "Code": "Throttled",
        "Message": "Rate exceeded",
    }
    hooked.advance(1)
    publish()


def test_retries_survive_a_crash(
    launch: Callable[..., Server],
    connect: Callable[..., Any],
    tmp_path: Path,
    webhook: Webhook,
) -> None:
    """What was accepted and not yet delivered is delivered after a kill, when it is due."""
    server = launch(tmp_path / "data")
    hooked = Hooked(server, connect, "crash", webhook.url)
    hooked.subscribe(
        webhook, healthyRetryPolicy={"numRetries": 1, "minDelayTarget": 1, "maxDelayTarget": 1}
    )
    webhook.status = 500
    hooked.sns.publish(TopicArn=hooked.topic, Message="m")
    webhook.wait(1)
    server.kill()
    webhook.status = 200
    server.start()
    server.steer("clock", {"freeze": True})
    hooked.advance(60)

    assert {body for _, body in webhook.wait(2)} == {"m"}
    assert hooked.dead() == []


def test_links_and_certificates_need_no_signature(
    launch: Callable[..., Server], tmp_path: Path, webhook: Webhook, connect: Callable[..., Any]
) -> None:
    """Where every request must be signed, an endpoint without credentials may confirm, verify and leave; and no more."""
    server = launch(tmp_path / "data", "--auth", "sigv4")
    found = re.search(r"ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+)", server.log.read_text())
    assert found is not None
    pair = {"aws_access_key_id": found[1], "aws_secret_access_key": found[2]}
    sns = connect(server.endpoint, "sns", **pair)
    topic = sns.create_topic(Name="guarded")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=webhook.url)
    letter = json.loads(webhook.wait(1)[0][1])
    verify(server.endpoint, letter)

    with urllib.request.urlopen(letter["SubscribeURL"]):
        sns.publish(TopicArn=topic, Message="m")
    notification = json.loads(webhook.wait(2)[1][1])
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.endpoint}/?Action=DeleteTopic&TopicArn={topic}")
    assert caught.value.code == 403
    with urllib.request.urlopen(notification["UnsubscribeURL"]):
        assert json.loads(webhook.wait(3)[2][1])["Type"] == "UnsubscribeConfirmation"


def test_a_reset_begins_anew(
    launch: Callable[..., Server], connect: Callable[..., Any], webhook: Webhook
) -> None:
    """After a reset there is no topic, and a new one delivers."""
    server = launch(":memory:")
    for _ in range(2):
        hooked = Hooked(server, connect, "again", webhook.url)
        hooked.subscribe(webhook)
        hooked.sns.publish(TopicArn=hooked.topic, Message="m")
        assert [body for _, body in webhook.wait(1)] == ["m"]
        webhook.got.clear()
        assert server.steer("reset", {}) == {"status": "reset"}
        assert hooked.sns.list_topics()["Topics"] == []
