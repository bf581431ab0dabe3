"""Who is calling: from an access key to an account and a principal."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of an access key. `secret` verifies signatures."""

    account: str
    principal: str
    principal_id: str
    secret: str | None = None


Lookup = Callable[[str], Awaitable[tuple[str, str, str, str] | None]]
"""access key -> (secret, account, principal ARN, principal id)."""


class Identities:
    """Finds the identity behind an access key among IAM's users, STS's sessions and the local root."""

    def __init__(self, default_account: str, lookup: Lookup) -> None:
        self._lookup = lookup
        self._default = _root_of(default_account)
        self._roots = {default_account: self._default}

    def anonymous(self) -> Identity:
        """Whoever calls without credentials while `--auth off`."""
        return self._default

    async def find(self, access_key: str) -> Identity | None:
        """The identity of a key that was issued here; None for any other."""
        found = await self._lookup(access_key)
        if found is None:
            return None
        secret, account, principal, principal_id = found
        return Identity(account, principal, principal_id, secret)

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
            identity = self._roots.get(access_key)
            return identity if identity is not None else _root_of(access_key)
        return self._default


def _root_of(account: str) -> Identity:
    return Identity(account, f"arn:aws:iam::{account}:root", account)
