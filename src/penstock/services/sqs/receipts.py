"""Receipt handles: opaque, and nobody but this store can make one."""

import binascii
import hashlib
from collections.abc import Iterable
from typing import Final

from penstock.core.errors import AwsError

_KEPT: Final = 1_000


class Receipts:
    """Seals a storage receipt for a queue with a keyed checksum."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._begun: dict[str, hashlib.blake2b] = {}
        """The checksums of queues' handles, as they begin."""

    def seal(self, queue_arn: str, receipt: str, received_at: int) -> str:
        """The handle a client is given for what it received at an instant (ms; 0 if that is not known)."""
        return self.seal_all(queue_arn, (receipt,), received_at)[0]

    def seal_all(self, queue_arn: str, receipts: Iterable[str], received_at: int) -> list[str]:
        """The handles for all that was received at an instant."""
        begun = self._begun.get(queue_arn) or self._begin(queue_arn)
        handles = []
        for receipt in receipts:
            data = f"{receipt}@{received_at}".encode()
            checksum = begun.copy()
            checksum.update(data)
            raw = checksum.digest() + data
            handles.append("AQEB" + binascii.b2a_base64(raw, newline=False).decode())
        return handles

    def open(self, queue_arn: str, handle: str) -> tuple[str, int]:
        """The receipt and its instant. Raises `ReceiptHandleIsInvalid` for what was not sealed for this queue."""
        try:
            raw = binascii.a2b_base64(handle[4:], strict_mode=True)
        except ValueError:
            raw = b""
        data = raw[12:]
        if data and handle[:4] == "AQEB":
            checksum = (self._begun.get(queue_arn) or self._begin(queue_arn)).copy()
            checksum.update(data)
            if raw == checksum.digest() + data:
                receipt, _, received_at = data.partition(b"@")
                return receipt.decode(), int(received_at)
        raise AwsError(
            "ReceiptHandleIsInvalid",
            f'The input receipt handle "{handle}" is not a valid receipt handle.',
        )

    def _begin(self, queue_arn: str) -> hashlib.blake2b:
        if len(self._begun) >= _KEPT:
            self._begun.clear()
        # The key in front, not as a parameter: that would cost every handle a block of its own.
        begun = hashlib.blake2b(self._key + f"{queue_arn}\n".encode(), digest_size=12)
        self._begun[queue_arn] = begun
        return begun
