"""Archives: a managed rule puts what a bus gets into a log."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.services.events.archive_log import DAY_MS, extent, log_of
from penstock.services.events.buses import Buses
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.index import RuleIndexes
from penstock.services.events.names import BusKey, Scope, bus_key, scope_of
from penstock.services.events.patterns import pattern_of
from penstock.services.events.rules import ARCHIVES, Rules, archive_rule
from penstock.storage.primitives import Primitives, Store

_TOLD: Final = (
    "ArchiveName",
    "EventSourceArn",
    "State",
    "RetentionDays",
    "SizeBytes",
    "EventCount",
    "CreationTime",
)
_UNBUILT: Final = ("KmsKeyIdentifier",)


class Archives:
    """Operations on archives. A document has the members of DescribeArchive without the counts."""

    def __init__(self, store: Store, buses: Buses, rules: Rules, indexes: RuleIndexes) -> None:
        self._store = store
        self._buses = buses
        self._rules = rules
        self._indexes = indexes
        self._documents = Documents(ARCHIVES)

    async def find(self, given: Primitives, scope: Scope, name: str) -> Document:
        """An archive. Raises ResourceNotFoundException."""
        found = await self._documents.find(given, scope.partition, name)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Archive {name} does not exist.")
        return found

    async def trim(self, archive: Document, now: int) -> None:
        """Remove what an archive has kept for longer than it should."""
        days = archive.get("RetentionDays", 0)
        if days:
            await self._store.log.trim(log_of(archive["ArchiveArn"]), now - days * DAY_MS)

    @operation("CreateArchive", refuses=_UNBUILT)
    async def create(self, ctx: Context, request: Request) -> Result:
        """Make an archive of a bus."""
        scope, name = scope_of(ctx), request["ArchiveName"]
        bus = bus_key(ctx, request["EventSourceArn"])
        if pattern := request.get("EventPattern"):
            pattern_of(pattern)
        document = {
            "ArchiveName": name,
            "ArchiveArn": scope.arn(f"archive/{name}"),
            "State": "ENABLED",
            "CreationTime": ctx.now,
            "RetentionDays": request.get("RetentionDays", 0),
            **only(request, "EventSourceArn", "Description", "EventPattern"),
        }
        async with self._store.transaction() as tx:
            await self._buses.find(tx, bus)
            if await self._documents.find(tx, scope.partition, name) is not None:
                raise AwsError("ResourceAlreadyExistsException", f"Archive {name} already exists.")
            await self._documents.put(tx, scope.partition, name, document)
            await self._rules.keep(tx, bus, archive_rule(bus, document))
        self._indexes.forget(bus)
        return only(document, "ArchiveArn", "State", "CreationTime")

    @operation("UpdateArchive", refuses=_UNBUILT)
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change what an archive takes, and for how long it keeps it."""
        changes = only(request, "EventPattern", "RetentionDays", "Description")
        if not changes:
            raise AwsError(
                "ValidationException",
                "At least one of EventPattern, RetentionDays or Description must be provided.",
            )
        if pattern := request.get("EventPattern"):
            pattern_of(pattern)
        scope, name = scope_of(ctx), request["ArchiveName"]
        async with self._store.transaction() as tx:
            # A bus that was made again has its archive's rule again.
            document = {**await self.find(tx, scope, name), **changes, "State": "ENABLED"}
            # An empty text takes away what was said before.
            for member in ("EventPattern", "Description"):
                if not document.get(member):
                    document.pop(member, None)
            bus = bus_key(ctx, document["EventSourceArn"])
            await self._buses.find(tx, bus)
            await self._documents.put(tx, scope.partition, name, document)
            await self._rules.keep(tx, bus, archive_rule(bus, document))
        self._indexes.forget(bus)
        return only(document, "ArchiveArn", "State", "CreationTime")

    @operation("DescribeArchive")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """An archive with its counts."""
        found = await self._counted(
            ctx, await self.find(self._store, scope_of(ctx), request["ArchiveName"])
        )
        return only(found, *_TOLD, "ArchiveArn", "Description", "EventPattern")

    @operation("ListArchives")
    async def list_archives(self, ctx: Context, request: Request) -> Result:
        """Archives by name, of one bus or of all."""
        source = request.get("EventSourceArn")
        if source is not None:
            await self._buses.find(self._store, bus_key(ctx, source))
        found = await self._documents.in_order(
            self._store, scope_of(ctx).partition, request.get("NamePrefix", "")
        )
        asked = [
            archive
            for archive in found
            if source in (None, archive["EventSourceArn"])
            and request.get("State") in (None, archive["State"])
        ]
        answer = page(asked, request, "Archives")
        answer["Archives"] = [
            only(await self._counted(ctx, archive), *_TOLD) for archive in answer["Archives"]
        ]
        return answer

    @operation("DeleteArchive")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove an archive with its events and its rule."""
        scope, name = scope_of(ctx), request["ArchiveName"]
        async with self._store.transaction() as tx:
            document = await self.find(tx, scope, name)
            bus = _bus_of(document)
            await self._documents.delete(tx, scope.partition, name)
            await self._rules.drop(tx, bus, f"Events-Archive-{name}")
            await tx.log.drop(log_of(document["ArchiveArn"]))
        self._indexes.forget(bus)

    async def _counted(self, ctx: Context, archive: Document) -> dict[str, Any]:
        await self.trim(archive, ctx.now)
        found = await extent(self._store, archive["ArchiveArn"])
        return {**archive, "EventCount": found.events, "SizeBytes": found.size}


def _bus_of(archive: Document) -> BusKey:
    arn = parse_arn(archive["EventSourceArn"])
    return BusKey(arn.account, arn.region, arn.resource.removeprefix("event-bus/"))
