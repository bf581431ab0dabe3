"""JSON documents of one kind in a table."""

import base64
from typing import Any, Final, TypeAlias

import orjson

from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.storage.primitives import Primitives

Document: TypeAlias = dict[str, Any]
_ALL: Final = 1_000_000
_TOKEN: Final = "events:"


class Documents:
    """Documents by partition and name. Every verb takes the store or a transaction of it."""

    def __init__(self, table: str) -> None:
        self._table = table

    async def find(self, given: Primitives, partition: bytes, name: str) -> Document | None:
        """One document, or None."""
        row = await given.table.get(self._table, partition, name.encode())
        return None if row is None else orjson.loads(row.document)

    async def put(self, given: Primitives, partition: bytes, name: str, document: Document) -> None:
        """Store one."""
        await given.table.put(self._table, partition, name.encode(), orjson.dumps(document))

    async def delete(self, given: Primitives, partition: bytes, name: str) -> bool:
        """Remove one. False if it was not there."""
        return await given.table.delete(self._table, partition, name.encode())

    async def in_order(
        self, given: Primitives, partition: bytes, prefix: str = ""
    ) -> list[Document]:
        """Those whose name begins so, by name."""
        low = prefix.encode()
        high = low + b"\xff" if low else None
        rows = await given.table.range(self._table, partition, low=low, high=high, limit=_ALL)
        return [orjson.loads(row.document) for row in rows]

    async def everything(self, given: Primitives) -> list[Document]:
        """Those of every partition."""
        rows = await given.table.scan(self._table, limit=_ALL)
        return [orjson.loads(row.document) for row in rows]


def only(document: Document, *members: str) -> Document:
    """Those of the members that are there and are not None."""
    return {name: document[name] for name in members if document.get(name) is not None}


def page(items: list[Any], request: dict[str, Any], member: str) -> dict[str, Any]:
    """The page of a list that a request asks for, as the answer has it."""
    invalid = AwsError("ValidationException", "Parameter NextToken is not valid.")
    start = None
    if given := request.get("NextToken"):
        try:
            start = base64.b64decode(given, validate=True).decode().removeprefix(_TOKEN)
        except ValueError as error:
            raise invalid from error
    found, token = paged(items, start, request.get("Limit", 100), invalid)
    if token is None:
        return {member: found}
    return {member: found, "NextToken": base64.b64encode(f"{_TOKEN}{token}".encode()).decode()}
