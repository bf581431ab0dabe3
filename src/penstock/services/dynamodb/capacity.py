"""Consumed capacity: what a request would cost, in the units AWS counts."""

from collections.abc import Mapping
from typing import Any, Final

from penstock.api import Result
from penstock.services.dynamodb.table import TableRecord

# AWS: a read unit is 4 KB, half price when eventually consistent; a write unit is 1 KB (developer guide).
_READ_BYTES: Final = 4096
_WRITE_BYTES: Final = 1024


def read_units(size: int, consistent: bool) -> float:
    """Units for reading `size` bytes; a miss costs as much as the smallest item."""
    return max(1, -(-size // _READ_BYTES)) * (1.0 if consistent else 0.5)


def write_units(size: int) -> float:
    """Units for writing `size` bytes."""
    return float(max(1, -(-size // _WRITE_BYTES)))


class Consumption:
    """Units of one table in one request, by index."""

    def __init__(self, table: TableRecord) -> None:
        self._table = table
        self.base = 0.0
        self.indexes: dict[str, float] = {}

    def add_index(self, name: str, units: float) -> None:
        """Count units of an index."""
        self.indexes[name] = self.indexes.get(name, 0.0) + units

    def merge(self, other: "Consumption") -> None:
        """Count what `other` counted."""
        self.base += other.base
        for name, units in other.indexes.items():
            self.add_index(name, units)

    def shown(self, mode: str, kind: str | None = None) -> Result:
        """The ConsumedCapacity for `TOTAL` or `INDEXES`; `kind` (`Read`, `Write`) is told by transactions."""
        total = self.base + sum(self.indexes.values())
        result: Result = {"TableName": self._table.name, **_units(total, kind)}
        if mode != "INDEXES":
            return result
        result["Table"] = _units(self.base, kind)
        for name, units in self.indexes.items():
            is_global = self._table.secondary[name].is_global
            group = "GlobalSecondaryIndexes" if is_global else "LocalSecondaryIndexes"
            result.setdefault(group, {})[name] = _units(units, kind)
        return result


def _units(units: float, kind: str | None) -> dict[str, float]:
    shown = {"CapacityUnits": units}
    if kind is not None:
        shown[f"{kind}CapacityUnits"] = units
    return shown


def capacity_mode(request: Mapping[str, Any]) -> str | None:
    """How consumption is to be told: `TOTAL`, `INDEXES`, or None for not at all."""
    mode = request.get("ReturnConsumedCapacity")
    return None if mode == "NONE" else mode
