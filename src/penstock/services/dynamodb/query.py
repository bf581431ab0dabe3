"""Query and Scan: pages of a table or one of its indexes."""

import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.dynamo_value import (
    Item,
    canonicalize,
    encode_key,
    equal,
    invalid,
    invalid_parameters,
    item_size,
    load_item,
)
from penstock.core.errors import AwsError
from penstock.core.expression import Condition, Scope, Tree, project
from penstock.services.dynamodb.capacity import Consumption, capacity_mode, read_units
from penstock.services.dynamodb.expressions import Expressions
from penstock.services.dynamodb.table import Index, Place, Span, TableRecord
from penstock.services.dynamodb.tables import Tables
from penstock.storage.primitives import Row, Store

# AWS: a page ends once 1 MB was read, filtered out or not (developer guide, "Query").
_PAGE_BYTES: Final = 1_048_576
_CHUNK: Final = 100
_BAD_START: Final = "The provided starting key is invalid"
_LEGACY: Final = ("AttributesToGet", "ConditionalOperator")


@dataclass(slots=True)
class _Read:
    """What a Query or Scan reads and what it shows of it."""

    table: TableRecord
    index: Index | None
    keep: Condition | None
    projection: Tree | None
    request: Request
    from_table: bool = False
    """Whether items are fetched from the table because the (local) index does not hold all that is asked for."""

    @property
    def source(self) -> TableRecord | Index:
        return self.index or self.table

    @property
    def key_names(self) -> list[str]:
        """Names in a starting key: the index's keys and the table's."""
        names = [key.name for key in self.source.keys]
        return [*names, *(name for name in self.table.schema if name not in names)]


class Queries:
    """Reads many items at once."""

    def __init__(self, store: Store, tables: Tables, expressions: Expressions) -> None:
        self._store = store
        self._tables = tables
        self._expressions = expressions

    @operation("Query", refuses=(*_LEGACY, "KeyConditions", "QueryFilter"))
    async def query(self, ctx: Context, request: Request) -> Result:
        """Items of one partition in order of the range key."""
        table = await self._tables.find(ctx, request["TableName"])
        index = table.index(request.get("IndexName"))
        scope = self._scope(request, ("FilterExpression", "KeyConditionExpression"))
        text = request.get("KeyConditionExpression")
        if text is None:
            raise invalid(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified"
                " in the request."
            )
        source = index or table
        keys = self._expressions.key_condition(text, scope, source.keys)
        read = self._read(table, index, request, scope, filtered=[k.name for k in source.keys])
        partition = encode_key(keys.hash_value)
        span = source.span(keys.operator, keys.operands)
        reverse = not request.get("ScanIndexForward", True)
        start = _start(read)
        if start is not None:
            if not equal(request["ExclusiveStartKey"][source.hash.name], keys.hash_value):
                raise invalid(
                    "The provided starting key is outside query boundaries based on provided conditions"
                )
            span = _beyond(span, start.sort, reverse)
        rows = self._rows(source.store_name, partition, span, reverse)
        return await self._page(read, rows)

    @operation("Scan", refuses=(*_LEGACY, "ScanFilter"))
    async def scan(self, ctx: Context, request: Request) -> Result:
        """Items of all partitions, or of one segment of them."""
        segment, total = request.get("Segment"), request.get("TotalSegments")
        _check_segment(segment, total)
        table = await self._tables.find(ctx, request["TableName"])
        index = table.index(request.get("IndexName"))
        scope = self._scope(request, ("FilterExpression",))
        read = self._read(table, index, request, scope)
        rows = self._all_rows(read.source.store_name, _start(read), segment, total)
        return await self._page(read, rows)

    def _scope(self, request: Request, parameters: tuple[str, ...]) -> Scope:
        return self._expressions.scope(request, (*parameters, "ProjectionExpression"))

    def _read(
        self,
        table: TableRecord,
        index: Index | None,
        request: Request,
        scope: Scope,
        filtered: list[str] | None = None,
    ) -> _Read:
        """What is to be read and shown. Raises `AwsError` for parameters that do not fit together."""
        keep = self._expressions.filter(request, scope, filtered or ())
        projection = self._expressions.projection(request, scope)
        scope.finish()
        _check_select(request)
        if index is not None and index.is_global and request.get("ConsistentRead"):
            raise invalid("Consistent reads are not supported on global secondary indexes")
        read = _Read(table, index, keep, projection, request)
        if index is not None and index.projection != "ALL":
            _check_projected(read, index)
        return read

    async def _rows(
        self, store_name: str, partition: bytes, span: Span, reverse: bool
    ) -> AsyncGenerator[Row, None]:
        while True:
            rows = await self._store.table.range(
                store_name,
                partition,
                low=span.low,
                high=span.high,
                limit=_CHUNK,
                reverse=reverse,
            )
            for row in rows:
                yield row
            if len(rows) < _CHUNK:
                return
            span = _beyond(span, rows[-1].sort, reverse)

    async def _all_rows(
        self, store_name: str, after: Place | None, segment: int | None, total: int | None
    ) -> AsyncGenerator[Row, None]:
        while True:
            rows = await self._store.table.scan(store_name, after=after, limit=_CHUNK)
            for row in rows:
                if total is None or zlib.crc32(row.partition) % total == segment:
                    yield row
            if len(rows) < _CHUNK:
                return
            after = Place(rows[-1].partition, rows[-1].sort)

    async def _page(self, read: _Read, rows: AsyncGenerator[Row, None]) -> Result:
        request = read.request
        limit = request.get("Limit")
        items: list[Item] = []
        meter = _Meter()
        more = False
        async with aclosing(rows):
            async for row in rows:
                entry = load_item(row.document)
                if not meter.admits(row, entry):
                    more = True
                    break
                item = await self._fetched(read, entry) if read.from_table else entry
                if read.keep is None or read.keep(item):
                    items.append(item)
                if len(meter.entries) == limit:
                    # AWS: whoever stops at Limit does not look whether anything follows (developer guide, "Scan").
                    more = True
                    break
        result: Result = {"Count": len(items), "ScannedCount": len(meter.entries)}
        if request.get("Select") != "COUNT":
            tree = read.projection
            result["Items"] = items if tree is None else [project(item, tree) for item in items]
        if more:
            last = meter.entries[-1]
            result["LastEvaluatedKey"] = {name: last[name] for name in read.key_names}
        _tell_capacity(read, meter, result)
        return result

    async def _fetched(self, read: _Read, entry: Item) -> Item:
        row = await self._store.table.get(read.table.store_name, *read.table.place(entry))
        return entry if row is None else load_item(row.document)


class _Meter:
    """How much of a page was read. Entries are measured only once their documents, which are longer, fill it."""

    def __init__(self) -> None:
        self.entries: list[Item] = []
        self._bound = 0
        self._size: int | None = None

    def admits(self, row: Row, entry: Item) -> bool:
        """Count an entry, unless it belongs to the next page."""
        self._bound += len(row.document)
        if self._bound > _PAGE_BYTES:
            size = self.size() + item_size(entry)
            if self.entries and size > _PAGE_BYTES:
                return False
            self._size = size
        self.entries.append(entry)
        return True

    def size(self) -> int:
        """Bytes of the entries of the page."""
        return sum(map(item_size, self.entries)) if self._size is None else self._size


def _tell_capacity(read: _Read, meter: _Meter, result: Result) -> None:
    mode = capacity_mode(read.request)
    if mode is None:
        return
    consistent = read.request.get("ConsistentRead", False)
    consumption = Consumption(read.table)
    units = read_units(meter.size(), consistent)
    if read.index is None:
        consumption.base = units
    else:
        consumption.add_index(read.index.name, units)
        if read.from_table:
            consumption.base = len(meter.entries) * read_units(0, consistent)
    result["ConsumedCapacity"] = consumption.shown(mode)


def _beyond(span: Span, sort: bytes, reverse: bool) -> Span:
    """The part of a span that comes after an entry, in reading order."""
    if reverse:
        return Span(span.low, sort if span.high is None else min(sort, span.high))
    return Span(max(span.low, sort + b"\x00"), span.high)


def _start(read: _Read) -> Place | None:
    """Where the entry of ExclusiveStartKey lies. Raises `AwsError` for what is no key."""
    key: Item | None = read.request.get("ExclusiveStartKey")
    if key is None:
        return None
    if set(key) != set(read.key_names):
        raise invalid(_BAD_START)
    try:
        canonicalize(key)
        read.table.place_of_key(read.table.key_of(key))
    except AwsError as error:
        raise invalid(f"{_BAD_START}: {error.message}") from None
    place = read.source.place(key)
    if place is None:
        raise invalid(f"{_BAD_START}: The provided key element does not match the schema")
    return place


def _check_segment(segment: int | None, total: int | None) -> None:
    if (segment is None) != (total is None):
        missing, given = "TotalSegments", "Segment"
        if segment is None:
            missing, given = given, missing
        raise invalid(
            f"The {missing} parameter is required but was not present in the request"
            f" when {given} parameter is present"
        )
    if segment is not None and total is not None and segment >= total:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments:"
            f" Segment: {segment} is not less than TotalSegments: {total}"
        )


def _check_select(request: Request) -> None:
    select = request.get("Select")
    projects = request.get("ProjectionExpression") is not None
    if select == "SPECIFIC_ATTRIBUTES" and not projects:
        raise invalid_parameters(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get"
            " SPECIFIC_ATTRIBUTES"
        )
    if select in ("ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "COUNT") and projects:
        what = "only the Count" if select == "COUNT" else select
        raise invalid_parameters(
            f"Cannot specify the ProjectionExpression when choosing to get {what}"
        )
    if select == "ALL_PROJECTED_ATTRIBUTES" and request.get("IndexName") is None:
        raise invalid_parameters(
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"
        )


def _check_projected(read: _Read, index: Index) -> None:
    """A global index shows only what it holds; a local one fetches the rest from the table."""
    held = {*read.key_names, *index.included}
    lacking = sorted(str(name) for name in read.projection or () if name not in held)
    everything = read.request.get("Select") == "ALL_ATTRIBUTES"
    if not index.is_global:
        read.from_table = everything or bool(lacking)
        return
    if everything:
        raise invalid_parameters(
            "Select type ALL_ATTRIBUTES is not supported for global secondary index"
            f" {index.name} because its projection type is not ALL"
        )
    if lacking:
        raise invalid_parameters(
            f"Global secondary index {index.name} does not project [{', '.join(lacking)}]"
        )
