"""Operations on tables: create, describe, list, change, delete."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import parse_arn
from penstock.core.dynamo_value import invalid, item_size, load_item
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.dynamodb.schema import (
    attribute_types,
    check_billing,
    check_definitions,
    key_schema,
    secondary_indexes,
    throughput_of,
)
from penstock.services.dynamodb.table import Expiry, Index, TableRecord
from penstock.storage.primitives import Primitives, Store

TABLE: Final = "dynamodb/tables"
EXPIRING: Final = "dynamodb/expiring-tables"
"""The ARNs of tables whose items end, by store name."""
FILLING: Final = "dynamodb/filling-expiry"
"""Up to which item, as `Expiry.sort` has it, the entries of such a table are made; gone when all are."""
_NOT_BUILT: Final = (
    "GlobalTableSettingsReplicationMode",
    "GlobalTableSourceArn",
    "OnDemandThroughput",
    "ResourcePolicy",
    "WarmThroughput",
)
IN_PART: Final = (
    "GlobalSecondaryIndexes.OnDemandThroughput",
    "GlobalSecondaryIndexes.WarmThroughput",
    "KeySchema of more than two attributes",
    "SSESpecification.Enabled: true",
    "StreamSpecification.StreamEnabled: true",
    "TableClass: STANDARD_INFREQUENT_ACCESS",
)
"""What of a table is refused; see `check_unbuilt`."""
_PAGE: Final = 100

_Key: TypeAlias = tuple[str, str, str]
"""Account, region and name of a table."""


class Tables:
    """The tables of every account and region."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids
        self._decoded: dict[_Key, TableRecord] = {}
        self._known: dict[_Key, TableRecord] = {}
        """Those of them that are as they were when all tables had this stamp."""
        self._stamp = 0
        self.announce: Callable[[int], None] = lambda seconds: None
        """To be told when an item ends (s)."""

    async def find(self, ctx: Context, name_or_arn: str) -> TableRecord:
        """A table for reading or writing its items. Raises `ResourceNotFoundException`."""
        table: TableRecord | None = None
        if self._stamp == self._store.table.stamp(TABLE):
            table = self._known.get((ctx.account, ctx.region, name_or_arn))
        if table is None:
            table = await self.look_up(ctx, name_or_arn)
        if table is None:
            raise AwsError("ResourceNotFoundException", "Requested resource not found")
        return table

    async def look_up(self, ctx: Context, name_or_arn: str) -> TableRecord | None:
        """A table by name or ARN."""
        if name_or_arn.startswith("arn:"):
            return await self.of_arn(name_or_arn)
        return await self._load((ctx.account, ctx.region, name_or_arn))

    async def of_arn(self, text: str) -> TableRecord | None:
        """A table by ARN."""
        arn = parse_arn(text)
        return await self._load((arn.account, arn.region, arn.resource.partition("/")[2]))

    async def _load(self, key: _Key) -> TableRecord | None:
        """A table. Decoded once for each version of its record."""
        stamp = self._store.table.stamp(TABLE)
        if stamp != self._stamp:
            self._known.clear()
            self._stamp = stamp
        account, region, name = key
        row = await self._store.table.get(TABLE, f"{account}/{region}".encode(), name.encode())
        if row is None:
            self._decoded.pop(key, None)
            return None
        table = self._decoded.get(key)
        if table is None or table.version != row.version:
            table = self._decoded[key] = TableRecord.load(row.document, row.version)
            if table.ttl:
                table.expiry = Expiry(table, self.announce)
        if self._store.table.stamp(TABLE) == self._stamp == stamp:
            self._known[key] = table
        return table

    async def require(self, ctx: Context, name_or_arn: str) -> TableRecord:
        """A table for looking at or changing itself. Raises `ResourceNotFoundException`, which names it."""
        table = await self.look_up(ctx, name_or_arn)
        if table is None:
            name = name_or_arn.rpartition("/")[2]
            raise AwsError(
                "ResourceNotFoundException",
                f"Requested resource not found: Table: {name} not found",
            )
        return table

    async def save(self, store: Primitives, table: TableRecord) -> None:
        """Store a table's record. Raises `Conflict` if it was changed since it was read."""
        key = partition(table), table.name.encode()
        table.version = await store.table.put(TABLE, *key, table.dump(), expect=table.version)

    @operation("CreateTable", refuses=_NOT_BUILT, in_part=IN_PART)
    async def create_table(self, ctx: Context, request: Request) -> Result:
        """Create a table; it is ACTIVE at once."""
        check_unbuilt(request)
        name = request["TableName"]
        if name.startswith("arn:"):
            name = parse_arn(name).name
        billing = request.get("BillingMode") or "PROVISIONED"
        check_billing(billing, request)
        for index in request.get("GlobalSecondaryIndexes") or ():
            check_billing(billing, index)
        schema = key_schema(request["KeySchema"])
        indexes = secondary_indexes(request, schema)
        types = attribute_types(request["AttributeDefinitions"])
        check_definitions(types, schema, indexes)
        table = TableRecord(
            name=name,
            account=ctx.account,
            region=ctx.region,
            id=self._ids.uuid(),
            attributes=types,
            schema=schema,
            indexes=indexes,
            billing=billing,
            throughput=throughput_of(request),
            protected=request.get("DeletionProtectionEnabled", False),
            tags={tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()},
            created_at=ctx.now,
            on_demand_at=ctx.now if billing == "PAY_PER_REQUEST" else 0,
        )
        if await self.look_up(ctx, name) is not None:
            raise AwsError("ResourceInUseException", f"Table already exists: {name}")
        await self.save(self._store, table)
        return {"TableDescription": await self.described(table)}

    @operation("DescribeTable")
    async def describe_table(self, ctx: Context, request: Request) -> Result:
        """A table with its keys, indexes and size."""
        table = await self.require(ctx, request["TableName"])
        return {"Table": await self.described(table)}

    @operation("ListTables")
    async def list_tables(self, ctx: Context, request: Request) -> Result:
        """Names of tables, in order."""
        limit = request.get("Limit") or _PAGE
        start = request.get("ExclusiveStartTableName")
        low = b"" if start is None else start.encode() + b"\x00"
        rows = await self._store.table.range(
            TABLE, f"{ctx.account}/{ctx.region}".encode(), low=low, limit=limit + 1
        )
        names = [row.sort.decode() for row in rows[:limit]]
        result: Result = {"TableNames": names}
        if len(rows) > limit:
            result["LastEvaluatedTableName"] = names[-1]
        return result

    @operation("DeleteTable")
    async def delete_table(self, ctx: Context, request: Request) -> Result:
        """Delete a table with its items."""
        table = await self.require(ctx, request["TableName"])
        if table.protected:
            raise invalid(
                "Resource cannot be deleted as it is currently protected against deletion."
                " Disable deletion protection first."
            )
        description = _description(table, "DELETING")
        async with self._store.transaction() as tx:
            await tx.table.delete(TABLE, partition(table), table.name.encode())
            await tx.table.drop(table.store_name)
            for index in table.secondary.values():
                await tx.table.drop(index.store_name)
            await forget_expiry(tx, table)
        for name in ("AttributeDefinitions", "KeySchema", "CreationDateTime"):
            del description[name]
        return {"TableDescription": description}

    async def described(self, table: TableRecord) -> Result:
        """A table as it is told."""
        description = _description(table, "ACTIVE")
        size, count = await self._size(table.store_name)
        description["ItemCount"], description["TableSizeBytes"] = count, size
        for group in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            for index in description.get(group, ()):
                store_name = table.secondary[index["IndexName"]].store_name
                size, count = await self._size(store_name)
                index["ItemCount"], index["IndexSizeBytes"] = count, size
        return description

    async def _size(self, store_name: str) -> tuple[int, int]:
        """Bytes and documents; bytes are estimated from the first of them, as AWS's are estimates too."""
        count = await self._store.table.size(store_name)
        rows = await self._store.table.scan(store_name, limit=_PAGE) if count else []
        sample = sum(item_size(load_item(row.document)) for row in rows)
        return sample * count // max(1, len(rows)), count


async def forget_expiry(tx: Primitives, table: TableRecord) -> None:
    """Let items of a table end no longer."""
    if table.expiry is not None:
        key = table.store_name.encode()
        await tx.table.delete(EXPIRING, b"", key)
        await tx.table.delete(FILLING, b"", key)
        await tx.table.drop(table.expiry.store_name)


def partition(table: TableRecord) -> bytes:
    """Where the record of a table lies."""
    return f"{table.account}/{table.region}".encode()


def check_unbuilt(request: Request) -> None:
    """Refuse what a table can be on AWS and not here, unless it is switched off."""
    if (request.get("StreamSpecification") or {}).get("StreamEnabled"):
        raise refuse("StreamSpecification.StreamEnabled of dynamodb:CreateTable")
    encryption = request.get("SSESpecification") or {}
    if encryption.get("Enabled"):
        raise refuse("SSESpecification.Enabled of dynamodb:CreateTable")
    if request.get("TableClass") not in (None, "STANDARD"):
        raise refuse("TableClass STANDARD_INFREQUENT_ACCESS of dynamodb:CreateTable")
    for index in request.get("GlobalSecondaryIndexes") or ():
        for member in ("OnDemandThroughput", "WarmThroughput"):
            if index.get(member):
                raise refuse(f"{member} of a global secondary index of dynamodb:CreateTable")


def _description(table: TableRecord, status: str) -> dict[str, Any]:
    on_demand = table.billing == "PAY_PER_REQUEST"
    description: dict[str, Any] = {
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in table.attributes.items()
        ],
        "TableName": table.name,
        "KeySchema": _schema(table),
        "TableStatus": status,
        "CreationDateTime": table.created_at,
        "ProvisionedThroughput": _throughput(table.throughput),
        "TableSizeBytes": 0,
        "ItemCount": 0,
        "TableArn": table.arn,
        "TableId": table.id,
        "DeletionProtectionEnabled": table.protected,
    }
    if on_demand or table.on_demand_at:
        summary: dict[str, Any] = {"BillingMode": table.billing}
        if table.on_demand_at:
            summary["LastUpdateToPayPerRequestDateTime"] = table.on_demand_at
        description["BillingModeSummary"] = summary
    for index in table.secondary.values():
        group = "GlobalSecondaryIndexes" if index.is_global else "LocalSecondaryIndexes"
        description.setdefault(group, []).append(_index_description(index))
    # AWS: what a new table bears without warming (recorded; DescribeTable of an on-demand table).
    read, write = (12_000, 4_000) if on_demand else table.throughput.values()
    description["WarmThroughput"] = {
        "ReadUnitsPerSecond": read,
        "WriteUnitsPerSecond": write,
        "Status": "ACTIVE",
    }
    return description


def _schema(keyed: TableRecord | Index) -> list[dict[str, str]]:
    kinds = ("HASH", "RANGE")
    return [
        {"AttributeName": key.name, "KeyType": kind}
        for key, kind in zip(keyed.keys, kinds, strict=False)
    ]


def _index_description(index: Index) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if index.included:
        projection["NonKeyAttributes"] = index.included
    description: dict[str, Any] = {
        "IndexName": index.name,
        "KeySchema": _schema(index),
        "Projection": projection,
        "IndexSizeBytes": 0,
        "ItemCount": 0,
        "IndexArn": f"{index.table.arn}/index/{index.name}",
    }
    if index.is_global:
        description["IndexStatus"] = "ACTIVE"
        description["ProvisionedThroughput"] = _throughput(index.throughput)
    return description


def _throughput(units: dict[str, int]) -> dict[str, int]:
    return {
        "NumberOfDecreasesToday": 0,
        "ReadCapacityUnits": units["read"],
        "WriteCapacityUnits": units["write"],
    }
