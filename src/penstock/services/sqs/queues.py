"""Operations on queues: create, find, describe, change, tag, purge, delete."""

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import Arn, make_arn, parse_arn
from penstock.core.errors import AwsError
from penstock.services.sqs.attribute import check_attributes, normalized
from penstock.services.sqs.queue import DEFAULTS, FIFO_DEFAULTS, QueueRecord, check_name
from penstock.services.sqs.tag import check_tags
from penstock.storage.primitives import LeaseTerms, Row, Store

TABLE: Final = "sqs/queues"
# AWS: 120,000 messages in flight on either kind of queue (developer guide, "message quotas").
MAX_IN_FLIGHT: Final = 120_000
_DELETED: Final = "sqs/deleted"
_PURGE_MS: Final = 60_000
_DELETE_MS: Final = 60_000
_KNOWN_NAMES: Final = 10_000
_KNOWN_LENGTH: Final = 1_000
"""Longer URLs are looked up each time: they are the client's own, and would fill the memory."""
_EXPIRE_AT_ONCE: Final = 5_000
_READ_ONLY: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
_OPTIONAL: Final = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")


class Queues:
    """The queues of every account and region."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: dict[tuple[bytes, bytes], QueueRecord] = {}
        self._by_url: dict[tuple[str, str, str | None], QueueRecord] = {}
        """What URLs name for callers from an account and region, as long as no queue has changed."""
        self._by_arn: dict[str, QueueRecord] = {}
        """The same of ARNs."""
        self._stamp = 0
        self.on_create: Callable[[], None] = lambda: None
        """Called when there is a new queue."""

    async def find(self, account: str, region: str, name: str) -> QueueRecord | None:
        """A queue by name. Decoded once for each version of its record."""
        key = _key(account, region, name)
        row = await self._store.table.get(TABLE, *key)
        if row is None:
            self._cache.pop(key, None)
            return None
        record = self._cache.get(key)
        if record is None or record.version != row.version:
            record = self._cache[key] = QueueRecord.load(row.document, row.version)
        return record

    def _decoded(self, row: Row) -> QueueRecord:
        """The record of a row, out of the cache if it is there."""
        record = self._cache.get((row.partition, row.sort))
        if record is None or record.version != row.version:
            return QueueRecord.load(row.document, row.version)
        return record

    async def pages(self) -> AsyncIterator[list[QueueRecord]]:
        """All queues, a hundred at a time; they may change between two pages."""
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(TABLE, after=after, limit=100):
            yield [self._decoded(row) for row in rows]
            after = (rows[-1].partition, rows[-1].sort)

    async def of(self, account: str, region: str) -> list[QueueRecord]:
        """The queues of an account in a region, by name."""
        partition = f"{account}/{region}".encode()
        rows = await self._store.table.range(TABLE, partition, limit=1_000_000)
        return [self._decoded(row) for row in rows]

    def known(self, ctx: Context, request: Request) -> QueueRecord | None:
        """The queue that `QueueUrl` names, if that was found out before; else ask `by_url`."""
        if self._store.table.stamp(TABLE) != self._stamp:
            self._forget()
        return self._by_url.get((ctx.account, ctx.region, request.get("QueueUrl")))

    def _forget(self) -> None:
        """A queue may have changed."""
        self._stamp = self._store.table.stamp(TABLE)
        self._by_url.clear()
        self._by_arn.clear()

    async def by_url(self, ctx: Context, request: Request) -> QueueRecord:
        """The queue that `QueueUrl` names: its last two components are the account and the name."""
        url = request.get("QueueUrl")
        if not url:
            raise AwsError(
                "MissingRequiredParameterException",
                "The request must contain the parameter QueueUrl.",
            )
        parts = url.rsplit("/", 2)
        if not parts[-1]:
            raise AwsError("InvalidAddress", f"The address {url} is not valid for this endpoint.")
        account = parts[-2] if len(parts) > 1 and parts[-2].isdigit() else ctx.account
        record = await self.find(account, ctx.region, parts[-1])
        if record is None:
            raise missing_queue(ctx)
        if len(url) <= _KNOWN_LENGTH and self._stamp == self._store.table.stamp(TABLE):
            if len(self._by_url) >= _KNOWN_NAMES:
                self._by_url.clear()
            self._by_url[ctx.account, ctx.region, url] = record
        return record

    async def by_arn(self, arn: str) -> QueueRecord | None:
        """The queue of an ARN."""
        if self._store.table.stamp(TABLE) != self._stamp:
            self._forget()
        record = self._by_arn.get(arn)
        if record is not None:
            return record
        parsed = _queue_arn(arn)
        if parsed is None:
            return None
        record = await self.find(parsed.account, parsed.region, parsed.resource)
        if record is not None and self._stamp == self._store.table.stamp(TABLE):
            if len(self._by_arn) >= _KNOWN_NAMES:
                self._by_arn.clear()
            self._by_arn[arn] = record
        return record

    async def lease_terms(self, queue: QueueRecord, visibility: int | None, now: int) -> LeaseTerms:
        """The terms on which a queue's messages are leased now; `visibility` in ms, or the queue's own.

        While its dead-letter queue does not exist a message stays, however often it was received.
        """
        dead_letter = queue.dead_letter
        if dead_letter is not None and await self.by_arn(dead_letter) is None:
            dead_letter = None
        return LeaseTerms(
            until=now + (queue.visibility_ms if visibility is None else visibility),
            oldest=now - queue.retention_ms,
            dead_letter=dead_letter,
            max_leases=queue.max_receives,
            source=queue.arn,
            max_leased=MAX_IN_FLIGHT,
        )

    async def sources_of(self, arn: str) -> list[QueueRecord]:
        """The queues whose dead letters go to `arn`."""
        parsed = parse_arn(arn)
        queues = await self.of(parsed.account, parsed.region)
        return [queue for queue in queues if queue.dead_letter == arn]

    @operation(
        "CreateQueue",
        in_part=["Attributes.KmsMasterKeyId", "Attributes.KmsDataKeyReusePeriodSeconds"],
    )
    async def create_queue(self, ctx: Context, request: Request) -> Result:
        """Create a queue; the same request again answers the same URL."""
        name = required(request, "QueueName")
        given = normalized({k: v for k, v in request.get("Attributes", {}).items() if v != ""})
        fifo = given.get("FifoQueue") == "true"
        check_name(name)
        if fifo != name.endswith(".fifo"):
            raise AwsError(
                "InvalidParameterValueException",
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores,"
                " must end with .fifo suffix and be 1 to 80 in length"
                if fifo
                else "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            )
        defaults = {**DEFAULTS, **FIFO_DEFAULTS} if fifo else DEFAULTS
        check_attributes(given, defaults, fifo=fifo, creating=True)
        existing = await self.find(ctx.account, ctx.region, name)
        if existing is not None:
            _check_same(existing, given)
            return {"QueueUrl": queue_url(ctx, existing)}
        tags = dict(request.get("tags") or {})
        check_tags(name, tags)
        record = QueueRecord(
            name=name,
            arn=make_arn("sqs", ctx.region, ctx.account, name),
            account=ctx.account,
            attributes={**defaults, **given},
            tags=tags,
            created_at=ctx.now,
            modified_at=ctx.now,
        )
        await self._check_name_is_free(record, ctx.now)
        await self._check_dead_letter(record)
        await self._save(record, expect=0)
        self.on_create()
        return {"QueueUrl": queue_url(ctx, record)}

    async def _check_name_is_free(self, record: QueueRecord, now: int) -> None:
        row = await self._store.table.get(_DELETED, _partition(record), record.name.encode())
        if row is not None and now - int(row.document) < _DELETE_MS:
            raise AwsError(
                "QueueDeletedRecently",
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            )

    async def forget_deleted(self, now: int) -> None:
        """Free the names of queues that were deleted long enough ago."""
        for row in await self._store.table.scan(_DELETED):
            if now - int(row.document) >= _DELETE_MS:
                await self._store.table.delete(
                    _DELETED, row.partition, row.sort, expect=row.version
                )

    @operation("GetQueueUrl")
    async def get_queue_url(self, ctx: Context, request: Request) -> Result:
        """The URL of a queue by name."""
        account = request.get("QueueOwnerAWSAccountId") or ctx.account
        record = await self.find(account, ctx.region, required(request, "QueueName"))
        if record is None:
            raise missing_queue(ctx)
        return {"QueueUrl": queue_url(ctx, record)}

    @operation("ListQueues")
    async def list_queues(self, ctx: Context, request: Request) -> Result:
        """URLs of queues by prefix; paged only when `MaxResults` is given."""
        limit = request.get("MaxResults")
        if limit is not None and not 1 <= limit <= 1000:
            raise AwsError(
                "InvalidParameterValueException",
                f"Value {limit} for parameter MaxResults is invalid. Reason: Must be between 1 and 1000, if provided.",
            )
        prefix = request.get("QueueNamePrefix", "").encode()
        high = prefix + b"\xff" if prefix else None
        # AWS: at most 1,000 queues are listed, without a token unless MaxResults was given (API reference).
        rows = await self._store.table.range(
            TABLE,
            f"{ctx.account}/{ctx.region}".encode(),
            low=max(prefix, _after(request.get("NextToken"))),
            high=high,
            limit=(limit or 1000) + 1,
        )
        urls = [f"{ctx.endpoint}/{ctx.account}/{row.sort.decode()}" for row in rows]
        page = urls[: limit or 1000]
        result: Result = {"QueueUrls": page} if page else {}
        if limit and len(rows) > limit:
            # AWS: the token is the last URL in base64 (recorded by LocalStack).
            result["NextToken"] = base64.b64encode(page[-1].encode()).decode()
        return result

    @operation("DeleteQueue")
    async def delete_queue(self, ctx: Context, request: Request) -> None:
        """Delete a queue and its messages."""
        record = await self.by_url(ctx, request)
        key = (_partition(record), record.name.encode())
        async with self._store.transaction() as tx:
            await tx.table.delete(TABLE, *key)
            await tx.table.put(_DELETED, *key, str(ctx.now).encode())
            await tx.queue.purge(record.arn)

    @operation("GetQueueAttributes")
    async def get_queue_attributes(self, ctx: Context, request: Request) -> Result:
        """The attributes asked for; `All` for every one that is set."""
        record = await self.by_url(ctx, request)
        names = request.get("AttributeNames") or []
        known = {
            *DEFAULTS,
            *FIFO_DEFAULTS,
            *_READ_ONLY,
            *_OPTIONAL,
            "All",
            "KmsDataKeyReusePeriodSeconds",
        }
        for name in names:
            if name not in known:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        if not names:
            return {}
        available = {**record.attributes, **await self._counts(record, ctx.now)}
        if "All" not in names:
            available = {k: v for k, v in available.items() if k in names}
        return {"Attributes": available} if available else {}

    @operation(
        "SetQueueAttributes",
        in_part=["Attributes.KmsMasterKeyId", "Attributes.KmsDataKeyReusePeriodSeconds"],
    )
    async def set_queue_attributes(self, ctx: Context, request: Request) -> None:
        """Change attributes; an empty RedrivePolicy or Policy removes it."""
        record = await self.by_url(ctx, request)
        given = normalized(required(request, "Attributes"))
        check_attributes(given, record.attributes, fifo=record.fifo, creating=False)
        attributes = dict(record.attributes)
        for name, value in given.items():
            # AWS: what is not encrypted has no reuse period (recorded by LocalStack).
            if value == "" or name == "KmsDataKeyReusePeriodSeconds":
                attributes.pop(name, None)
            else:
                attributes[name] = value
        changed = _changed(record, attributes=attributes, modified_at=ctx.now)
        await self._check_dead_letter(changed)
        await self._save(changed, expect=record.version)

    async def set_attribute(
        self, record: QueueRecord, name: str, value: str | None, now: int
    ) -> None:
        """Change one attribute, or remove it; the value has been checked."""
        attributes = {k: v for k, v in record.attributes.items() if k != name}
        if value is not None:
            attributes[name] = value
        changed = _changed(record, attributes=attributes, modified_at=now)
        await self._save(changed, expect=record.version)

    async def set_tags(self, record: QueueRecord, tags: Mapping[str, str]) -> None:
        """Replace the tags."""
        await self._save(_changed(record, tags=dict(tags)), expect=record.version)

    @operation("PurgeQueue")
    async def purge_queue(self, ctx: Context, request: Request) -> None:
        """Remove every message."""
        record = await self.by_url(ctx, request)
        if record.purged_at and ctx.now - record.purged_at < _PURGE_MS:
            raise AwsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {record.name} is allowed every 60 seconds.",
            )
        async with self._store.transaction() as tx:
            await tx.queue.purge(record.arn)
            await tx.table.put(
                TABLE,
                _partition(record),
                record.name.encode(),
                _changed(record, purged_at=ctx.now).dump(),
                expect=record.version,
            )

    @operation("ListDeadLetterSourceQueues")
    async def list_dead_letter_source_queues(self, ctx: Context, request: Request) -> Result:
        """URLs of the queues whose dead letters come here."""
        record = await self.by_url(ctx, request)
        sources = await self.sources_of(record.arn)
        limit = request.get("MaxResults") or 1000
        token = request.get("NextToken") or "0"
        if not (token.isascii() and token.isdigit()):
            raise AwsError("InvalidParameterValueException", "Invalid or expired next token.")
        start = int(token)
        page = sources[start : start + limit]
        result: Result = {"queueUrls": [queue_url(ctx, source) for source in page]}
        if request.get("MaxResults") and start + limit < len(sources):
            result["NextToken"] = str(start + limit)
        return result

    async def _counts(self, record: QueueRecord, now: int) -> dict[str, str]:
        # What has expired must not be counted; what is left of a great many goes in the background.
        await self._store.queue.expire(record.arn, now - record.retention_ms, _EXPIRE_AT_ONCE)
        counts = await self._store.queue.count(record.arn, now)
        return {
            "ApproximateNumberOfMessages": str(counts.visible),
            "ApproximateNumberOfMessagesNotVisible": str(counts.leased),
            "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
            "CreatedTimestamp": str(record.created_at // 1000),
            "LastModifiedTimestamp": str(record.modified_at // 1000),
            "QueueArn": record.arn,
        }

    async def _check_dead_letter(self, record: QueueRecord) -> None:
        """A dead-letter queue must exist, be of the same kind, account and region, and allow this source."""
        if record.dead_letter is None:
            return
        text = record.attributes["RedrivePolicy"]
        start = f"Value {text} for parameter RedrivePolicy is invalid. Reason: "
        parsed = parse_arn(record.dead_letter)
        target = await self.by_arn(record.dead_letter)
        own = parse_arn(record.arn)
        if target is None or (parsed.account, parsed.region) != (own.account, own.region):
            raise AwsError(
                "InvalidParameterValueException", f"{start}Dead letter target does not exist."
            )
        if target.fifo != record.fifo:
            kind = "FIFO" if record.fifo else "standard"
            raise AwsError(
                "InvalidParameterValueException",
                f"{start}Dead-letter queue must be same type of queue as the source: {kind}.",
            )
        _check_allowed(record, target, start)

    async def _save(self, record: QueueRecord, *, expect: int) -> None:
        await self._store.table.put(
            TABLE, _partition(record), record.name.encode(), record.dump(), expect=expect
        )


@lru_cache(maxsize=10_000)
def _key(account: str, region: str, name: str) -> tuple[bytes, bytes]:
    return f"{account}/{region}".encode(), name.encode()


def missing_queue(ctx: Context) -> AwsError:
    """The error for a queue that is not there; its text differs by protocol."""
    # AWS: the query protocol adds "for this wsdl version" (recorded by LocalStack's SQS snapshots).
    suffix = " for this wsdl version." if ctx.protocol == "query" else "."
    return AwsError("QueueDoesNotExist", f"The specified queue does not exist{suffix}")


def queue_url(ctx: Context, record: QueueRecord) -> str:
    """The URL of a queue, from the host name that the client used."""
    return f"{ctx.endpoint}/{record.account}/{record.name}"


def _check_allowed(record: QueueRecord, target: QueueRecord, start: str) -> None:
    policy = orjson.loads(target.attributes.get("RedriveAllowPolicy") or "{}")
    permission = policy.get("redrivePermission", "allowAll")
    allowed = permission == "allowAll" or (
        permission == "byQueue" and record.arn in policy.get("sourceQueueArns", [])
    )
    if not allowed:
        raise AwsError(
            "InvalidParameterValueException",
            f"{start}Queue {record.arn} is not permitted to use {target.arn} as a dead-letter queue"
            " by its RedriveAllowPolicy.",
        )


@lru_cache(maxsize=10_000)
def _queue_arn(arn: str) -> Arn | None:
    try:
        parsed = parse_arn(arn)
    except AwsError:
        return None
    return parsed if parsed.service == "sqs" else None


def _partition(record: QueueRecord) -> bytes:
    arn = parse_arn(record.arn)
    return f"{arn.account}/{arn.region}".encode()


def _changed(record: QueueRecord, **changes: Any) -> QueueRecord:
    values = orjson.loads(record.dump())
    return QueueRecord(**{**values, **changes})


def _check_same(existing: QueueRecord, given: Mapping[str, str]) -> None:
    for attribute, value in given.items():
        if existing.attributes.get(attribute) != value:
            raise AwsError(
                "QueueNameExists",
                "A queue already exists with the same name and a different value"
                f" for attribute {attribute}",
            )


def _after(token: str | None) -> bytes:
    """The first name that may follow the queue in a token."""
    try:
        url = base64.b64decode(token or "", validate=True)
    except (binascii.Error, ValueError):
        url = b""
    name = url.rpartition(b"/")[2]
    if token and not name:
        raise AwsError("InvalidParameterValueException", "Invalid or expired next token.")
    return name + b"\0" if name else b""


def required(request: Request, name: str) -> Any:
    """A parameter that must be there and not be empty."""
    value = request.get(name)
    if value in (None, "", [], {}):
        raise AwsError(
            "MissingRequiredParameterException", f"The request must contain the parameter {name}."
        )
    return value
