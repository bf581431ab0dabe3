"""Event buses and who may put events on them."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.names import DEFAULT, BusKey, bus_key, scope_of
from penstock.storage.primitives import Primitives, Store

BUSES: Final = "events/buses"
# AWS: 10 KB (PutPermission, PolicyLengthExceededException).
_POLICY_BYTES: Final = 10_240
# AWS: the dead-letter queue of a bus takes what its KMS key could not decrypt (API reference, CreateEventBus). There are no
# keys here, so it is kept and never needed.
_UNBUILT: Final = ("KmsKeyIdentifier", "LogConfig")


class Buses:
    """Operations on buses. A document has the members of DescribeEventBus, `Policy` parsed, and `Tags`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = Documents(BUSES)

    async def find(self, given: Primitives, bus: BusKey) -> Document:
        """A bus. Raises ResourceNotFoundException."""
        found = await self._documents.find(given, bus.scope.partition, bus.name)
        if found is not None:
            return found
        if bus.name == DEFAULT:
            return {"Name": DEFAULT, "Arn": bus.arn}
        raise AwsError("ResourceNotFoundException", f"Event bus {bus.name} does not exist.")

    async def exists(self, bus: BusKey) -> bool:
        """Whether there is such a bus. Every account has a default one in every region."""
        if bus.name == DEFAULT:
            return True
        return await self._documents.find(self._store, bus.scope.partition, bus.name) is not None

    async def keep(self, given: Primitives, bus: BusKey, document: Document) -> None:
        """Store a bus."""
        await self._documents.put(given, bus.scope.partition, bus.name, document)

    async def change(self, given: Primitives, bus: BusKey, document: Document, now: int) -> None:
        """Store a bus that has changed; the default one is there since its first change, as far as anybody can tell."""
        await self.keep(given, bus, {"CreationTime": now, **document, "LastModifiedTime": now})

    @operation("CreateEventBus", refuses=("EventSourceName", *_UNBUILT))
    async def create(self, ctx: Context, request: Request) -> Result:
        """Make a bus."""
        name = request["Name"]
        if "/" in name:
            # AWS: a slash is for the buses of partners (API reference, CreateEventBus).
            raise AwsError("ValidationException", "Event bus name must not contain '/'.")
        bus = BusKey(ctx.account, ctx.region, name)
        if await self.exists(bus):
            raise AwsError(
                "ResourceAlreadyExistsException", f"Event bus {bus.name} already exists."
            )
        document = {
            "Name": bus.name,
            "Arn": bus.arn,
            "CreationTime": ctx.now,
            "LastModifiedTime": ctx.now,
            **only(request, "Description", "DeadLetterConfig", "Tags"),
        }
        await self.keep(self._store, bus, document)
        return {"EventBusArn": bus.arn, **only(document, "Description", "DeadLetterConfig")}

    @operation("UpdateEventBus", refuses=_UNBUILT)
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change a bus's description and dead-letter queue."""
        bus = bus_key(ctx, request.get("Name"))
        async with self._store.transaction() as tx:
            document = await self.find(tx, bus)
            document = {**document, **only(request, "Description", "DeadLetterConfig")}
            # Empty values take away what was said before.
            for member in ("Description", "DeadLetterConfig"):
                if not document.get(member):
                    document.pop(member, None)
            await self.change(tx, bus, document, ctx.now)
        return only(document, "Arn", "Name", "Description", "DeadLetterConfig")

    @operation("DescribeEventBus")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A bus."""
        return _told(await self.find(self._store, bus_key(ctx, request.get("Name"))))

    @operation("ListEventBuses")
    async def list_buses(self, ctx: Context, request: Request) -> Result:
        """Buses by name."""
        prefix = request.get("NamePrefix", "")
        found = await self._documents.in_order(self._store, scope_of(ctx).partition, prefix)
        if DEFAULT.startswith(prefix) and all(bus["Name"] != DEFAULT for bus in found):
            found.append({"Name": DEFAULT, "Arn": bus_key(ctx, None).arn})
            found.sort(key=lambda bus: str(bus["Name"]))
        return page([_told(bus) for bus in found], request, "EventBuses")

    async def remove(self, tx: Primitives, bus: BusKey) -> None:
        """Remove a bus's document."""
        await self._documents.delete(tx, bus.scope.partition, bus.name)

    @operation("PutPermission")
    async def put_permission(self, ctx: Context, request: Request) -> None:
        """Add a statement to a bus's policy, or replace the policy."""
        bus = bus_key(ctx, request.get("EventBusName"))
        async with self._store.transaction() as tx:
            document = await self.find(tx, bus)
            if "Policy" in request:
                policy = _parsed(request["Policy"])
            else:
                policy = document.get("Policy") or {"Version": "2012-10-17", "Statement": []}
                statement = _statement(bus, request)
                others = [one for one in policy["Statement"] if one.get("Sid") != statement["Sid"]]
                policy = {**policy, "Statement": [*others, statement]}
            if len(orjson.dumps(policy)) > _POLICY_BYTES:
                raise AwsError(
                    "PolicyLengthExceededException", "The policy is longer than 10240 bytes."
                )
            await self.change(tx, bus, {**document, "Policy": policy}, ctx.now)

    @operation("RemovePermission")
    async def remove_permission(self, ctx: Context, request: Request) -> None:
        """Remove a statement of a bus's policy, or all of them."""
        bus = bus_key(ctx, request.get("EventBusName"))
        async with self._store.transaction() as tx:
            document = await self.find(tx, bus)
            policy = document.pop("Policy", None)
            if not request.get("RemoveAllPermissions"):
                statements = (policy or {}).get("Statement", [])
                left = [one for one in statements if one.get("Sid") != request.get("StatementId")]
                if policy is None or len(left) == len(statements):
                    raise AwsError(
                        "ResourceNotFoundException",
                        "Statement with the provided id does not exist.",
                    )
                if left:
                    document["Policy"] = {**policy, "Statement": left}
            await self.change(tx, bus, document, ctx.now)


def _parsed(text: str) -> dict[str, Any]:
    try:
        policy = orjson.loads(text)
    except ValueError as error:
        raise AwsError("ValidationException", "Parameter Policy is not valid.") from error
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise AwsError("ValidationException", "Parameter Policy is not valid.")
    statements = policy["Statement"]
    return {**policy, "Statement": statements if isinstance(statements, list) else [statements]}


def _statement(bus: BusKey, request: Request) -> dict[str, Any]:
    missing = [name for name in ("Action", "Principal", "StatementId") if name not in request]
    if missing:
        raise AwsError(
            "ValidationException",
            f"Parameter {missing[0]} is not valid. Reason: {missing[0]} is required.",
        )
    principal = request["Principal"]
    statement: dict[str, Any] = {
        "Sid": request["StatementId"],
        "Effect": "Allow",
        "Principal": "*" if principal == "*" else {"AWS": f"arn:aws:iam::{principal}:root"},
        "Action": request["Action"],
        "Resource": bus.arn,
    }
    if condition := request.get("Condition"):
        statement["Condition"] = {condition["Type"]: {condition["Key"]: condition["Value"]}}
    return statement


def _told(document: Document) -> Document:
    told = only(
        document,
        "Name",
        "Arn",
        "Description",
        "DeadLetterConfig",
        "CreationTime",
        "LastModifiedTime",
    )
    if document.get("Policy"):
        told["Policy"] = orjson.dumps(document["Policy"]).decode()
    return told
