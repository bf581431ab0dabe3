"""Buckets and their policies."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from penstock.services.cloudformation.resource import Made, ResourceType, Target

_Setting = tuple[str, Callable[[Any], dict[str, Any]], str]
# Property: how it is set, and how it is taken away ("" for what can only be suspended).
_SETTINGS: Final[dict[str, _Setting]] = {
    "VersioningConfiguration": (
        "PutBucketVersioning",
        lambda value: {"VersioningConfiguration": value},
        "",
    ),
    "Tags": (
        "PutBucketTagging",
        lambda value: {"Tagging": {"TagSet": value}},
        "DeleteBucketTagging",
    ),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock",
        lambda value: {"PublicAccessBlockConfiguration": value},
        "DeletePublicAccessBlock",
    ),
    "BucketEncryption": (
        "PutBucketEncryption",
        lambda value: {"ServerSideEncryptionConfiguration": {"Rules": _rules(value)}},
        "DeleteBucketEncryption",
    ),
    "OwnershipControls": (
        "PutBucketOwnershipControls",
        lambda value: {"OwnershipControls": value},
        "",
    ),
}


def _rules(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The encryption rules, under the names that S3's own API gives their members."""
    renamed = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    return [
        {renamed.get(name, name): member for name, member in rule.items()}
        for rule in value["ServerSideEncryptionConfiguration"]
    ]


async def _create(target: Target) -> Made:
    name = target.properties.get("BucketName") or target.name(63).lower()
    request: dict[str, Any] = {"Bucket": name}
    if target.ctx.region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": target.ctx.region}
    await target.make("s3", "CreateBucket", request)
    await target.hold(name)
    await _configure(target, name)
    return _bucket(target, name)


async def _update(target: Target) -> Made:
    await _configure(target, target.physical_id)
    return _bucket(target, target.physical_id)


async def _configure(target: Target, name: str) -> None:
    for member, (operation, shape, removal) in _SETTINGS.items():
        if not target.changed(member):
            continue
        if member in target.properties:
            request = {"Bucket": name, **shape(target.properties[member])}
            await target.call("s3", operation, request)
        elif removal:
            await target.call("s3", removal, {"Bucket": name})
        elif member == "VersioningConfiguration":
            suspended = {"VersioningConfiguration": {"Status": "Suspended"}}
            await target.call("s3", operation, {"Bucket": name, **suspended})


async def _delete(target: Target) -> None:
    await target.call("s3", "DeleteBucket", {"Bucket": target.physical_id})


def _bucket(target: Target, name: str) -> Made:
    region = target.ctx.region
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{region}.amazonaws.com",
        },
    )


async def _put_policy(target: Target) -> Made:
    bucket, document = target.properties["Bucket"], target.properties["PolicyDocument"]
    policy = document if isinstance(document, str) else orjson.dumps(document).decode()
    await target.call("s3", "PutBucketPolicy", {"Bucket": bucket, "Policy": policy})
    return Made(bucket)


async def _delete_policy(target: Target) -> None:
    await target.call("s3", "DeleteBucketPolicy", {"Bucket": target.properties["Bucket"]})


ROWS: Final = (
    ResourceType(
        name="AWS::S3::Bucket",
        properties=frozenset({*_SETTINGS, "BucketName"}),
        immutable=frozenset({"BucketName"}),
        booleans=frozenset(
            {
                "BlockPublicAcls",
                "IgnorePublicAcls",
                "BlockPublicPolicy",
                "RestrictPublicBuckets",
                "BucketKeyEnabled",
            }
        ),
        create=_create,
        update=_update,
        delete=_delete,
        tags="list",
    ),
    ResourceType(
        name="AWS::S3::BucketPolicy",
        properties=frozenset({"Bucket", "PolicyDocument"}),
        required=frozenset({"Bucket", "PolicyDocument"}),
        immutable=frozenset({"Bucket"}),
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
    ),
)
