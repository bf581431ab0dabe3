"""Topics, subscriptions, publishing to queues, filters and FIFO, as boto3 sees them."""

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Aws = Callable[..., Any]
ACCOUNT = "000000000000"
REGION = "us-east-1"


@pytest.fixture
def sns(aws: Aws) -> Any:
    """The client."""
    return aws("sns")


@pytest.fixture
def sqs(aws: Aws) -> Any:
    """The client of the queues."""
    return aws("sqs")


@pytest.fixture
def topic(sns: Any, unique: str) -> str:
    """The ARN of a new topic."""
    return str(sns.create_topic(Name=unique)["TopicArn"])


class Subscribed:
    """A queue that is subscribed to a topic."""

    def __init__(self, sqs: Any, sns: Any, topic: str, name: str, **attributes: str) -> None:
        self._sqs, self._sns = sqs, sns
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self.url = sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
        self.queue_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        self.arn = sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=self.queue_arn, Attributes=attributes
        )["SubscriptionArn"]

    def receive(self, **options: Any) -> list[Any]:
        """What is there; each message is removed."""
        found = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            **options,
        ).get("Messages", [])
        for message in found:
            self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return list(found)

    def bodies(self) -> list[str]:
        """The bodies of what is there."""
        return [message["Body"] for message in self.receive()]


@pytest.fixture
def subscribed(sqs: Any, sns: Any, topic: str, unique: str) -> Callable[..., Subscribed]:
    """Subscribes a new queue: `subscribed(suffix="", topic=..., **attributes)`."""

    def make(suffix: str = "", *, to: str = topic, **attributes: str) -> Subscribed:
        return Subscribed(sqs, sns, to, unique + suffix, **attributes)

    return make


def error_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def verify(endpoint: str, envelope: Mapping[str, str]) -> None:
    """AWS's published procedure: the certificate's key over names and values in order."""
    assert envelope["SigningCertURL"].startswith(endpoint)
    with urllib.request.urlopen(envelope["SigningCertURL"]) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    kind = envelope["Type"]
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if kind != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    algorithm = hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256()
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    signature = base64.b64decode(envelope["Signature"])
    key.verify(signature, text.encode(), padding.PKCS1v15(), algorithm)


def test_envelope_in_a_queue(
    sns: Any, topic: str, endpoint: str, subscribed: Callable[..., Subscribed]
) -> None:
    """A queue gets the message in AWS's envelope, its members in AWS's order."""
    queue = subscribed()
    sent = sns.publish(
        TopicArn=topic,
        Message="hello",
        Subject="a subject",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "ü"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x01\x02"},
        },
    )

    (message,) = queue.receive()
    envelope = json.loads(message["Body"])
    assert list(envelope) == [
        "Type",
        "MessageId",
        "TopicArn",
        "Subject",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
        "UnsubscribeURL",
        "MessageAttributes",
    ]
    assert envelope["MessageId"] == sent["MessageId"]
    assert envelope["Message"] == "hello"
    assert envelope["MessageAttributes"] == {
        "text": {"Type": "String", "Value": "ü"},
        "bytes": {"Type": "Binary", "Value": "AQI="},
    }
    assert envelope["UnsubscribeURL"].endswith(f"/?Action=Unsubscribe&SubscriptionArn={queue.arn}")
    assert "MessageAttributes" not in message


@pytest.mark.parametrize("version", ["1", "2"])
def test_signature(
    sns: Any,
    topic: str,
    endpoint: str,
    subscribed: Callable[..., Subscribed],
    version: str,
) -> None:
    """Both versions of signatures hold against the certificate that is served."""
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="SignatureVersion", AttributeValue=version
    )
    queue = subscribed()
    sns.publish(TopicArn=topic, Message="hello\nthere", Subject="with a subject")
    sns.publish(TopicArn=topic, Message="hello")

    for body in queue.bodies():
        envelope = json.loads(body)
        assert envelope["SignatureVersion"] == version
        verify(endpoint, envelope)


def test_raw_delivery(sns: Any, topic: str, subscribed: Callable[..., Subscribed]) -> None:
    """A raw subscription gets the text alone, and the attributes as the queue's own."""
    queue = subscribed(RawMessageDelivery="true")
    sns.publish(
        TopicArn=topic,
        Message="hello",
        MessageAttributes={
            "n": {"DataType": "Number", "StringValue": "1"},
            "b": {"DataType": "Binary", "BinaryValue": b"\x00"},
        },
    )

    (message,) = queue.receive()
    assert message["Body"] == "hello"
    assert message["MessageAttributes"] == {
        "n": {"DataType": "Number", "StringValue": "1"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x00"},
    }


def test_message_structure(sns: Any, topic: str, subscribed: Callable[..., Subscribed]) -> None:
    """Each protocol gets its own text, the others the default."""
    queue = subscribed(RawMessageDelivery="true")
    for texts in ({"default": "d", "sqs": "for queues"}, {"default": "d", "http": "h"}):
        sns.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json")

    assert queue.bodies() == ["for queues", "d"]


def test_batch(sns: Any, topic: str, subscribed: Callable[..., Subscribed]) -> None:
    """A batch is filtered message by message."""
    queue = subscribed(RawMessageDelivery="true", FilterPolicy='{"kind": ["good"]}')
    sent = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {
                "Id": str(number),
                "Message": f"m{number}",
                "MessageAttributes": {
                    "kind": {"DataType": "String", "StringValue": "good" if number % 2 else "bad"}
                },
            }
            for number in range(10)
        ],
    )

    assert [one["Id"] for one in sent["Successful"]] == [str(number) for number in range(10)]
    assert queue.bodies() == ["m1", "m3", "m5", "m7", "m9"]


@pytest.mark.parametrize(
    ("policy", "attributes", "passes"),
    [
        ({"a": ["x"]}, {"a": ("String", "x")}, True),
        ({"a": ["x"]}, {}, False),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": [{"anything-but": ["x"]}]}, {"a": ("String", "y")}, True),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": ("String", "xy")}, False),
        ({"a": [{"prefix": "x"}]}, {"a": ("String", "xy")}, True),
        ({"a": [{"suffix": "y"}]}, {"a": ("String", "xy")}, True),
        ({"a": [{"wildcard": "x*z"}]}, {"a": ("String", "xyz")}, True),
        ({"a": [{"equals-ignore-case": "X"}]}, {"a": ("String", "x")}, True),
        ({"a": [{"cidr": "10.0.0.0/24"}]}, {"a": ("String", "10.0.0.255")}, True),
        ({"a": [{"numeric": [">", 1, "<=", 5]}]}, {"a": ("Number", "5")}, True),
        ({"a": [{"numeric": [">", 1, "<=", 5]}]}, {"a": ("Number", "1")}, False),
        ({"a": [{"numeric": ["=", 5]}]}, {"a": ("String", "5")}, False),
        ({"a": ["y"]}, {"a": ("String.Array", '["x", "y"]')}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": ("String", "y")}, True),
        ({"a": ["x"], "b": ["y"]}, {"a": ("String", "x")}, False),
    ],
)
def test_filter_on_attributes(
    sns: Any,
    topic: str,
    subscribed: Callable[..., Subscribed],
    policy: Any,
    attributes: dict[str, tuple[str, str]],
    passes: bool,
) -> None:
    """A message reaches a subscription when its attributes pass the filter."""
    queue = subscribed(RawMessageDelivery="true", FilterPolicy=json.dumps(policy))
    sns.publish(
        TopicArn=topic,
        Message="m",
        MessageAttributes={
            name: {"DataType": kind, "StringValue": value}
            for name, (kind, value) in attributes.items()
        },
    )

    assert queue.bodies() == (["m"] if passes else [])


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        ('{"order": {"state": "paid", "total": 120}}', True),
        ('{"order": {"state": "paid", "total": 20}}', False),
        ('{"order": {"total": 120}}', False),
        ("paid", False),
    ],
    ids=["passes", "little", "stateless", "text"],
)
def test_filter_on_the_body(
    sns: Any, topic: str, subscribed: Callable[..., Subscribed], body: str, passes: bool
) -> None:
    """With the scope MessageBody the message itself is looked at, however deep."""
    policy = {"order": {"state": ["paid"], "total": [{"numeric": [">=", 100]}]}}
    queue = subscribed(
        RawMessageDelivery="true",
        FilterPolicyScope="MessageBody",
        FilterPolicy=json.dumps(policy),
    )
    sns.publish(TopicArn=topic, Message=body)

    assert queue.bodies() == ([body] if passes else [])


def test_a_changed_filter_counts_from_the_next_message(
    sns: Any, topic: str, subscribed: Callable[..., Subscribed]
) -> None:
    """What is kept of subscriptions between messages follows their changes."""
    queue = subscribed(RawMessageDelivery="true")
    sns.publish(TopicArn=topic, Message="before")
    sns.set_subscription_attributes(
        SubscriptionArn=queue.arn, AttributeName="FilterPolicy", AttributeValue='{"a": ["b"]}'
    )
    sns.publish(TopicArn=topic, Message="filtered")
    sns.set_subscription_attributes(
        SubscriptionArn=queue.arn, AttributeName="FilterPolicy", AttributeValue=""
    )
    sns.publish(TopicArn=topic, Message="after")
    sns.unsubscribe(SubscriptionArn=queue.arn)
    sns.publish(TopicArn=topic, Message="gone")

    assert queue.bodies() == ["before", "after"]


def test_dead_letter_of_a_queue_that_is_gone(
    sns: Any, sqs: Any, topic: str, unique: str, subscribed: Callable[..., Subscribed]
) -> None:
    """What a deleted queue cannot take goes to the subscription's dead-letter queue, raw with its attributes."""
    letters = sqs.create_queue(QueueName=unique + "-dlq")["QueueUrl"]
    queue = subscribed(
        RawMessageDelivery="true",
        RedrivePolicy=json.dumps(
            {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique}-dlq"}
        ),
    )
    sqs.delete_queue(QueueUrl=queue.url)
    sns.publish(
        TopicArn=topic,
        Message="lost",
        MessageAttributes={"n": {"DataType": "Number", "StringValue": "1"}},
    )

    (message,) = sqs.receive_message(
        QueueUrl=letters, WaitTimeSeconds=10, MessageAttributeNames=["All"]
    )["Messages"]
    assert message["Body"] == "lost"
    assert message["MessageAttributes"] == {"n": {"DataType": "Number", "StringValue": "1"}}


def test_too_many_attributes_for_a_queue(
    sns: Any, sqs: Any, topic: str, unique: str, subscribed: Callable[..., Subscribed]
) -> None:
    """A queue takes ten attributes: raw delivery of more is refused for good, and dead-lettered."""
    letters = sqs.create_queue(QueueName=unique + "-dlq")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique}-dlq"
    raw = subscribed(
        RawMessageDelivery="true", RedrivePolicy=json.dumps({"deadLetterTargetArn": arn})
    )
    envelope = subscribed("-e")
    attributes = {f"a{n}": {"DataType": "Number", "StringValue": str(n)} for n in range(11)}
    sns.publish(TopicArn=topic, Message="m", MessageAttributes=attributes)

    answer = sqs.receive_message(QueueUrl=letters, WaitTimeSeconds=10)
    assert [message["Body"] for message in answer["Messages"]] == ["m"]
    assert raw.bodies() == []
    assert len(json.loads(envelope.bodies()[0])["MessageAttributes"]) == 11


@pytest.fixture
def fifo_topic(sns: Any, unique: str) -> str:
    """The ARN of a new FIFO topic."""
    return str(
        sns.create_topic(
            Name=f"{unique}.fifo",
            Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"},
        )["TopicArn"]
    )


def test_fifo_keeps_order_and_repeats_nothing(
    sns: Any, fifo_topic: str, subscribed: Callable[..., Subscribed]
) -> None:
    """A FIFO queue gets what was published in order, each once, with group and deduplication id."""
    queue = subscribed(".fifo", to=fifo_topic)
    plain = subscribed("-plain", to=fifo_topic, RawMessageDelivery="true")
    sent = [
        sns.publish(TopicArn=fifo_topic, Message=text, MessageGroupId="g")
        for text in ("a", "b", "a", "c")
    ]

    assert sent[0]["SequenceNumber"] == sent[2]["SequenceNumber"] < sent[3]["SequenceNumber"]
    assert sent[0]["MessageId"] == sent[2]["MessageId"]
    received = queue.receive()
    bodies = [json.loads(message["Body"]) for message in received]
    assert [body["Message"] for body in bodies] == ["a", "b", "c"]
    assert [body["SequenceNumber"] for body in bodies] == [
        one["SequenceNumber"] for one in (sent[0], sent[1], sent[3])
    ]
    assert all("Signature" not in body for body in bodies)
    assert {message["Attributes"]["MessageGroupId"] for message in received} == {"g"}
    assert plain.bodies() == ["a", "b", "c"]


def test_deduplication_within_a_group(
    sns: Any, fifo_topic: str, subscribed: Callable[..., Subscribed]
) -> None:
    """With the scope MessageGroup the same message counts once in each group."""
    sns.set_topic_attributes(
        TopicArn=fifo_topic, AttributeName="FifoThroughputScope", AttributeValue="MessageGroup"
    )
    queue = subscribed(to=fifo_topic, RawMessageDelivery="true")
    for group in ("g", "h", "g"):
        sns.publish(TopicArn=fifo_topic, Message="same", MessageGroupId=group)

    assert queue.bodies() == ["same", "same"]


def test_replay_of_an_archive(
    sns: Any, fifo_topic: str, subscribed: Callable[..., Subscribed]
) -> None:
    """A new subscription gets what was archived, filtered as any, in order."""
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    sns.set_topic_attributes(
        TopicArn=fifo_topic,
        AttributeName="ArchivePolicy",
        AttributeValue='{"MessageRetentionPeriod": "30"}',
    )
    for number in range(5):
        sns.publish(TopicArn=fifo_topic, Message=json.dumps({"n": number}), MessageGroupId="g")
    queue = subscribed(
        to=fifo_topic,
        FilterPolicyScope="MessageBody",
        FilterPolicy='{"n": [{"numeric": [">", 1]}]}',
        ReplayPolicy=json.dumps({"PointType": "Timestamp", "StartingPoint": start}),
    )

    bodies: list[Any] = []
    while len(bodies) < 3 and (found := queue.receive(WaitTimeSeconds=10)):
        bodies += [json.loads(message["Body"]) for message in found]
    assert [json.loads(body["Message"])["n"] for body in bodies] == [2, 3, 4]
    assert {body["Replayed"] for body in bodies} == {"true"}
    attributes = sns.get_topic_attributes(TopicArn=fifo_topic)["Attributes"]
    assert "BeginningArchiveTime" in attributes
    code, _ = error_of(lambda: sns.delete_topic(TopicArn=fifo_topic))
    assert code == "InvalidState"


@pytest.mark.parametrize(
    ("protocol", "endpoint_"),
    [("email", "somebody@example.org"), ("email-json", "somebody@example.org")],
)
def test_confirmation_by_mail(
    sns: Any, topic: str, endpoint: str, unique: str, protocol: str, endpoint_: str
) -> None:
    """An address gets nothing before the link in its letter was visited; then it gets everything."""
    to = f"{unique}-{endpoint_}"
    answer = sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=to)
    assert answer["SubscriptionArn"] == "pending confirmation"
    sns.publish(TopicArn=topic, Message="too early")
    (letter,) = mails(endpoint, to)

    with urllib.request.urlopen(letter["link"]) as page:
        assert b"<SubscriptionArn>" + topic.encode() in page.read()
    sns.publish(TopicArn=topic, Message="hello", Subject="news")

    _, mail = mails(endpoint, to)
    assert mail["subject"] == "news"
    text = mail["message"]
    if protocol == "email-json":
        verify(endpoint, json.loads(text))
        text = json.loads(text)["Message"]
    assert text == "hello"


def mails(endpoint: str, to: str) -> list[Any]:
    """What was recorded for an address."""
    with urllib.request.urlopen(f"{endpoint}/_penstock/outbox") as answer:
        return [one for one in json.loads(answer.read()) if one["to"] == to]


def test_text_messages_are_recorded(sns: Any, topic: str, endpoint: str) -> None:
    """A telephone gets what is published to it and to its topics; the outbox has it."""
    number = f"+4930{time.time_ns() % 100_000_000}"
    sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint=number)
    sns.publish(TopicArn=topic, Message="by topic")
    sns.publish(PhoneNumber=number, Message="direct")

    assert [one["message"] for one in mails(endpoint, number)] == ["by topic", "direct"]


def test_pushes_are_recorded(sns: Any, topic: str, endpoint: str, unique: str) -> None:
    """A device gets the text for its platform; one that is disabled gets none."""
    application = sns.create_platform_application(
        Name=unique, Platform="GCM", Attributes={"PlatformCredential": "key"}
    )["PlatformApplicationArn"]
    device = sns.create_platform_endpoint(PlatformApplicationArn=application, Token="t")[
        "EndpointArn"
    ]
    sns.subscribe(TopicArn=topic, Protocol="application", Endpoint=device)
    sns.publish(
        TopicArn=topic,
        Message=json.dumps({"default": "d", "GCM": "for Google"}),
        MessageStructure="json",
    )
    assert [one["message"] for one in mails(endpoint, device)] == ["for Google"]

    sns.set_endpoint_attributes(EndpointArn=device, Attributes={"Enabled": "false"})
    assert error_of(lambda: sns.publish(TargetArn=device, Message="m")) == (
        "EndpointDisabled",
        "Endpoint is disabled",
    )


def test_firehose_is_refused_by_name(sns: Any, topic: str) -> None:
    """What is not built says so."""
    code, message = error_of(
        lambda: sns.subscribe(
            TopicArn=topic,
            Protocol="firehose",
            Endpoint=f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/d",
        )
    )
    assert code == "NotImplemented"
    assert "Firehose" in message
