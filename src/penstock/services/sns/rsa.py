"""RSA: a key, the signatures that it makes, and the certificate by which anybody can verify them."""

import asyncio
import base64
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from penstock.core.md5 import md5_of
from penstock.services.sns.signature import PATH

_BITS: Final = 2048
_YEARS: Final = 30
_PADDING: Final = padding.PKCS1v15()
# AWS: version 1 is SHA-1, version 2 SHA-256 (SNS guide, "verifying the signatures of messages").
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}


class RsaSigner:
    """Signs with one key."""

    def __init__(self, pem: bytes) -> None:
        key, _, certificate = pem.partition(b"\n\n")
        self._key = cast(rsa.RSAPrivateKey, serialization.load_pem_private_key(key, None))
        self._threads = ThreadPoolExecutor(thread_name_prefix="penstock-signer")
        self._made: deque[tuple[asyncio.Future[bytes], bytes | Exception]] = deque()
        """Signatures that whoever waits for them has not been told of."""
        self._woken = False
        """Whether the event loop is about to look."""
        self.certificate = certificate
        """PEM."""
        self.path = f"{PATH}{md5_of(certificate)}.pem"
        """Where the certificate is found."""

    async def sign(self, version: str, fields: Sequence[tuple[str, str | None]]) -> str:
        """The signature of named values, which are in order of their names; base64.

        It takes most of a millisecond, in which a thread does without the interpreter: the event loop goes on.
        """
        text = "".join(f"{name}\n{value}\n" for name, value in fields if value is not None)
        waiter: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._threads.submit(self._sign, text.encode(), _HASHES[version], waiter)
        return base64.b64encode(await waiter).decode()

    def close(self) -> None:
        """End the threads. What is being signed is finished, in a millisecond; what waits is not."""
        self._threads.shutdown(cancel_futures=True)

    def _sign(
        self, data: bytes, algorithm: hashes.HashAlgorithm, waiter: "asyncio.Future[bytes]"
    ) -> None:
        """Sign, in a thread. The event loop is woken once for all that is signed until it looks."""
        made: bytes | Exception
        try:
            made = self._key.sign(data, _PADDING, algorithm)
        except Exception as error:  # noqa: BLE001 -- whoever waits is told
            made = error
        self._made.append((waiter, made))
        if not self._woken:
            self._woken = True
            waiter.get_loop().call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._woken = False
        while self._made:
            waiter, made = self._made.popleft()
            if waiter.done():
                continue
            if isinstance(made, bytes):
                waiter.set_result(made)
            else:
                waiter.set_exception(made)


def new_pem() -> bytes:
    """A private key and a certificate of it that it has signed."""
    key = rsa.generate_private_key(65537, _BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * _YEARS))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.strip() + b"\n\n" + certificate.public_bytes(serialization.Encoding.PEM)
