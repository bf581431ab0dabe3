"""Schedule expressions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.schedule import ScheduleError, parse_schedule


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def following(expression: str, after: str, zone: str = "UTC", count: int = 1) -> list[str]:
    schedule = parse_schedule(expression, zone=zone)
    at: int | None = instant(after)
    found = []
    for _ in range(count):
        assert at is not None
        at = schedule.next_after(at, instant(after))
        if at is None:
            break
        found.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("rate(1 minute)", "2026-01-01T00:00:30", ["2026-01-01T00:01:30", "2026-01-01T00:02:30"]),
        ("rate(2 hours)", "2026-01-01T00:00:00", ["2026-01-01T02:00:00"]),
        ("rate(7 days)", "2026-01-01T00:00:00", ["2026-01-08T00:00:00"]),
        ("at(2026-02-01T10:00:00)", "2026-01-01T00:00:00", ["2026-02-01T10:00:00"]),
        ("cron(0 10 * * ? *)", "2026-01-01T10:00:00", ["2026-01-02T10:00:00"]),
        ("cron(15 12 * * ? *)", "2026-01-01T12:14:59", ["2026-01-01T12:15:00"]),
        ("cron(0 18 ? * MON-FRI *)", "2026-01-02T18:00:00", ["2026-01-05T18:00:00"]),
        ("cron(0 8 1 * ? *)", "2026-01-01T08:00:00", ["2026-02-01T08:00:00"]),
        ("cron(0/10 * ? * MON-FRI *)", "2026-01-05T00:05:00", ["2026-01-05T00:10:00"]),
        ("cron(0 9 ? * 2#1 *)", "2026-01-06T00:00:00", ["2026-02-02T09:00:00"]),
        ("cron(0 0 L * ? *)", "2026-02-01T00:00:00", ["2026-02-28T00:00:00"]),
        ("cron(0 0 ? * 6L *)", "2026-01-01T00:00:00", ["2026-01-30T00:00:00"]),
        ("cron(0 0 ? * L *)", "2026-01-01T00:00:00", ["2026-01-03T00:00:00"]),
        # 1 August 2026 is a Saturday: the nearest weekday of the month is Monday the third.
        ("cron(0 0 1W 8 ? *)", "2026-01-01T00:00:00", ["2026-08-03T00:00:00"]),
        ("cron(0 0 31W 5 ? *)", "2026-01-01T00:00:00", ["2026-05-29T00:00:00"]),
        ("cron(0 0 29 2 ? *)", "2026-01-01T00:00:00", ["2028-02-29T00:00:00"]),
        ("cron(0 0 ? * FRI-MON *)", "2026-01-01T00:00:00", ["2026-01-02T00:00:00", "2026-01-03T00:00:00", "2026-01-04T00:00:00", "2026-01-05T00:00:00", "2026-01-09T00:00:00"]),
        ("cron(5 4 1 JAN,jul ? 2027)", "2026-01-01T00:00:00", ["2027-01-01T04:05:00", "2027-07-01T04:05:00"]),
    ],
)  # fmt: skip
def test_next(expression: str, after: str, expected: list[str]) -> None:
    """The examples of AWS's guides, and the rare signs."""
    assert expected == following(expression, after, count=len(expected))


def test_a_schedule_ends() -> None:
    """What lies in the past alone has no next time."""
    assert [] == following("at(2026-01-01T00:00:00)", "2026-01-01T00:00:00")
    assert [] == following("cron(0 0 1 1 ? 2020)", "2026-01-01T00:00:00")


def test_a_time_that_the_clocks_skip_is_not_run() -> None:
    """In New York, 02:30 of 8 March 2026 does not exist."""
    expected = ["2026-03-07T07:30:00", "2026-03-09T06:30:00"]
    assert expected == following("cron(30 2 * * ? *)", "2026-03-07T00:00:00", "America/New_York", 2)


def test_a_time_that_the_clocks_show_twice_runs_once() -> None:
    """In New York, 01:30 of 1 November 2026 comes twice."""
    expected = ["2026-11-01T05:30:00", "2026-11-02T06:30:00"]
    assert expected == following("cron(30 1 * * ? *)", "2026-10-31T12:00:00", "America/New_York", 2)


def test_at_is_in_its_zone() -> None:
    """Midnight in Berlin is not midnight in UTC."""
    expected = ["2026-06-30T22:00:00"]
    assert expected == following("at(2026-07-01T00:00:00)", "2026-01-01T00:00:00", "Europe/Berlin")


@pytest.mark.parametrize(
    "expression",
    [
        "rate(10 seconds)",
        "rate(1 minutes)",
        "rate(2 minute)",
        "rate(10 minutess)",
        " rate(10 minutes)",
        "rate(0 minutes)",
        "rate(-1 minutes)",
        "cron(0 1 * * * *)",
        "cron(0 1 ? * ? *)",
        "cron(71 8 1 * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 1 * * ?)",
        "cron(0 1 32 * ? *)",
        "cron(0 1 ? * 8 *)",
        "cron(0 1 ? * MON#6 *)",
        "cron(0 1 * * ? 1969)",
        "cron(0 1 * 13 ? *)",
        "cron(a 1 * * ? *)",
        "cron(0/0 1 * * ? *)",
        "at(2026-02-30T00:00:00)",
        "at(2026-02-01)",
        "",
        "now",
    ],
)
def test_what_is_none(expression: str) -> None:
    """What EventBridge refuses, however near it comes."""
    with pytest.raises(ScheduleError):
        parse_schedule(expression)


def test_scheduler_is_not_strict_about_units() -> None:
    """EventBridge Scheduler takes a plural of one, unlike rules."""
    assert 60_000 == parse_schedule("rate(1 minutes)", strict_units=False).next_after(0, 0)


def test_unknown_zones() -> None:
    """A zone is a name from the database, and never a path."""
    for zone in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ScheduleError):
            parse_schedule("cron(0 1 * * ? *)", zone=zone)


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    day=st.integers(1, 31),
    after=st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01")),
)
def test_next_is_the_first_that_fits(minute: int, hour: int, day: int, after: datetime) -> None:
    """Against looking at every minute's day: nothing between fits, and what was found does."""
    expression = f"cron({minute} {hour} {day} * ? *)"
    begun = int(after.replace(tzinfo=UTC, microsecond=0).timestamp()) * 1000
    found = parse_schedule(expression).next_after(begun, begun)
    assert found is not None
    expected = after.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while expected.day != day or int(expected.replace(tzinfo=UTC).timestamp()) * 1000 <= begun:
        expected += timedelta(days=1)
    assert int(expected.replace(tzinfo=UTC).timestamp()) * 1000 == found
