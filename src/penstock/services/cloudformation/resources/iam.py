"""Roles and policies."""

from typing import Any, Final

import orjson

from penstock.core.errors import AwsError
from penstock.services.cloudformation.resource import Made, ResourceType, Target, answers, there
from penstock.services.cloudformation.shapes import iam


def _text(document: Any) -> str:
    return document if isinstance(document, str) else orjson.dumps(document).decode()


async def _create_role(target: Target) -> Made:
    properties = target.properties
    name = properties.get("RoleName") or target.name(64)
    request = {
        "RoleName": name,
        "AssumeRolePolicyDocument": _text(properties["AssumeRolePolicyDocument"]),
        **target.given(
            ("Path", "Description", "MaxSessionDuration", "PermissionsBoundary", "Tags")
        ),
    }
    made = await target.make("iam", "CreateRole", request)
    await target.hold(name)
    if made is None:
        made = await target.call("iam", "GetRole", {"RoleName": name})
    role = made["Role"]
    await _equip(target, name)
    return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def _update_role(target: Target) -> Made:
    name = target.physical_id
    if target.changed("AssumeRolePolicyDocument"):
        document = _text(target.properties["AssumeRolePolicyDocument"])
        request = {"RoleName": name, "PolicyDocument": document}
        await target.call("iam", "UpdateAssumeRolePolicy", request)
    if target.changed("Description", "MaxSessionDuration"):
        duration = target.properties.get("MaxSessionDuration", 3600)
        description = target.properties.get("Description", "")
        request = {"RoleName": name, "Description": description, "MaxSessionDuration": duration}
        await target.call("iam", "UpdateRole", request)
    if target.changed("Tags"):
        if removed := target.tags_removed():
            await target.call("iam", "UntagRole", {"RoleName": name, "TagKeys": removed})
        if tags := target.properties.get("Tags"):
            await target.call("iam", "TagRole", {"RoleName": name, "Tags": tags})
    await _equip(target, name)
    role = (await target.call("iam", "GetRole", {"RoleName": name}))["Role"]
    return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def _equip(target: Target, role: str) -> None:
    """Bring a role's policies from the previous properties to the wanted ones."""
    wanted, had = target.properties, target.previous
    attached = had.get("ManagedPolicyArns", [])
    for arn in wanted.get("ManagedPolicyArns", []):
        if arn not in attached:
            await target.call("iam", "AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    for arn in attached:
        if arn not in wanted.get("ManagedPolicyArns", []):
            await target.drop("iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    names = {policy["PolicyName"] for policy in wanted.get("Policies", [])}
    for policy in wanted.get("Policies", []):
        if policy not in had.get("Policies", []):
            document = _text(policy["PolicyDocument"])
            request = {"RoleName": role, "PolicyName": policy["PolicyName"]}
            await target.call("iam", "PutRolePolicy", {**request, "PolicyDocument": document})
    for policy in had.get("Policies", []):
        if policy["PolicyName"] not in names:
            request = {"RoleName": role, "PolicyName": policy["PolicyName"]}
            await target.drop("iam", "DeleteRolePolicy", request)


async def _delete_role(target: Target) -> None:
    role = {"RoleName": target.physical_id}
    for arn in target.properties.get("ManagedPolicyArns", []):
        await target.drop("iam", "DetachRolePolicy", {**role, "PolicyArn": arn})
    for policy in target.properties.get("Policies", []):
        request = {**role, "PolicyName": policy["PolicyName"]}
        await target.drop("iam", "DeleteRolePolicy", request)
    await target.call("iam", "DeleteRole", role)


async def _create_managed(target: Target) -> Made:
    name = target.properties.get("ManagedPolicyName") or target.name(128)
    request = {
        "PolicyName": name,
        "PolicyDocument": _text(target.properties["PolicyDocument"]),
        **target.given(("Path", "Description")),
    }
    await target.make("iam", "CreatePolicy", request)
    arn = _policy_arn(target, name)
    await target.hold(arn)
    await _attach(target, arn)
    return Made(arn, {"PolicyArn": arn})


def _policy_arn(target: Target, name: str) -> str:
    path = target.properties.get("Path", "/")
    return f"arn:aws:iam::{target.ctx.account}:policy{path}{name}"


async def _managed_found(target: Target) -> bool:
    arn = _policy_arn(target, target.properties["ManagedPolicyName"])
    return await answers(target, "iam", "GetPolicy", {"PolicyArn": arn}) is not None


async def _update_managed(target: Target) -> Made:
    arn = target.physical_id
    if target.changed("PolicyDocument"):
        listed = await target.call("iam", "ListPolicyVersions", {"PolicyArn": arn})
        # AWS: a policy keeps five versions; the oldest that is not in force makes room (IAM quotas).
        spare = [version for version in listed["Versions"] if not version["IsDefaultVersion"]]
        if len(spare) == 4:
            request = {"PolicyArn": arn, "VersionId": spare[-1]["VersionId"]}
            await target.call("iam", "DeletePolicyVersion", request)
        document = _text(target.properties["PolicyDocument"])
        request = {"PolicyArn": arn, "PolicyDocument": document}
        await target.call("iam", "CreatePolicyVersion", {**request, "SetAsDefault": True})
    await _attach(target, arn)
    return Made(arn, {"PolicyArn": arn})


async def _attach(target: Target, arn: str) -> None:
    wanted, had = target.properties.get("Roles", []), target.previous.get("Roles", [])
    for role in wanted:
        if role not in had:
            await target.call("iam", "AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    for role in had:
        if role not in wanted:
            await target.drop("iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})


async def _delete_managed(target: Target) -> None:
    arn = target.physical_id
    for role in target.properties.get("Roles", []):
        await target.drop("iam", "DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    listed = await target.call("iam", "ListPolicyVersions", {"PolicyArn": arn})
    for version in listed["Versions"]:
        if not version["IsDefaultVersion"]:
            request = {"PolicyArn": arn, "VersionId": version["VersionId"]}
            await target.call("iam", "DeletePolicyVersion", request)
    await target.call("iam", "DeletePolicy", {"PolicyArn": arn})


async def _put_policy(target: Target) -> Made:
    properties = target.properties
    name, document = properties["PolicyName"], _text(properties["PolicyDocument"])
    roles = properties.get("Roles", [])
    if not roles:
        # AWS: in these words (IAM reference, AWS::IAM::Policy: one of the three is needed).
        message = "At least one of [Groups,Roles,Users] must be non-empty."
        raise AwsError("ValidationError", message, status=400)
    physical_id = target.physical_id or target.name()
    await target.hold(physical_id)
    for role in roles:
        request = {"RoleName": role, "PolicyName": name, "PolicyDocument": document}
        await target.call("iam", "PutRolePolicy", request)
    for role in target.previous.get("Roles", []):
        if role not in roles:
            request = {"RoleName": role, "PolicyName": name}
            await target.drop("iam", "DeleteRolePolicy", request)
    return Made(physical_id, {"Id": physical_id})


async def _delete_policy(target: Target) -> None:
    for role in target.properties.get("Roles", []):
        request = {"RoleName": role, "PolicyName": target.properties["PolicyName"]}
        await target.drop("iam", "DeleteRolePolicy", request)


ROWS: Final = (
    ResourceType(
        name="AWS::IAM::Role",
        shape=iam.ROLE,
        immutable=frozenset({"RoleName", "Path"}),
        fixed=frozenset({"PermissionsBoundary"}),
        create=_create_role,
        update=_update_role,
        delete=_delete_role,
        identity=("RoleName",),
        found=there("iam", "GetRole", RoleName="RoleName"),
        tags="list",
    ),
    ResourceType(
        name="AWS::IAM::ManagedPolicy",
        shape=iam.MANAGED_POLICY,
        immutable=frozenset({"Description", "ManagedPolicyName", "Path"}),
        create=_create_managed,
        update=_update_managed,
        delete=_delete_managed,
        identity=("ManagedPolicyName",),
        found=_managed_found,
    ),
    ResourceType(
        name="AWS::IAM::Policy",
        shape=iam.POLICY,
        immutable=frozenset({"PolicyName"}),
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
    ),
)
