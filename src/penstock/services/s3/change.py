"""Changes of objects: each is one transaction with what its listeners are told."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from penstock.api import Context, Request
from penstock.core.errors import AwsError
from penstock.fanout import Packed, put
from penstock.services.s3.bucket import Bucket, Buckets
from penstock.services.s3.condition import require_writable
from penstock.services.s3.event import Happening, created, removed, tagged
from penstock.services.s3.notification import Notifications
from penstock.services.s3.record import Document
from penstock.services.s3.version import Versions
from penstock.storage.primitives import Primitives, Store

Within = Callable[[Primitives], Awaitable[None]]
"""Further verbs of the same transaction."""
Amend = Callable[[Document], None]


class Changes:
    """Puts, removes and amends objects.

    What listeners are told is packed before the transaction, from what was seen then. Where the transaction sees
    something else, all is done once more.
    """

    def __init__(
        self, store: Store, buckets: Buckets, versions: Versions, notifications: Notifications
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._versions = versions
        self._notifications = notifications

    async def put(
        self,
        ctx: Context,
        request: Request,
        kind: str,
        document: Document,
        within: Within | None,
        seen: Bucket,
    ) -> Bucket:
        """Make `document` the current version, if the request's conditions hold. Returns the bucket.

        `within` gives it its bytes, if it does not have them; `seen` is the bucket as it was a moment ago.
        """
        key = request["Key"]
        while True:
            document["version_id"] = self._versions.new_id(seen, ctx.now)
            packed: Packed = {}
            if "notifications" in seen:
                packed = await self._notifications.pack(ctx, seen, [created(kind, key, document)])
            async with self._store.transaction() as tx:
                if await self._buckets.is_current(seen, tx):
                    if within is not None:
                        await within(tx)
                    current = await self._versions.current(seen["name"], key, tx)
                    require_writable(request, current)
                    await self._versions.put(tx, seen, key, document, current, ctx.now)
                    if packed:
                        await put(tx, packed, ctx.now)
                    return seen
            seen = await self._buckets.look(ctx, request)

    async def remove(
        self,
        ctx: Context,
        request: Request,
        entries: Sequence[Request],
        family: str = "ObjectRemoved",
        *,
        absent: bool = False,
    ) -> tuple[Bucket, list[Document | AwsError | None]]:
        """Delete for good or cover by a marker what each entry names (`Key`, `VersionId`, `IfMatch`).

        Listeners are told under `family`, with `absent` also of what was not there. Returns the bucket and, in order, the
        version removed or the marker made, None where nothing was, or why not.
        """
        while True:
            bucket = await self._buckets.look(ctx, request)
            seen = await self._look(self._store, bucket, entries)
            ids = [self._versions.new_id(bucket, ctx.now) for _ in entries]
            happenings = [
                happening
                for entry, found, new in zip(entries, seen, ids, strict=True)
                if (happening := _removal(family, bucket, entry, found, new, absent)) is not None
            ]
            packed = await self._notifications.pack(ctx, bucket, happenings)
            async with self._store.transaction() as tx:
                if (
                    await self._buckets.look(ctx, request, tx) != bucket
                    or await self._look(tx, bucket, entries) != seen
                ):
                    continue
                outcomes: list[Document | AwsError | None] = []
                for entry, found, new in zip(entries, seen, ids, strict=True):
                    if isinstance(found, AwsError):
                        outcomes.append(found)
                        continue
                    outcomes.append(
                        await self._versions.remove(
                            tx, bucket, entry["Key"], entry.get("VersionId"), new, ctx.now
                        )
                    )
                await put(tx, packed, ctx.now)
                return bucket, outcomes

    async def amend(
        self,
        ctx: Context,
        request: Request,
        kind: str,
        find: Callable[[Primitives], Awaitable[Document]],
        amend: Amend,
    ) -> Document:
        """Change an object's document in place. Returns it."""
        while True:
            bucket = await self._buckets.look(ctx, request)
            seen = await find(self._store)
            told = tagged(kind, request["Key"], seen)
            packed = await self._notifications.pack(ctx, bucket, [told])
            async with self._store.transaction() as tx:
                document = await find(tx)
                if await self._buckets.look(ctx, request, tx) != bucket or document != seen:
                    continue
                amend(document)
                await self._versions.amend(tx, bucket["name"], request["Key"], document)
                await put(tx, packed, ctx.now)
                return document

    async def _look(
        self, primitives: Primitives, bucket: Bucket, entries: Sequence[Request]
    ) -> list[Any]:
        """What each entry is about: a document, None, or an error for a condition that does not hold."""
        seen: list[Any] = []
        for entry in entries:
            key, version_id = entry["Key"], entry.get("VersionId")
            found = await self._versions.find(bucket["name"], key, version_id, primitives)
            try:
                require_writable(entry, found)
            except AwsError as error:
                seen.append(_Refused(error))
            else:
                seen.append(found)
        return seen


class _Refused(AwsError):
    """An error that equals another one that says the same."""

    def __init__(self, error: AwsError) -> None:
        super().__init__(error.code, error.message, status=error.status, fields=error.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Refused) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)


def _removal(
    family: str, bucket: Bucket, entry: Request, found: Any, new_id: str, absent: bool
) -> Happening | None:
    """What listeners are told of a removal; None where nothing is removed."""
    if isinstance(found, AwsError):
        return None
    covers = entry.get("VersionId") is None and bool(bucket.get("versioning"))
    if covers:
        return removed(f"{family}:DeleteMarkerCreated", entry["Key"], {"version_id": new_id})
    # AWS: DeleteObjects deletes what is not there, and tells so (recorded by LocalStack).
    if found is None and absent and entry.get("VersionId") is None:
        found = {"version_id": "null"}
    return None if found is None else removed(f"{family}:Delete", entry["Key"], found)
