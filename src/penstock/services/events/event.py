"""Events: what PutEvents makes of an entry, and how large it is."""

import json
from typing import Any, Final

import orjson

from penstock.core.errors import AwsError
from penstock.core.input_transformer import dumps
from penstock.services.events.names import Scope, time_text

_TIME_BYTES: Final = 14
_DEEP: Final = 100
# Whoever looks at the event later may stand deeper in the stack.
_SPARE: Final = 50
_OUTLINE: Final = bytes(
    48 if chr(code).isdecimal() else 91 if chr(code) in "[{" else 32 for code in range(256)
)
"""To write 0 for every digit, [ for all that opens, and a space for all else."""
# The shortest that may be an integer beyond 64 bits.
_LARGE: Final = b"0" * 19


class Event:
    """An event on its way: the document that patterns see and targets get, and the trace header it came with.

    `sent_on` says that it came from another bus.
    """

    __slots__ = ("_body", "document", "id", "sent_on", "trace")

    def __init__(
        self, document: dict[str, Any], trace: str | None = None, *, sent_on: bool = False
    ) -> None:
        self.document = document
        self.id = str(document["id"])
        self.trace = trace
        self.sent_on = sent_on
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The document as JSON."""
        if self._body is None:
            self._body = dumps(self.document)
        return self._body


def new_document(  # noqa: PLR0913 -- the members of an event
    *,
    id_: str,
    scope: Scope,
    source: str,
    detail_type: str,
    at: int,
    resources: list[str],
    detail: dict[str, Any],
) -> dict[str, Any]:
    """An event's document, its members in AWS's order. `at` in ms."""
    return {
        "version": "0",
        "id": id_,
        "detail-type": detail_type,
        "source": source,
        "account": scope.account,
        "time": time_text(at),
        "region": scope.region,
        "resources": resources,
        "detail": detail,
    }


def parse_detail(text: str) -> dict[str, Any]:
    """The detail of an entry. Raises MalformedDetail for what is no JSON object."""
    try:
        outline = text.encode().translate(_OUTLINE)
        detail: Any = _parse_large(text) if _LARGE in outline else orjson.loads(text)
        if outline.count(b"[") > _DEEP:
            # What is nested too deeply for anybody to look at is refused before it is taken.
            _require_shallow(detail)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(detail, dict):
        raise _malformed()
    return detail


def _malformed() -> AwsError:
    return AwsError("MalformedDetail", "Detail is malformed.")


def _require_shallow(detail: Any) -> None:
    for _ in range(_SPARE):
        detail = {"": detail}
    try:
        _look(detail)
    except RecursionError as error:
        raise _malformed() from error


def _look(value: Any) -> None:
    """Look at everything within a value, as deep as it is."""
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            _look(member)


def _parse_large(text: str) -> Any:
    """Integers beyond 64 bits are JSON, too, and stay what they are. Raises ValueError for what could not be written again."""
    found = json.loads(text)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    return found


def entry_size(entry: dict[str, Any]) -> int:
    """The bytes that an entry counts for (EventBridge guide, "calculating PutEvents event entry size")."""
    given = entry.get
    texts = (given("Source", ""), given("DetailType", ""), given("Detail", ""))
    size = len("".join((*texts, *given("Resources", ()))).encode())
    return size + _TIME_BYTES if "Time" in entry else size
