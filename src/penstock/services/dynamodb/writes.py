"""A change of one item, with its index entries: prepared from a request, decided and made in a transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock.api import refuse
from penstock.core.dynamo_value import (
    Item,
    Value,
    canonicalize,
    dump_item,
    invalid,
    item_size,
    load_item,
)
from penstock.core.errors import AwsError
from penstock.core.expression import Condition, Update
from penstock.services.dynamodb.capacity import Consumption, write_units
from penstock.services.dynamodb.expressions import Expressions, Plan
from penstock.services.dynamodb.table import Expiry, Index, Place, TableRecord
from penstock.storage.primitives import Primitives

# AWS: an item has at most 400 KB, names included (DynamoDB quotas).
MAX_ITEM: Final = 409_600
_UPDATE_EXPRESSIONS: Final = ("UpdateExpression", "ConditionExpression")
_EXPRESSION_PARAMETERS: Final = frozenset(
    ("ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues")
)


@dataclass(slots=True)
class Write:
    """What shall become of the item at a place. `change` gives the item that replaces the one there."""

    table: TableRecord
    place: Place
    change: Callable[[Item | None], Item | None]
    condition: Condition | None = None
    update: Update | None = None
    is_check: bool = False
    is_blind: bool = False
    """Whether `change` does not look at the item that is there."""
    shows_failed: bool = False
    """Whether a failed condition shows the item (`ReturnValuesOnConditionCheckFailure`)."""


@dataclass(slots=True)
class Decided:
    """A write whose condition held, with the item before and after it."""

    write: Write
    old: Item | None
    new: Item | None
    document: bytes
    """What is stored of `new`."""
    version: int


class Writer:
    """Prepares writes and makes them."""

    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions

    def put(self, table: TableRecord, request: Mapping[str, Any]) -> Write:
        """A PutItem, or a Put of a transaction or batch."""
        item: Item = request["Item"]
        if canonicalize(item) > MAX_ITEM:
            raise invalid("Item size has exceeded the maximum allowed size")
        place = table.place_of_item(item)
        for index in table.secondary.values():
            index.check(item)
        return self._conditional(Write(table, place, lambda _: item, is_blind=True), request)

    def delete(self, table: TableRecord, request: Mapping[str, Any]) -> Write:
        """A DeleteItem, or a Delete of a transaction or batch."""
        place = table.place_of_key(request["Key"])
        return self._conditional(Write(table, place, lambda _: None, is_blind=True), request)

    def check(self, table: TableRecord, request: Mapping[str, Any]) -> Write:
        """A ConditionCheck of a transaction."""
        place = table.place_of_key(request["Key"])
        write = Write(table, place, lambda item: item, is_check=True)
        return self._conditional(write, request)

    def update(self, table: TableRecord, request: Mapping[str, Any]) -> Write:
        """An UpdateItem, or an Update of a transaction."""
        key: Item = request["Key"]
        canonicalize(key)
        plan = self._expressions.plan(request, _UPDATE_EXPRESSIONS, table.schema)
        values = request.get("ExpressionAttributeValues") or {}

        def change(old: Item | None) -> Item:
            base = dict(key) if old is None else old
            if plan.update is None:
                return base
            plan.values.update(values)
            new = plan.update.apply(base)
            for index in table.secondary.values():
                index.check(new)
            return new

        write = Write(table, table.place_of_key(key), change, _on_values(plan, values), plan.update)
        write.shows_failed = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return write

    def _conditional(self, write: Write, request: Mapping[str, Any]) -> Write:
        if _EXPRESSION_PARAMETERS.isdisjoint(request):
            return write
        plan = self._expressions.plan(request, ("ConditionExpression",))
        write.condition = _on_values(plan, request.get("ExpressionAttributeValues") or {})
        write.shows_failed = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return write


def _on_values(plan: Plan, values: Mapping[str, Value]) -> Condition | None:
    """The plan's condition, for a request's values."""
    condition = plan.condition
    if condition is None:
        return None

    def holds(item: Item) -> bool:
        plan.values.update(values)
        return condition(item)

    return holds


async def decide(tx: Primitives, write: Write) -> Decided:
    """Read the item and decide what becomes of it. Raises `ConditionalCheckFailedException`."""
    row = await tx.table.get(write.table.store_name, *write.place)
    old = None if row is None else load_item(row.document)
    if write.condition is not None and not write.condition(old or {}):
        shown = {"Item": old} if write.shows_failed and old is not None else {}
        raise AwsError(
            "ConditionalCheckFailedException", "The conditional request failed", fields=shown
        )
    new = write.change(old)
    document = b"" if new is None else dump_item(new)
    # JSON is never shorter than what it says, so few items are measured.
    if write.update is not None and len(document) > MAX_ITEM and item_size(new or {}) > MAX_ITEM:
        raise invalid("Item size to update has exceeded the maximum allowed size")
    return Decided(write, old, new, document, 0 if row is None else row.version)


def check_metrics(request: Mapping[str, Any], operation: str) -> None:
    """Refuse to tell the sizes of item collections in an answer about many items."""
    if request.get("ReturnItemCollectionMetrics") == "SIZE":
        raise refuse(f"ReturnItemCollectionMetrics SIZE of dynamodb:{operation}")


def is_blind(write: Write) -> bool:
    """Whether nothing depends on the item that is there: it need not be read."""
    return (
        write.is_blind
        and write.condition is None
        and not (write.table.secondary or write.table.expiry)
    )


async def overwrite(tx: Primitives, write: Write) -> None:
    """Make a blind put or delete."""
    item = write.change(None)
    if item is None:
        await tx.table.delete(write.table.store_name, *write.place)
    else:
        await tx.table.put(write.table.store_name, *write.place, dump_item(item))


async def carry_out(tx: Primitives, decided: Decided) -> None:
    """Store what was decided: the item and its index entries. Raises `Conflict` if it was changed in between."""
    write, old, new = decided.write, decided.old, decided.new
    if write.is_check:
        return
    name = write.table.store_name
    if new is not None:
        await tx.table.put(name, *write.place, decided.document, expect=decided.version)
    elif old is not None:
        await tx.table.delete(name, *write.place, expect=decided.version)
    for index in write.table.secondary.values():
        await _carry_out_index(tx, index, old, new)
    if write.table.expiry is not None:
        await _carry_out_expiry(tx, write.table.expiry, decided)


async def _carry_out_index(
    tx: Primitives, index: Index, old: Item | None, new: Item | None
) -> None:
    before = None if old is None else index.place(old)
    after = None if new is None else index.place(new)
    if before is not None and before != after:
        await tx.table.delete(index.store_name, *before)
    if after is not None and new is not None:
        await tx.table.put(index.store_name, *after, dump_item(index.entry(new)))


async def _carry_out_expiry(tx: Primitives, expiry: Expiry, decided: Decided) -> None:
    place, old, new = decided.write.place, decided.old, decided.new
    before = None if old is None else expiry.place(old, place)
    after = None if new is None else expiry.place(new, place)
    if before == after:
        return
    if before is not None:
        await tx.table.delete(expiry.store_name, *before)
    if after is not None:
        await tx.table.put(expiry.store_name, *after, b"")
        expiry.announce(Expiry.instant(after.sort))


def cost(decided: Decided) -> Consumption:
    """The write units of a write."""
    table, old, new = decided.write.table, decided.old, decided.new
    consumption = Consumption(table)
    sizes = [item_size(item) for item in (old, new) if item is not None]
    consumption.base = write_units(max(sizes, default=0))
    for index in table.secondary.values():
        before = None if old is None else index.place(old)
        after = None if new is None else index.place(new)
        if before is not None and before != after and old is not None:
            consumption.add_index(index.name, write_units(item_size(index.entry(old))))
        if (
            after is not None
            and new is not None
            and not _same_entry(index, old, new, before == after)
        ):
            consumption.add_index(index.name, write_units(item_size(index.entry(new))))
    return consumption


def _same_entry(index: Index, old: Item | None, new: Item, same_place: bool) -> bool:
    """Whether a write leaves an index entry as it was: then it costs nothing."""
    return same_place and old is not None and index.entry(old) == index.entry(new)
