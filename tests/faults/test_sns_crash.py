"""Topics through crashes: what was acknowledged reaches every subscriber, and what has an order keeps it."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.aws.test_sns_http import Webhook

KILLS = 3
TRIES = {
    "numRetries": 20,
    "minDelayTarget": 1,
    "maxDelayTarget": 1,
    "numNoDelayRetries": 0,
    "backoffFunction": "linear",
}


@dataclass
class Journal:
    """Numbers that were published and accepted, and what came where, in order."""

    accepted: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    came: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def journal(storm: Any, connect: Callable[..., Any]) -> Journal:
    """A topic with two queues and a webhook, and a FIFO topic with a queue, through the storm."""
    sns, sqs = (connect(storm.server.endpoint, name) for name in ("sns", "sqs"))
    raw = {"RawMessageDelivery": "true"}
    fifo = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    topic = sns.create_topic(Name="storm")["TopicArn"]
    ordered = sns.create_topic(Name="storm.fifo", Attributes=fifo)["TopicArn"]
    urls = {}
    for name, to in (("one", topic), ("two", topic), ("ordered.fifo", ordered)):
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        urls[name] = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        sns.subscribe(TopicArn=to, Protocol="sqs", Endpoint=arn, Attributes=raw)
    webhook = Webhook()
    policy = {**raw, "DeliveryPolicy": json.dumps({"healthyRetryPolicy": TRIES})}
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=webhook.url, Attributes=policy)
    token = json.loads(webhook.wait(1)[0][1])["Token"]
    sns.confirm_subscription(TopicArn=topic, Token=token)
    kept = Journal()
    numbers = itertools.count()

    def publish() -> None:
        text = str(next(numbers))
        kept.asked.add(text)
        sns.publish(TopicArn=topic, Message=text)
        kept.accepted.append(text)

    def publish_in_order() -> None:
        text = str(next(numbers))
        kept.asked.add(text)
        sns.publish(TopicArn=ordered, Message=text, MessageGroupId="g")
        kept.ordered.append(text)

    storm.run(publish)
    storm.run(publish_in_order)
    storm.rage(KILLS)
    storm.server.steer("clock", {"freeze": True})
    storm.server.steer("clock", {"advance": 120})
    for name, url in urls.items():
        kept.came[name] = drain(sqs, url)
    kept.came["webhook"] = [body for _, body in webhook.got[1:]]
    webhook.close()
    return kept


def drain(sqs: Any, url: str) -> list[str]:
    """The bodies of all messages, in order; each is removed."""
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.mark.parametrize("queue", ["one", "two"])
def test_every_queue_has_what_was_accepted_once(journal: Journal, queue: str) -> None:
    """A publish is one transaction: its message is in each queue, once."""
    came = journal.came[queue]
    assert len(journal.accepted) > 20
    assert set(journal.accepted) <= set(came) <= journal.asked
    assert len(came) == len(set(came))


def test_both_queues_have_the_same(journal: Journal) -> None:
    """Nothing is in one subscriber's queue alone, not even what nobody was told of."""
    assert sorted(journal.came["one"]) == sorted(journal.came["two"])


def test_the_webhook_gets_what_was_accepted(journal: Journal) -> None:
    """Through crashes between delivery and settling: each at least once."""
    assert set(journal.accepted) <= set(journal.came["webhook"]) <= journal.asked


def test_order_survives(journal: Journal) -> None:
    """What a FIFO topic accepted is in its queue, once, in the order of publishing."""
    came = journal.came["ordered.fifo"]
    assert set(journal.ordered) <= set(came) <= journal.asked
    assert came == sorted(set(came), key=int)
