"""The rules of each bus, compiled: an event is looked at once, however many rules there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from penstock.core.pattern import Pattern
from penstock.core.pattern_index import PatternIndex
from penstock.services.events.documents import Document
from penstock.services.events.event import Event
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


def compile_rule(bus: BusKey, document: Document) -> Rule:
    """A rule from its document."""
    targets = tuple(compile_target(target) for target in document["Targets"])
    return Rule(bus, document["Name"], document["Arn"], targets, document.get("Archive"))


class RuleIndexes:
    """Indexes by bus. One is made when an event comes, and forgotten when a rule of its bus changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[BusKey, tuple[int, PatternIndex[Rule]]] = {}

    def forget(self, bus: BusKey) -> None:
        """A rule of the bus has changed."""
        self._kept.pop(bus, None)

    def clear(self) -> None:
        """Forget every bus."""
        self._kept.clear()

    async def find(self, bus: BusKey, event: Event) -> list[Rule]:
        """The enabled rules of a bus that an event matches."""
        kept = self._kept.get(bus)
        # What was lost before it was on disk was lost here, too.
        if kept is None or kept[0] != self._store.epoch:
            kept = (self._store.epoch, PatternIndex(await self._patterns(bus)))
            self._kept[bus] = kept
        return kept[1].find(event.leaves)

    async def _patterns(self, bus: BusKey) -> Iterable[tuple[Pattern, Rule]]:
        rows = await self._store.table.range(_TABLE, bus.partition, limit=_ALL)
        documents = (orjson.loads(row.document) for row in rows)
        return [
            (pattern_of(document["EventPattern"]), compile_rule(bus, document))
            for document in documents
            if document["State"] != "DISABLED" and "EventPattern" in document
        ]
