"""Signatures of what SNS sends, by a key of this data folder."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from penstock.storage.primitives import Store

_TABLE: Final = "penstock/secrets"
_ROW: Final = b"sns"
PATH: Final = "/SimpleNotificationService-"
"""How the path of a certificate begins."""


class Signer(Protocol):
    """Signs with one key."""

    @property
    def certificate(self) -> bytes:
        """PEM."""
        ...

    @property
    def path(self) -> str:
        """Where the certificate is found."""
        ...

    async def sign(self, version: str, fields: Sequence[tuple[str, str | None]]) -> str:
        """The signature of named values, which are in order of their names; base64."""
        ...

    def close(self) -> None:
        """End what it has running."""
        ...


class Signers:
    """The signer of this data folder, made when first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._signer: Signer | None = None

    async def get(self) -> Signer:
        """The signer."""
        if self._signer is None:
            # A tenth of a second that a start need not take.
            from penstock.services.sns.rsa import RsaSigner, new_pem  # noqa: PLC0415

            pem = await self._pem()
            if pem is None:
                made = await asyncio.to_thread(new_pem)
                # Somebody else may have been quicker.
                pem = await self._pem() or made
                if pem is made:
                    await self._store.table.put(_TABLE, _ROW, b"", made, expect=0)
            self._signer = RsaSigner(pem)
        return self._signer

    async def _pem(self) -> bytes | None:
        row = await self._store.table.get(_TABLE, _ROW, b"")
        return None if row is None else row.document

    def forget(self) -> None:
        """Read the key anew."""
        self._signer = None

    def close(self) -> None:
        """End the signer, once nothing is to be signed any more."""
        if self._signer is not None:
            self._signer.close()
            self._signer = None
