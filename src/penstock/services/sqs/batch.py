"""Batches: what they must be as a whole, and how each entry is answered."""

import re
from typing import Any, Final

from penstock.api import Request, Result
from penstock.core.errors import AwsError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_IDS: Final = re.compile(f"{_ID.pattern}(?:,{_ID.pattern})*")


def entries_of(request: Request, name: str) -> list[dict[str, Any]]:
    """The entries of a batch. Raises what is wrong with it as a whole."""
    entries: list[dict[str, Any]] = request.get("Entries") or []
    if not entries:
        raise AwsError(
            "EmptyBatchRequest", f"There should be at least one {name}RequestEntry in the request."
        )
    if len(entries) > 10:
        raise AwsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are 10. You have sent {len(entries)}.",
        )
    ids = [entry.get("Id") or "" for entry in entries]
    joined = ",".join(ids)
    # One look at all of them; only for a batch that fails it is asked which entry is to blame.
    if not (
        _IDS.fullmatch(joined) and joined.count(",") == len(ids) - 1 and len(set(ids)) == len(ids)
    ):
        _blame(entries)
    return entries


def _blame(entries: list[dict[str, Any]]) -> None:
    """Raise what is wrong with the first entry that is not as it must be."""
    seen: set[str] = set()
    for entry in entries:
        id_ = entry.get("Id") or ""
        if not _ID.fullmatch(id_):
            raise AwsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
                " It can be at most 80 letters long.",
            )
        if id_ in seen:
            raise AwsError("BatchEntryIdsNotDistinct", f"Id {id_} repeated.")
        seen.add(id_)


def failure(id_: str, error: AwsError) -> Result:
    """How an entry that failed is told."""
    # AWS: a batch entry's failure names the query protocol's code (recorded: `InvalidParameterValue`).
    code = {
        "InvalidParameterValueException": "InvalidParameterValue",
        "MissingRequiredParameterException": "MissingParameter",
    }.get(error.code, error.code)
    message = error.message.replace(
        "are invalid. Reason: Message must be", "cannot be validated. Reason: Message must be"
    )
    return {"Id": id_, "SenderFault": True, "Code": code, "Message": message}


def batch_result(successful: list[Result], failed: list[Result]) -> Result:
    """The answer to a batch; a list that is empty is left out."""
    result: Result = {}
    if successful:
        result["Successful"] = successful
    if failed:
        result["Failed"] = failed
    return result
