"""UpdateTable: billing, throughput, protection, and global indexes made and removed."""

from dataclasses import replace
from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.dynamo_value import dump_item, invalid, invalid_parameters, load_item, type_of
from penstock.core.errors import AwsError
from penstock.services.dynamodb.schema import (
    attribute_types,
    check_billing,
    check_definitions,
    check_indexes,
    stored_index,
    throughput_of,
)
from penstock.services.dynamodb.table import Index, Place, TableRecord
from penstock.services.dynamodb.tables import IN_PART, Tables, check_unbuilt
from penstock.storage.primitives import Primitives, Store

_NOT_BUILT: Final = (
    "GlobalTableSettingsReplicationMode",
    "GlobalTableWitnessUpdates",
    "MultiRegionConsistency",
    "OnDemandThroughput",
    "ReplicaUpdates",
    "WarmThroughput",
)
_CHANGES: Final = (
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexUpdates",
    "ProvisionedThroughput",
    "SSESpecification",
    "StreamSpecification",
    "TableClass",
)
_CHUNK: Final = 500


class Changes:
    """Changes of tables that exist."""

    def __init__(self, store: Store, tables: Tables) -> None:
        self._store = store
        self._tables = tables

    @operation(
        "UpdateTable",
        refuses=_NOT_BUILT,
        in_part=[name.replace("Indexes.", "IndexUpdates.") for name in IN_PART],
    )
    async def update_table(self, ctx: Context, request: Request) -> Result:
        """Change a table; it is ACTIVE again at once, with a new index complete."""
        table = await self._tables.require(ctx, request["TableName"])
        check_unbuilt(request)
        if all(request.get(name) is None for name in _CHANGES):
            raise invalid(
                "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled,"
                " GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required"
            )
        if request.get("StreamSpecification") is not None:
            raise invalid("Table is not stream-enabled; cannot disable its stream")
        changed = _with_settings(table, request, ctx.now)
        updates = request.get("GlobalSecondaryIndexUpdates")
        if updates is not None:
            changed = _with_indexes(changed, request, updates)
        async with self._store.transaction() as tx:
            await self._tables.save(tx, changed)
            for name, index in table.secondary.items():
                if name not in changed.secondary:
                    await tx.table.drop(index.store_name)
            for name, index in changed.secondary.items():
                if name not in table.secondary:
                    await _fill(tx, index)
        return {"TableDescription": await self._tables.described(changed)}


def _with_settings(table: TableRecord, request: Request, now: int) -> TableRecord:
    billing = request.get("BillingMode") or table.billing
    throughput = request.get("ProvisionedThroughput")
    protected = request.get("DeletionProtectionEnabled", table.protected)
    table = replace(table, protected=protected)
    if billing != table.billing:
        check_billing(billing, request)
        table = replace(table, billing=billing, throughput=throughput_of(request))
        if billing == "PAY_PER_REQUEST":
            unmetered = [{**index, "throughput": throughput_of({})} for index in table.indexes]
            return replace(table, on_demand_at=now, indexes=unmetered)
        return table
    if throughput is None:
        return table
    check_billing(billing, request)
    units = throughput_of(request)
    if units == table.throughput:
        raise invalid(
            "The provisioned throughput for the table will not change. The requested value equals"
            f" the current value. Current ReadCapacityUnits provisioned for the table: {units['read']}."
            f" Requested ReadCapacityUnits: {units['read']}. Current WriteCapacityUnits provisioned for"
            f" the table: {units['write']}. Requested WriteCapacityUnits: {units['write']}."
            " Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher"
            " limits."
        )
    return replace(table, throughput=units)


def _with_indexes(
    table: TableRecord, request: Request, updates: list[dict[str, Any]]
) -> TableRecord:
    """The table with its global indexes changed. Raises `AwsError`."""
    kinds = [kind for update in updates for kind in update]
    if sum(kind in ("Create", "Delete") for kind in kinds) > 1:
        raise AwsError(
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted"
            " simultaneously per table",
        )
    types = dict(table.attributes)
    given = request.get("AttributeDefinitions")
    if given is not None:
        types.update(attribute_types(given))
    indexes = list(table.indexes)
    for update in updates:
        for kind, change in update.items():
            indexes = _changed(table, indexes, kind, change)
    check_indexes(indexes)
    used = {*table.schema, *(name for index in indexes for name in index["schema"])}
    types = {name: type_ for name, type_ in types.items() if name in used}
    check_definitions(types, table.schema, indexes)
    return replace(table, attributes=types, indexes=indexes)


def _changed(
    table: TableRecord, indexes: list[dict[str, Any]], kind: str, change: dict[str, Any]
) -> list[dict[str, Any]]:
    if "WarmThroughput" in change or "OnDemandThroughput" in change:
        raise refuse("WarmThroughput and OnDemandThroughput of dynamodb:UpdateTable")
    name = change["IndexName"]
    if kind == "Create":
        check_billing(table.billing, change)
        return [*indexes, stored_index(change, is_global=True)]
    found = table.secondary.get(name)
    if found is None or not found.is_global:
        raise AwsError("ResourceNotFoundException", "Requested resource not found")
    if kind == "Delete":
        return [index for index in indexes if index["name"] != name]
    if table.billing == "PAY_PER_REQUEST":
        raise invalid_parameters(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified"
            " when BillingMode is PAY_PER_REQUEST"
        )
    return [
        {**index, "throughput": throughput_of(change)} if index["name"] == name else index
        for index in indexes
    ]


async def _fill(tx: Primitives, index: Index) -> None:
    """Make the entries of a new index. Items that cannot be in it are left out."""
    after: Place | None = None
    while True:
        rows = await tx.table.scan(index.table.store_name, after=after, limit=_CHUNK)
        for row in rows:
            item = load_item(row.document)
            # AWS: attributes of a wrong type or without content keep an item out (developer guide, "GSI backfill").
            empty = any(
                not item[key.name][type_of(item[key.name])]
                for key in index.keys
                if key.name in item
            )
            place = None if empty else index.place(item)
            if place is not None:
                await tx.table.put(index.store_name, *place, dump_item(index.entry(item)))
        if len(rows) < _CHUNK:
            return
        after = Place(rows[-1].partition, rows[-1].sort)
