"""The rules of each bus, compiled: an event is looked at once, however many rules there are."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from penstock.core.pattern import Pattern
from penstock.core.pattern_index import PatternIndex
from penstock.services.events.documents import Document
from penstock.services.events.names import BusKey
from penstock.services.events.patterns import pattern_of
from penstock.services.events.shape import Target, compile_target
from penstock.storage.primitives import Store

_TABLE: Final = "events/rules"
_ALL: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as events meet it."""

    bus: BusKey
    name: str
    arn: str
    targets: tuple[Target, ...]
    archive: str | None = None
    """The ARN of the archive that it fills."""
    retention_days: int = 0
    """For how long the archive keeps events; 0 for ever."""


_Entry: TypeAlias = tuple[Pattern, Rule]


def compile_rule(bus: BusKey, document: Document) -> Rule:
    """A rule from its document."""
    targets = tuple(compile_target(bus, document["Arn"], target) for target in document["Targets"])
    return Rule(
        bus,
        document["Name"],
        document["Arn"],
        targets,
        document.get("Archive"),
        document.get("RetentionDays", 0),
    )


class RuleIndexes:
    """Indexes by bus. One is made when an event comes, and forgotten when a rule of its bus changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[BusKey, tuple[int, PatternIndex[Rule]]] = {}
        self._compiled: dict[BusKey, dict[bytes, tuple[int, _Entry | None]]] = {}
        """Rules by name, with the version of the document that they are of; None for one that events do not meet."""
        self._changes: Counter[BusKey] = Counter()

    def forget(self, bus: BusKey) -> None:
        """A rule of the bus has changed."""
        self._kept.pop(bus, None)
        self._changes[bus] += 1

    def clear(self) -> None:
        """Forget every bus."""
        self._kept.clear()
        self._compiled.clear()

    async def of(self, bus: BusKey) -> PatternIndex[Rule]:
        """The enabled rules of a bus."""
        kept = self._kept.get(bus)
        # What was lost before it was on disk was lost here, too.
        if kept is None or kept[0] != self._store.epoch:
            changes = self._changes[bus]
            kept = (self._store.epoch, PatternIndex(await self._entries(bus)))
            if changes == self._changes[bus]:
                self._kept[bus] = kept
        return kept[1]

    async def _entries(self, bus: BusKey) -> list[_Entry]:
        """The patterns of a bus's rules; only those are compiled that have changed."""
        rows = await self._store.table.range(_TABLE, bus.partition, limit=_ALL)
        before = self._compiled.get(bus, {})
        compiled = {}
        for row in rows:
            known = before.get(row.sort)
            if known is None or known[0] != row.version:
                known = (row.version, _compile(bus, orjson.loads(row.document)))
            compiled[row.sort] = known
        self._compiled[bus] = compiled
        return [entry for _, entry in compiled.values() if entry is not None]


def _compile(bus: BusKey, document: Document) -> _Entry | None:
    if document["State"] == "DISABLED" or "EventPattern" not in document:
        return None
    return pattern_of(document["EventPattern"]), compile_rule(bus, document)
