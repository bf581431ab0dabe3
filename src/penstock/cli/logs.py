"""`penstock logs`."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from penstock.cli.client import ClientError, make_client

_POLL_S = 0.5


def lines(endpoint: str, name: str, *, follow: bool) -> Iterator[str]:
    """The log of a function, or of a log group by its full name; with `follow`, as it grows."""
    logs = make_client("logs", endpoint)
    group = name if name.startswith("/") else _group_of(name, endpoint)
    # What was shown of the newest instant: the next look begins with it.
    seen: set[str] = set()
    start = 0
    while True:
        for event in _events(logs, group, start, missing_ok=follow):
            if event["eventId"] not in seen:
                if event["timestamp"] > start:
                    seen.clear()
                seen.add(event["eventId"])
                start = max(start, event["timestamp"])
                at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC).strftime("%H:%M:%S.%f")[
                    :-3
                ]
                yield f"{at} {event['message'].rstrip()}"
        if not follow:
            return
        time.sleep(_POLL_S)


def _group_of(function: str, endpoint: str) -> str:
    """Where a function writes its log; also of one that is gone, if it never chose another place."""
    try:
        config = make_client("lambda", endpoint).get_function_configuration(FunctionName=function)
    except ClientError:
        return f"/aws/lambda/{function}"
    return str(config["LoggingConfig"]["LogGroup"])


def _events(logs: Any, group: str, start: int, *, missing_ok: bool) -> Iterator[dict[str, Any]]:
    request: dict[str, Any] = {"logGroupName": group, "startTime": start}
    while True:
        try:
            page = logs.filter_log_events(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            if missing_ok:
                return
            text = (
                f"there is no log group {group}: the function has not run yet, or has another name"
            )
            raise OSError(text) from None
        yield from page["events"]
        if not page.get("nextToken"):
            return
        request["nextToken"] = page["nextToken"]
