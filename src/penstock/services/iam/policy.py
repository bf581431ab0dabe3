"""Managed policies of the customer, with up to five versions. A document is IAM's answer plus `versions`."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.iam.entity import (
    POLICIES,
    Document,
    Entities,
    checked_policy,
    delete_conflict,
    encoded,
    merged_tags,
    no_such_entity,
    page,
)

# AWS: 6,144 characters a managed policy, 5 versions (IAM user guide, quotas).
_SIZE_LIMIT: Final = 6144
_VERSION_LIMIT: Final = 5


class Policies:
    """Operations on managed policies."""

    def __init__(self, ids: Ids, entities: Entities) -> None:
        self._ids = ids
        self._entities = entities

    async def _load(self, ctx: Context, request: Request) -> Document:
        arn = request["PolicyArn"]
        policy = await self._entities.find(POLICIES, ctx.account, arn.rsplit("/", 1)[-1])
        if policy is None or policy["Arn"] != arn:
            raise no_such_entity(f"Policy {arn} was not found.")
        return policy

    async def _save(self, ctx: Context, policy: Document) -> None:
        await self._entities.save(POLICIES, ctx.account, policy["PolicyName"], policy)

    @operation("CreatePolicy")
    async def create(self, ctx: Context, request: Request) -> Result:
        """Create a policy with its version v1."""
        name, path = request["PolicyName"], request.get("Path", "/")
        text = checked_policy(request["PolicyDocument"], _SIZE_LIMIT)
        policy = {
            "PolicyName": name,
            "PolicyId": f"ANPA{self._ids.upper_token(17)}",
            "Arn": f"arn:aws:iam::{ctx.account}:policy{path}{name}",
            "Path": path,
            "DefaultVersionId": "v1",
            "AttachmentCount": 0,
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": True,
            "CreateDate": ctx.now,
            "UpdateDate": ctx.now,
            "versions": [{"VersionId": "v1", "Document": text, "CreateDate": ctx.now}],
            "last_version": 1,
        }
        if request.get("Description"):
            policy["Description"] = request["Description"]
        if request.get("Tags"):
            policy["Tags"] = merged_tags([], request["Tags"])
        if await self._entities.find(POLICIES, ctx.account, name) is not None:
            message = f"A policy called {name} already exists. Duplicate names are not allowed."
            raise AwsError("EntityAlreadyExists", message, status=409)
        await self._save(ctx, policy)
        return {"Policy": _shaped(policy)}

    @operation("GetPolicy")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A policy without its document."""
        return {"Policy": _shaped(await self._load(ctx, request))}

    @operation("ListPolicies", refuses=["PolicyUsageFilter"])
    async def list(self, ctx: Context, request: Request) -> Result:
        """The customer's policies; those of AWS are accepted by ARN and not listed."""
        prefix = request.get("PathPrefix", "/")
        policies: list[Any] = []
        if request.get("Scope", "All") != "AWS":
            policies = [
                _shaped(policy)
                for policy in await self._entities.list(POLICIES, ctx.account)
                if policy["Path"].startswith(prefix)
                and (policy["AttachmentCount"] or not request.get("OnlyAttached"))
            ]
        return page(policies, request, "Policies")

    @operation("DeletePolicy")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Delete a policy that is attached to nothing and has one version."""
        policy = await self._load(ctx, request)
        if policy["AttachmentCount"]:
            raise delete_conflict("Cannot delete a policy attached to entities.")
        if len(policy["versions"]) > 1:
            raise delete_conflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        await self._entities.delete(POLICIES, ctx.account, policy["PolicyName"])

    @operation("CreatePolicyVersion")
    async def create_version(self, ctx: Context, request: Request) -> Result:
        """Add a version."""
        policy = await self._load(ctx, request)
        text = checked_policy(request["PolicyDocument"], _SIZE_LIMIT)
        if len(policy["versions"]) >= _VERSION_LIMIT:
            raise AwsError(
                "LimitExceeded",
                "A managed policy can have up to 5 versions. Before you create a new version, you must delete an "
                "existing version.",
                status=409,
            )
        policy["last_version"] += 1
        version_id = f"v{policy['last_version']}"
        version = {"VersionId": version_id, "Document": text, "CreateDate": ctx.now}
        policy["versions"].append(version)
        policy["UpdateDate"] = ctx.now
        if request.get("SetAsDefault"):
            policy["DefaultVersionId"] = version_id
        await self._save(ctx, policy)
        shaped = _version(policy, version)
        del shaped["Document"]
        return {"PolicyVersion": shaped}

    @operation("GetPolicyVersion")
    async def get_version(self, ctx: Context, request: Request) -> Result:
        """A version with its document."""
        policy = await self._load(ctx, request)
        return {"PolicyVersion": _version(policy, _find(policy, request["VersionId"]))}

    @operation("ListPolicyVersions")
    async def list_versions(self, ctx: Context, request: Request) -> Result:
        """Versions, newest first."""
        policy = await self._load(ctx, request)
        versions = [_version(policy, version) for version in reversed(policy["versions"])]
        for version in versions:
            del version["Document"]
        return page(versions, request, "Versions")

    @operation("SetDefaultPolicyVersion")
    async def set_default(self, ctx: Context, request: Request) -> None:
        """Choose the version in force."""
        policy = await self._load(ctx, request)
        policy["DefaultVersionId"] = _find(policy, request["VersionId"])["VersionId"]
        await self._save(ctx, policy)

    @operation("DeletePolicyVersion")
    async def delete_version(self, ctx: Context, request: Request) -> None:
        """Remove a version that is not in force."""
        policy = await self._load(ctx, request)
        version = _find(policy, request["VersionId"])
        if version["VersionId"] == policy["DefaultVersionId"]:
            raise delete_conflict("Cannot delete the default version of a policy.")
        policy["versions"].remove(version)
        await self._save(ctx, policy)


def _shaped(policy: Document) -> dict[str, Any]:
    return {
        name: value for name, value in policy.items() if name not in ("versions", "last_version")
    }


def _find(policy: Document, version_id: str) -> dict[str, Any]:
    for version in policy["versions"]:
        if version["VersionId"] == version_id:
            found: dict[str, Any] = version
            return found
    message = f"Policy {policy['Arn']} version {version_id} does not exist or is not attachable."
    raise no_such_entity(message)


def _version(policy: Document, version: dict[str, Any]) -> dict[str, Any]:
    default = version["VersionId"] == policy["DefaultVersionId"]
    document = encoded(version["Document"])
    return {**version, "Document": document, "IsDefaultVersion": default}
