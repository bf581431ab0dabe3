"""BatchGetItem and BatchWriteItem: many items in one request, each for itself."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.dynamo_value import Item, invalid, item_size, load_item
from penstock.core.expression import Tree, project
from penstock.services.dynamodb.capacity import Consumption, capacity_mode, read_units
from penstock.services.dynamodb.expressions import Expressions
from penstock.services.dynamodb.table import Place, TableRecord
from penstock.services.dynamodb.tables import Tables
from penstock.services.dynamodb.writes import (
    Write,
    Writer,
    carry_out,
    check_metrics,
    cost,
    decide,
    is_blind,
    overwrite,
)
from penstock.storage.primitives import Store

# AWS: 100 reads, 25 writes, 16 MB of answer (API reference).
_MAX_READS: Final = 100
_MAX_WRITES: Final = 25
_MAX_ANSWER: Final = 16 * 1_048_576
_DUPLICATES: Final = "Provided list of item keys contains duplicates"


class Batches:
    """Batches of reads and writes."""

    def __init__(
        self, store: Store, tables: Tables, expressions: Expressions, writer: Writer
    ) -> None:
        self._store = store
        self._tables = tables
        self._expressions = expressions
        self._writer = writer

    @operation("BatchGetItem", in_part=["RequestItems.AttributesToGet"])
    async def batch_get_item(self, ctx: Context, request: Request) -> Result:
        """Items of several keys and tables; keys whose items are beyond 16 MB are left to ask again."""
        asked: dict[str, dict[str, Any]] = request["RequestItems"]
        if sum(len(part["Keys"]) for part in asked.values()) > _MAX_READS:
            raise invalid("Too many items requested for the BatchGetItem call")
        plans = [(name, part, *await self._plan(ctx, name, part)) for name, part in asked.items()]
        mode = capacity_mode(request)
        room = _MAX_ANSWER
        responses: dict[str, list[Item]] = {}
        left: dict[str, Any] = {}
        consumed: list[Result] = []
        for name, part, table, places, projection in plans:
            consumption = Consumption(table)
            found = responses[name] = []
            for at, place in enumerate(places):
                row = await self._store.table.get(table.store_name, *place)
                item = {} if row is None else load_item(row.document)
                size = item_size(item)
                if size > room:
                    left[name] = {**part, "Keys": part["Keys"][at:]}
                    break
                room -= size
                consumption.base += read_units(size, part.get("ConsistentRead", False))
                if row is not None:
                    found.append(item if projection is None else project(item, projection))
            if mode is not None:
                consumed.append(consumption.shown(mode))
        result: Result = {"Responses": responses, "UnprocessedKeys": left}
        if mode is not None:
            result["ConsumedCapacity"] = consumed
        return result

    async def _plan(
        self, ctx: Context, name: str, part: dict[str, Any]
    ) -> tuple[TableRecord, list[Place], Tree | None]:
        if part.get("AttributesToGet"):
            raise refuse("the parameter AttributesToGet of dynamodb:BatchGetItem")
        table = await self._tables.find(ctx, name)
        scope = self._expressions.scope(part, ("ProjectionExpression",))
        projection = self._expressions.projection(part, scope)
        scope.finish()
        places = [table.place_of_key(key) for key in part["Keys"]]
        if len(set(places)) < len(places):
            raise invalid(_DUPLICATES)
        return table, places, projection

    @operation("BatchWriteItem", in_part=["ReturnItemCollectionMetrics: SIZE"])
    async def batch_write_item(self, ctx: Context, request: Request) -> Result:
        """Puts and deletes in several tables. All are made: none is ever left over."""
        check_metrics(request, "BatchWriteItem")
        asked: dict[str, list[dict[str, Any]]] = request["RequestItems"]
        if sum(map(len, asked.values())) > _MAX_WRITES:
            raise invalid("Too many items requested for the BatchWriteItem call")
        writes: list[Write] = []
        for name, entries in asked.items():
            table = await self._tables.find(ctx, name)
            writes += [self._write(table, entry) for entry in entries]
        if len({(write.table.store_name, write.place) for write in writes}) < len(writes):
            raise invalid(_DUPLICATES)
        mode = capacity_mode(request)
        consumed: dict[str, Consumption] = {}
        # AWS promises less than this: a batch is not atomic there.
        async with self._store.transaction() as tx:
            for write in writes:
                if mode is None and is_blind(write):
                    await overwrite(tx, write)
                    continue
                decided = await decide(tx, write)
                await carry_out(tx, decided)
                if mode is not None:
                    total = consumed.setdefault(write.table.name, Consumption(write.table))
                    total.merge(cost(decided))
        result: Result = {"UnprocessedItems": {}}
        if mode is not None:
            result["ConsumedCapacity"] = [total.shown(mode) for total in consumed.values()]
        return result

    def _write(self, table: TableRecord, entry: dict[str, Any]) -> Write:
        if len(entry) != 1:
            # AWS: the text is that of values (recorded by dynalite).
            what = "has more than one datatypes set" if entry else "is empty"
            raise invalid(
                f"Supplied AttributeValue {what}, must contain exactly one of the supported datatypes"
            )
        if "PutRequest" in entry:
            return self._writer.put(table, entry["PutRequest"])
        return self._writer.delete(table, entry["DeleteRequest"])
