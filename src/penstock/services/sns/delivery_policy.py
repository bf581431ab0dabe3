"""Delivery policies of HTTP and HTTPS: of a topic (all its subscriptions) and of one subscription."""

from typing import Any, Final

import orjson

from penstock.core.phases import AWS_MANAGED, PhasedSchedule
from penstock.services.sns.problem import invalid

# AWS: defaults and bounds (SNS guide, "creating an HTTP/S delivery policy"; recorded by LocalStack).
DEFAULT_RETRY: Final = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
_DEFAULT_REQUEST: Final = {"headerContentType": "text/plain; charset=UTF-8"}
_FUNCTIONS: Final = ("arithmetic", "exponential", "geometric", "linear")
_HOUR_MS: Final = 3_600_000
_MOST_DELAY: Final = 3600
_MOST_RETRIES: Final = 100
_CONTENT_TYPES: Final = (
    "application/json",
    "application/octet-stream",
    "application/soap+xml",
    "application/x-www-form-urlencoded",
    "application/xml",
    "application/atom+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/plain",
    "text/xml",
)


def read_topic_policy(text: str) -> str:
    """The DeliveryPolicy of a topic as it is kept; empty for none. Raises for what is no policy."""
    document = _parse(text)
    if document is None:
        return ""
    http = document.get("http")
    if not isinstance(http, dict):
        raise invalid("DeliveryPolicy: http must be specified")
    kept = {name: value for name, value in http.items() if value is not None}
    _check_retry(kept.get("defaultHealthyRetryPolicy"))
    _check_throttle(kept.get("defaultThrottlePolicy"))
    _check_request(kept.get("defaultRequestPolicy"))
    kept.setdefault("disableSubscriptionOverrides", False)
    return orjson.dumps({"http": kept}).decode()


def read_subscription_policy(text: str) -> str:
    """The DeliveryPolicy of a subscription as it is kept; empty for none. Raises for what is no policy."""
    document = _parse(text)
    if document is None:
        return ""
    _check_retry(document.get("healthyRetryPolicy"))
    _check_throttle(document.get("throttlePolicy"))
    _check_request(document.get("requestPolicy"))
    retry = document.get("healthyRetryPolicy")
    kept = {
        "healthyRetryPolicy": None if retry is None else {**DEFAULT_RETRY, **retry},
        "sicklyRetryPolicy": None,
        "throttlePolicy": document.get("throttlePolicy"),
        "requestPolicy": document.get("requestPolicy"),
        "guaranteed": False,
    }
    return orjson.dumps(kept).decode()


def effective_topic_policy(text: str | None) -> dict[str, Any]:
    """What holds for a topic's subscriptions: its policy over the defaults."""
    http = orjson.loads(text)["http"] if text else {}
    effective = {
        "defaultHealthyRetryPolicy": {
            **DEFAULT_RETRY,
            **http.get("defaultHealthyRetryPolicy", {}),
        },
        "disableSubscriptionOverrides": http.get("disableSubscriptionOverrides", False),
    }
    if "defaultThrottlePolicy" in http:
        effective["defaultThrottlePolicy"] = http["defaultThrottlePolicy"]
    effective["defaultRequestPolicy"] = http.get("defaultRequestPolicy", _DEFAULT_REQUEST)
    return {"http": effective}


def effective_policy(topic_policy: str | None, own: str | None) -> dict[str, Any]:
    """What holds for one subscription: its own policy over its topic's, unless the topic forbids it."""
    topic = effective_topic_policy(topic_policy)["http"]
    kept = orjson.loads(own) if own and not topic["disableSubscriptionOverrides"] else {}
    return {
        "healthyRetryPolicy": kept.get("healthyRetryPolicy") or topic["defaultHealthyRetryPolicy"],
        "sicklyRetryPolicy": None,
        "throttlePolicy": kept.get("throttlePolicy") or topic.get("defaultThrottlePolicy"),
        "requestPolicy": kept.get("requestPolicy") or topic["defaultRequestPolicy"],
        "guaranteed": False,
    }


def schedule_of(retry: dict[str, Any], *, paced: bool) -> PhasedSchedule:
    """The schedule that a healthyRetryPolicy means. Where deliveries are `paced`, to wait for a turn is no retry."""
    immediate, before = retry["numNoDelayRetries"], retry["numMinDelayRetries"]
    after = retry["numMaxDelayRetries"]
    return PhasedSchedule(
        immediate=immediate,
        before=before,
        backoff=max(0, retry["numRetries"] - immediate - before - after),
        after=after,
        min_ms=retry["minDelayTarget"] * 1000,
        max_ms=retry["maxDelayTarget"] * 1000,
        rise=retry["backoffFunction"],
        # AWS: an hour is the most, whatever the policy says (same page).
        max_age_ms=AWS_MANAGED.max_age_ms if paced else _HOUR_MS,
        max_waits_ms=_HOUR_MS if paced else None,
    )


def _parse(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid(f"DeliveryPolicy: failed to parse JSON. {error}") from None
    if not isinstance(document, dict):
        raise invalid("DeliveryPolicy: failed to parse JSON.")
    return document


def _check_retry(retry: Any) -> None:
    if retry is None:
        return
    if not isinstance(retry, dict) or set(retry) - set(DEFAULT_RETRY):
        raise invalid("DeliveryPolicy: healthyRetryPolicy has unknown fields")
    full = {**DEFAULT_RETRY, **retry}
    if full["backoffFunction"] not in _FUNCTIONS:
        raise invalid("DeliveryPolicy: backoffFunction must be one of " + ", ".join(_FUNCTIONS))
    numbers = {name: value for name, value in full.items() if name != "backoffFunction"}
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise invalid(f"DeliveryPolicy: {name} must be a number of at least 0")
    low, high, total = full["minDelayTarget"], full["maxDelayTarget"], full["numRetries"]
    if not 1 <= low <= high:
        raise invalid(
            "DeliveryPolicy: healthyRetryPolicy.minDelayTarget must be greater than 0 and less than"
            " or equal to maxDelayTarget"
        )
    if high > _MOST_DELAY:
        raise invalid("DeliveryPolicy: healthyRetryPolicy.maxDelayTarget must be at most 3600")
    if total > _MOST_RETRIES:
        raise invalid("DeliveryPolicy: healthyRetryPolicy.numRetries must be at most 100")
    if full["numNoDelayRetries"] + full["numMinDelayRetries"] + full["numMaxDelayRetries"] > total:
        raise invalid(
            "DeliveryPolicy: healthyRetryPolicy.numRetries must be greater than or equal to the sum"
            " of the retries of its phases"
        )


def _check_throttle(throttle: Any) -> None:
    if throttle is None:
        return
    rate = throttle.get("maxReceivesPerSecond") if isinstance(throttle, dict) else None
    if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
        raise invalid("DeliveryPolicy: maxReceivesPerSecond must be at least 1")


def _check_request(request: Any) -> None:
    if request is None:
        return
    kind = request.get("headerContentType") if isinstance(request, dict) else None
    if not isinstance(kind, str) or kind.split(";")[0].strip() not in _CONTENT_TYPES:
        raise invalid("DeliveryPolicy: headerContentType is not supported")
