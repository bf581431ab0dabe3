"""API destinations, as requests give them."""

from collections.abc import Awaitable, Callable
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.events.connections import Connections
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.names import Scope, scope_of
from penstock.storage.primitives import Primitives, Store

DESTINATIONS: Final = "events/api-destinations"
LANES: Final = "events/lanes"
# AWS: 300 a second unless told otherwise (API reference, CreateApiDestination).
RATE: Final = 300
_ANSWERED: Final = (
    "ApiDestinationArn",
    "ApiDestinationState",
    "CreationTime",
    "LastModifiedTime",
)
_GIVEN: Final = (
    "Description",
    "ConnectionArn",
    "InvocationEndpoint",
    "HttpMethod",
    "InvocationRateLimitPerSecond",
)


async def _nothing(arn: str) -> None:
    pass


class Destinations:
    """Operations on API destinations. A document has the members of DescribeApiDestination without the state."""

    def __init__(self, store: Store, ids: Ids, connections: Connections) -> None:
        self._store = store
        self._ids = ids
        self._connections = connections
        self._documents = Documents(DESTINATIONS)
        self._lanes = Documents(LANES)
        self.on_change: Callable[[str], None] = lambda arn: None
        """Told the ARN of a destination that has changed or is gone."""
        self.on_delete: Callable[[str], Awaitable[None]] = _nothing
        """The same of one that is gone."""

    async def find(self, given: Primitives, scope: Scope, name: str) -> Document:
        """A destination. Raises ResourceNotFoundException."""
        found = await self._documents.find(given, scope.partition, name)
        if found is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Failed to describe the api-destination(s). An api-destination '{name}' does not exist.",
            )
        return found

    async def by_arn(self, arn: str) -> tuple[Document, Document]:
        """A destination and its connection. Raises ResourceNotFoundException."""
        scope, name = _named(arn)
        found = await self.find(self._store, scope, name)
        if found["ApiDestinationArn"] != arn:
            raise AwsError("ResourceNotFoundException", f"{arn} does not exist.", status=404)
        return found, await self._connection(self._store, found["ConnectionArn"])

    async def everywhere(self) -> list[str]:
        """The ARNs of all destinations, also of those that are gone while events may be on their way to them."""
        return [one["Arn"] for one in await self._lanes.everything(self._store)]

    async def exists(self, arn: str) -> bool:
        """Whether there is such a destination."""
        scope, name = _named(arn)
        found = await self._documents.find(self._store, scope.partition, name)
        return found is not None and found["ApiDestinationArn"] == arn

    async def forget(self, arn: str) -> None:
        """Nothing is on its way to a destination that may be gone. Drop its lane if it is."""
        if not await self.exists(arn):
            await self._lanes.delete(self._store, _named(arn)[0].partition, arn)

    async def _connection(self, given: Primitives, arn: str) -> Document:
        scope, name = _named(arn)
        return await self._connections.find(given, scope, name)

    async def _with_state(self, given: Primitives, document: Document) -> Document:
        """A destination can be called when its connection is authorized."""
        try:
            connection = await self._connection(given, document["ConnectionArn"])
            active = connection["ConnectionState"] == "AUTHORIZED"
        except AwsError:
            active = False
        return {**document, "ApiDestinationState": "ACTIVE" if active else "INACTIVE"}

    @operation("CreateApiDestination")
    async def create(self, ctx: Context, request: Request) -> Result:
        """Make a destination."""
        scope, name = scope_of(ctx), request["Name"]
        document = {
            "Name": name,
            "ApiDestinationArn": scope.arn(f"api-destination/{name}/{self._ids.uuid()}"),
            "CreationTime": ctx.now,
            "LastModifiedTime": ctx.now,
            "InvocationRateLimitPerSecond": RATE,
            **only(request, *_GIVEN),
        }
        async with self._store.transaction() as tx:
            await self._connection(tx, document["ConnectionArn"])
            if await self._documents.find(tx, scope.partition, name) is not None:
                raise AwsError(
                    "ResourceAlreadyExistsException", f"An api-destination {name} already exists."
                )
            await self._documents.put(tx, scope.partition, name, document)
            arn = document["ApiDestinationArn"]
            await self._lanes.put(tx, scope.partition, arn, {"Arn": arn})
        return only(await self._with_state(self._store, document), *_ANSWERED)

    @operation("UpdateApiDestination")
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change a destination; what is not given stays."""
        scope, name = scope_of(ctx), request["Name"]
        async with self._store.transaction() as tx:
            document = {
                **await self.find(tx, scope, name),
                **only(request, *_GIVEN),
                "LastModifiedTime": ctx.now,
            }
            if not document.get("Description"):
                document.pop("Description", None)
            await self._connection(tx, document["ConnectionArn"])
            await self._documents.put(tx, scope.partition, name, document)
        self.on_change(document["ApiDestinationArn"])
        return only(await self._with_state(self._store, document), *_ANSWERED)

    @operation("DescribeApiDestination")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A destination."""
        found = await self.find(self._store, scope_of(ctx), request["Name"])
        return only(await self._with_state(self._store, found), *_ANSWERED, "Name", *_GIVEN)

    @operation("ListApiDestinations")
    async def list_destinations(self, ctx: Context, request: Request) -> Result:
        """Destinations by name, of one connection or of all."""
        connection = request.get("ConnectionArn")
        found = [
            one
            for one in await self._documents.in_order(
                self._store, scope_of(ctx).partition, request.get("NamePrefix", "")
            )
            if connection in (None, one["ConnectionArn"])
        ]
        answer = page(found, request, "ApiDestinations")
        answer["ApiDestinations"] = [
            only(await self._with_state(self._store, one), *_ANSWERED, "Name", *_GIVEN[1:])
            for one in answer["ApiDestinations"]
        ]
        return answer

    @operation("DeleteApiDestination")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove a destination. What is on its way to it becomes a dead letter."""
        scope = scope_of(ctx)
        async with self._store.transaction() as tx:
            document = await self.find(tx, scope, request["Name"])
            await self._documents.delete(tx, scope.partition, request["Name"])
        self.on_change(document["ApiDestinationArn"])
        await self.on_delete(document["ApiDestinationArn"])


def _named(arn: str) -> tuple[Scope, str]:
    """Where a destination or a connection is, and its name."""
    where = parse_arn(arn)
    return Scope(where.account, where.region), where.resource.split("/")[1]
