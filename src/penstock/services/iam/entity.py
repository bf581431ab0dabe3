"""How roles, policies and users are kept: documents by account and case-folded name, with AWS's errors for them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.storage.primitives import Store

ROLES: Final = "iam/roles"
POLICIES: Final = "iam/policies"
USERS: Final = "iam/users"
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    ROLES: ("role", "Role"),
    USERS: ("user", "User"),
    POLICIES: ("policy", "Policy"),
}
_AWS_MANAGED: Final = re.compile(r"arn:aws:iam::aws:policy/[\w+=,.@/-]+")
Document = dict[str, Any]


class Entities:
    """Loads and saves IAM entities. Their names differ by more than case."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, kind: str, account: str, name: str) -> Document | None:
        """The entity, or None."""
        row = await self._store.table.get(kind, account.encode(), name.lower().encode())
        return None if row is None else orjson.loads(row.document)

    async def load(self, kind: str, account: str, name: str) -> Document:
        """The entity. Raises NoSuchEntity."""
        document = await self.find(kind, account, name)
        if document is None:
            raise no_such_entity(f"The {_KINDS[kind][0]} with name {name} cannot be found.")
        return document

    async def create(self, kind: str, account: str, name: str, document: Document) -> None:
        """Keep a new entity. Raises EntityAlreadyExists."""
        if await self.find(kind, account, name) is not None:
            message = f"{_KINDS[kind][1]} with name {name} already exists."
            raise AwsError("EntityAlreadyExists", message, status=409)
        await self.save(kind, account, name, document)

    async def save(self, kind: str, account: str, name: str, document: Document) -> None:
        """Replace the entity."""
        sort = name.lower().encode()
        await self._store.table.put(kind, account.encode(), sort, orjson.dumps(document))

    async def delete(self, kind: str, account: str, name: str) -> None:
        """Remove the entity."""
        await self._store.table.delete(kind, account.encode(), name.lower().encode())

    async def list(self, kind: str, account: str) -> list[Document]:
        """Every entity of the kind, by name."""
        rows = await self._store.table.range(kind, account.encode(), limit=100_000)
        return [orjson.loads(row.document) for row in rows]

    async def attachable(self, account: str, arn: str) -> Document | None:
        """The customer's policy that `arn` names; None for one that AWS manages. Raises NoSuchEntity."""
        if _AWS_MANAGED.fullmatch(arn):
            return None
        policy = await self.find(POLICIES, account, arn.rsplit("/", 1)[-1])
        if policy is None or policy["Arn"] != arn:
            raise no_such_entity(f"Policy {arn} does not exist or is not attachable.")
        return policy


def no_such_entity(message: str) -> AwsError:
    """What IAM answers for something that is not there."""
    return AwsError("NoSuchEntity", message, status=404)


def delete_conflict(message: str) -> AwsError:
    """What IAM answers to the deletion of something still referred to."""
    return AwsError("DeleteConflict", message, status=409)


def checked_policy(text: str, limit: int = 0) -> str:
    """A policy document. Raises MalformedPolicyDocument, or LimitExceeded beyond `limit` characters (0: any)."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = "This policy contains invalid Json"
        raise AwsError("MalformedPolicyDocument", message, status=400) from error
    if not isinstance(document, dict) or "Statement" not in document:
        message = "Syntax errors in policy."
        raise AwsError("MalformedPolicyDocument", message, status=400)
    # AWS: whitespace does not count (IAM user guide, "IAM and STS quotas").
    if limit and len("".join(text.split())) > limit:
        message = f"Cannot exceed quota for PolicySize: {limit}"
        raise AwsError("LimitExceeded", message, status=409)
    return text


def encoded(policy: str) -> str:
    """A policy document as IAM answers it."""
    # AWS: documents in answers are URL-encoded by RFC 3986 (API reference, GetRolePolicy).
    return quote(policy, safe="")


def merged_tags(
    current: Sequence[Mapping[str, str]], added: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """Tags after a change, in order of first mention. Raises LimitExceeded past 50."""
    tags = {tag["Key"]: tag["Value"] for tag in (*current, *added)}
    # AWS: 50 tags an entity (IAM user guide, quotas).
    if len(tags) > 50:
        raise AwsError(
            "LimitExceeded", "The number of tags has reached the maximum limit.", status=409
        )
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def page(items: Sequence[Any], request: Mapping[str, Any], member: str) -> dict[str, Any]:
    """`items` from the request's marker on, up to its `MaxItems`, as IAM's lists are answered."""
    invalid = AwsError("ValidationError", "Invalid Marker.", status=400)
    found, marker = paged(items, request.get("Marker"), request.get("MaxItems", 100), invalid)
    result: dict[str, Any] = {member: found, "IsTruncated": marker is not None}
    return result if marker is None else {**result, "Marker": marker}
