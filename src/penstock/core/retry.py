"""Decisions about messages that could not be delivered, and AWS's retry schedules as data."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Settle:
    """Done: remove the message."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `at` (ms). The attempt counts."""

    at: int


@dataclass(frozen=True, slots=True)
class Postpone:
    """Try again at `at` (ms) as if this attempt had not been made; `attributes` are the message's from now on."""

    at: int
    attributes: bytes


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


Decision: TypeAlias = Settle | Retry | Postpone | Leave | DeadLetter | Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from `first_ms` to `most_ms`."""

    first_ms: int
    most_ms: int

    def delay(self, times: int) -> int:
        """How long to wait (ms) after failing `times` times (from 1) in a row."""
        return min(self.first_ms << min(times - 1, 30), self.most_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRetryPolicy:
    """How Lambda retries an asynchronous invocation. Durations in ms."""

    max_retries: int = 2
    max_age_ms: int = 6 * 3600 * 1000
    # AWS: function errors are retried after one minute, then two (Lambda guide, "asynchronous invocation").
    delays_ms: tuple[int, ...] = (60_000, 120_000)
    # AWS: throttles and system errors back off from one second to five minutes (same page).
    throttle: Backoff = Backoff(first_ms=1_000, most_ms=300_000)


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
    at = now + policy.throttle.delay(throttles)
    if at - enqueued_at >= policy.max_age_ms:
        return DeadLetter("EventAgeExceeded")
    return Retry(at)


class Schedule(Protocol):
    """When a delivery that failed is tried again."""

    @property
    def max_age_ms(self) -> int:
        """How long after it was sent a message may still be tried."""
        ...

    def delay(self, failures: int) -> int | None:
        """How long to wait (ms) after so many failures (from 1); None when that was the last try."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DoublingSchedule:
    """Waits that double: how EventBridge, Scheduler, Pipes and Lambda's destinations try again."""

    # AWS: 185 retries within 24 hours (EventBridge guide, "retry policy"); the waits are not told. These fill the day.
    max_retries: int = 185
    max_age_ms: int = 86_400_000
    backoff: Backoff = Backoff(first_ms=1_000, most_ms=480_000)

    def delay(self, failures: int) -> int | None:
        """The wait after so many failures."""
        return None if failures > self.max_retries else self.backoff.delay(failures)


def after_refusal(
    schedule: Schedule, *, failures: int, enqueued_at: int, now: int
) -> Retry | DeadLetter:
    """What follows the `failures`-th failure of a delivery. Reasons are named as EventBridge names exhausted conditions."""
    wait = schedule.delay(failures)
    if wait is None:
        return DeadLetter("MaximumRetryAttempts")
    if now + wait - enqueued_at > schedule.max_age_ms:
        return DeadLetter("MaximumEventAgeInSeconds")
    return Retry(now + wait)
