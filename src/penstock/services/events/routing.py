"""From events on a bus to deliveries: everything that follows from one request is one transaction."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from penstock.api import Context
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.input_transformer import TransformError
from penstock.core.json_path import MISSING, compile_path
from penstock.core.pattern_index import PatternIndex
from penstock.delivery.model import Failed
from penstock.fanout import Delivery, Packed, QueueExists, add, put
from penstock.services.events.archive_log import append
from penstock.services.events.event import Event
from penstock.services.events.index import Rule, RuleIndexes
from penstock.services.events.lanes import Lanes
from penstock.services.events.letters import letter_at_once
from penstock.services.events.names import BusKey
from penstock.services.events.shape import Target, predefined_values
from penstock.storage.primitives import Primitives, Store

_log: Final = logging.getLogger("penstock.events")


@dataclass(slots=True)
class Routed:
    """What to store for some events."""

    packed: Packed = field(default_factory=dict)
    archived: list[tuple[str, int, Event]] = field(default_factory=list)
    """Archives' ARNs, for how many days they keep events, and events."""


class Router:
    """Finds the rules that events match and packs what their targets get."""

    def __init__(
        self,
        store: Store,
        ids: Ids,
        indexes: RuleIndexes,
        lanes: Lanes,
        queue_exists: QueueExists,
    ) -> None:
        self._store = store
        self._ids = ids
        self._indexes = indexes
        self._lanes = lanes
        self._queue_exists = queue_exists

    async def accept(self, ctx: Context, events: Sequence[tuple[BusKey, Event]]) -> None:
        """Hand events over to what they match."""
        await self.store(await self.route(ctx, events), ctx.now)

    async def route(
        self,
        ctx: Context,
        events: Sequence[tuple[BusKey, Event]],
        *,
        only: Collection[str] | None = None,
    ) -> Routed:
        """What follows from events. `only` are the ARNs of the rules that may match, if not all."""
        routed, found = Routed(), _Found()
        indexes: dict[BusKey, PatternIndex[Rule]] = {}
        for bus, event in events:
            index = indexes.get(bus)
            if index is None:
                index = indexes[bus] = await self._indexes.of(bus)
            for rule in index.find(event.document):
                if only is not None and rule.arn not in only:
                    continue
                if rule.archive is not None:
                    routed.archived.append((rule.archive, rule.retention_days, event))
                _collect(rule, event, ctx.now, found)
        await self._pack(ctx, found, routed)
        return routed

    async def fire(self, ctx: Context, rule: Rule, event: Event) -> Routed:
        """What follows from an event of a rule's own: a scheduled one."""
        routed, found = Routed(), _Found()
        _collect(rule, event, ctx.now, found)
        await self._pack(ctx, found, routed)
        return routed

    async def _pack(self, ctx: Context, found: "_Found", routed: Routed) -> None:
        for refusal in found.refused:
            await self._give_up(ctx, refusal, routed)
        for packed in await self._lanes.pack(ctx, found.deliveries):
            routed.packed = add(routed.packed, packed)

    async def store(self, routed: Routed, now: int) -> None:
        """Store what was routed, all or none."""
        if routed.archived:
            async with self._store.transaction() as tx:
                await self.store_in(tx, routed, now)
        elif routed.packed:
            await put(self._store, routed.packed, now)
            self._lanes.start_for(routed.packed)

    async def store_in(self, tx: Primitives, routed: Routed, now: int) -> None:
        """The same within a transaction."""
        await put(tx, routed.packed, now)
        self._lanes.start_for(routed.packed)
        for archive, days, event in routed.archived:
            await append(tx, archive, event, days, now)

    async def _give_up(self, ctx: Context, refusal: "_Refusal", routed: Routed) -> None:
        """What cannot be sent at all is a dead letter at once."""
        delivery, event, code, reason = refusal
        to = delivery.letters_to
        if to is None or not await self._queue_exists(to):
            # AWS: what could not be delivered and has no dead-letter queue is dropped (EventBridge guide).
            _log.warning("dropped %s: %s to %s: %s", event.id, delivery.arn, delivery.to, reason)
        else:
            failed = Failed(reason.encode(), 400, kind=code, final=True)
            letter = letter_at_once(delivery, event.body, failed, self._ids.uuid(), ctx.now)
            routed.packed = add(routed.packed, {to: [letter]})


class _Refusal(NamedTuple):
    """A delivery that cannot be made of an event."""

    delivery: Delivery
    event: Event
    code: str
    reason: str


@dataclass(slots=True)
class _Found:
    """What the rules that events match ask for."""

    deliveries: list[tuple[Delivery, bytes]] = field(default_factory=list)
    refused: list[_Refusal] = field(default_factory=list)


def _collect(rule: Rule, event: Event, now: int, found: _Found) -> None:
    """Add what a rule's targets get of an event."""
    for target in rule.targets:
        shape, delivery = target.shape, target.delivery
        if not target.usual or event.trace is not None:
            delivery = _delivery(target, event)
        try:
            if event.sent_on:
                _check_hops(rule.bus, target, event)
            if shape is None:
                body = event.body
            else:
                body = shape(event, predefined_values(event, rule.arn, rule.name, now))
        except TransformError as error:
            found.refused.append(_Refusal(delivery, event, "INVALID_JSON", str(error)))
        except AwsError as error:
            found.refused.append(_Refusal(delivery, event, error.code, error.message))
        else:
            found.deliveries.append((delivery, body))


def _delivery(target: Target, event: Event) -> Delivery:
    """The delivery of an event to a target: the target's own, as far as the event brings nothing."""
    usual, request, own = target.delivery, None, None
    if target.shape is not None:
        own = {**usual.own, "event": event.body.decode()}
    if target.service == "kinesis":
        request = _partition_key(target, event)
    return usual.for_event(event.trace, request, own)


def _partition_key(target: Target, event: Event) -> dict[str, Any]:
    key = event.id
    if path := target.document.get("KinesisParameters", {}).get("PartitionKeyPath"):
        found = compile_path(path).find(event.document)
        key = event.id if found is MISSING else str(found)
    # AWS: 256 characters at most (PutRecord); the event's id where nothing else is said.
    return {"PartitionKey": key[:256]}


def _check_hops(bus: BusKey, target: Target, event: Event) -> None:
    """Refuse to send on to another bus what came from one. Raises AwsError."""
    if not target.is_bus:
        return
    region = event.document["region"]
    third = region != bus.region and parse_arn(target.arn).region != bus.region
    # AWS: an event goes to a bus as a target only once, also within an account (EventBridge guide, "sending events
    # between event buses"; code and text as seen in dead letters).
    raise AwsError(
        "THIRD_REGION_HOP_DETECTED" if third else "THIRD_ACCOUNT_HOP_DETECTED",
        f"Event ingestion rejected for event {event.id} because an event can be sent to an event bus target only once. "
        "This event was previously delivered to an event bus target.",
    )
