"""PutEvents."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.events.buses import Buses
from penstock.services.events.event import Event, entry_size, new_document, parse_detail
from penstock.services.events.names import BusKey, bus_key, scope_of
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
        events: list[tuple[BusKey, Event]] = []
        for entry in entries:
            try:
                event = self._event(ctx, entry)
            except AwsError as error:
                answers.append({"ErrorCode": error.code, "ErrorMessage": error.message})
                continue
            answers.append({"EventId": event.id})
            bus = bus_key(ctx, entry.get("EventBusName"))
            # AWS: an event for a bus that does not exist is accepted, and gone (recorded).
            if await self._buses.exists(bus):
                events.append((bus, event))
        await self._router.accept(ctx, events)
        failed = sum("ErrorCode" in answer for answer in answers)
        return {"FailedEntryCount": failed, "Entries": answers}

    def _event(self, ctx: Context, entry: dict[str, Any]) -> Event:
        for name in _REQUIRED:
            if not entry.get(name):
                reason = f"Parameter {name} is not valid. Reason: {name} is a required argument."
                raise AwsError("InvalidArgument", reason)
        inside = ctx.principal.endswith(".amazonaws.com")
        if entry["Source"].startswith("aws.") and not inside:
            raise AwsError("NotAuthorizedForSourceException", "Not authorized for the source.")
        document = new_document(
            id_=self._ids.uuid(),
            scope=scope_of(ctx),
            source=entry["Source"],
            detail_type=entry["DetailType"],
            at=entry.get("Time", ctx.now),
            resources=entry.get("Resources", []),
            detail=parse_detail(entry["Detail"]),
        )
        return Event(document, entry.get("TraceHeader") or ctx.trace)
