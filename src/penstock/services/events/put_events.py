"""PutEvents."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.events.buses import Buses
from penstock.services.events.event import Event, entry_size, new_document, parse_detail
from penstock.services.events.names import BusKey, Scope, bus_key, scope_of
from penstock.services.events.routing import Router

# AWS: 1 MB a request since January 2026 (EventBridge quotas).
_MOST_BYTES: Final = 1_048_576
_REQUIRED: Final = ("Source", "DetailType", "Detail")


class PutEvents:
    """Takes events: each entry is checked on its own, and those that are right are routed in one transaction."""

    def __init__(self, ids: Ids, buses: Buses, router: Router) -> None:
        self._ids = ids
        self._buses = buses
        self._router = router

    @operation("PutEvents", refuses=("EndpointId",))
    async def put(self, ctx: Context, request: Request) -> Result:
        """Take up to ten events."""
        entries = request["Entries"]
        if sum(map(entry_size, entries)) > _MOST_BYTES:
            raise AwsError(
                "ValidationException", "Total size of the entries in the request is over the limit."
            )
        answers: list[dict[str, str]] = []
        failed = 0
        events: list[tuple[BusKey, Event]] = []
        scope = scope_of(ctx)
        buses: dict[str | None, BusKey | None] = {}
        for entry in entries:
            try:
                event = self._event(ctx, scope, entry)
            except AwsError as error:
                failed += 1
                answers.append({"ErrorCode": error.code, "ErrorMessage": error.message})
                continue
            answers.append({"EventId": event.id})
            name = entry.get("EventBusName")
            if name not in buses:
                buses[name] = await self._bus(ctx, name)
            bus = buses[name]
            if bus is not None:
                events.append((bus, event))
        await self._router.accept(ctx, events)
        return {"FailedEntryCount": failed, "Entries": answers}

    async def _bus(self, ctx: Context, name: str | None) -> BusKey | None:
        """A bus by its name or ARN."""
        bus = bus_key(ctx, name)
        # AWS: an event for a bus that does not exist is accepted, and gone (recorded).
        return bus if await self._buses.exists(bus) else None

    def _event(self, ctx: Context, scope: Scope, entry: dict[str, Any]) -> Event:
        given = entry.get
        source, detail_type, detail = given("Source"), given("DetailType"), given("Detail")
        if not (source and detail_type and detail):
            raise _missing(entry)
        if source.startswith("aws.") and not ctx.principal.endswith(".amazonaws.com"):
            raise AwsError("NotAuthorizedForSourceException", "Not authorized for the source.")
        document = new_document(
            id_=self._ids.uuid(),
            scope=scope,
            source=source,
            detail_type=detail_type,
            at=given("Time", ctx.now),
            resources=given("Resources", []),
            detail=parse_detail(detail),
        )
        return Event(document, given("TraceHeader") or ctx.trace)


def _missing(entry: dict[str, Any]) -> AwsError:
    name = next(name for name in _REQUIRED if not entry.get(name))
    reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
    return AwsError("InvalidArgument", reason)
