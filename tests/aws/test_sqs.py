"""SQS as boto3 sees it."""

import hashlib
import json
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]


@pytest.fixture
def sqs(aws: Aws) -> Any:
    """The client."""
    return aws("sqs")


@pytest.fixture
def queue(sqs: Any, unique: str) -> str:
    """The URL of a new standard queue."""
    return str(sqs.create_queue(QueueName=unique)["QueueUrl"])


@pytest.fixture
def fifo(sqs: Any, unique: str) -> str:
    """The URL of a new FIFO queue that takes content for the deduplication id."""
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    return str(sqs.create_queue(QueueName=f"{unique}.fifo", Attributes=attributes)["QueueUrl"])


def receive(sqs: Any, url: str, **options: Any) -> list[Any]:
    options = {"MaxNumberOfMessages": 10, **options}
    return list(sqs.receive_message(QueueUrl=url, **options).get("Messages", []))


def arn_of(sqs: Any, url: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def error_of(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    return (
        response["Error"]["Code"],
        response["Error"]["Message"],
        response["ResponseMetadata"]["HTTPStatusCode"],
    )


def test_create_is_idempotent(sqs: Any, unique: str) -> None:
    """The same request again is not an error; another value of an attribute is."""
    first = sqs.create_queue(QueueName=unique, Attributes={"DelaySeconds": "1"})["QueueUrl"]

    assert first == sqs.create_queue(QueueName=unique)["QueueUrl"]
    assert (
        "QueueAlreadyExists",
        "A queue already exists with the same name and a different value for attribute DelaySeconds",
        400,
    ) == error_of(lambda: sqs.create_queue(QueueName=unique, Attributes={"DelaySeconds": "2"}))


def test_unknown_queue(sqs: Any, endpoint: str) -> None:
    """The legacy code comes to the client although the wire is JSON."""
    assert (
        "AWS.SimpleQueueService.NonExistentQueue",
        "The specified queue does not exist.",
        400,
    ) == error_of(lambda: sqs.get_queue_url(QueueName="nobody"))


def test_default_attributes(sqs: Any, queue: str) -> None:
    """`All` shows what AWS shows for a new queue."""
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]

    assert {
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "DelaySeconds": "0",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    }.items() <= attributes.items()
    assert {"QueueArn", "CreatedTimestamp", "LastModifiedTimestamp"} <= attributes.keys()


def test_attributes_out_of_range(sqs: Any, queue: str) -> None:
    """A value that AWS refuses is refused, an unknown name by name."""
    assert (
        "InvalidAttributeValue"
        == error_of(
            lambda: sqs.set_queue_attributes(
                QueueUrl=queue, Attributes={"VisibilityTimeout": "43201"}
            )
        )[0]
    )
    assert ("InvalidAttributeName", "Unknown Attribute Nonsense.") == error_of(
        lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Nonsense": "1"})
    )[:2]


def test_send_and_receive(sqs: Any, queue: str) -> None:
    """A message comes back whole; boto3 verifies the checksums."""
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody="grüße",
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "x"},
            "raw": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
        },
    )
    (message,) = receive(
        sqs, queue, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"]
    )

    assert hashlib.md5("grüße".encode()).hexdigest() == sent["MD5OfMessageBody"]
    assert (sent["MessageId"], "grüße") == (message["MessageId"], message["Body"])
    assert b"\x00\xff" == message["MessageAttributes"]["raw"]["BinaryValue"]
    assert sent["MD5OfMessageAttributes"] == message["MD5OfMessageAttributes"]
    assert "1" == message["Attributes"]["ApproximateReceiveCount"]


def test_message_attributes_by_prefix(sqs: Any, queue: str) -> None:
    """Only the attributes asked for come back."""
    value = {"DataType": "String", "StringValue": "x"}
    sqs.send_message(QueueUrl=queue, MessageBody="b", MessageAttributes={"a.b": value, "c": value})
    (message,) = receive(sqs, queue, MessageAttributeNames=["a.*"])

    assert ["a.b"] == list(message["MessageAttributes"])
    assert "Attributes" not in message


def test_empty_receive_has_no_messages(sqs: Any, queue: str) -> None:
    """AWS leaves the member out."""
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


def test_invalid_bodies(sqs: Any, queue: str) -> None:
    """Empty, forbidden and oversized bodies are told apart."""
    assert ("MissingParameter", "The request must contain the parameter MessageBody.") == error_of(
        lambda: sqs.send_message(QueueUrl=queue, MessageBody="")
    )[:2]
    assert (
        "InvalidMessageContents"
        == error_of(lambda: sqs.send_message(QueueUrl=queue, MessageBody="\x01"))[0]
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "1024"})
    assert (
        "InvalidParameterValue",
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
    ) == error_of(lambda: sqs.send_message(QueueUrl=queue, MessageBody="x" * 1025))[:2]


def test_delete(sqs: Any, queue: str) -> None:
    """A deleted message is gone, and deleting it again is no error."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (message,) = receive(sqs, queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert ("0", "0") == (
        counts["ApproximateNumberOfMessages"],
        counts["ApproximateNumberOfMessagesNotVisible"],
    )


def test_forged_receipt_handle(sqs: Any, queue: str) -> None:
    """Nobody can make a handle."""
    code, message, _ = error_of(lambda: sqs.delete_message(QueueUrl=queue, ReceiptHandle="AQEBabc"))

    assert "ReceiptHandleIsInvalid" == code
    assert 'The input receipt handle "AQEBabc" is not a valid receipt handle.' == message


def test_visibility(sqs: Any, queue: str) -> None:
    """A received message is hidden, and zero brings it back at once."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (message,) = receive(sqs, queue)
    assert [] == receive(sqs, queue)
    sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )

    (again,) = receive(sqs, queue, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert "2" == again["Attributes"]["ApproximateReceiveCount"]


def test_long_poll_is_woken_by_arrival(sqs: Any, queue: str) -> None:
    """A waiting consumer gets a message when it is sent, not when the wait is over."""
    threading.Timer(0.3, lambda: sqs.send_message(QueueUrl=queue, MessageBody="x")).start()
    started = time.monotonic()

    assert 1 == len(receive(sqs, queue, WaitTimeSeconds=20))
    assert time.monotonic() - started < 5


def test_long_poll_is_woken_by_visibility(sqs: Any, queue: str) -> None:
    """A message that becomes visible again during a poll ends the poll."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    receive(sqs, queue, VisibilityTimeout=1)

    assert 1 == len(receive(sqs, queue, WaitTimeSeconds=10))


def test_delay(sqs: Any, queue: str) -> None:
    """A delayed message is counted, not received."""
    sqs.send_message(QueueUrl=queue, MessageBody="x", DelaySeconds=900)

    assert [] == receive(sqs, queue)
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert "1" == counts["ApproximateNumberOfMessagesDelayed"]


def test_batches(sqs: Any, queue: str) -> None:
    """Each entry of a batch is answered for itself."""
    entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(9)]
    answer = sqs.send_message_batch(
        QueueUrl=queue, Entries=[*entries, {"Id": "bad", "MessageBody": "x", "DelaySeconds": 901}]
    )
    assert 9 == len(answer["Successful"])
    assert [("bad", True, "InvalidParameterValue")] == [
        (f["Id"], f["SenderFault"], f["Code"]) for f in answer["Failed"]
    ]
    messages = receive(sqs, queue)
    handles = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=queue, Entries=[{**h, "VisibilityTimeout": 60} for h in handles]
    )
    assert "Failed" not in changed
    deleted = sqs.delete_message_batch(
        QueueUrl=queue, Entries=[*handles, {"Id": "x", "ReceiptHandle": "nonsense"}]
    )

    assert 9 == len(deleted["Successful"])
    assert ["x"] == [f["Id"] for f in deleted["Failed"]]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "MessageBody": "x"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)], "BatchRequestTooLong"),
    ],
)
def test_bad_batches(sqs: Any, queue: str, entries: list[Any], code: str) -> None:
    """A batch that is wrong as a whole stores nothing."""
    assert (
        f"AWS.SimpleQueueService.{code}"
        == error_of(lambda: sqs.send_message_batch(QueueUrl=queue, Entries=entries))[0]
    )
    assert [] == receive(sqs, queue)


def test_fifo_order_and_groups(sqs: Any, fifo: str) -> None:
    """A group waits for what is in flight; another group does not."""
    for group, body in (("a", "1"), ("a", "2"), ("b", "3")):
        sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId=group)
    (first,) = receive(sqs, fifo, MaxNumberOfMessages=1)

    assert ("1", ["3"]) == (first["Body"], [m["Body"] for m in receive(sqs, fifo)])
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"])
    assert ["2"] == [m["Body"] for m in receive(sqs, fifo)]


def test_fifo_deduplication(sqs: Any, fifo: str) -> None:
    """A duplicate is answered as the original, also after the original was deleted."""
    first = sqs.send_message(QueueUrl=fifo, MessageBody="x", MessageGroupId="g")
    (message,) = receive(sqs, fifo)
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    second = sqs.send_message(QueueUrl=fifo, MessageBody="x", MessageGroupId="g")

    assert (first["MessageId"], first["SequenceNumber"]) == (
        second["MessageId"],
        second["SequenceNumber"],
    )
    assert 20 == len(first["SequenceNumber"])
    assert [] == receive(sqs, fifo)


def test_fifo_needs_a_group(sqs: Any, fifo: str, queue: str) -> None:
    """The parameters of the two queue types are not mixed up."""
    assert (
        "MissingParameter",
        "The request must contain the parameter MessageGroupId.",
    ) == error_of(lambda: sqs.send_message(QueueUrl=fifo, MessageBody="x"))[:2]
    assert (
        "InvalidParameterValue"
        == error_of(
            lambda: sqs.send_message(QueueUrl=queue, MessageBody="x", MessageDeduplicationId="d")
        )[0]
    )


def test_fifo_expired_handle(sqs: Any, fifo: str) -> None:
    """A FIFO message is deleted only while it is in flight."""
    sqs.send_message(QueueUrl=fifo, MessageBody="x", MessageGroupId="g")
    (message,) = receive(sqs, fifo, VisibilityTimeout=0)
    handle = message["ReceiptHandle"]

    assert (
        "InvalidParameterValue",
        f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
    ) == error_of(lambda: sqs.delete_message(QueueUrl=fifo, ReceiptHandle=handle))[:2]


def with_dead_letters(sqs: Any, url: str, dead: str, count: int = 1) -> None:
    policy = {"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": count}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": json.dumps(policy)})


def test_dead_letters_and_redrive(sqs: Any, queue: str, unique: str) -> None:
    """A message received too often moves to the dead-letter queue; a task moves it back, as a new one."""
    dead = sqs.create_queue(QueueName=f"{unique}-dead")["QueueUrl"]
    with_dead_letters(sqs, queue, dead)
    sent = sqs.send_message(QueueUrl=queue, MessageBody="x")
    receive(sqs, queue, VisibilityTimeout=0)
    assert [] == receive(sqs, queue)

    (letter,) = receive(sqs, dead, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])
    assert sent["MessageId"] == letter["MessageId"]
    assert ("2", arn_of(sqs, queue)) == (
        letter["Attributes"]["ApproximateReceiveCount"],
        letter["Attributes"]["DeadLetterQueueSourceArn"],
    )
    assert [queue] == sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"]
    sqs.start_message_move_task(SourceArn=arn_of(sqs, dead))
    (back,) = receive(sqs, queue, WaitTimeSeconds=10)
    assert ("x", True) == (back["Body"], back["MessageId"] != sent["MessageId"])
    (task,) = sqs.list_message_move_tasks(SourceArn=arn_of(sqs, dead))["Results"]
    assert 1 == task["ApproximateNumberOfMessagesMoved"]


def test_redrive_allow_policy(sqs: Any, queue: str, unique: str) -> None:
    """A dead-letter queue that allows no source is not taken as one."""
    dead = sqs.create_queue(
        QueueName=f"{unique}-dead",
        Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})},
    )["QueueUrl"]

    with pytest.raises(ClientError, match="not permitted"):
        with_dead_letters(sqs, queue, dead)


def test_move_task_needs_a_dead_letter_queue(sqs: Any, queue: str) -> None:
    """Any other queue is refused, in AWS's words."""
    arn = arn_of(sqs, queue)

    assert ("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.") == (
        error_of(lambda: sqs.start_message_move_task(SourceArn=arn))[:2]
    )


def test_purge(sqs: Any, queue: str) -> None:
    """Everything goes; again within a minute is refused."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.purge_queue(QueueUrl=queue)

    assert [] == receive(sqs, queue)
    assert (
        "AWS.SimpleQueueService.PurgeQueueInProgress"
        == error_of(lambda: sqs.purge_queue(QueueUrl=queue))[0]
    )


def test_tags(sqs: Any, queue: str) -> None:
    """Tags are kept, replaced and removed."""
    sqs.tag_queue(QueueUrl=queue, Tags={"a": "1", "b": ""})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["a"])

    assert {"b": ""} == sqs.list_queue_tags(QueueUrl=queue)["Tags"]


def test_list_by_prefix_in_pages(sqs: Any, unique: str) -> None:
    """Pages only when asked for."""
    urls = [sqs.create_queue(QueueName=f"{unique}-{n}")["QueueUrl"] for n in range(3)]
    page = sqs.list_queues(QueueNamePrefix=unique, MaxResults=2)
    rest = sqs.list_queues(QueueNamePrefix=unique, MaxResults=2, NextToken=page["NextToken"])

    assert urls == page["QueueUrls"] + rest["QueueUrls"]
    assert "NextToken" not in rest


def test_delete_queue(sqs: Any, queue: str) -> None:
    """A deleted queue takes its messages with it."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.delete_queue(QueueUrl=queue)

    assert "AWS.SimpleQueueService.NonExistentQueue" == error_of(lambda: receive(sqs, queue))[0]


def test_query_protocol(sqs: Any, queue: str) -> None:
    """Older clients speak forms and XML, at the queue's own URL."""
    form = urllib.parse.urlencode({"Action": "SendMessage", "MessageBody": "from a form"})
    request = urllib.request.Request(
        queue, form.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    )
    with urllib.request.urlopen(request) as response:
        answer = response.read().decode()

    assert "<SendMessageResponse xmlns=" in answer
    assert ["from a form"] == [m["Body"] for m in receive(sqs, queue)]


def test_query_protocol_errors(endpoint: str) -> None:
    """The query protocol has its own text for a queue that is not there."""
    request = urllib.request.Request(
        f"{endpoint}/000000000000/nobody",
        b"Action=ReceiveMessage&Version=2012-11-05",
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)

    body = caught.value.read().decode()
    assert "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>" in body
    assert "The specified queue does not exist for this wsdl version." in body


def test_accounts_and_regions_are_apart(aws: Aws, sqs: Any, queue: str, unique: str) -> None:
    """A queue belongs to the account and the region of its creator."""
    other_region = aws("sqs", region_name="eu-west-1")
    other_account = aws("sqs", aws_access_key_id="111111111111")

    for client in (other_region, other_account):
        with pytest.raises(ClientError, match="NonExistentQueue"):
            client.get_queue_url(QueueName=unique)
    url = other_account.create_queue(QueueName=unique)["QueueUrl"]
    assert url.endswith(f"/111111111111/{unique}")


def test_deleted_dead_letter_queue_takes_nothing(sqs: Any, queue: str, unique: str) -> None:
    """Without its dead-letter queue a message stays where it is."""
    dead = sqs.create_queue(QueueName=f"{unique}-dead")["QueueUrl"]
    with_dead_letters(sqs, queue, dead)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.delete_queue(QueueUrl=dead)
    receive(sqs, queue, VisibilityTimeout=0)

    assert ["x"] == [m["Body"] for m in receive(sqs, queue)]


def test_foreign_token(sqs: Any, queue: str) -> None:
    """A token that was not given out is the client's error."""
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        sqs.list_dead_letter_source_queues(QueueUrl=queue, MaxResults=1, NextToken="nonsense")


def test_abandoned_poll_takes_nothing(sqs: Any, queue: str, endpoint: str) -> None:
    """A worker that is killed while it waits does not take the next message into its grave."""
    host, _, port = endpoint.removeprefix("http://").partition(":")
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: {host}\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as poll:
        poll.sendall(head.encode() + body)
        sqs.list_queues()  # the poll was read before this
    sqs.list_queues()  # and its end before this
    sqs.send_message(QueueUrl=queue, MessageBody="for the living")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == "for the living"
