"""Tags of buses and rules."""

from collections.abc import Awaitable, Callable

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import parse_arn
from penstock.services.events.buses import Buses
from penstock.services.events.documents import Document
from penstock.services.events.names import bus_key, rule_of_arn
from penstock.services.events.rules import Rules
from penstock.storage.primitives import Primitives, Store


class Tags:
    """Operations on tags."""

    def __init__(self, store: Store, buses: Buses, rules: Rules) -> None:
        self._store = store
        self._buses = buses
        self._rules = rules

    async def _find(
        self, ctx: Context, given: Primitives, arn: str
    ) -> tuple[Document, Callable[[Document], Awaitable[None]]]:
        """What has the tags, and how it is stored."""
        if parse_arn(arn).resource.startswith("event-bus/"):
            bus = bus_key(ctx, arn)
            document = await self._buses.find(given, bus)
            return document, lambda changed: self._buses.keep(given, bus, changed)
        of_rule, name = rule_of_arn(arn)
        document = await self._rules.find(given, of_rule, name)
        return document, lambda changed: self._rules.keep(given, of_rule, changed)

    @operation("ListTagsForResource")
    async def list_tags(self, ctx: Context, request: Request) -> Result:
        """The tags of a bus or a rule."""
        document, _ = await self._find(ctx, self._store, request["ResourceARN"])
        return {"Tags": document.get("Tags", [])}

    @operation("TagResource")
    async def tag(self, ctx: Context, request: Request) -> None:
        """Add tags, or replace those of the same key."""
        async with self._store.transaction() as tx:
            document, keep = await self._find(ctx, tx, request["ResourceARN"])
            tags = {tag["Key"]: tag for tag in document.get("Tags", [])}
            tags.update({tag["Key"]: tag for tag in request["Tags"]})
            await keep({**document, "Tags": list(tags.values())})

    @operation("UntagResource")
    async def untag(self, ctx: Context, request: Request) -> None:
        """Remove tags by key."""
        gone = set(request["TagKeys"])
        async with self._store.transaction() as tx:
            document, keep = await self._find(ctx, tx, request["ResourceARN"])
            left = [tag for tag in document.get("Tags", []) if tag["Key"] not in gone]
            await keep({**document, "Tags": left})
