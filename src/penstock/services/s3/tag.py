"""Tags of buckets and objects: read from headers, checked as S3 checks them."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from penstock.core.errors import AwsError

# AWS: letters, digits, spaces and these signs (S3 user guide, "Object tagging").
_TEXT: Final = re.compile(r"[\w\s_.:/=+\-@]*")
_SYSTEM: Final = {
    "object": "Your TagKey cannot be prefixed with aws:",
    "bucket": "System tags cannot be added/updated by requester",
}
_MOST: Final = {"object": 10, "bucket": 50}


def parse_tags(text: str | None) -> list[dict[str, str]]:
    """Tags of a `x-amz-tagging` header, encoded as URL query parameters. Raises InvalidArgument, InvalidTag."""
    pairs = parse_qsl(text or "", keep_blank_values=True)
    tags = [{"Key": key, "Value": value} for key, value in pairs]
    unencoded = any(pair.count("=") > 1 for pair in (text or "").split("&"))
    if unencoded or len({tag["Key"] for tag in tags}) != len(tags):
        raise AwsError(
            "InvalidArgument",
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters "
            "without tag name duplicates.",
            status=400,
            fields={"ArgumentName": "x-amz-tagging", "ArgumentValue": text},
        )
    return require_tags(tags, "object")


def require_tags(tags: Sequence[Mapping[str, str]], what: str) -> list[dict[str, str]]:
    """The tags, if an `object` or a `bucket` can have them. Raises BadRequest, InvalidTag, MalformedXML."""
    if len(tags) > _MOST[what]:
        raise AwsError(
            "BadRequest",
            f"{what.capitalize()} tags cannot be greater than {_MOST[what]}",
            status=400,
        )
    seen: set[str] = set()
    for tag in tags:
        if "Key" not in tag or "Value" not in tag:
            raise AwsError(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
                status=400,
            )
        key, value = tag["Key"], tag["Value"]
        if key in seen:
            raise _invalid("Cannot provide multiple Tags with the same key", {"TagKey": key})
        if key.startswith("aws:"):
            raise _invalid(_SYSTEM[what], {"TagKey": key})
        if not 0 < len(key) <= 128 or _TEXT.fullmatch(key) is None:
            raise _invalid("The TagKey you have provided is invalid", {"TagKey": key})
        if len(value) > 256 or _TEXT.fullmatch(value) is None:
            raise _invalid(
                "The TagValue you have provided is invalid", {"TagKey": key, "TagValue": value}
            )
        seen.add(key)
    return [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]


def _invalid(text: str, fields: Mapping[str, str]) -> AwsError:
    return AwsError("InvalidTag", text, status=400, fields=fields)
