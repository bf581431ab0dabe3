"""Dead letters: how an event looks that no target took."""

from typing import Any, Final

from penstock.core.retry import DeadLetter, DoublingSchedule
from penstock.core.sqs_message import encode_attributes
from penstock.delivery.model import Failed
from penstock.fanout import Delivery, Letter
from penstock.storage.primitives import Leased, NewMessage

# AWS: the codes of the EventBridge guide, "using dead-letter queues"; ours of other services by theirs.
_CODES: Final = {
    "AccessDenied": "NO_PERMISSIONS",
    "AccessDeniedException": "NO_PERMISSIONS",
    "CONNECTION_FAILURE": "CONNECTION_FAILURE",
    "INVALID_JSON": "INVALID_JSON",
    "SDK_CLIENT_ERROR": "SDK_CLIENT_ERROR",
    "THIRD_ACCOUNT_HOP_DETECTED": "THIRD_ACCOUNT_HOP_DETECTED",
    "THIRD_REGION_HOP_DETECTED": "THIRD_REGION_HOP_DETECTED",
    "TIMEOUT": "TIMEOUT",
}
_GONE: Final = ("NotFound", "NonExistent", "DoesNotExist", "NoSuch")
_THROTTLED: Final = ("Throttl", "TooMany", "LimitExceeded", "OverLimit", "SlowDown")


def error_code(failed: Failed) -> str:
    """The code by which EventBridge names a failure."""
    kind = failed.kind
    if kind in _CODES:
        return _CODES[kind]
    if any(part in kind for part in _GONE) or failed.code == 404:
        return "NO_RESOURCE"
    if any(part in kind for part in _THROTTLED) or failed.code == 429:
        return "THROTTLING"
    if kind == "ERROR_FROM_TARGET":
        return kind
    if kind.startswith(("Invalid", "Validation", "Missing")):
        return "INVALID_PARAMETER"
    return "INTERNAL_ERROR" if failed.code >= 500 else "ERROR_FROM_TARGET"


def schedule_of(delivery: Delivery) -> DoublingSchedule:
    """When a delivery is tried again, by its target's retry policy."""
    return DoublingSchedule(
        max_retries=delivery.own["retries"], max_age_ms=delivery.own["max_age_ms"]
    )


def letter_of(delivery: Delivery, message: Leased, failed: Failed, decision: DeadLetter) -> Letter:
    """The dead letter of a delivery: the event as it was before it was shaped for its target."""
    event = delivery.own.get("event")
    body = message.body if event is None else event.encode()
    attributes = _attributes(delivery, failed, message.leases - 1)
    if decision.reason:
        attributes["EXHAUSTED_RETRY_CONDITION"] = _text(decision.reason)
    return Letter(body=body, attributes=attributes)


def letter_at_once(
    delivery: Delivery, body: bytes, failed: Failed, id_: str, now: int
) -> NewMessage:
    """The dead letter of an event that could not even be sent."""
    attributes = _attributes(delivery, failed, 0)
    kept = encode_attributes(delivery.account, attributes, delivery.trace)
    return NewMessage(id=id_, body=body, attributes=kept, visible_at=now)


def _attributes(delivery: Delivery, failed: Failed, retries: int) -> dict[str, Any]:
    return {
        "RULE_ARN": _text(delivery.arn),
        "TARGET_ARN": _text(delivery.to),
        "ERROR_CODE": _text(error_code(failed)),
        "ERROR_MESSAGE": _text(failed.error.decode(errors="replace") or failed.kind or "-"),
        "RETRY_ATTEMPTS": {"DataType": "Number", "StringValue": str(retries)},
    }


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
