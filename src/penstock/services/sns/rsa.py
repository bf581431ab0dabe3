"""RSA: a key, the signatures that it makes, and the certificate by which anybody can verify them."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

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
        self.certificate = certificate
        """PEM."""
        digest = hashlib.md5(certificate, usedforsecurity=False).hexdigest()
        self.path = f"{PATH}{digest}.pem"
        """Where the certificate is found."""

    async def sign(self, version: str, fields: Sequence[tuple[str, str | None]]) -> str:
        """The signature of named values, which are in order of their names; base64.

        It takes most of a millisecond, in which a thread does without the interpreter: the event loop goes on.
        """
        text = "".join(f"{name}\n{value}\n" for name, value in fields if value is not None)
        sign, algorithm = self._key.sign, _HASHES[version]
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(None, sign, text.encode(), _PADDING, algorithm)
        return base64.b64encode(made).decode()


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
