"""Operations on one item: put, get, update, delete."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.dynamo_value import Item, invalid, item_size, load_item
from penstock.core.expression import path_tree, project
from penstock.services.dynamodb.capacity import Consumption, capacity_mode, read_units
from penstock.services.dynamodb.expressions import Expressions
from penstock.services.dynamodb.tables import Tables
from penstock.services.dynamodb.writes import (
    Decided,
    Write,
    Writer,
    carry_out,
    cost,
    decide,
    is_blind,
    overwrite,
)
from penstock.storage.primitives import Store

_SIZE: Final = "SIZE"
_LEGACY_WRITE: Final = ("Expected", "ConditionalOperator")


class Items:
    """Items under the store name of their table."""

    def __init__(
        self, store: Store, tables: Tables, expressions: Expressions, writer: Writer
    ) -> None:
        self._store = store
        self._tables = tables
        self._expressions = expressions
        self._writer = writer

    @operation("GetItem", refuses=("AttributesToGet",))
    async def get_item(self, ctx: Context, request: Request) -> Result:
        """The item of a key, or nothing."""
        table = await self._tables.find(ctx, request["TableName"])
        place = table.place_of_key(request["Key"])
        row = await self._store.table.get(table.store_name, *place)
        scope = projection = None
        if "ProjectionExpression" in request or "ExpressionAttributeNames" in request:
            scope = self._expressions.scope(request, ("ProjectionExpression",))
            projection = self._expressions.projection(request, scope)
            scope.finish()
        item = None if row is None else load_item(row.document)
        result: Result = {}
        if item is not None:
            result["Item"] = item if projection is None else project(item, projection)
        mode = capacity_mode(request)
        if mode is not None:
            consumption = Consumption(table)
            size = 0 if item is None else item_size(item)
            consumption.base = read_units(size, request.get("ConsistentRead", False))
            result["ConsumedCapacity"] = consumption.shown(mode)
        return result

    @operation("PutItem", refuses=_LEGACY_WRITE)
    async def put_item(self, ctx: Context, request: Request) -> Result:
        """Store an item in place of the one of its key."""
        table = await self._tables.find(ctx, request["TableName"])
        _check_returned(request)
        write = self._writer.put(table, request)
        if len(request) == 2 and is_blind(write):
            await overwrite(self._store, write)
            return {}
        return _answer(request, await self._make(write))

    @operation("DeleteItem", refuses=_LEGACY_WRITE)
    async def delete_item(self, ctx: Context, request: Request) -> Result:
        """Remove the item of a key, if there is one."""
        table = await self._tables.find(ctx, request["TableName"])
        _check_returned(request)
        return _answer(request, await self._make(self._writer.delete(table, request)))

    @operation("UpdateItem", refuses=(*_LEGACY_WRITE, "AttributeUpdates"))
    async def update_item(self, ctx: Context, request: Request) -> Result:
        """Change the item of a key, or make it."""
        table = await self._tables.find(ctx, request["TableName"])
        return _answer(request, await self._make(self._writer.update(table, request)))

    async def _make(self, write: Write) -> Decided:
        async with self._store.transaction() as tx:
            decided = await decide(tx, write)
            await carry_out(tx, decided)
        return decided


def _check_returned(request: Request) -> None:
    if request.get("ReturnValues") not in (None, "NONE", "ALL_OLD"):
        raise invalid("ReturnValues can only be ALL_OLD or NONE")


def _answer(request: Request, decided: Decided) -> Result:
    result: Result = {}
    returned = _returned(request.get("ReturnValues"), decided)
    if returned:
        result["Attributes"] = returned
    mode = capacity_mode(request)
    if mode is not None:
        result["ConsumedCapacity"] = cost(decided).shown(mode)
    if request.get("ReturnItemCollectionMetrics") == _SIZE:
        table = decided.write.table
        if any(not index.is_global for index in table.secondary.values()):
            result["ItemCollectionMetrics"] = _collection(request, table.hash.name)
    return result


def _returned(wanted: str | None, decided: Decided) -> Item | None:
    if wanted is None or wanted == "NONE":
        return None
    item = decided.old if wanted.endswith("_OLD") else decided.new
    if item is None or wanted.startswith("ALL"):
        return item
    update = decided.write.update
    return None if update is None else project(item, path_tree(update.paths))


def _collection(request: Request, name: str) -> dict[str, Any]:
    key: Item = request.get("Key") or request["Item"]
    # AWS: sizes are estimates in whole gigabytes (API reference, ItemCollectionMetrics).
    return {"ItemCollectionKey": {name: key[name]}, "SizeEstimateRangeGB": [0.0, 1.0]}
