"""What happens to objects, as its listeners are told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

import orjson

from penstock.api import Context
from penstock.core.ids import s3_request_ids

Document = Mapping[str, Any]

# AWS: these came with a later version of the record (S3 user guide, "Event message structure").
_LATER: Final = ("ObjectTagging:", "ObjectAcl:")
# AWS: the events that a configuration may name (S3 user guide, "Supported event types for SQS, SNS, and Lambda").
EVENTS: Final = frozenset(
    f"s3:{family}{action}"
    for family, actions in {
        "IntelligentTiering": ("",),
        "LifecycleExpiration:": ("*", "Delete", "DeleteMarkerCreated"),
        "LifecycleTransition": ("",),
        "ObjectAcl:": ("Put",),
        "ObjectCreated:": ("*", "Put", "Post", "Copy", "CompleteMultipartUpload"),
        "ObjectRemoved:": ("*", "Delete", "DeleteMarkerCreated"),
        "ObjectRestore:": ("*", "Post", "Completed", "Delete"),
        "ObjectTagging:": ("*", "Put", "Delete"),
        "ReducedRedundancyLostObject": ("",),
        "Replication:": (
            "*",
            "OperationFailedReplication",
            "OperationMissedThreshold",
            "OperationNotTracked",
            "OperationReplicatedAfterThreshold",
        ),
    }.items()
    for action in actions
)
_EMPTY: Final = "d41d8cd98f00b204e9800998ecf8427e"
_NAMES: Final = {
    "ObjectCreated": "Object Created",
    "ObjectRemoved": "Object Deleted",
    "LifecycleExpiration": "Object Deleted",
}
_REASONS: Final = {
    "ObjectCreated:Put": "PutObject",
    "ObjectCreated:Post": "POST Object",
    "ObjectCreated:Copy": "CopyObject",
    "ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened to one object. What is None is not told."""

    kind: str
    """As in `ObjectCreated:Put`."""
    key: str
    size: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequenced: bool = True
    """Whether its place among the changes of the key is told."""

    @property
    def later(self) -> bool:
        """Whether it is told by the later version of the record."""
        return self.kind.startswith(_LATER)


def created(kind: str, key: str, document: Document) -> Happening:
    """A new object."""
    return Happening(
        kind=kind,
        key=key,
        size=document["size"],
        etag=document["etag"].strip('"'),
        version_id=_version(document),
    )


def tagged(kind: str, key: str, document: Document) -> Happening:
    """An object whose tags or ACL changed."""
    return Happening(
        kind=kind,
        key=key,
        etag=document["etag"].strip('"'),
        version_id=_version(document),
        sequenced=False,
    )


def removed(kind: str, key: str, document: Document) -> Happening:
    """A version that is gone for good (`kind` ends in `:Delete`), or the marker that covers an object."""
    # AWS: a delete marker is told with the ETag of nothing (recorded by LocalStack).
    etag = _EMPTY if kind.endswith(":DeleteMarkerCreated") else None
    return Happening(kind=kind, key=key, etag=etag, version_id=_version(document))


def matches(configuration: Document, happening: Happening) -> bool:
    """Whether a configuration asks to be told."""
    wanted = f"s3:{happening.kind}"
    family = f"s3:{happening.kind.partition(':')[0]}:*"
    if not any(event in (wanted, family) for event in configuration["Events"]):
        return False
    return all(
        happening.key.startswith(rule["Value"])
        if rule["Name"] == "Prefix"
        else happening.key.endswith(rule["Value"])
        for rule in rules_of(configuration)
    )


def rules_of(configuration: Document) -> list[dict[str, str]]:
    """The filter rules of a configuration."""
    rules: list[dict[str, str]] = (
        configuration.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    )
    return rules


def message(
    ctx: Context, bucket: Document, happening: Happening, configuration: str, sequencer: str
) -> bytes:
    """The message for queues, topics and functions: one record."""
    request_id, host_id = s3_request_ids(ctx.request_id)
    # AWS: keys are encoded as in a form (S3 user guide, "Event message structure").
    thing: dict[str, Any] = {"key": quote_plus(happening.key, safe="/*-._")}
    values = {"size": happening.size, "eTag": happening.etag, "versionId": happening.version_id}
    thing.update({name: value for name, value in values.items() if value is not None})
    if happening.sequenced:
        thing["sequencer"] = sequencer
    record = {
        "eventVersion": "2.3" if happening.later else "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket["region"],
        "eventTime": iso(ctx.now),
        "eventName": happening.kind,
        "userIdentity": {"principalId": f"AWS:{ctx.principal_id}"},
        "requestParameters": {"sourceIPAddress": ctx.source_ip},
        "responseElements": {"x-amz-request-id": request_id, "x-amz-id-2": host_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": bucket["name"],
                "ownerIdentity": {"principalId": owner_principal(bucket["account"])},
                "arn": f"arn:aws:s3:::{bucket['name']}",
            },
            "object": thing,
        },
    }
    return orjson.dumps({"Records": [record]})


def test_message(ctx: Context, bucket: str) -> bytes:
    """What a queue or a topic gets when it becomes a destination."""
    request_id, host_id = s3_request_ids(ctx.request_id)
    return orjson.dumps(
        {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": iso(ctx.now),
            "Bucket": bucket,
            "RequestId": request_id,
            "HostId": host_id,
        }
    )


def bus_detail(
    ctx: Context, bucket: Document, happening: Happening, sequencer: str
) -> tuple[str, bytes]:
    """The detail type and the detail of an event for EventBridge."""
    family, _, manner = happening.kind.partition(":")
    thing: dict[str, Any] = {"key": happening.key}
    values = {
        "size": happening.size,
        "etag": happening.etag,
        "version-id": happening.version_id,
        "sequencer": sequencer if happening.sequenced else None,
    }
    thing.update({name: value for name, value in values.items() if value is not None})
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": bucket["name"]},
        "object": thing,
        "request-id": s3_request_ids(ctx.request_id)[0],
        "requester": ctx.account,
        "source-ip-address": ctx.source_ip,
    }
    if family in _NAMES and family != "ObjectCreated":
        marker = manner == "DeleteMarkerCreated"
        detail["reason"] = "DeleteObject" if family == "ObjectRemoved" else "Lifecycle Expiration"
        detail["deletion-type"] = "Delete Marker Created" if marker else "Permanently Deleted"
    elif family == "ObjectCreated":
        detail["reason"] = _REASONS[happening.kind]
    kinds = {
        "ObjectTagging:Put": "Object Tags Added",
        "ObjectTagging:Delete": "Object Tags Deleted",
        "ObjectAcl:Put": "Object ACL Updated",
    }
    return kinds.get(happening.kind) or _NAMES[family], orjson.dumps(detail)


def owner_principal(account: str) -> str:
    """The id that a bucket's owner has in records."""
    return f"A{account[::-1]}EXAMPLE"[:14].ljust(14, "0")


def iso(at: int) -> str:
    """An instant with milliseconds."""
    text = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _version(document: Document) -> str | None:
    version: str = document["version_id"]
    return None if version == "null" else version
