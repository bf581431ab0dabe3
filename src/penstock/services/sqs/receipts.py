"""Receipt handles: opaque, and nobody but this store can make one."""

import binascii
import hashlib

from penstock.core.errors import AwsError


class Receipts:
    """Seals a storage receipt for a queue with a keyed checksum."""

    def __init__(self, key: bytes) -> None:
        self._begun = hashlib.blake2b(key=key, digest_size=12)

    def seal(self, queue_arn: str, receipt: str, received_at: int) -> str:
        """The handle a client is given for what it received at an instant (ms; 0 if that is not known)."""
        data = f"{receipt}@{received_at}".encode()
        raw = self._sum(queue_arn, data) + data
        return "AQEB" + binascii.b2a_base64(raw, newline=False).decode()

    def open(self, queue_arn: str, handle: str) -> tuple[str, int]:
        """The receipt and its instant. Raises `ReceiptHandleIsInvalid` for what was not sealed for this queue."""
        try:
            raw = binascii.a2b_base64(handle[4:], strict_mode=True)
        except ValueError:
            raw = b""
        data = raw[12:]
        if handle.startswith("AQEB") and data and self._sum(queue_arn, data) == raw[:12]:
            receipt, _, received_at = data.decode().partition("@")
            return receipt, int(received_at)
        raise AwsError(
            "ReceiptHandleIsInvalid",
            f'The input receipt handle "{handle}" is not a valid receipt handle.',
        )

    def _sum(self, queue_arn: str, data: bytes) -> bytes:
        found = self._begun.copy()
        found.update(f"{queue_arn}\n".encode() + data)
        return found.digest()
