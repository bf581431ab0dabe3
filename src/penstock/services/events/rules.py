"""Rules: what a bus looks for, or when one fires."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.schedule import Once, Schedule, ScheduleError, parse_schedule
from penstock.services.events.buses import Buses
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.index import RuleIndexes
from penstock.services.events.names import DEFAULT, BusKey, bus_key
from penstock.services.events.patterns import pattern_of
from penstock.services.events.timetable import Timetable
from penstock.storage.primitives import Primitives, Store

RULES: Final = "events/rules"
ARCHIVES: Final = "events/archives"
_TOLD: Final = (
    "Name",
    "Arn",
    "EventPattern",
    "State",
    "Description",
    "ScheduleExpression",
    "RoleArn",
    "ManagedBy",
    "EventBusName",
)


def schedule_of(text: str) -> Schedule:
    """A rule's schedule. Raises ValidationException."""
    try:
        schedule = parse_schedule(text)
    except ScheduleError as error:
        raise AwsError(
            "ValidationException", "Parameter ScheduleExpression is not valid."
        ) from error
    if isinstance(schedule, Once):
        # AWS: `at` is for EventBridge Scheduler (EventBridge guide, "scheduled rules").
        raise AwsError("ValidationException", "Parameter ScheduleExpression is not valid.")
    return schedule


class Rules:
    """Operations on rules.

    A document has the members of DescribeRule, `Targets` as ListTargetsByRule gives them, `Tags`, the ARN of its
    `Archive` with its `RetentionDays` if it fills one and, if it has a schedule, `Since` and `Generation` (see `Timetable`).
    """

    def __init__(
        self, store: Store, buses: Buses, indexes: RuleIndexes, timetable: Timetable
    ) -> None:
        self._store = store
        self._buses = buses
        self._indexes = indexes
        self._timetable = timetable
        self._documents = Documents(RULES)
        self._archives = Documents(ARCHIVES)

    async def find(self, given: Primitives, bus: BusKey, name: str) -> Document:
        """A rule. Raises ResourceNotFoundException."""
        found = await self._documents.find(given, bus.partition, name)
        if found is None:
            await self._buses.find(given, bus)
            raise AwsError(
                "ResourceNotFoundException",
                f"Rule {name} does not exist on EventBus {bus.name}.",
            )
        return found

    async def keep(self, given: Primitives, bus: BusKey, document: Document) -> None:
        """Store a rule; what is matched from now on is matched by it."""
        await self._documents.put(given, bus.partition, document["Name"], document)
        self._indexes.forget(bus)

    async def all_of(self, given: Primitives, bus: BusKey, prefix: str = "") -> list[Document]:
        """A bus's rules by name."""
        return await self._documents.in_order(given, bus.partition, prefix)

    async def drop(self, given: Primitives, bus: BusKey, name: str) -> None:
        """Remove a rule, whoever manages it."""
        await self._documents.delete(given, bus.partition, name)
        self._indexes.forget(bus)

    @operation("PutRule")
    async def put(self, ctx: Context, request: Request) -> Result:
        """Make or replace a rule; its targets stay."""
        bus, name = bus_key(ctx, request.get("EventBusName")), request["Name"]
        pattern, schedule = request.get("EventPattern"), request.get("ScheduleExpression")
        if not pattern and not schedule:
            raise AwsError(
                "ValidationException",
                "Parameter(s) EventPattern or ScheduleExpression must be specified.",
            )
        if pattern:
            pattern_of(pattern)
        if schedule:
            schedule_of(schedule)
            if bus.name != DEFAULT:
                raise AwsError(
                    "ValidationException",
                    "ScheduleExpression is supported only on the default event bus.",
                )
        async with self._store.transaction() as tx:
            await self._buses.find(tx, bus)
            before = await self._documents.find(tx, bus.partition, name)
            _require_unmanaged(before)
            document = {
                "Name": name,
                "Arn": bus.rule_arn(name),
                "EventBusName": bus.name,
                "CreatedBy": ctx.account,
                "State": request.get("State", "ENABLED"),
                **only(request, "Description", "RoleArn"),
                **({"EventPattern": pattern} if pattern else {}),
                **({"ScheduleExpression": schedule} if schedule else {}),
                "Targets": [] if before is None else before["Targets"],
                # AWS: tags of a rule that exists are left alone (API reference, PutRule).
                "Tags": request.get("Tags", []) if before is None else before["Tags"],
            }
            await self._timetable.set(tx, bus, document, before, ctx.now)
            await self.keep(tx, bus, document)
        self._indexes.forget(bus)
        return {"RuleArn": bus.rule_arn(name)}

    @operation("DescribeRule")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A rule."""
        bus = bus_key(ctx, request.get("EventBusName"))
        found = await self.find(self._store, bus, request["Name"])
        return only(found, *_TOLD, "CreatedBy")

    @operation("ListRules")
    async def list_rules(self, ctx: Context, request: Request) -> Result:
        """A bus's rules by name."""
        bus = bus_key(ctx, request.get("EventBusName"))
        await self._buses.find(self._store, bus)
        found = await self.all_of(self._store, bus, request.get("NamePrefix", ""))
        return page([only(rule, *_TOLD) for rule in found], request, "Rules")

    @operation("ListRuleNamesByTarget")
    async def names_by_target(self, ctx: Context, request: Request) -> Result:
        """The names of those rules of a bus that have a target."""
        bus = bus_key(ctx, request.get("EventBusName"))
        await self._buses.find(self._store, bus)
        names = [
            rule["Name"]
            for rule in await self.all_of(self._store, bus)
            if any(target["Arn"] == request["TargetArn"] for target in rule["Targets"])
        ]
        return page(names, request, "RuleNames")

    @operation("EnableRule")
    async def enable(self, ctx: Context, request: Request) -> None:
        """Let a rule match, or fire, again."""
        await self._turn(ctx, request, "ENABLED")

    @operation("DisableRule")
    async def disable(self, ctx: Context, request: Request) -> None:
        """Let a rule rest."""
        await self._turn(ctx, request, "DISABLED")

    async def _turn(self, ctx: Context, request: Request, state: str) -> None:
        bus = bus_key(ctx, request.get("EventBusName"))
        async with self._store.transaction() as tx:
            before = await self.find(tx, bus, request["Name"])
            _require_unmanaged(before)
            document = {**before, "State": state}
            await self._timetable.set(tx, bus, document, before, ctx.now)
            await self.keep(tx, bus, document)
        self._indexes.forget(bus)

    @operation("DeleteRule")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove a rule that has no targets."""
        bus = bus_key(ctx, request.get("EventBusName"))
        async with self._store.transaction() as tx:
            await self._buses.find(tx, bus)
            found = await self._documents.find(tx, bus.partition, request["Name"])
            if found is None:
                return
            if not request.get("Force"):
                _require_unmanaged(found)
            if found["Targets"]:
                raise AwsError("ValidationException", "Rule can't be deleted since it has targets.")
            await self.drop(tx, bus, request["Name"])
        self._indexes.forget(bus)

    @operation("DeleteEventBus")
    async def delete_bus(self, ctx: Context, request: Request) -> None:
        """Remove a bus that has no rules. To remove one that is gone is no error.

        Its archives stay and can be deleted, but take nothing more: they are disabled.
        """
        bus = bus_key(ctx, request["Name"])
        if bus.name == DEFAULT:
            raise AwsError("ValidationException", "Cannot delete event bus default.")
        async with self._store.transaction() as tx:
            for rule in await self.all_of(tx, bus):
                # AWS: a bus's rules are to be deleted first (API reference, DeleteEventBus); those of archives go with it.
                if not rule.get("ManagedBy"):
                    raise AwsError(
                        "ValidationException",
                        f"Event bus {bus.name} can't be deleted since it has rules.",
                    )
                await self.drop(tx, bus, rule["Name"])
                await self._disable_archive(tx, bus, rule)
            await self._buses.remove(tx, bus)
        self._indexes.forget(bus)

    async def _disable_archive(self, tx: Primitives, bus: BusKey, rule: Document) -> None:
        partition, name = bus.scope.partition, parse_arn(rule["Archive"]).name
        archive = await self._archives.find(tx, partition, name)
        if archive is not None:
            await self._archives.put(tx, partition, name, {**archive, "State": "DISABLED"})


def _require_unmanaged(rule: Document | None) -> None:
    if rule is not None and rule.get("ManagedBy"):
        raise AwsError(
            "ManagedRuleException",
            f"Rule {rule['Name']} is managed by {rule['ManagedBy']} and cannot be changed.",
        )


def archive_rule(bus: BusKey, archive: Document) -> dict[str, Any]:
    """The rule that fills an archive."""
    pattern = archive.get("EventPattern")
    asked = orjson.loads(pattern) if pattern else {}
    # AWS: an archive has a managed rule that leaves out what a replay brought (dossier 4.7).
    matched = {**asked, "replay-name": [{"exists": False}]}
    name = f"Events-Archive-{archive['ArchiveName']}"
    return {
        "Name": name,
        "Arn": bus.rule_arn(name),
        "EventBusName": bus.name,
        "CreatedBy": bus.account,
        "State": "ENABLED",
        "ManagedBy": "prod.vhs.events.aws.internal",
        "EventPattern": orjson.dumps(matched).decode(),
        "Targets": [],
        "Tags": [],
        "Archive": archive["ArchiveArn"],
        "RetentionDays": archive["RetentionDays"],
    }
