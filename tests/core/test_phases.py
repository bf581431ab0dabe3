"""The four phases of delivery policies."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.phases import AWS_MANAGED, PhasedSchedule, Rise

RISES: list[Rise] = ["arithmetic", "exponential", "geometric", "linear"]


def delays(schedule: PhasedSchedule) -> list[int]:
    """Every delay of a schedule."""
    found = []
    for failures in count(1):
        delay = schedule.delay(failures)
        if delay is None:
            return found
        found.append(delay)
    return found


def test_the_phases_follow_one_another() -> None:
    """None, the minimum, the rise, the maximum."""
    schedule = PhasedSchedule(
        immediate=2,
        before=1,
        backoff=3,
        after=2,
        min_ms=10,
        max_ms=30,
        max_age_ms=1000,
    )
    assert delays(schedule) == [0, 0, 10, 10, 20, 30, 30, 30]


def test_all_waits_together_have_a_limit() -> None:
    """The wait that would exceed it is not made."""
    schedule = PhasedSchedule(before=5, min_ms=10, max_ms=10, max_age_ms=1_000_000, max_waits_ms=35)
    assert delays(schedule) == [10, 10, 10]


@pytest.mark.parametrize(
    ("rise", "expected"),
    [
        ("linear", [1000, 2000, 3000, 4000, 5000]),
        ("arithmetic", [1000, 1400, 2200, 3400, 5000]),
        ("exponential", [1000, 1267, 1800, 2867, 5000]),
        ("geometric", [1000, 1495, 2236, 3344, 5000]),
    ],
)
def test_how_the_backoff_rises(rise: Rise, expected: list[int]) -> None:
    """Each function has its own way from the minimum to the maximum."""
    schedule = PhasedSchedule(backoff=5, min_ms=1000, max_ms=5000, rise=rise, max_age_ms=1)
    assert delays(schedule) == expected


@given(
    st.sampled_from(RISES),
    st.integers(1, 100),
    st.integers(1, 3600),
    st.integers(0, 3599),
)
def test_the_backoff_never_falls_and_stays_in_bounds(
    rise: Rise, retries: int, low: int, more: int
) -> None:
    """Whatever the policy, delays rise from the minimum to the maximum."""
    low_ms, high_ms = low * 1000, min(low + more, 3600) * 1000
    schedule = PhasedSchedule(
        backoff=retries, min_ms=low_ms, max_ms=high_ms, rise=rise, max_age_ms=1
    )
    found = delays(schedule)
    assert len(found) == retries
    assert all(one <= other for one, other in pairwise(found))
    assert found[0] == low_ms
    assert retries == 1 or found[-1] == high_ms


def test_what_aws_manages() -> None:
    """100,015 retries over 23 days."""
    assert AWS_MANAGED.delay(3) == 0
    assert AWS_MANAGED.delay(4) == AWS_MANAGED.delay(6) == 1000
    assert AWS_MANAGED.delay(15) == AWS_MANAGED.delay(100_015) == 20_000
    assert AWS_MANAGED.delay(100_016) is None
