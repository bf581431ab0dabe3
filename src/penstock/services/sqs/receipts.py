"""Receipt handles: opaque, and nobody but this store can make one."""

import base64
import binascii
import hashlib

from penstock.core.errors import AwsError


class Receipts:
    """Seals a storage receipt for a queue with a keyed checksum."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, queue_arn: str, receipt: str) -> str:
        """The handle a client is given."""
        data = receipt.encode()
        return "AQEB" + base64.urlsafe_b64encode(self._sum(queue_arn, data) + data).decode()

    def open(self, queue_arn: str, handle: str) -> str:
        """The storage receipt. Raises `ReceiptHandleIsInvalid` for a handle that was not sealed for this queue."""
        try:
            raw = base64.urlsafe_b64decode(handle[4:].encode("ascii", "strict"))
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raw = b""
        if (
            handle.startswith("AQEB")
            and len(raw) > 12
            and self._sum(queue_arn, raw[12:]) == raw[:12]
        ):
            return raw[12:].decode()
        raise AwsError(
            "ReceiptHandleIsInvalid",
            f'The input receipt handle "{handle}" is not a valid receipt handle.',
        )

    def _sum(self, queue_arn: str, data: bytes) -> bytes:
        return hashlib.blake2b(
            queue_arn.encode() + b"\n" + data, key=self._key, digest_size=12
        ).digest()
