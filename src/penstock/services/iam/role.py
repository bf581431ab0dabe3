"""Roles, their inline policies, and the managed policies attached to them.

A role's document is IAM's answer plus `inline` (name to document) and `attached` (policy ARNs in order).
"""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.iam.entity import (
    POLICIES,
    ROLES,
    Document,
    Entities,
    checked_policy,
    delete_conflict,
    encoded,
    merged_tags,
    no_such_entity,
    page,
)

# AWS: sizes of trust policies and of all inline policies of a role (IAM user guide, quotas).
_TRUST_LIMIT: Final = 2048
_INLINE_LIMIT: Final = 10_240
_ATTACHED_LIMIT: Final = 10
_INTERNAL: Final = ("inline", "attached")


class Roles:
    """Operations on roles."""

    def __init__(self, ids: Ids, entities: Entities) -> None:
        self._ids = ids
        self._entities = entities

    async def _load(self, ctx: Context, request: Request) -> Document:
        return await self._entities.load(ROLES, ctx.account, request["RoleName"])

    async def _save(self, ctx: Context, role: Document) -> None:
        await self._entities.save(ROLES, ctx.account, role["RoleName"], role)

    @operation("CreateRole", refuses=["PermissionsBoundary"])
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a role."""
        name, path = request["RoleName"], request.get("Path", "/")
        role = {
            "Path": path,
            "RoleName": name,
            "RoleId": f"AROA{self._ids.upper_token(17)}",
            "Arn": f"arn:aws:iam::{ctx.account}:role{path}{name}",
            "CreateDate": ctx.now,
            "AssumeRolePolicyDocument": checked_policy(
                request["AssumeRolePolicyDocument"], _TRUST_LIMIT
            ),
            "MaxSessionDuration": request.get("MaxSessionDuration", 3600),
            "inline": {},
            "attached": [],
        }
        if "Description" in request:
            role["Description"] = request["Description"]
        if request.get("Tags"):
            role["Tags"] = merged_tags([], request["Tags"])
        await self._entities.create(ROLES, ctx.account, name, role)
        return {"Role": _shaped(role)}

    @operation("GetRole")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A role."""
        return {"Role": {**_shaped(await self._load(ctx, request)), "RoleLastUsed": {}}}

    @operation("ListRoles")
    async def list(self, ctx: Context, request: Request) -> Result:
        """Roles by name."""
        prefix = request.get("PathPrefix", "/")
        roles = await self._entities.list(ROLES, ctx.account)
        shaped = [_shaped(role) for role in roles if role["Path"].startswith(prefix)]
        for role in shaped:
            role.pop("Tags", None)
        return page(shaped, request, "Roles")

    @operation("UpdateRole")
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change the description or the longest session."""
        role = await self._load(ctx, request)
        for name in ("Description", "MaxSessionDuration"):
            if name in request:
                role[name] = request[name]
        await self._save(ctx, role)
        return {}

    @operation("UpdateAssumeRolePolicy")
    async def update_trust(self, ctx: Context, request: Request) -> None:
        """Replace the trust policy."""
        role = await self._load(ctx, request)
        document = checked_policy(request["PolicyDocument"], _TRUST_LIMIT)
        role["AssumeRolePolicyDocument"] = document
        await self._save(ctx, role)

    @operation("DeleteRole")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Delete a role without policies."""
        role = await self._load(ctx, request)
        if role["attached"]:
            raise delete_conflict("Cannot delete entity, must detach all policies first.")
        if role["inline"]:
            raise delete_conflict("Cannot delete entity, must delete policies first.")
        await self._entities.delete(ROLES, ctx.account, role["RoleName"])

    @operation("PutRolePolicy")
    async def put_policy(self, ctx: Context, request: Request) -> None:
        """Embed a policy."""
        role = await self._load(ctx, request)
        role["inline"][request["PolicyName"]] = checked_policy(request["PolicyDocument"])
        if sum(len("".join(text.split())) for text in role["inline"].values()) > _INLINE_LIMIT:
            raise AwsError(
                "LimitExceeded",
                f"Maximum policy size of {_INLINE_LIMIT} bytes exceeded for role {role['RoleName']}",
                status=409,
            )
        await self._save(ctx, role)

    @operation("GetRolePolicy")
    async def get_policy(self, ctx: Context, request: Request) -> Result:
        """An embedded policy."""
        role = await self._load(ctx, request)
        name = request["PolicyName"]
        if name not in role["inline"]:
            raise _no_inline(name)
        return {
            "RoleName": role["RoleName"],
            "PolicyName": name,
            "PolicyDocument": encoded(role["inline"][name]),
        }

    @operation("DeleteRolePolicy")
    async def delete_policy(self, ctx: Context, request: Request) -> None:
        """Remove an embedded policy."""
        role = await self._load(ctx, request)
        if role["inline"].pop(request["PolicyName"], None) is None:
            raise _no_inline(request["PolicyName"])
        await self._save(ctx, role)

    @operation("ListRolePolicies")
    async def list_policies(self, ctx: Context, request: Request) -> Result:
        """Names of the embedded policies."""
        role = await self._load(ctx, request)
        return page(sorted(role["inline"]), request, "PolicyNames")

    @operation("AttachRolePolicy")
    async def attach(self, ctx: Context, request: Request) -> None:
        """Attach a managed policy; again is no error."""
        role = await self._load(ctx, request)
        arn = request["PolicyArn"]
        policy = await self._entities.attachable(ctx.account, arn)
        if arn in role["attached"]:
            return
        # AWS: ten managed policies a role (IAM user guide, quotas).
        if len(role["attached"]) >= _ATTACHED_LIMIT:
            message = f"Cannot exceed quota for PoliciesPerRole: {_ATTACHED_LIMIT}"
            raise AwsError("LimitExceeded", message, status=409)
        role["attached"].append(arn)
        await self._save(ctx, role)
        await self._count(ctx, policy, 1)

    @operation("DetachRolePolicy")
    async def detach(self, ctx: Context, request: Request) -> None:
        """Detach a managed policy."""
        role = await self._load(ctx, request)
        arn = request["PolicyArn"]
        if arn not in role["attached"]:
            raise no_such_entity(f"Policy {arn} was not found.")
        role["attached"].remove(arn)
        await self._save(ctx, role)
        await self._count(ctx, await self._entities.attachable(ctx.account, arn), -1)

    @operation("ListAttachedRolePolicies")
    async def list_attached(self, ctx: Context, request: Request) -> Result:
        """Attached managed policies."""
        role = await self._load(ctx, request)
        attached = [
            {"PolicyName": arn.rsplit("/", 1)[-1], "PolicyArn": arn} for arn in role["attached"]
        ]
        return page(attached, request, "AttachedPolicies")

    @operation("TagRole")
    async def tag(self, ctx: Context, request: Request) -> None:
        """Add or replace tags."""
        role = await self._load(ctx, request)
        role["Tags"] = merged_tags(role.get("Tags", []), request["Tags"])
        await self._save(ctx, role)

    @operation("UntagRole")
    async def untag(self, ctx: Context, request: Request) -> None:
        """Remove tags."""
        role = await self._load(ctx, request)
        gone = set(request["TagKeys"])
        role["Tags"] = [tag for tag in role.get("Tags", []) if tag["Key"] not in gone]
        await self._save(ctx, role)

    @operation("ListRoleTags")
    async def list_tags(self, ctx: Context, request: Request) -> Result:
        """Tags of a role."""
        role = await self._load(ctx, request)
        return page(role.get("Tags", []), request, "Tags")

    @operation("ListInstanceProfilesForRole")
    async def list_profiles(self, ctx: Context, request: Request) -> Result:
        """Nothing: instance profiles cannot be created."""
        await self._load(ctx, request)
        return {"InstanceProfiles": [], "IsTruncated": False}

    async def _count(self, ctx: Context, policy: Document | None, change: int) -> None:
        if policy is not None:
            policy["AttachmentCount"] += change
            await self._entities.save(POLICIES, ctx.account, policy["PolicyName"], policy)


def _shaped(role: Document) -> dict[str, Any]:
    shaped = {name: value for name, value in role.items() if name not in _INTERNAL}
    shaped["AssumeRolePolicyDocument"] = encoded(role["AssumeRolePolicyDocument"])
    return shaped


def _no_inline(name: str) -> AwsError:
    return no_such_entity(f"The role policy with name {name} cannot be found.")
