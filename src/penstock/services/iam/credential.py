"""Credentials: access keys of users and sessions of roles, and what each stands for."""

from typing import Any, Final, NamedTuple

import orjson

from penstock.core.arn import Arn, parse_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.iam.entity import ROLES
from penstock.storage.primitives import Row, Store

_CREDENTIALS: Final = "iam/credentials"
_EXPIRY: Final = "iam/expiry"
_ALL: Final = b"keys"
# AWS: a service's session of a role lasts up to 12 hours (Lambda guide, "execution role").
SERVICE_SESSION_MS: Final = 12 * 3600 * 1000


class Credential(NamedTuple):
    """What an access key stands for. `principal` is an ARN; `token` and `expires_at` (ms) belong to sessions."""

    secret: str
    account: str
    principal: str
    principal_id: str
    token: str | None = None
    expires_at: int | None = None


class Credentials:
    """Issues and finds credentials."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids

    async def find(self, access_key: str) -> Credential | None:
        """The credential of an access key. The caller compares `token` and `expires_at`. None if inactive or unknown."""
        row = await self._store.table.get(_CREDENTIALS, _ALL, access_key.encode())
        if row is None:
            return None
        document = orjson.loads(row.document)
        if document.pop("status", "Active") != "Active":
            return None
        return Credential(**document)

    async def issue(self, credential: Credential, *, status: str = "Active") -> str:
        """Keep a credential and return its new access key."""
        access_key = ("AKIA" if credential.token is None else "ASIA") + self._ids.upper_token(16)
        await self.keep(access_key, credential, status=status)
        return access_key

    async def keep(self, access_key: str, credential: Credential, *, status: str) -> None:
        """Store what an access key stands for; `status` is Active or Inactive."""
        document = orjson.dumps({**credential._asdict(), "status": status})
        await self._store.table.put(_CREDENTIALS, _ALL, access_key.encode(), document)

    async def set_status(self, access_key: str, status: str) -> None:
        """Make an access key Active or Inactive."""
        row = await self._store.table.get(_CREDENTIALS, _ALL, access_key.encode())
        if row is not None:
            document = orjson.dumps({**orjson.loads(row.document), "status": status})
            await self._store.table.put(_CREDENTIALS, _ALL, access_key.encode(), document)

    async def revoke(self, access_key: str) -> None:
        """Forget an access key."""
        await self._store.table.delete(_CREDENTIALS, _ALL, access_key.encode())

    async def credentials_for(self, role_arn: str, session_name: str, now: int) -> dict[str, Any]:
        """Session credentials of a role for a service that runs as it, shaped as STS answers them, for 12 hours.

        Raises NoSuchEntity when there is no such role.
        """
        credentials, _ = await self.assume(role_arn, session_name, now, SERVICE_SESSION_MS)
        return credentials

    async def assume(
        self, role_arn: str, session_name: str, now: int, duration_ms: int
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """`Credentials` and `AssumedRoleUser` of a new session."""
        arn = parse_arn(role_arn)
        row = await self._role(arn)
        if row is None:
            message = f"The role with name {arn.name} cannot be found."
            raise AwsError("NoSuchEntity", message, status=404)
        role = orjson.loads(row.document)
        user = {
            "AssumedRoleId": f"{role['RoleId']}:{session_name}",
            "Arn": f"arn:aws:sts::{arn.account}:assumed-role/{role['RoleName']}/{session_name}",
        }
        credential = Credential(
            self._ids.secret(),
            arn.account,
            user["Arn"],
            user["AssumedRoleId"],
            self._ids.hex(320),
            now + duration_ms,
        )
        await self._sweep(now)
        access_key = await self.issue(credential)
        sort = f"{credential.expires_at:015d}{access_key}".encode()
        await self._store.table.put(_EXPIRY, _ALL, sort, b"")
        shaped = {
            "AccessKeyId": access_key,
            "SecretAccessKey": credential.secret,
            "SessionToken": credential.token,
            "Expiration": credential.expires_at,
        }
        return shaped, user

    async def role_exists(self, role_arn: str) -> bool:
        """Whether there is a role of this ARN."""
        return await self._role(parse_arn(role_arn)) is not None

    async def _role(self, arn: Arn) -> Row | None:
        return await self._store.table.get(ROLES, arn.account.encode(), arn.name.lower().encode())

    async def _sweep(self, now: int) -> None:
        """Forget a few sessions that ended more than a day ago, so that they never pile up."""
        until = f"{max(now - 86_400_000, 0):015d}".encode()
        for row in await self._store.table.range(_EXPIRY, _ALL, high=until, limit=10):
            await self.revoke(row.sort[15:].decode())
            await self._store.table.delete(_EXPIRY, _ALL, row.sort)
