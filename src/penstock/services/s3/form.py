"""Uploads by HTML forms: what a policy allows, and the put that a form means. Pure."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson

from penstock.api import Request
from penstock.core.errors import AwsError
from penstock.services.s3.metadata import written

Fields = Mapping[str, str]

_MEMBERS: Final = {
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-type": "ContentType",
    "x-amz-storage-class": "StorageClass",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-checksum-algorithm": "ChecksumAlgorithm",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-crc32c": "ChecksumCRC32C",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-sha1": "ChecksumSHA1",
    "x-amz-checksum-sha256": "ChecksumSHA256",
    "content-md5": "ContentMD5",
    "acl": "ACL",
}
_META: Final = "x-amz-meta-"
# AWS: these need no condition (S3 API reference, "Creating a POST policy").
_FREE: Final = frozenset(
    ["policy", "signature", "x-amz-signature", "awsaccesskeyid", "file", "submit", "bucket"]
)


def put_of(bucket: str, fields: Fields, body: bytes) -> Request:
    """The PutObject request that a form means; names of fields are lower-case. Raises InvalidArgument, MalformedXML."""
    if not fields.get("key"):
        raise AwsError(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            status=400,
            fields={"ArgumentName": "key"},
        )
    request: Request = {
        "Bucket": bucket,
        "Key": _key(fields),
        "Body": body,
        "Metadata": {
            # AWS: a form's values are what they are (recorded by LocalStack).
            name.removeprefix(_META): written(value)
            for name, value in fields.items()
            if name.startswith(_META)
        },
    }
    for name, member in _MEMBERS.items():
        if name in fields:
            request[member] = fields[name]
    if (expires := _instant(fields.get("expires", ""))) is not None:
        request["Expires"] = expires
    return request


def _instant(text: str) -> int | None:
    """An HTTP date in ms; None for what is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1000
    except ValueError:
        return None


def _key(fields: Fields) -> str:
    """The key, with the file's name where the form asks for it and there is one."""
    key, name = fields["key"], fields.get("filename")
    return key if name is None else key.replace("${filename}", name)


def tags_of(fields: Fields) -> list[dict[str, str]]:
    """The tags of a form, which are a Tagging document. Raises MalformedXML."""
    text = fields.get("tagging")
    if not text:
        return []
    try:
        # Entities are not expanded beyond what expat allows; the text is a field of a form, at most of its size.
        root = ET.fromstring(text)
    except ET.ParseError:
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            status=400,
        ) from None
    tags: list[dict[str, str]] = []
    for tag in root.iter():
        if tag.tag.rpartition("}")[2] == "Tag":
            values = {one.tag.rpartition("}")[2]: one.text or "" for one in tag}
            if "Key" in values and "Value" in values:
                tags.append({"Key": values["Key"], "Value": values["Value"]})
    return tags


def require_allowed(fields: Fields, bucket: str, size: int, now: int) -> None:
    """Raise AccessDenied, InvalidPolicyDocument, EntityTooLarge or EntityTooSmall unless the form's policy allows it."""
    try:
        policy = orjson.loads(base64.b64decode(fields["policy"]))
        ends = datetime.fromisoformat(policy["expiration"]).replace(tzinfo=UTC)
        conditions = list(policy["conditions"])
    except (binascii.Error, KeyError, TypeError, ValueError):
        raise _invalid("Invalid JSON.") from None
    if ends.timestamp() * 1000 <= now:
        raise _denied("Policy expired.")
    values = {**fields, "bucket": bucket, **({"key": _key(fields)} if "key" in fields else {})}
    named = set(_FREE)
    for condition in conditions:
        named.add(_require(condition, values, size))
    extra = [name for name in fields if name not in named and not name.startswith("x-ignore-")]
    extra = [name for name in extra if name not in ("filename",)]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(extra)}")


def _require(condition: Any, values: Fields, size: int) -> str:
    """Check one condition. Returns the field that it is about."""
    match condition:
        case dict():
            if len(condition) != 1:
                raise _invalid(
                    "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
                )
            ((name, wanted),) = condition.items()
            holds = values.get(name.lower()) == wanted
            shown: list[Any] = ["eq", f"${name}", wanted]
        case ["content-length-range", int() | str() as least, int() | str() as most]:
            if any(isinstance(bound, int) and bound < 0 for bound in (least, most)):
                raise _invalid("Invalid content-length-range.")
            if not (str(least).isdecimal() and str(most).isdecimal()):
                raise _failed(condition)
            _require_size(size, int(least), int(most))
            return ""
        case [str() as kind, str() as name, str() as wanted] if kind.lower() in (
            "eq",
            "starts-with",
        ):
            found = values.get(name.lower().removeprefix("$"), "") if name[:1] == "$" else None
            shown = list(condition)
            if kind.lower() == "eq":
                holds = found == wanted
            else:
                holds = found is not None and found.startswith(wanted)
        case _:
            raise _invalid("Invalid Condition.")
    if not holds:
        raise _failed(shown)
    return str(name).lower().removeprefix("$")


def _failed(condition: list[Any]) -> AwsError:
    text = ", ".join(orjson.dumps(one).decode() for one in condition)
    return _denied(f"Policy Condition failed: [{text}]")


def _require_size(size: int, least: int, most: int) -> None:
    if size > most:
        raise AwsError(
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            status=400,
            fields={"ProposedSize": str(size), "MaxSizeAllowed": str(most)},
        )
    if size < least:
        raise AwsError(
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed size",
            status=400,
            fields={"ProposedSize": str(size), "MinSizeAllowed": str(least)},
        )


def _denied(text: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {text}", status=403)


def _invalid(text: str) -> AwsError:
    return AwsError("InvalidPolicyDocument", f"Invalid Policy: {text}", status=400)
