"""What a table is: its record, its keys and its indexes, and where their entries lie in the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson

from penstock.core.dynamo_value import (
    Item,
    Value,
    encode_key,
    escape_key,
    invalid,
    invalid_parameters,
    join_keys,
    successor,
    type_of,
)
from penstock.core.errors import AwsError

# AWS: 2,048 bytes for a hash key, 1,024 for a range key (DynamoDB quotas).
_MAX_HASH: Final = 2048
_MAX_RANGE: Final = 1024
_LATEST: Final = 1 << 40


class KeyAttribute(NamedTuple):
    """A key attribute and its type, `S`, `N` or `B`."""

    name: str
    type: str


class Place(NamedTuple):
    """Where an item or an index entry lies."""

    partition: bytes
    sort: bytes


class Span(NamedTuple):
    """A part of a partition: low <= sort < high."""

    low: bytes = b""
    high: bytes | None = None


def _after(sort: bytes) -> bytes:
    """The first bytes beyond `sort`."""
    return sort + b"\x00"


@dataclass(slots=True, kw_only=True)
class Index:
    """A secondary index. An entry lies at its index key, then the key of its item."""

    name: str
    hash: KeyAttribute
    range: KeyAttribute | None
    projection: str
    """`ALL`, `KEYS_ONLY` or `INCLUDE`."""
    included: list[str]
    is_global: bool
    throughput: dict[str, int] = field(default_factory=dict)
    store_name: str = ""
    keys: tuple[KeyAttribute, ...] = ()
    table: "TableRecord"

    def __post_init__(self) -> None:
        self.keys = (self.hash,) if self.range is None else (self.hash, self.range)
        self.store_name = f"{self.table.store_name}/{self.name}"

    def place(self, item: Item) -> Place | None:
        """Where the entry of an item lies; None when the item lacks a key of the index."""
        for key in self.keys:
            if key.type not in item.get(key.name, ()):
                return None
        parts = [] if self.range is None else [encode_key(item[self.range.name])]
        base = self.table.place(item)
        return Place(
            encode_key(item[self.hash.name]), join_keys([*parts, base.partition]) + base.sort
        )

    def span(self, operator: str | None, operands: tuple[Value, ...]) -> Span:
        """The entries whose range key satisfies a condition."""
        if operator is None:
            return Span()
        if operator == "begins_with":
            prefix = escape_key(encode_key(operands[0]))
            return Span(prefix, successor(prefix))
        first = join_keys([encode_key(operands[0])])
        last = join_keys([encode_key(operands[-1])])
        low = first if operator in ("=", ">=", "BETWEEN") else successor(first) or b""
        high = last if operator == "<" else successor(last)
        return Span(b"" if operator in ("<", "<=") else low, None if ">" in operator else high)

    def entry(self, item: Item) -> Item:
        """What of an item the index keeps."""
        if self.projection == "ALL":
            return item
        names = {key.name for key in (*self.keys, *self.table.keys)}.union(self.included)
        return {name: item[name] for name in item if name in names}

    def check(self, item: Item) -> None:
        """Refuse an item whose attribute cannot be the index's key. Raises `AwsError`."""
        for key in self.keys:
            value = item.get(key.name)
            if value is None:
                continue
            kind = type_of(value)
            if kind != key.type:
                raise invalid_parameters(
                    f"Type mismatch for Index Key {key.name} Expected: {key.type} Actual: {kind}"
                    f" IndexName: {self.name}"
                )
            if not value[kind]:
                raise invalid(
                    "One or more parameter values are not valid. A value specified for a secondary index"
                    " key is not supported. The AttributeValue for a key attribute cannot contain an"
                    f" empty {_TYPE_NAMES[kind]} value. IndexName: {self.name}, IndexKey: {key.name}"
                )
        sizes = [len(encode_key(item[key.name])) for key in self.keys if key.name in item]
        if len(sizes) == len(self.keys):
            _check_sizes(sizes[0], sum(sizes[1:]))


class Expiry:
    """When items of a table end: an entry for each, in the order of those instants (s), with the item's place."""

    __slots__ = ("_attribute", "announce", "store_name")

    def __init__(self, table: "TableRecord", announce: Callable[[int], None]) -> None:
        self._attribute = table.ttl
        # An index's name has no such character.
        self.store_name = f"{table.store_name}/#expiry"
        self.announce = announce
        """To be told of the instant of each new entry."""

    def place(self, item: Item, base: Place) -> Place | None:
        """Where the entry of the item at `base` lies; None for one that does not end."""
        # AWS: what is no number of seconds since the epoch is passed over (DynamoDB guide).
        number = item.get(self._attribute, {}).get("N")
        seconds = -1 if number is None else int(Decimal(number))
        if not 0 <= seconds < _LATEST:
            return None
        return Place(b"", self.sort(seconds, base))

    @staticmethod
    def sort(seconds: int, base: Place) -> bytes:
        """The entry of the item at `base`, were it to end at that instant."""
        size = len(base.partition).to_bytes(2, "big")
        return Expiry.bound(seconds) + size + base.partition + base.sort

    @staticmethod
    def bound(seconds: int) -> bytes:
        """What entries of that instant begin with."""
        return max(0, seconds).to_bytes(8, "big")

    @staticmethod
    def instant(sort: bytes) -> int:
        """The instant of an entry."""
        return int.from_bytes(sort[:8], "big")

    @staticmethod
    def item_place(sort: bytes) -> Place:
        """Where the item of an entry lies."""
        end = 10 + int.from_bytes(sort[8:10], "big")
        return Place(sort[10:end], sort[end:])


@dataclass(slots=True, kw_only=True)
class TableRecord:
    """A table as it is stored, and what is derived from that."""

    name: str
    account: str
    region: str
    id: str
    attributes: dict[str, str]
    """The types of the key attributes of the table and its indexes."""
    schema: list[str]
    """The names of the hash key and perhaps the range key."""
    indexes: list[dict[str, Any]] = field(default_factory=list)
    billing: str
    """`PROVISIONED` or `PAY_PER_REQUEST`."""
    throughput: dict[str, int]
    protected: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    created_at: int
    on_demand_at: int = 0
    ttl: str = ""
    """The attribute that tells when an item ends; empty where none does."""
    version: int = 0
    arn: str = ""
    store_name: str = ""
    hash: KeyAttribute = field(init=False)
    range: KeyAttribute | None = field(init=False)
    keys: tuple[KeyAttribute, ...] = ()
    secondary: dict[str, Index] = field(default_factory=dict)
    """The indexes by name."""
    expiry: Expiry | None = field(init=False, default=None)
    """Set by who keeps the table's record, where items end."""

    def __post_init__(self) -> None:
        self.arn = f"arn:aws:dynamodb:{self.region}:{self.account}:table/{self.name}"
        self.store_name = f"dynamodb/{self.account}/{self.region}/{self.name}#{self.id}"
        self.keys = tuple(KeyAttribute(name, self.attributes[name]) for name in self.schema)
        self.hash = self.keys[0]
        self.range = self.keys[1] if len(self.keys) > 1 else None
        self.secondary = {index["name"]: self._index(index) for index in self.indexes}

    def _index(self, stored: Mapping[str, Any]) -> Index:
        keys = [KeyAttribute(name, self.attributes[name]) for name in stored["schema"]]
        return Index(
            name=stored["name"],
            hash=keys[0],
            range=keys[1] if len(keys) > 1 else None,
            projection=stored["projection"],
            included=stored["included"],
            is_global=stored["is_global"],
            throughput=stored["throughput"],
            table=self,
        )

    def dump(self) -> bytes:
        """The document for the store."""
        names = ("name", "account", "region", "id", "attributes", "schema", "indexes", "billing")
        more = ("throughput", "protected", "tags", "created_at", "on_demand_at", "ttl")
        return orjson.dumps({name: getattr(self, name) for name in (*names, *more)})

    @staticmethod
    def load(document: bytes, version: int) -> "TableRecord":
        """The record of a stored document."""
        return TableRecord(**orjson.loads(document), version=version)

    def index(self, name: str | None) -> "Index | None":
        """The index of a name; None without a name. Raises `AwsError` when there is none of that name."""
        if name is None:
            return None
        try:
            return self.secondary[name]
        except KeyError:
            raise invalid(f"The table does not have the specified index: {name}") from None

    def place(self, item: Item) -> Place:
        """Where an item lies whose keys were checked."""
        sort = b"" if self.range is None else encode_key(item[self.range.name])
        return Place(encode_key(item[self.hash.name]), sort)

    def place_of_item(self, item: Item) -> Place:
        """Where an item that is to be stored lies. Raises `AwsError` for keys that are missing or no keys."""
        for name, kind in self.keys:
            value = item.get(name)
            if value is None:
                raise invalid_parameters(f"Missing the key {name} in the item")
            if kind not in value:
                raise invalid_parameters(
                    f"Type mismatch for key {name} expected: {kind} actual: {type_of(value)}"
                )
        return self._checked(item)

    def place_of_key(self, key: Item) -> Place:
        """Where the item of a primary key lies. Raises `AwsError` for what is no key of this table."""
        if len(key) != len(self.keys):
            raise key_mismatch()
        for name, kind in self.keys:
            value = key.get(name)
            if value is None or kind not in value or len(value) != 1:
                raise key_mismatch()
        return self._checked(key)

    def _checked(self, item: Item) -> Place:
        for name, kind in self.keys:
            if not item[name][kind]:
                if kind == "N":
                    raise invalid("The parameter cannot be converted to a numeric value")
                raise invalid(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute"
                    f" cannot contain an empty {_TYPE_NAMES[kind]} value. Key: {name}"
                )
        place = self.place(item)
        _check_sizes(len(place.partition), len(place.sort))
        return place

    def span(self, operator: str | None, operands: tuple[Value, ...]) -> Span:
        """The items whose range key satisfies a condition."""
        if operator is None:
            return Span()
        first, last = encode_key(operands[0]), encode_key(operands[-1])
        if operator == "begins_with":
            return Span(first, successor(first))
        low = first if operator in ("=", ">=", "BETWEEN") else _after(first)
        high = last if operator == "<" else _after(last)
        return Span(b"" if operator in ("<", "<=") else low, None if ">" in operator else high)

    def key_of(self, item: Item) -> Item:
        """The primary key of an item."""
        return {key.name: item[key.name] for key in self.keys}


_TYPE_NAMES: Final = {"S": "string", "B": "binary", "N": "number"}


def _check_sizes(hash_size: int, range_size: int) -> None:
    if hash_size > _MAX_HASH:
        # AWS: the missing space is AWS's own (recorded by dynalite).
        raise invalid_parameters(
            f"Size of hashkey has exceeded the maximum size limit of{_MAX_HASH} bytes"
        )
    if range_size > _MAX_RANGE:
        raise invalid_parameters(
            f"Aggregated size of all range keys has exceeded the size limit of {_MAX_RANGE} bytes"
        )


def key_mismatch() -> AwsError:
    """The error for a key that is not one of the table."""
    return invalid("The provided key element does not match the schema")
