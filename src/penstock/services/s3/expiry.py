"""Which lifecycle rule ends an object, and when. Pure; instants in ms."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.services.s3.condition import http_date

DAY: Final = 86_400_000
Rule = Mapping[str, Any]
Document = Mapping[str, Any]


def midnight_after(at: int) -> int:
    """The next midnight UTC."""
    return (at // DAY + 1) * DAY


def applies(rule: Rule, key: str, document: Document) -> bool:
    """Whether an enabled rule's filter takes an object. Delete markers have neither size nor tags."""
    if rule["Status"] != "Enabled":
        return False
    given = rule.get("Filter", {})
    wanted = given.get("And", given)
    prefix = wanted.get("Prefix", rule.get("Prefix", ""))
    tags = [*wanted.get("Tags", ()), *([wanted["Tag"]] if "Tag" in wanted else ())]
    size = document.get("size")
    least, most = wanted.get("ObjectSizeGreaterThan"), wanted.get("ObjectSizeLessThan")
    return (
        key.startswith(prefix)
        and all(tag in document.get("tags", ()) for tag in tags)
        and (least is None or (size is not None and size > least))
        and (most is None or (size is not None and size < most))
    )


def ends_at(rules: Sequence[Rule], key: str, document: Document) -> tuple[int, str] | None:
    """When the current version of an object expires, and by which rule; None for never."""
    found: tuple[int, str] | None = None
    for rule in rules:
        expiration = rule.get("Expiration", {})
        # AWS: days count from the object's creation, and end at the next midnight UTC (S3 user guide, "Expiring objects").
        if "Days" in expiration:
            at = midnight_after(document["modified_at"] + expiration["Days"] * DAY)
        elif "Date" in expiration:
            at = expiration["Date"]
        else:
            continue
        if (found is None or at < found[0]) and applies(rule, key, document):
            found = at, rule["ID"]
    return found


def expiration_header(rules: Sequence[Rule], key: str, document: Document) -> str | None:
    """The `x-amz-expiration` of an object; None where nothing ends it."""
    found = ends_at(rules, key, document)
    if found is None:
        return None
    return f'expiry-date="{http_date(found[0])}", rule-id="{found[1]}"'


def superfluous(
    rules: Sequence[Rule], key: str, versions: Sequence[Document], now: int
) -> list[Document]:
    """The versions behind the current one that rules end by now. `versions` are all of the key, newest first."""
    gone = []
    for index, document in enumerate(versions[1:], 1):
        since = versions[index - 1]["modified_at"]
        for rule in rules:
            ending = rule.get("NoncurrentVersionExpiration")
            if ending is None or not applies(rule, key, document):
                continue
            kept = ending.get("NewerNoncurrentVersions", 0)
            if index > kept and midnight_after(since + ending["NoncurrentDays"] * DAY) <= now:
                gone.append(document)
                break
    return gone


def marker_goes(rules: Sequence[Rule], key: str, versions: Sequence[Document]) -> bool:
    """Whether a delete marker that covers nothing any more is to be removed."""
    if len(versions) != 1 or not versions[0].get("delete_marker"):
        return False
    return any(
        rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker")
        and applies(rule, key, versions[0])
        for rule in rules
    )


def upload_goes(rules: Sequence[Rule], key: str, begun_at: int, now: int) -> bool:
    """Whether an upload has been incomplete for too long."""
    for rule in rules:
        days = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        due = days is not None and midnight_after(begun_at + days * DAY) <= now
        if due and applies(rule, key, {}):
            return True
    return False
