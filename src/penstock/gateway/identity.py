"""Who is calling: from an access key to an account and a principal."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.core.errors import AwsError


class IssuedKey(Protocol):
    """What an access key stands for, as IAM and STS keep it."""

    @property
    def secret(self) -> str: ...  # noqa: D102
    @property
    def account(self) -> str: ...  # noqa: D102
    @property
    def principal(self) -> str: ...  # noqa: D102
    @property
    def principal_id(self) -> str: ...  # noqa: D102
    @property
    def token(self) -> str | None: ...  # noqa: D102
    @property
    def expires_at(self) -> int | None: ...  # noqa: D102


Lookup = Callable[[str], Awaitable[IssuedKey | None]]


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of an access key. `secret` verifies signatures; sessions also have a token and an end (ms)."""

    account: str
    principal: str
    principal_id: str
    secret: str | None = None
    token: str | None = None
    expires_at: int | None = None

    def check_session(self, token: str | None, now: int) -> None:
        """Raise unless `token` is the session's (None for a key of its own) and its time is not over."""
        if (token or None) != self.token:
            # AWS: S3 tells a session's key without its token from one with another's (InvalidAccessKeyId, InvalidToken).
            raise AwsError(
                "InvalidToken" if token else "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        if self.expires_at is not None and now >= self.expires_at:
            raise AwsError(
                "ExpiredTokenException", "The security token included in the request is expired"
            )


class Identities:
    """Finds the identity behind an access key among IAM's users, STS's sessions and the local root."""

    def __init__(self, default_account: str, lookup: Lookup) -> None:
        self._lookup = lookup
        self._default = _root_of(default_account)

    def anonymous(self) -> Identity:
        """Whoever calls without credentials while `--auth off`."""
        return self._default

    async def find(self, access_key: str) -> Identity | None:
        """The identity of a key that was issued here; None for any other."""
        key = await self._lookup(access_key)
        if key is None:
            return None
        return Identity(
            key.account, key.principal, key.principal_id, key.secret, key.token, key.expires_at
        )

    @staticmethod
    def may_be_issued(access_key: str) -> bool:
        """Whether it is worth asking `find`."""
        return len(access_key) == 20 and access_key.startswith("A")

    def trust(self, access_key: str) -> Identity:
        """The identity to assume without a check, for `--auth off`, of a key that was not issued here.

        Twelve digits are an account's root, so that tests can have accounts to themselves. Anything else is the
        default account's root.
        """
        if len(access_key) == 12 and access_key.isdigit():
            return _root_of(access_key)
        return self._default


def _root_of(account: str) -> Identity:
    return Identity(account, f"arn:aws:iam::{account}:root", account)
