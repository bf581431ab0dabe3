"""What subscribers get: the envelope of a notification, the event of a function, the messages that ask for confirmation."""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import orjson

from penstock.services.sns.instant import instant
from penstock.services.sns.message import Message
from penstock.services.sns.signature import Signer, Signers
from penstock.services.sns.topic import Topic

PLACEHOLDER: Final = "0" * 20
"""Stands for the sequence number of a message until it has one."""


class Envelope:
    """The envelopes of one message: what they have in common is written, and signed, once."""

    def __init__(self, topic: Topic, message: Message, signers: Signers, endpoint: str) -> None:
        self._topic = topic
        self._message = message
        self._signers = signers
        self._endpoint = endpoint
        self._heads: dict[str, bytes] = {}
        self._tail = _attributes(message.attributes)

    async def prepare(self, text: str) -> None:
        """Write, and sign, what the envelopes of a text have in common. A text that was prepared takes no time."""
        if text not in self._heads:
            self._heads[text] = await self._head(text)

    def body(self, text: str, subscription_arn: str) -> bytes:
        """The envelope of a text that was prepared, for one subscription."""
        url = _string(unsubscribe_url(self._endpoint, subscription_arn))
        return b'%b,\n  "UnsubscribeURL" : %b%b\n}' % (self._heads[text], url, self._tail)

    async def _head(self, text: str) -> bytes:
        message, topic = self._message, self._topic
        fields: list[tuple[str, str | None]] = [
            ("Type", "Notification"),
            ("MessageId", message.id),
            ("SequenceNumber", message.sequence),
            ("TopicArn", topic.arn),
            ("Subject", message.subject),
            ("Message", text),
            ("Timestamp", instant(message.at)),
        ]
        if message.replayed:
            fields.append(("Replayed", "true"))
        # AWS: what FIFO topics send is not signed (recorded by LocalStack).
        if not topic.fifo:
            signer = await self._signers.get()
            signed, version = dict(fields), topic.signature_version
            names = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
            fields += [
                ("SignatureVersion", version),
                ("Signature", await signer.sign(version, [(n, signed[n]) for n in names])),
                ("SigningCertURL", self._endpoint + signer.path),
            ]
        return b"{\n" + _members(fields)


def _members(fields: list[tuple[str, str | None]]) -> bytes:
    return b",\n".join(
        b'  "%b" : %b' % (name.encode(), _string(value))
        for name, value in fields
        if value is not None
    )


def _string(text: str) -> bytes:
    return orjson.dumps(text)


def _attributes(attributes: Mapping[str, Mapping[str, Any]]) -> bytes:
    if not attributes:
        return b""
    rows = [
        b"    %b : %b" % (_string(name), orjson.dumps(_shown(value)))
        for name, value in attributes.items()
    ]
    return b',\n  "MessageAttributes" : {\n' + b",\n".join(rows) + b"\n  }"


def _shown(value: Mapping[str, Any]) -> dict[str, str]:
    data = value.get("BinaryValue")
    text = value.get("StringValue") if data is None else base64.b64encode(data).decode()
    return {"Type": value["DataType"], "Value": text or ""}


def function_event(envelope: bytes, subscription_arn: str) -> bytes:
    """The event of a function, from the envelope."""
    sent = orjson.loads(envelope)
    # AWS: names differ from the envelope's in their case, and nothing is left out (recorded by LocalStack).
    record = {
        "Type": sent["Type"],
        "MessageId": sent["MessageId"],
        "TopicArn": sent["TopicArn"],
        "Subject": sent.get("Subject"),
        "Message": sent["Message"],
        "Timestamp": sent["Timestamp"],
        # AWS: 1 whatever the topic's is, and by which it is signed (recorded by LocalStack).
        "SignatureVersion": "1",
        "Signature": sent.get("Signature"),
        "SigningCertUrl": sent.get("SigningCertURL"),
        "UnsubscribeUrl": sent["UnsubscribeURL"],
        "MessageAttributes": sent.get("MessageAttributes", {}),
    }
    return orjson.dumps(
        {
            "Records": [
                {
                    "EventSource": "aws:sns",
                    "EventVersion": "1.0",
                    "EventSubscriptionArn": subscription_arn,
                    "Sns": record,
                }
            ]
        }
    )


async def confirmation(  # noqa: PLR0913 -- what a message says
    topic: Topic,
    signer: Signer,
    endpoint: str,
    *,
    kind: str,
    told: str,
    token: str,
    id_: str,
    at: int,
) -> bytes:
    """The message that asks an endpoint to confirm. `kind` is SubscriptionConfirmation or UnsubscribeConfirmation."""
    url = confirm_url(endpoint, topic.arn, token)
    fields: list[tuple[str, str | None]] = [
        ("Type", kind),
        ("MessageId", id_),
        ("Token", token),
        ("TopicArn", topic.arn),
        ("Message", told),
        ("SubscribeURL", url),
        ("Timestamp", instant(at)),
    ]
    signed = dict(fields)
    names = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    version = topic.signature_version
    fields += [
        ("SignatureVersion", version),
        ("Signature", await signer.sign(version, [(name, signed[name]) for name in names])),
        ("SigningCertURL", endpoint + signer.path),
    ]
    return b"{\n" + _members(fields) + b"\n}"


def confirm_url(endpoint: str, topic_arn: str, token: str) -> str:
    """Where a subscription is confirmed."""
    return f"{endpoint}/?Action=ConfirmSubscription&TopicArn={topic_arn}&Token={token}"


@lru_cache(maxsize=10_000)
def unsubscribe_url(endpoint: str, subscription_arn: str) -> str:
    """Where a subscription is ended."""
    return f"{endpoint}/?Action=Unsubscribe&SubscriptionArn={quote(subscription_arn, safe=':')}"
