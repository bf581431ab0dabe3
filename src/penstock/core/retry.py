"""Decisions about messages that could not be delivered, and AWS's retry schedules as data."""

from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Settle:
    """Done: remove the message."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `at` (ms). `counted` says whether the attempt counts against the limit."""

    at: int
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Leave:
    """Let the lease run out; the source brings the message back by its own rules."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Give up for `reason`; whoever asked for dead letters gets one."""

    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up for `reason`, with no one to tell."""

    reason: str


Decision: TypeAlias = Settle | Retry | Leave | DeadLetter | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRetryPolicy:
    """How Lambda retries an asynchronous invocation. Durations in ms."""

    max_retries: int = 2
    max_age_ms: int = 6 * 3600 * 1000
    # AWS: function errors are retried after one minute, then two (Lambda guide, "asynchronous invocation").
    delays_ms: tuple[int, ...] = (60_000, 120_000)
    # AWS: throttles and system errors back off from one second to five minutes (same page).
    throttle_first_ms: int = 1_000
    throttle_max_ms: int = 300_000


LAMBDA_ASYNC: Final = AsyncRetryPolicy()


def after_failure(
    policy: AsyncRetryPolicy, *, attempts: int, enqueued_at: int, now: int
) -> Retry | DeadLetter:
    """What follows a function error on try number `attempts` (from 1)."""
    if attempts > policy.max_retries:
        return DeadLetter("RetriesExhausted")
    at = now + policy.delays_ms[min(attempts, len(policy.delays_ms)) - 1]
    # AWS: a retry that would start after the maximum age is not awaited (recorded: age 60 s gives one invocation).
    if at - enqueued_at >= policy.max_age_ms:
        return DeadLetter("EventAgeExceeded")
    return Retry(at)


def after_throttle(
    policy: AsyncRetryPolicy, *, throttles: int, enqueued_at: int, now: int
) -> Retry | DeadLetter:
    """What follows the `throttles`-th (from 1) throttle or system error in a row."""
    delay = min(policy.throttle_first_ms << min(throttles - 1, 20), policy.throttle_max_ms)
    if now + delay - enqueued_at >= policy.max_age_ms:
        return DeadLetter("EventAgeExceeded")
    return Retry(now + delay, counted=False)
