"""Buckets and their policies."""

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from penstock.services.cloudformation.resource import Made, ResourceType, Target, instant, there
from penstock.services.cloudformation.shapes import s3

_EVENTS: Final = {
    # Property: the member of S3's own API, the target's name there, the target's name in templates.
    "LambdaConfigurations": ("LambdaFunctionConfigurations", "LambdaFunctionArn", "Function"),
    "QueueConfigurations": ("QueueConfigurations", "QueueArn", "Queue"),
    "TopicConfigurations": ("TopicConfigurations", "TopicArn", "Topic"),
}


def _notifications(value: dict[str, Any]) -> dict[str, Any]:
    """Notifications as S3's own API has them: several events to a configuration, other names."""
    told: dict[str, Any] = {}
    for name, (member, arn, target) in _EVENTS.items():
        for one in value.get(name, ()):
            configuration = {arn: one[target], "Events": [one["Event"]]}
            rules = one.get("Filter", {}).get("S3Key", {}).get("Rules", [])
            if rules:
                configuration["Filter"] = {"Key": {"FilterRules": rules}}
            told.setdefault(member, []).append(configuration)
    bus = value.get("EventBridgeConfiguration")
    if bus is not None and bus.get("EventBridgeEnabled", True):
        told["EventBridgeConfiguration"] = {}
    return told


def _lifecycle(value: dict[str, Any]) -> dict[str, Any]:
    """Lifecycle rules as S3's own API has them: conditions in a filter, days within what they are for."""
    return {"Rules": [_rule(rule) for rule in value["Rules"]]}


def _rule(given: dict[str, Any]) -> dict[str, Any]:
    rule = {name: given[name] for name in given if name in _SAME_IN_RULES}
    if "Id" in given:
        rule["ID"] = given["Id"]
    expiration = {
        member: instant(name, given[name]) if name == "ExpirationDate" else given[name]
        for name, member in _EXPIRATION.items()
        if name in given
    }
    if expiration:
        rule["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in given:
        days = given["NoncurrentVersionExpirationInDays"]
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    for name, member in _TRANSITIONS.items():
        if name in given:
            # S3 refuses them by name.
            rule[member] = [{}]
    conditions: dict[str, Any] = {
        name: given[name]
        for name in ("Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
        if name in given
    }
    tags = given.get("TagFilters", [])
    if len(conditions) + len(tags) > 1:
        rule["Filter"] = {"And": {**conditions, **({"Tags": tags} if tags else {})}}
    else:
        rule["Filter"] = {**conditions, **({"Tag": tags[0]} if tags else {})}
    return rule


def _cors(value: dict[str, Any]) -> dict[str, Any]:
    """Cross-origin rules under the names that S3's own API gives their members."""
    return {
        "CORSRules": [
            {_CORS[name]: member for name, member in rule.items()} for rule in value["CorsRules"]
        ]
    }


_TRANSITIONS: Final = {
    "NoncurrentVersionTransition": "NoncurrentVersionTransitions",
    "NoncurrentVersionTransitions": "NoncurrentVersionTransitions",
    "Transition": "Transitions",
    "Transitions": "Transitions",
}
_SAME_IN_RULES: Final = frozenset(
    {"Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"}
)
_CORS: Final = {
    "AllowedHeaders": "AllowedHeaders",
    "AllowedMethods": "AllowedMethods",
    "AllowedOrigins": "AllowedOrigins",
    "ExposedHeaders": "ExposeHeaders",
    "Id": "ID",
    "MaxAge": "MaxAgeSeconds",
}
_EXPIRATION: Final = {
    "ExpirationInDays": "Days",
    "ExpirationDate": "Date",
    "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
}
_WORD: Final = re.compile(r"(?<!^)[A-Z]")
_Setting = tuple[str, Callable[[Any], dict[str, Any]], str]
# Property: how it is set, and how it is taken away ("" for what can only be suspended, and for what leaves nothing).
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
    "AccessControl": (
        "PutBucketAcl",
        lambda value: {"ACL": _WORD.sub(r"-\g<0>", value).lower()},
        "",
    ),
    "LifecycleConfiguration": (
        "PutBucketLifecycleConfiguration",
        lambda value: {"LifecycleConfiguration": _lifecycle(value)},
        "DeleteBucketLifecycle",
    ),
    "CorsConfiguration": (
        "PutBucketCors",
        lambda value: {"CORSConfiguration": _cors(value)},
        "DeleteBucketCors",
    ),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration",
        lambda value: {"NotificationConfiguration": _notifications(value)},
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
        elif member == "NotificationConfiguration":
            nothing: dict[str, Any] = {"Bucket": name, "NotificationConfiguration": {}}
            await target.call("s3", operation, nothing)
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
        shape=s3.BUCKET,
        immutable=frozenset({"BucketName"}),
        create=_create,
        update=_update,
        delete=_delete,
        identity=("BucketName",),
        found=there("s3", "HeadBucket", Bucket="BucketName"),
        tags="list",
    ),
    ResourceType(
        name="AWS::S3::BucketPolicy",
        shape=s3.BUCKET_POLICY,
        immutable=frozenset({"Bucket"}),
        create=_put_policy,
        update=_put_policy,
        delete=_delete_policy,
        identity=("Bucket",),
        found=there("s3", "GetBucketPolicy", Bucket="Bucket"),
    ),
)
