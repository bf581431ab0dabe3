"""Replays: an archive's events, sent to its bus again, a part at a time.

How far a replay has come is a message of a durable queue. A part's deliveries and the message for the next part are put
in the transaction that settles this one, so that a crash neither repeats nor skips events.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.delivery.model import Delivered, Outcome
from penstock.fanout import Fanout, Work
from penstock.services.events.archive_log import event_of, read
from penstock.services.events.archives import Archives
from penstock.services.events.buses import Buses
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.due import context_of
from penstock.services.events.event import Event
from penstock.services.events.names import BusKey, Scope, bus_key, scope_of, time_of
from penstock.services.events.routing import Router
from penstock.storage.primitives import Hold, Leased, NewMessage

REPLAYS: Final = "events/replays"
_PART: Final = 100
_TOLD: Final = (
    "ReplayName",
    "EventSourceArn",
    "State",
    "StateReason",
    "EventStartTime",
    "EventEndTime",
    "EventLastReplayedTime",
    "ReplayStartTime",
    "ReplayEndTime",
)
_RUNS: Final = ("STARTING", "RUNNING")
# AWS: ten at once (EventBridge quotas).
_MOST: Final = 10
# A part that a fault keeps back comes again after half a minute; a fault of so many times is there to stay.
_TRIES: Final = 10


class Replays:
    """Operations on replays, and their work. A document has the members of DescribeReplay."""

    def __init__(self, fanout: Fanout, buses: Buses, archives: Archives, router: Router) -> None:
        self._fanout = fanout
        self._store = fanout.store
        self._buses = buses
        self._archives = archives
        self._router = router
        self._documents = Documents(REPLAYS)
        self._work = Work(fanout, REPLAYS, self)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        await self._work.restore()

    @operation("StartReplay")
    async def begin(self, ctx: Context, request: Request) -> Result:
        """Send an archive's events of some time to its bus again."""
        scope, name = scope_of(ctx), request["ReplayName"]
        await self._check(ctx, request)
        document = {
            "ReplayName": name,
            "ReplayArn": scope.arn(f"replay/{name}"),
            "State": "STARTING",
            "ReplayStartTime": ctx.now,
            **only(
                request,
                "Description",
                "EventSourceArn",
                "Destination",
                "EventStartTime",
                "EventEndTime",
            ),
        }
        async with self._store.transaction() as tx:
            others = await self._documents.in_order(tx, scope.partition)
            if any(one["ReplayName"] == name for one in others):
                raise AwsError("ResourceAlreadyExistsException", f"Replay {name} already exists.")
            if sum(one["State"] in _RUNS for one in others) >= _MOST:
                raise AwsError(
                    "LimitExceededException",
                    "The requested resource exceeds the maximum number allowed.",
                )
            await self._documents.put(tx, scope.partition, name, document)
            await tx.queue.put(REPLAYS, [self._part(scope, name, (0, 0), ctx.now)], ctx.now)
        self._work.start()
        return only(document, "ReplayArn", "State", "ReplayStartTime")

    async def _check(self, ctx: Context, request: Request) -> None:
        if request["EventStartTime"] >= request["EventEndTime"]:
            raise _invalid("EventEndTime", "EventStartTime must be before EventEndTime.")
        bus = bus_key(ctx, request["Destination"]["Arn"])
        await self._buses.find(self._store, bus)
        archive = parse_arn(request["EventSourceArn"]).resource.removeprefix("archive/")
        try:
            found = await self._archives.find(self._store, scope_of(ctx), archive)
        except AwsError as error:
            raise _invalid("EventSourceArn", error.message) from error
        if found["EventSourceArn"] != bus.arn:
            raise _invalid("Destination.Arn", "Cross event bus replay is not permitted.")
        await self._archives.trim(found, ctx.now)

    @operation("DescribeReplay")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A replay."""
        found = await self._find(ctx, request["ReplayName"])
        return only(found, *_TOLD, "ReplayArn", "Description", "Destination")

    @operation("ListReplays")
    async def list_replays(self, ctx: Context, request: Request) -> Result:
        """Replays by name."""
        source, state = request.get("EventSourceArn"), request.get("State")
        found = [
            only(replay, *_TOLD)
            for replay in await self._documents.in_order(
                self._store, scope_of(ctx).partition, request.get("NamePrefix", "")
            )
            if source in (None, replay["EventSourceArn"]) and state in (None, replay["State"])
        ]
        return page(found, request, "Replays")

    @operation("CancelReplay")
    async def cancel(self, ctx: Context, request: Request) -> Result:
        """Let a replay end where it is."""
        scope, name = scope_of(ctx), request["ReplayName"]
        async with self._store.transaction() as tx:
            found = await self._documents.find(tx, scope.partition, name)
            if found is None:
                raise _missing(name)
            if found["State"] not in _RUNS:
                raise AwsError(
                    "IllegalStatusException",
                    f"Replay {name} is not in a valid state for this operation.",
                )
            ended = {**found, "State": "CANCELLED", "ReplayEndTime": ctx.now}
            await self._documents.put(tx, scope.partition, name, ended)
        return {"ReplayArn": found["ReplayArn"], "State": "CANCELLING"}

    async def _find(self, ctx: Context, name: str) -> Document:
        found = await self._documents.find(self._store, scope_of(ctx).partition, name)
        if found is None:
            raise _missing(name)
        return found

    def _part(self, scope: Scope, name: str, after: tuple[int, int], now: int) -> NewMessage:
        known = {"scope": list(scope), "name": name, "after": after}
        return NewMessage(id=self._fanout.ids.uuid(), body=orjson.dumps(known), visible_at=now)

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Replay one part; or let the replay end that was tried often enough."""
        (message,) = batch
        known: dict[str, Any] = orjson.loads(message.body)
        scope, name, now = Scope(*known["scope"]), known["name"], self._fanout.clock.now()
        if message.leases > _TRIES:
            return await self._fail(scope, name, now)
        replay = await self._documents.find(self._store, scope.partition, name)
        if replay is None or replay["State"] not in _RUNS:
            return Delivered()
        records = await read(
            self._store,
            replay["EventSourceArn"],
            replay["EventStartTime"],
            replay["EventEndTime"],
            tuple(known["after"]),
            _PART,
        )
        bus = _bus_of(replay)
        events = _events(replay, [orjson.loads(event_of(record)) for record in records])
        only_rules = replay["Destination"].get("FilterArns")
        routed = await self._router.route(
            context_of(bus, message.id, now),
            [(bus, event) for event in events],
            only=only_rules or None,
        )
        async with self._store.transaction() as tx:
            held = await tx.queue.settle(REPLAYS, message.receipt, now, strict=True)
            current = await self._documents.find(tx, scope.partition, name)
            if held is not Hold.DONE or current is None or current["State"] not in _RUNS:
                return Delivered()
            await self._router.store_in(tx, routed, now)
            if events:
                current["EventLastReplayedTime"] = time_of(events[-1].document["time"])
            if records:
                current["State"] = "RUNNING"
                place = (records[-1].at, records[-1].sequence)
                following = self._part(scope, name, place, now)
                await tx.queue.put(REPLAYS, [following], now)
            else:
                current.update(State="COMPLETED", ReplayEndTime=now)
            await self._documents.put(tx, scope.partition, name, current)
        return Delivered()

    async def _fail(self, scope: Scope, name: str, now: int) -> Outcome:
        async with self._store.transaction() as tx:
            found = await self._documents.find(tx, scope.partition, name)
            if found is not None and found["State"] in _RUNS:
                reason = f"The replay was tried {_TRIES} times and could not go on; the log of Penstock says why."
                found.update(State="FAILED", StateReason=reason, ReplayEndTime=now)
                await self._documents.put(tx, scope.partition, name, found)
        return Delivered()


def _events(replay: Document, documents: list[dict[str, Any]]) -> list[Event]:
    """Those events that are within the replay's time, each with the replay's name."""
    start, end = replay["EventStartTime"], replay["EventEndTime"]
    return [
        Event(_named(document, replay["ReplayName"]))
        for document in documents
        if start <= time_of(document["time"]) + 999 and time_of(document["time"]) <= end
    ]


def _named(document: dict[str, Any], replay: str) -> dict[str, Any]:
    """The event with `replay-name` behind the region, where AWS has it."""
    named: dict[str, Any] = {}
    for member, value in document.items():
        named[member] = value
        if member == "region":
            named["replay-name"] = replay
    return named


def _bus_of(replay: Document) -> BusKey:
    arn = parse_arn(replay["Destination"]["Arn"])
    return BusKey(arn.account, arn.region, arn.resource.removeprefix("event-bus/"))


def _invalid(parameter: str, reason: str) -> AwsError:
    return AwsError("ValidationException", f"Parameter {parameter} is not valid. Reason: {reason}")


def _missing(name: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Replay {name} does not exist.")
