"""The operations on log events: put, read a stream, search a group."""

import base64
import re
from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.logs.filter_pattern import compile_filter
from penstock.services.logs.groups import group_name
from penstock.services.logs.streams import Streams, event_of
from penstock.storage.primitives import Record

_DAY_MS: Final = 86_400_000
_LIMIT: Final = 10_000
_CHUNK: Final = 1_000
_MAX_BATCH: Final = 1_048_576
_MAX_ANSWER: Final = 1_048_576
_OVERHEAD: Final = 26
_TOKEN: Final = re.compile(r"([fb])/(\d{56})/s")


class Events:
    """See the module."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    @operation("PutLogEvents", refuses=["entity"])
    async def put_log_events(self, ctx: Context, request: Request) -> Result:
        """Append events; those too old or too far ahead are told and left out."""
        group = await self._streams.group(ctx.account, ctx.region, request["logGroupName"])
        name = request["logStreamName"]
        await self._streams.stream(ctx.account, ctx.region, group["logGroupName"], name)
        events = [(event["timestamp"], event["message"]) for event in request["logEvents"]]
        _check_batch(events)
        kept, rejected = _sorted_out(events, group.get("retentionInDays"), ctx.now)
        log = Streams.log(ctx.account, ctx.region, group["logGroupName"], name)
        sequence = await self._streams.append(log, kept, ctx.now) if kept else 0
        result: Result = {"nextSequenceToken": f"{sequence:056d}"}
        return {**result, "rejectedLogEventsInfo": rejected} if rejected else result

    @operation("GetLogEvents", refuses=["unmask"])
    async def get_log_events(self, ctx: Context, request: Request) -> Result:
        """A page of a stream, oldest event first, from its head, its tail, or a token."""
        group = await self._streams.group(ctx.account, ctx.region, group_name(request))
        name = request["logStreamName"]
        await self._streams.stream(ctx.account, ctx.region, group["logGroupName"], name)
        log = Streams.log(ctx.account, ctx.region, group["logGroupName"], name)
        await self._streams.trim(log, group, ctx.now)
        token = request.get("nextToken")
        sequence, reverse = 0, not request.get("startFromHead")
        if token:
            match = _TOKEN.fullmatch(token)
            if match is None:
                raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
            sequence, reverse = int(match[2]), match[1] == "b"
        found = await self._page(log, request, sequence, reverse=reverse)
        first = found[0].sequence if found else sequence
        last = found[-1].sequence if found else sequence
        return {
            "events": [event_of(record) for record in found],
            "nextForwardToken": f"f/{last:056d}/s",
            "nextBackwardToken": f"b/{first:056d}/s",
        }

    @operation("FilterLogEvents", refuses=["unmask"])
    async def filter_log_events(self, ctx: Context, request: Request) -> Result:
        """Events of a group's streams that pass a filter, in order of time."""
        group = await self._streams.group(ctx.account, ctx.region, group_name(request))
        passes = compile_filter(request.get("filterPattern") or "")
        limit = request.get("limit") or _LIMIT
        after = _decoded(request.get("nextToken"))
        found: list[tuple[int, str, int, dict[str, Any]]] = []
        for name in await self._names(ctx, group["logGroupName"], request):
            log = Streams.log(ctx.account, ctx.region, group["logGroupName"], name)
            await self._streams.trim(log, group, ctx.now)
            for record in await self._everything(log, request):
                key = (record.at, name, record.sequence)
                event = event_of(record)
                if (after is None or key > after) and passes(event["message"]):
                    found.append((*key, event))
        found.sort(key=lambda entry: entry[:3])
        page = [
            {
                "logStreamName": name,
                **event,
                "eventId": f"{at:020d}{sequence:036d}",
            }
            for at, name, sequence, event in found[:limit]
        ]
        result: Result = {"events": page, "searchedLogStreams": []}
        if len(found) > limit:
            result["nextToken"] = _encoded(found[limit - 1])
        return result

    async def _page(
        self, log: str, request: Request, sequence: int, *, reverse: bool
    ) -> list[Record]:
        """Up to `limit` events and one megabyte within the times of the request, beyond `sequence`."""
        limit = request.get("limit") or _LIMIT
        found: list[Record] = []
        size = 0
        while True:
            records = await self._streams.store.log.read(
                log, after=sequence, limit=_CHUNK, reverse=reverse
            )
            for record in records:
                if not _in_time(record, request):
                    continue
                size += len(record.data) + _OVERHEAD
                if len(found) == limit or (found and size > _MAX_ANSWER):
                    return found[::-1] if reverse else found
                found.append(record)
            if len(records) < _CHUNK:
                return found[::-1] if reverse else found
            sequence = records[-1].sequence

    async def _everything(self, log: str, request: Request) -> list[Record]:
        found: list[Record] = []
        sequence = 0
        while True:
            records = await self._streams.store.log.read(log, after=sequence, limit=_CHUNK)
            found += [record for record in records if _in_time(record, request)]
            if len(records) < _CHUNK:
                return found
            sequence = records[-1].sequence

    async def _names(self, ctx: Context, group: str, request: Request) -> list[str]:
        names = request.get("logStreamNames")
        prefix = request.get("logStreamNamePrefix")
        if names and prefix:
            raise AwsError(
                "InvalidParameterException",
                "logStreamNames and logStreamNamePrefix cannot both be specified.",
            )
        if names:
            for name in names:
                await self._streams.stream(ctx.account, ctx.region, group, name)
            return list(names)
        streams = await self._streams.streams(ctx.account, ctx.region, group, prefix or "")
        return [stream["logStreamName"] for stream in streams]


def _in_time(record: Record, request: Request) -> bool:
    """From startTime, inclusive, to endTime, exclusive."""
    start, end = request.get("startTime"), request.get("endTime")
    return (start is None or record.at >= start) and (end is None or record.at < end)


def _check_batch(events: list[tuple[int, str]]) -> None:
    times = [at for at, _ in events]
    if times != sorted(times):
        raise AwsError(
            "InvalidParameterException",
            "Log events in a single PutLogEvents request must be in chronological order.",
        )
    if times[-1] - times[0] > _DAY_MS:
        raise AwsError(
            "InvalidParameterException",
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        )
    size = sum(len(message.encode()) + _OVERHEAD for _, message in events)
    if size > _MAX_BATCH:
        raise AwsError(
            "InvalidParameterException",
            f"Upload too large: {size} bytes exceeds limit of {_MAX_BATCH}",
        )


def _sorted_out(
    events: list[tuple[int, str]], retention: int | None, now: int
) -> tuple[list[tuple[int, str]], dict[str, int]]:
    """What is stored, and the indexes where what is not ends or begins."""
    # AWS: not older than 14 days or the retention, not later than two hours from now.
    old = sum(at < now - 14 * _DAY_MS for at, _ in events)
    expired = sum(retention is not None and at < now - retention * _DAY_MS for at, _ in events)
    new = sum(at > now + 7_200_000 for at, _ in events)
    rejected: dict[str, int] = {}
    if new:
        rejected["tooNewLogEventStartIndex"] = len(events) - new
    if old:
        rejected["tooOldLogEventEndIndex"] = old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    return events[max(old, expired) : len(events) - new], rejected


def _encoded(entry: tuple[int, str, int, dict[str, Any]]) -> str:
    at, name, sequence, _ = entry
    return base64.urlsafe_b64encode(f"{at}:{sequence}:{name}".encode()).decode()


def _decoded(token: str | None) -> tuple[int, str, int] | None:
    if not token:
        return None
    try:
        at, sequence, name = base64.urlsafe_b64decode(token).decode().split(":", 2)
        return int(at), name, int(sequence)
    except ValueError as error:
        raise AwsError(
            "InvalidParameterException", "The specified nextToken is invalid."
        ) from error
