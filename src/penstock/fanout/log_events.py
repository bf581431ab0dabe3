"""Log groups as targets."""

from collections.abc import Mapping, Sequence
from typing import Final

from penstock.api import Context, Dispatcher
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError

_DAY_MS: Final = 86_400_000


async def put_log_events(
    dispatcher: Dispatcher,
    ctx: Context,
    group_arn: str,
    stream: str,
    events: Sequence[tuple[int, str]],
) -> list[int]:
    """Put (instant in ms, message) pairs into a stream, which is made if there is none.

    Returns the indices of those that the group does not take for their instants. Raises AwsError when it takes none.
    """
    where = parse_arn(group_arn)
    there = ctx.child(account=where.account or ctx.account, region=where.region or ctx.region)
    group = where.resource.removeprefix("log-group:").removesuffix(":*")
    names = {"logGroupName": group, "logStreamName": stream}
    try:
        await dispatcher.call(there, "logs", "CreateLogStream", names)
    except AwsError as error:
        if error.code != "ResourceAlreadyExistsException":
            raise
    refused: list[int] = []
    for part in _days(events):
        given = [{"timestamp": events[index][0], "message": events[index][1]} for index in part]
        result = await dispatcher.call(there, "logs", "PutLogEvents", {**names, "logEvents": given})
        refused += _refused(part, result.get("rejectedLogEventsInfo") or {})
    if len(refused) == len(events):
        raise AwsError("InvalidParameterException", "The log group does not take such an instant.")
    return refused


def _days(events: Sequence[tuple[int, str]]) -> list[list[int]]:
    """Indices in order of time, in parts of a day at most: one request takes no more."""
    parts: list[list[int]] = []
    for index in sorted(range(len(events)), key=lambda index: events[index][0]):
        if not parts or events[index][0] - events[parts[-1][0]][0] > _DAY_MS:
            parts.append([])
        parts[-1].append(index)
    return parts


def _refused(part: Sequence[int], told: Mapping[str, int]) -> list[int]:
    """Those that were too old, expired or too new."""
    first = max(told.get("tooOldLogEventEndIndex", 0), told.get("expiredLogEventEndIndex", 0))
    return [*part[:first], *part[told.get("tooNewLogEventStartIndex", len(part)) :]]
