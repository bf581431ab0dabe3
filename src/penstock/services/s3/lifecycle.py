"""Lifecycle: a bucket's rules, and the nightly round that carries them out.

A bucket with rules has one message in a queue, visible at the next midnight UTC. After its round the message waits for the
midnight that follows, for as long as the rules are those that it was sent for.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation, refuse
from penstock.clock import Clock
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.retry import Decision, Retry, Settle
from penstock.delivery.model import Delivered, Failed, Outcome, Scaling, Subscription
from penstock.delivery.sources import QueueSource
from penstock.services.s3.bucket import BUCKETS, NAMESPACE, OBJECTS, UPLOADS, Buckets
from penstock.services.s3.change import Changes
from penstock.services.s3.configuration import malformed
from penstock.services.s3.event import iso
from penstock.services.s3.expiry import (
    DAY,
    ends_at,
    marker_goes,
    midnight_after,
    superfluous,
    upload_goes,
)
from penstock.services.s3.record import Document, load
from penstock.services.s3.version import older
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage, Store

_LEAST: Final = ("all_storage_classes_128K", "varies_by_storage_class")
_LONGEST_ID: Final = 255
_QUEUE: Final = "s3/lifecycle"
_LEASE_MS: Final = 600_000
_PAGE: Final = 100
_FAMILY: Final = "LifecycleExpiration"
_ACTIONS: Final = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
_UNBUILT: Final = ("Transitions", "NoncurrentVersionTransitions")


class Lifecycles:
    """The operations on a bucket's rules, and the target of the nightly messages."""

    def __init__(
        self, store: Store, ids: Ids, clock: Clock, buckets: Buckets, changes: Changes
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._buckets = buckets
        self._changes = changes

    @operation("PutBucketLifecycleConfiguration", in_part=["transitions"])
    async def put(self, ctx: Context, request: Request) -> Result:
        """Replace the rules."""
        await self._buckets.look(ctx, request)
        given = request.get("LifecycleConfiguration", {}).get("Rules", [])
        rules = [self._checked(rule) for rule in given]
        if not rules:
            raise malformed()
        if len({rule["ID"] for rule in rules}) != len(rules):
            raise _invalid("Rule ID must be unique. Found same ID for more than one rule")
        least = request.get("TransitionDefaultMinimumObjectSize", _LEAST[0])
        if least not in _LEAST:
            text = f"Invalid TransitionDefaultMinimumObjectSize found: {least}"
            raise AwsError("InvalidRequest", text, status=400)
        lifecycle = {"rules": rules, "token": self._ids.uuid(), "minimum": least}
        async with self._store.transaction() as tx:
            bucket = await self._buckets.find(ctx, request, tx)
            await self._buckets.save({**bucket, "lifecycle": lifecycle}, tx)
            body = orjson.dumps({"bucket": bucket["name"], "token": lifecycle["token"]})
            message = NewMessage(id=self._ids.uuid(), body=body, visible_at=midnight_after(ctx.now))
            await tx.queue.put(_QUEUE, [message], ctx.now)
        return {"TransitionDefaultMinimumObjectSize": least}

    @operation("GetBucketLifecycleConfiguration")
    async def get(self, ctx: Context, request: Request) -> Result:
        """The rules. Raises NoSuchLifecycleConfiguration."""
        bucket = await self._buckets.find(ctx, request)
        if "lifecycle" not in bucket:
            raise AwsError(
                "NoSuchLifecycleConfiguration",
                "The lifecycle configuration does not exist",
                status=404,
                fields={"BucketName": bucket["name"]},
            )
        lifecycle = bucket["lifecycle"]
        return {
            "Rules": lifecycle["rules"],
            "TransitionDefaultMinimumObjectSize": lifecycle["minimum"],
        }

    @operation("DeleteBucketLifecycle")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove the rules."""
        bucket = await self._buckets.find(ctx, request)
        bucket.pop("lifecycle", None)
        await self._buckets.save(bucket)

    def _checked(self, rule: dict[str, Any]) -> dict[str, Any]:
        for name in _UNBUILT:
            if rule.get(name):
                raise refuse(f"{name} of lifecycle rules")
        if rule.get("Status") not in ("Enabled", "Disabled") or not any(
            rule.get(name) for name in _ACTIONS
        ):
            raise malformed()
        if len(rule.get("ID", "")) > _LONGEST_ID:
            raise AwsError(
                "InvalidArgument", f"ID length should not exceed allowed limit of {_LONGEST_ID}"
            )
        if ("Filter" in rule) == ("Prefix" in rule):
            raise malformed()
        given = rule.get("Filter", {})
        # AWS: one condition, or several within And (API reference, LifecycleRuleFilter).
        if len(given) > 1 or ("And" in given and len(given["And"]) == 0):
            raise malformed()
        names = [tag["Key"] for tag in given.get("And", {}).get("Tags", ())]
        if len(set(names)) < len(names):
            raise AwsError("InvalidRequest", "Duplicate Tag Keys are not allowed.", status=400)
        _require_expiration(rule)
        ending = rule.get("NoncurrentVersionExpiration")
        if ending is not None and "NoncurrentDays" not in ending:
            raise malformed()
        return {**rule, "ID": rule.get("ID") or self._ids.uuid()}

    def subscription(self) -> Subscription:
        """What goes the rounds."""

        async def terms(now: int) -> LeaseTerms:
            return LeaseTerms(until=now + _LEASE_MS)

        return Subscription(
            id=_QUEUE,
            source=QueueSource(_QUEUE, terms),
            target=self,
            policy=_Nightly(),
            scaling=Scaling(start=1, most=1),
            renew_ms=_LEASE_MS,
        )

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Go one round through one bucket."""
        (message,) = batch
        asked = orjson.loads(message.body)
        bucket = await self._still(asked["bucket"], asked["token"])
        if bucket is None:
            return Delivered(b"over")
        ctx = Context(
            account=bucket["account"],
            region=bucket["region"],
            now=self._clock.now(),
            request_id=self._ids.uuid(),
            principal="s3.amazonaws.com",
            principal_id="s3.amazonaws.com",
        )
        try:
            await self._objects(ctx, bucket)
            await self._uploads(ctx, bucket)
        except AwsError as error:
            return Failed(error.message.encode(), kind=error.code)
        return Delivered()

    async def _still(self, name: str, token: str) -> Document | None:
        """The bucket, if its rules are still those that a round began with."""
        row = await self._store.table.get(BUCKETS, NAMESPACE, name.encode())
        bucket: Document = {} if row is None else orjson.loads(row.document)
        return bucket if bucket.get("lifecycle", {}).get("token") == token else None

    async def _objects(self, ctx: Context, bucket: Document) -> None:
        low = b""
        while rows := await self._store.table.range(
            OBJECTS, bucket["name"].encode(), low=low, limit=_PAGE
        ):
            for row in rows:
                await self._object(ctx, bucket, row.sort.decode(), load(row.document))
            low = rows[-1].sort + b"\0"
            # Requests come first; one of them may have changed the rules.
            await self._clock.sleep_until(0)
            if await self._still(bucket["name"], bucket["lifecycle"]["token"]) is None:
                return

    async def _object(self, ctx: Context, bucket: Document, key: str, current: Document) -> None:
        rules = bucket["lifecycle"]["rules"]
        entries: list[Request] = []
        if bucket.get("versioning"):
            versions = [current, *[each async for each in older(self._store, bucket["name"], key)]]
            gone = superfluous(rules, key, versions, ctx.now)
            if marker_goes(rules, key, versions):
                gone = [current]
            entries = [{"Key": key, "VersionId": each["version_id"]} for each in gone]
        if not current.get("delete_marker"):
            end = ends_at(rules, key, current)
            if end is not None and end[0] <= ctx.now:
                entries.append({"Key": key, "IfMatch": current["etag"]})
        if entries:
            await self._changes.remove(ctx, {"Bucket": bucket["name"]}, entries, _FAMILY)

    async def _uploads(self, ctx: Context, bucket: Document) -> None:
        name = bucket["name"].encode()
        rules = bucket["lifecycle"]["rules"]
        for row in await self._store.table.range(UPLOADS, name, limit=100_000):
            upload = orjson.loads(row.document)
            if upload_goes(rules, upload["key"], upload["modified_at"], ctx.now):
                async with self._store.transaction() as tx:
                    await self._buckets.forget_upload(
                        tx, bucket["name"], row.sort.decode(), ctx.now
                    )


class _Nightly:
    """Waits for the next midnight until the rules are others."""

    def hold(self, throttles: int, until: int, now: int) -> int | None:
        """Nothing is throttled."""
        return None

    def decide(self, message: Leased, outcome: Outcome, now: int) -> Decision:
        """Once more tomorrow, or never."""
        if isinstance(outcome, Delivered) and outcome.result:
            return Settle()
        return Retry(midnight_after(now))

    def follow_up(
        self, message: Leased, outcome: Outcome, decision: Decision, now: int
    ) -> Sequence[tuple[str, NewMessage]]:
        """Nothing."""
        return ()


def _require_expiration(rule: dict[str, Any]) -> None:
    expiration = rule.get("Expiration")
    if expiration is None:
        return
    if len(expiration) != 1:
        raise malformed()
    if expiration.get("Days", 1) < 1:
        raise _invalid("'Days' for Expiration action must be a positive integer")
    if expiration.get("Date", 0) % DAY:
        fields = {"ArgumentName": "Date", "ArgumentValue": iso(expiration["Date"])}
        text = "'Date' must be at midnight GMT"
        raise AwsError("InvalidArgument", text, status=400, fields=fields)
    wanted = rule.get("Filter", {})
    if "ExpiredObjectDeleteMarker" in expiration and (
        "Tag" in wanted or "Tags" in wanted.get("And", {})
    ):
        raise malformed()


def _invalid(text: str) -> AwsError:
    return AwsError("InvalidArgument", text, status=400)
