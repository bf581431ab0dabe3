"""Partial batch responses: which messages a function says it could not process."""

from collections.abc import Collection
from typing import Any

import orjson


def failed_items(response: bytes, ids: Collection[str]) -> frozenset[str]:
    """The ids of a batch that have failed, by the function's `ReportBatchItemFailures` response.

    AWS: null, an empty string, an empty document and a missing, null or empty list all mean success; whatever is
    malformed, and an identifier that is empty, null, missing, named twice or not of the batch, fails the batch as a whole
    (Lambda guide, "reporting batch item failures for Lambda functions with an Amazon SQS trigger").
    """
    everything = frozenset(ids)
    try:
        document = orjson.loads(response.strip() or b"null")
    except orjson.JSONDecodeError:
        return everything
    failures = document.get("batchItemFailures") if isinstance(document, dict) else document
    if failures is None or document == "":
        return frozenset()
    # A bare list is as malformed as a number.
    if not isinstance(failures, list) or failures is document:
        return everything
    found = frozenset(_identifier(failure) for failure in failures)
    return found if len(found) == len(failures) and found <= everything else everything


def _identifier(failure: Any) -> str:
    """The id that an entry names; the empty string, which no message has, when it names none."""
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    return identifier if isinstance(identifier, str) else ""
