"""Users and their access keys. A user's document is IAM's answer plus `keys` (access key metadata)."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.iam.credential import Credential, Credentials
from penstock.services.iam.entity import (
    USERS,
    Document,
    Entities,
    delete_conflict,
    merged_tags,
    no_such_entity,
    page,
)

# AWS: two access keys a user (IAM user guide, quotas).
_KEY_LIMIT: Final = 2
_STATUSES: Final = frozenset({"Active", "Inactive"})


class Users:
    """Operations on users and access keys."""

    def __init__(self, ids: Ids, entities: Entities, credentials: Credentials) -> None:
        self._ids = ids
        self._entities = entities
        self._credentials = credentials

    async def _load(self, ctx: Context, request: Request) -> Document:
        name = request.get("UserName")
        if name is None and ":user/" in ctx.principal:
            name = ctx.principal.rsplit("/", 1)[-1]
        if name is None:
            message = "Must specify userName when calling with non-User credentials"
            raise AwsError("ValidationError", message, status=400)
        return await self._entities.load(USERS, ctx.account, name)

    @operation("CreateUser", refuses=["PermissionsBoundary"])
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a user."""
        name, path = request["UserName"], request.get("Path", "/")
        user = {
            "Path": path,
            "UserName": name,
            "UserId": f"AIDA{self._ids.upper_token(17)}",
            "Arn": f"arn:aws:iam::{ctx.account}:user{path}{name}",
            "CreateDate": ctx.now,
            "keys": [],
        }
        if request.get("Tags"):
            user["Tags"] = merged_tags([], request["Tags"])
        await self._entities.create(USERS, ctx.account, name, user)
        return {"User": _shaped(user)}

    @operation("GetUser")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A user, the caller by default."""
        return {"User": _shaped(await self._load(ctx, request))}

    @operation("ListUsers")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Users by name."""
        prefix = request.get("PathPrefix", "/")
        users = await self._entities.list(USERS, ctx.account)
        shaped = [_shaped(user) for user in users if user["Path"].startswith(prefix)]
        return page(shaped, request, "Users")

    @operation("DeleteUser")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Delete a user without access keys."""
        user = await self._load(ctx, request)
        if user["keys"]:
            raise delete_conflict("Cannot delete entity, must delete access keys first.")
        await self._entities.delete(USERS, ctx.account, user["UserName"])

    @operation("CreateAccessKey")
    async def create_key(self, ctx: Context, request: Request) -> Result:
        """Issue an access key; the only time its secret is told."""
        user = await self._load(ctx, request)
        if len(user["keys"]) >= _KEY_LIMIT:
            message = f"Cannot exceed quota for AccessKeysPerUser: {_KEY_LIMIT}"
            raise AwsError("LimitExceeded", message, status=409)
        secret = self._ids.secret()
        credential = Credential(secret, ctx.account, user["Arn"], user["UserId"])
        access_key = await self._credentials.issue(credential)
        key = {
            "UserName": user["UserName"],
            "AccessKeyId": access_key,
            "Status": "Active",
            "CreateDate": ctx.now,
        }
        user["keys"].append(key)
        await self._entities.save(USERS, ctx.account, user["UserName"], user)
        return {"AccessKey": {**key, "SecretAccessKey": secret}}

    @operation("ListAccessKeys")
    async def list_keys(self, ctx: Context, request: Request) -> Result:
        """A user's access keys without their secrets."""
        user = await self._load(ctx, request)
        return page(user["keys"], request, "AccessKeyMetadata")

    @operation("UpdateAccessKey")
    async def update_key(self, ctx: Context, request: Request) -> None:
        """Make an access key Active or Inactive; an inactive one is refused at the door."""
        status = request["Status"]
        if status not in _STATUSES:
            raise refuse(f"the access key status {status}")
        user = await self._load(ctx, request)
        key = _find(user, request["AccessKeyId"])
        key["Status"] = status
        await self._credentials.set_status(key["AccessKeyId"], status)
        await self._entities.save(USERS, ctx.account, user["UserName"], user)

    @operation("DeleteAccessKey")
    async def delete_key(self, ctx: Context, request: Request) -> None:
        """Revoke an access key."""
        user = await self._load(ctx, request)
        key = _find(user, request["AccessKeyId"])
        await self._credentials.revoke(key["AccessKeyId"])
        user["keys"].remove(key)
        await self._entities.save(USERS, ctx.account, user["UserName"], user)


def _shaped(user: Document) -> dict[str, Any]:
    return {name: value for name, value in user.items() if name != "keys"}


def _find(user: Document, access_key: str) -> dict[str, Any]:
    for key in user["keys"]:
        if key["AccessKeyId"] == access_key:
            found: dict[str, Any] = key
            return found
    raise no_such_entity(f"The Access Key with id {access_key} cannot be found.")
