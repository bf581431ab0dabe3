"""TransactWriteItems and TransactGetItems: all or nothing."""

import hashlib
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.dynamo_value import Item, blob_text, invalid, item_size, load_item
from penstock.core.errors import AwsError
from penstock.core.expression import Tree, project
from penstock.services.dynamodb.capacity import Consumption, capacity_mode, read_units
from penstock.services.dynamodb.expressions import Expressions
from penstock.services.dynamodb.table import Place, TableRecord
from penstock.services.dynamodb.tables import Tables
from penstock.services.dynamodb.writes import (
    Decided,
    Write,
    Writer,
    carry_out,
    check_metrics,
    cost,
    decide,
)
from penstock.storage.primitives import Primitives, Store

_TOKENS: Final = "dynamodb/transaction-tokens"
_BY_AGE: Final = "dynamodb/transaction-tokens-by-age"
# AWS: a token is remembered for ten minutes; a transaction has at most 4 MB (API reference).
_REMEMBERED_MS: Final = 600_000
_MAX_BYTES: Final = 4 * 1_048_576
_FORGOTTEN_AT_ONCE: Final = 10
_NONE: Final = {"Code": "None"}


class Transactions:
    """Transactions over items of one account and region."""

    def __init__(
        self, store: Store, tables: Tables, expressions: Expressions, writer: Writer
    ) -> None:
        self._store = store
        self._tables = tables
        self._expressions = expressions
        self._writer = writer

    @operation("TransactWriteItems", in_part=["ReturnItemCollectionMetrics: SIZE"])
    async def transact_write_items(self, ctx: Context, request: Request) -> Result:
        """Make every write, or none if a condition fails. The same token again makes nothing."""
        check_metrics(request, "TransactWriteItems")
        tables: dict[str, TableRecord] = {}
        writes = [await self._write(ctx, action, tables) for action in request["TransactItems"]]
        if len({(write.table.store_name, write.place) for write in writes}) < len(writes):
            raise invalid("Transaction request cannot include multiple operations on one item")
        # Only now are the values known to be sound, and their numbers written in one way.
        document = orjson.dumps(
            request["TransactItems"], default=blob_text, option=orjson.OPT_SORT_KEYS
        )
        if len(document) > _MAX_BYTES:
            raise invalid("Transaction payload size cannot exceed 4 MB")
        digest = hashlib.sha256(document).hexdigest()
        token = request.get("ClientRequestToken")
        made: list[Decided] = []
        async with self._store.transaction() as tx:
            if token is None or not await _was_made(tx, ctx, token, digest):
                made = await _decide_all(tx, writes)
                for decided in made:
                    await carry_out(tx, decided)
        mode = capacity_mode(request)
        return {} if mode is None else {"ConsumedCapacity": _consumed(writes, made, mode)}

    async def _write(
        self, ctx: Context, action: dict[str, Any], tables: dict[str, TableRecord]
    ) -> Write:
        """One of a request's writes. `tables` are those that were looked up for it."""
        if len(action) != 1:
            raise invalid("TransactItems can only contain one of Check, Put, Update or Delete")
        ((kind, parameters),) = action.items()
        name = parameters["TableName"]
        table = tables.get(name)
        if table is None:
            table = tables[name] = await self._tables.find(ctx, name)
        prepare = {
            "Put": self._writer.put,
            "Update": self._writer.update,
            "Delete": self._writer.delete,
            "ConditionCheck": self._writer.check,
        }[kind]
        return prepare(table, parameters)

    @operation("TransactGetItems")
    async def transact_get_items(self, ctx: Context, request: Request) -> Result:
        """Items as they are at one moment, in the order of the request."""
        plans = [await self._plan(ctx, action["Get"]) for action in request["TransactItems"]]
        consumed: dict[str, Consumption] = {}
        responses: list[Result] = []
        size = 0
        async with self._store.transaction() as tx:
            for table, place, projection in plans:
                row = await tx.table.get(table.store_name, *place)
                item: Item = {} if row is None else load_item(row.document)
                length = item_size(item)
                size += length
                total = consumed.setdefault(table.name, Consumption(table))
                total.base += 2 * read_units(length, consistent=True)
                shown = item if projection is None else project(item, projection)
                responses.append({} if row is None else {"Item": shown})
        if size > _MAX_BYTES:
            raise invalid("Transaction response size cannot exceed 4 MB")
        result: Result = {"Responses": responses}
        mode = capacity_mode(request)
        if mode is not None:
            result["ConsumedCapacity"] = [total.shown(mode, "Read") for total in consumed.values()]
        return result

    async def _plan(
        self, ctx: Context, get: dict[str, Any]
    ) -> tuple[TableRecord, Place, Tree | None]:
        table = await self._tables.find(ctx, get["TableName"])
        scope = self._expressions.scope(get, ("ProjectionExpression",))
        projection = self._expressions.projection(get, scope)
        scope.finish()
        return table, table.place_of_key(get["Key"]), projection


async def _was_made(tx: Primitives, ctx: Context, token: str, digest: str) -> bool:
    """Whether a token was used within ten minutes; if not, it is now. Raises for another request's token."""
    partition = f"{ctx.account}/{ctx.region}".encode()
    row = await tx.table.get(_TOKENS, partition, token.encode())
    known = {} if row is None else orjson.loads(row.document)
    if known and known["at"] > ctx.now - _REMEMBERED_MS:
        if known["digest"] != digest:
            raise AwsError(
                "IdempotentParameterMismatchException",
                "Request parameters do not match the parameters of an earlier request"
                " with the same client request token",
            )
        return True
    await _forget_tokens(tx, partition, ctx.now - _REMEMBERED_MS)
    document = orjson.dumps({"digest": digest, "at": ctx.now})
    await tx.table.put(_TOKENS, partition, token.encode(), document)
    await tx.table.put(_BY_AGE, partition, _age_key(ctx.now) + token.encode(), b"")
    return False


async def _forget_tokens(tx: Primitives, partition: bytes, before: int) -> None:
    """Remove some of the tokens that have expired: more than one for each that is added."""
    rows = await tx.table.range(_BY_AGE, partition, high=_age_key(before), limit=_FORGOTTEN_AT_ONCE)
    for row in rows:
        await tx.table.delete(_BY_AGE, partition, row.sort)
        await tx.table.delete(_TOKENS, partition, row.sort[8:])


def _age_key(at: int) -> bytes:
    return at.to_bytes(8, "big")


async def _decide_all(tx: Primitives, writes: list[Write]) -> list[Decided]:
    """Decide every write. Raises `TransactionCanceledException` with a reason for each."""
    made: list[Decided] = []
    reasons: list[dict[str, Any]] = []
    for write in writes:
        try:
            made.append(await decide(tx, write))
            reasons.append(_NONE)
        except AwsError as error:
            reason = _reason(error)
            if reason["Code"] == "ValidationError":
                # AWS: an update that cannot be made leaves the other reasons untold (recorded by ScyllaDB).
                reasons = [_NONE] * len(writes)
                reasons[writes.index(write)] = reason
                break
            reasons.append(reason)
    codes = [reason["Code"] for reason in reasons]
    if any(code != "None" for code in codes):
        raise AwsError(
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons"
            f" [{', '.join(codes)}]",
            fields={"CancellationReasons": reasons},
        )
    return made


def _reason(error: AwsError) -> dict[str, Any]:
    if error.code == "ConditionalCheckFailedException":
        return {"Code": "ConditionalCheckFailed", "Message": error.message, **error.fields}
    return {"Code": "ValidationError", "Message": error.message}


def _consumed(writes: list[Write], made: list[Decided], mode: str) -> list[Result]:
    """Write units of what was made; read units when a token was known, as nothing was."""
    totals: dict[str, Consumption] = {}
    for write in writes:
        totals.setdefault(write.table.name, Consumption(write.table))
    for decided in made:
        for _ in range(2):
            totals[decided.write.table.name].merge(cost(decided))
    if not made:
        for write in writes:
            totals[write.table.name].base += 2 * read_units(0, consistent=True)
    return [total.shown(mode, "Write" if made else "Read") for total in totals.values()]
