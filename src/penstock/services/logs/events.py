"""The operations on log events: put, read a stream, search a group."""

import base64
import heapq
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.logs.filter_pattern import compile_filter
from penstock.services.logs.groups import bad_token, group_name
from penstock.services.logs.streams import Streams, event_of
from penstock.storage.primitives import Record

_DAY_MS: Final = 86_400_000
_LIMIT: Final = 10_000
_CHUNK: Final = 1_000
_MAX_BATCH: Final = 1_048_576
_MAX_ANSWER: Final = 1_048_576
_OVERHEAD: Final = 26
# How many events one page of a search looks at.
_MAX_EXAMINED: Final = 10_000
_FIRST_CHUNK: Final = 16
_SEQUENCES: Final = 10**19
_END: Final = (1 << 63) - 1
_Place: TypeAlias = tuple[int, int]
_Key: TypeAlias = tuple[int, str, int]
"""Instant, stream, sequence: the order of a search."""
_TOKEN: Final = re.compile(r"([fb])/([0-9]{56})/s")
_SEARCH_TOKEN: Final = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):(.+)")


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
        after, before = _times(request)
        place, reverse = (0, 0), not request.get("startFromHead")
        if token := request.get("nextToken"):
            place, reverse = _place(token)
            after, before = (after, min(place, before)) if reverse else (max(place, after), before)
        found = await self._page(log, request, (after, before), reverse=reverse)
        first = (found[0].at, found[0].sequence) if found else place
        last = (found[-1].at, found[-1].sequence) if found else place
        return {
            "events": [event_of(record) for record in found],
            "nextForwardToken": f"f/{last[0] * _SEQUENCES + last[1]:056d}/s",
            "nextBackwardToken": f"b/{first[0] * _SEQUENCES + first[1]:056d}/s",
        }

    @operation("FilterLogEvents", refuses=["unmask"])
    async def filter_log_events(self, ctx: Context, request: Request) -> Result:
        """Events of a group's streams that pass a filter, in order of time."""
        group = await self._streams.group(ctx.account, ctx.region, group_name(request))
        passes = compile_filter(request.get("filterPattern") or "")
        limit = request.get("limit") or _LIMIT
        after = _decoded(request.get("nextToken"))
        names = await self._names(ctx, group["logGroupName"], request)
        page: list[dict[str, Any]] = []
        last: _Key = after or (0, "", 0)
        size = examined = 0
        async for key, record in self._merged(ctx, group, names, (after, *_times(request))):
            event = event_of(record)
            matches = passes(event["message"])
            size += (len(record.data) + _OVERHEAD) if matches else 0
            full = matches and (len(page) == limit or (page and size > _MAX_ANSWER))
            # AWS: a page may be short, even empty, and still tell that there is more (API reference, FilterLogEvents).
            if full or examined == _MAX_EXAMINED:
                return {"events": page, "searchedLogStreams": [], "nextToken": _encoded(last)}
            at, name, sequence = last = key
            examined += 1
            if matches:
                identity = f"{at:020d}{sequence:036d}"
                page.append({"logStreamName": name, **event, "eventId": identity})
        return {"events": page, "searchedLogStreams": []}

    async def _page(
        self, log: str, request: Request, span: tuple[_Place, _Place], *, reverse: bool
    ) -> list[Record]:
        """Up to `limit` events and one megabyte between two places, oldest first."""
        limit = request.get("limit") or _LIMIT
        found: list[Record] = []
        size = 0
        async for record in self._records(log, span, reverse=reverse):
            size += len(record.data) + _OVERHEAD
            if len(found) == limit or (found and size > _MAX_ANSWER):
                break
            found.append(record)
        return found[::-1] if reverse else found

    async def _merged(
        self,
        ctx: Context,
        group: dict[str, Any],
        names: Sequence[str],
        span: tuple[_Key | None, _Place, _Place],
    ) -> AsyncIterator[tuple[_Key, Record]]:
        """Events of several streams beyond a key, between two places, in order; read as far as they are asked for."""
        beyond, after, before = span
        heap: list[tuple[_Key, Record, AsyncIterator[Record]]] = []
        for name in sorted(set(names)):
            log = Streams.log(ctx.account, ctx.region, group["logGroupName"], name)
            await self._streams.trim(log, group, ctx.now)
            start = after if beyond is None else max(after, _within(name, beyond))
            records = self._records(log, (start, before))
            async for record in records:
                heap.append(((record.at, name, record.sequence), record, records))
                break
        heapq.heapify(heap)
        while heap:
            key, record, records = heap[0]
            yield key, record
            following = await anext(records, None)
            if following is None:
                heapq.heappop(heap)
            else:
                key = (following.at, key[1], following.sequence)
                heapq.heapreplace(heap, (key, following, records))

    async def _records(
        self, log: str, span: tuple[_Place, _Place], *, reverse: bool = False
    ) -> AsyncIterator[Record]:
        """A stream's events between two places, in chunks that grow."""
        after, before = span
        chunk = _FIRST_CHUNK
        while True:
            records = await self._streams.store.log.read_by_time(
                log, after=after, before=before, limit=chunk, reverse=reverse
            )
            for record in records:
                yield record
            if len(records) < chunk:
                return
            place = (records[-1].at, records[-1].sequence)
            after, before = (after, place) if reverse else (place, before)
            chunk = min(chunk * 4, _CHUNK)

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


def _times(request: Request) -> tuple[_Place, _Place]:
    """The places that startTime, inclusive, and endTime, exclusive, stand for."""
    start, end = request.get("startTime"), request.get("endTime")
    return (min(start or 0, _END), 0), (_END if end is None else min(end, _END), 0)


def _within(name: str, key: _Key) -> _Place:
    """The place in the stream `name` beyond which its events come after `key`."""
    at, other, sequence = key
    if name == other:
        return at, sequence
    return at, _END if name < other else 0


def _place(token: str) -> tuple[_Place, bool]:
    """The place in a token of GetLogEvents, and whether it leads backward. Raises InvalidParameterException."""
    match = _TOKEN.fullmatch(token)
    at, sequence = divmod(int(match[2]), _SEQUENCES) if match else (0, 0)
    if match is None or max(at, sequence) > _END:
        raise bad_token()
    return (at, sequence), match[1] == "b"


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


def _encoded(key: _Key) -> str:
    at, name, sequence = key
    return base64.urlsafe_b64encode(f"{at}:{sequence}:{name}".encode()).decode()


def _decoded(token: str | None) -> _Key | None:
    if not token:
        return None
    try:
        match = _SEARCH_TOKEN.fullmatch(base64.urlsafe_b64decode(token).decode())
    except ValueError:
        match = None
    if match is None:
        raise bad_token()
    return int(match[1]), match[3], int(match[2])
