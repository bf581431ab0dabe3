"""Queues through twenty crashes: what was acknowledged is there, once, as it was acknowledged."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

KILLS = 20
GROUPS = 8
LEASE_S = 5
FIFO_LEASE_S = 2
EVERYTHING = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}


@dataclass
class Sent:
    """A message as it was sent. Its body is unlike any other."""

    body: str
    attributes: dict[str, Any]
    id: str | None = None
    """None while no acknowledgement was seen."""
    deletion_asked: bool = False
    deleted: bool = False
    """Whether a deletion by the latest receipt was acknowledged."""


@dataclass
class Journal:
    """What clients asked for, what was acknowledged, and what was found after the storm."""

    standard: dict[str, Sent] = field(default_factory=dict)
    fifo: dict[str, list[Sent]] = field(default_factory=dict)
    """By group, in the order of sending."""
    complaints: list[str] = field(default_factory=list)
    """What clients were given during the storm that must not be."""
    standard_left: list[dict[str, Any]] = field(default_factory=list)
    fifo_left: list[dict[str, Any]] = field(default_factory=list)
    """In the order in which they came."""


@pytest.fixture(scope="module")
def journal(storm: Any, connect: Callable[..., Any]) -> Journal:
    """Two queues through the storm, then drained."""
    sqs = connect(storm.server.endpoint, "sqs")
    standard = sqs.create_queue(QueueName="standard")["QueueUrl"]
    fifo = sqs.create_queue(QueueName="ordered.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    kept = Journal()
    numbers = itertools.count()
    storm.run(lambda: send_one(sqs, standard, kept, next(numbers)))
    storm.run(lambda: send_ten(sqs, standard, kept, next(numbers)))
    storm.run(lambda: delete_some(sqs, standard, kept))
    for half in (range(GROUPS // 2), range(GROUPS // 2, GROUPS)):
        groups = itertools.cycle([f"group-{n}" for n in half])
        storm.run(lambda groups=groups: send_in_order(sqs, fifo, kept, storm.stop, next(groups)))
    storm.run(lambda: delete_in_order(sqs, fifo, kept))
    storm.rage(KILLS)
    kept.standard_left = drain(sqs, standard, LEASE_S)
    kept.fifo_left = drain(sqs, fifo, FIFO_LEASE_S)
    return kept


def attributes_of(number: int) -> dict[str, Any]:
    """Attributes of each kind, unlike those of other messages."""
    return {
        "number": {"DataType": "Number", "StringValue": str(number)},
        "text": {"DataType": "String", "StringValue": f"text {number} äöü"},
        "bytes": {"DataType": "Binary", "BinaryValue": number.to_bytes(8, "big")},
    }


def send_one(sqs: Any, url: str, kept: Journal, number: int) -> None:
    """Send a message; keep its id once acknowledged."""
    body = f"{number} " + "x" * (number * 37 % 2000)
    sent = kept.standard[body] = Sent(body, attributes_of(number))
    answer = sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=sent.attributes)
    sent.id = answer["MessageId"]


def send_ten(sqs: Any, url: str, kept: Journal, number: int) -> None:
    """Send a batch."""
    batch = [Sent(f"{number}/{n} of a batch", attributes_of(number * 10 + n)) for n in range(10)]
    kept.standard.update({sent.body: sent for sent in batch})
    entries = [
        {"Id": str(n), "MessageBody": sent.body, "MessageAttributes": sent.attributes}
        for n, sent in enumerate(batch)
    ]
    for entry in sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]:
        batch[int(entry["Id"])].id = entry["MessageId"]


def delete_some(sqs: Any, url: str, kept: Journal) -> None:
    """Receive some messages and delete each second one of them."""
    asked = time.monotonic()
    found = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=LEASE_S, **EVERYTHING
    )
    for message in found.get("Messages", [])[::2]:
        sent = kept.standard[message["Body"]]
        if sent.deleted:
            kept.complaints.append(f"{sent.body[:20]} came back after its deletion")
        sent.deletion_asked = True
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        # Once the lease is over, another may have begun: an old receipt deletes nothing.
        sent.deleted = time.monotonic() - asked < LEASE_S


def send_in_order(sqs: Any, url: str, kept: Journal, stop: threading.Event, group: str) -> None:
    """Send the next message of a group, again and again until it is acknowledged, as a client's retries do."""
    sent_before = kept.fifo.setdefault(group, [])
    if not sent_before or sent_before[-1].id is not None:
        number = len(sent_before)
        sent_before.append(Sent(f"{group} {number}", attributes_of(number)))
    sent = sent_before[-1]
    while sent.id is None and not stop.is_set():
        answer = sqs.send_message(
            QueueUrl=url,
            MessageBody=sent.body,
            MessageAttributes=sent.attributes,
            MessageGroupId=group,
            MessageDeduplicationId=sent.body.replace(" ", "-"),
        )
        sent.id = answer["MessageId"]


def delete_in_order(sqs: Any, url: str, kept: Journal) -> None:
    """Receive from any group and delete in the order received."""
    found = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=FIFO_LEASE_S, **EVERYTHING
    )
    messages = found.get("Messages", [])
    kept.complaints += disorder(kept, messages)
    for message in messages:
        sent = fifo_sent(kept, message)
        sent.deletion_asked = True
        try:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        except ClientError as error:
            # The restart took longer than the lease; the message and what follows it come again.
            if "expired" not in str(error):
                raise
            return
        sent.deleted = True


def fifo_sent(kept: Journal, message: dict[str, Any]) -> Sent:
    """What was sent, for what was received."""
    group, number = message["Body"].split()
    return kept.fifo[group][int(number)]


def disorder(kept: Journal, messages: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the order: of each group, what follows the deleted ones comes, without gaps."""
    wrong = []
    came: dict[str, list[int]] = {}
    for message in messages:
        group, number = message["Body"].split()
        came.setdefault(group, []).append(int(number))
    for group, numbers in came.items():
        first = numbers[0]
        if numbers != list(range(first, first + len(numbers))):
            wrong.append(f"{group}: {numbers} is not in order")
        if not all(sent.deletion_asked for sent in kept.fifo[group][:first]):
            wrong.append(f"{group}: {first} came before its predecessors were deleted")
        if any(kept.fifo[group][number].deleted for number in numbers):
            wrong.append(f"{group}: one of {numbers} came back after its deletion")
    return wrong


def drain(sqs: Any, url: str, lease_s: int) -> list[dict[str, Any]]:
    """Everything that a queue holds, in the order in which it comes, once the leases of the storm are over."""
    found: list[dict[str, Any]] = []
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=600,
            WaitTimeSeconds=lease_s + 1,
            **EVERYTHING,
        )
        if not answer.get("Messages"):
            return found
        found += answer["Messages"]
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]}
                for n, m in enumerate(answer["Messages"])
            ],
        )


def shown(message: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Id, body and attributes as received."""
    attributes = {
        name: {k: v for k, v in value.items() if k in ("DataType", "StringValue", "BinaryValue")}
        for name, value in message.get("MessageAttributes", {}).items()
    }
    return message["MessageId"], message["Body"], attributes


def test_acknowledged_messages_are_there_as_they_were_acknowledged(journal: Journal) -> None:
    """A message that SQS has acknowledged is stored redundantly before the answer: a crash must not lose or change it."""
    expected = {
        sent.body: (sent.id, sent.body, sent.attributes)
        for sent in journal.standard.values()
        if sent.id is not None and not sent.deletion_asked
    }
    found = {message["Body"]: shown(message) for message in journal.standard_left}

    assert len(expected) > 100
    assert expected == {body: found.get(body) for body in expected}


def test_what_was_not_acknowledged_is_there_whole_or_not_at_all(journal: Journal) -> None:
    """A send whose answer was lost may have happened, but never by half and never twice."""
    bodies = [message["Body"] for message in journal.standard_left]

    assert [] == [b for b in bodies if b not in journal.standard]
    assert len(bodies) == len(set(bodies))
    assert [] == [
        m for m in journal.standard_left if shown(m)[2] != journal.standard[m["Body"]].attributes
    ]


def test_a_deleted_message_does_not_come_back(journal: Journal) -> None:
    """An acknowledged deletion is as durable as an acknowledged send."""
    assert sum(sent.deleted for sent in journal.standard.values()) > 20
    assert [] == [m["Body"] for m in journal.standard_left if journal.standard[m["Body"]].deleted]
    assert [] == [m["Body"] for m in journal.fifo_left if fifo_sent(journal, m).deleted]


def test_groups_keep_their_order_through_crashes(journal: Journal) -> None:
    """A FIFO group is consumed in the order of sending, whatever is sent again or delivered again after a crash."""
    assert [] == journal.complaints
    for group, sent in journal.fifo.items():
        found = [m["Body"] for m in journal.fifo_left if m["Attributes"]["MessageGroupId"] == group]
        assert [s.body for s in sent if s.body in found] == found


def test_fifo_messages_are_there_once_under_their_first_id(journal: Journal) -> None:
    """A retry with the same deduplication id is the same message, also when a crash lies between."""
    expected = [
        (s.id, s.body, s.attributes)
        for sent in journal.fifo.values()
        for s in sent
        if s.id and not s.deletion_asked
    ]
    found = [shown(message) for message in journal.fifo_left]
    ids = [s.id for sent in journal.fifo.values() for s in sent if s.id]

    assert len(ids) > 100
    assert len(ids) == len(set(ids))
    assert [] == [one for one in expected if one not in found]
    assert len(found) == len({body for _, body, _ in found})


def test_processes_end_with_a_crashed_server(journal: Journal, storm: Any) -> None:
    """Function environments of a server that was killed must not live on beside those of the next one."""
    assert [] == storm.left_behind
