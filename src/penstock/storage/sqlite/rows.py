"""Messages as rows of their table, and the receipts of their leases."""

from typing import Any

from penstock.storage.primitives import Leased, NewMessage


def row_of(queue: int, message: NewMessage, now: int, sequence: int) -> tuple[Any, ...]:
    """A new message as `put_message` takes it."""
    return (
        sequence,
        queue,
        message.visible_at,
        message.leases,
        now if message.sent_at is None else message.sent_at,
        message.id,
        message.group,
        message.tenant,
        message.dedup,
        message.source,
        message.attributes,
        message.body,
    )


def leased_of(row: tuple[Any, ...], leases: int, now: int) -> Leased:
    """The message of a row, as it is leased for that many times."""
    sequence, id_, _, sent_at, first, body, attributes, group, dedup, source = row
    return Leased(
        id_,
        f"{sequence}-{leases}",
        sequence,
        body,
        attributes,
        sent_at,
        first or now,
        leases,
        group,
        dedup,
        source,
    )


def parse_receipt(receipt: str) -> tuple[int, int] | None:
    """The sequence of a message and how often it was leased, by a receipt; None for what is no receipt."""
    sequence, _, leases = receipt.partition("-")
    digits = sequence + leases
    if sequence and leases and digits.isascii() and digits.isdigit():
        return int(sequence), int(leases)
    return None
