"""What SQS keeps beside a message's body."""

from dataclasses import dataclass

from penstock.core.sqs_message import SqsAttributes, system_attributes


@dataclass
class Message:
    """A message of a FIFO queue that deduplicates by group."""

    sequence: int = 7
    sent_at: int = 1
    first_leased_at: int = 2
    leases: int = 3
    group: str | None = "g"
    dedup: str | None = "g\nd"
    source: str | None = "arn:aws:sqs:us-east-1:000000000000:other.fifo"


def test_system_attributes_of_a_fifo_message() -> None:
    """Consumers and functions must see the deduplication id that was sent, not the key that it is stored under."""
    expected = {
        "ApproximateReceiveCount": "3",
        "SentTimestamp": "1",
        "SenderId": "me",
        "ApproximateFirstReceiveTimestamp": "2",
        "SequenceNumber": "18849496460467696135",
        "MessageDeduplicationId": "d",
        "MessageGroupId": "g",
        "AWSTraceHeader": "Root=1",
        "DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:other.fifo",
    }
    assert expected == system_attributes(Message(), SqsAttributes("me", trace="Root=1"))
