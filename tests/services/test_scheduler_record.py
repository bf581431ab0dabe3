"""When a schedule is due. The downtime of a machine is an argument here, and takes no time."""

from typing import Any

from penstock.services.scheduler.record import Record

MINUTE = 60_000


def record(expression: str, window: int = 0, **more: Any) -> Record:
    flexible = {"MaximumWindowInMinutes": window} if window else {}
    given = {"ScheduleExpression": expression, "FlexibleTimeWindow": flexible, **more}
    return Record(given=given, created_at=0, modified_at=0, generation="g")


def test_what_was_missed_fires_once() -> None:
    """Minutes 1 to 59 passed while the system was down: after minute 1 comes minute 60, not minute 2."""
    assert record("rate(1 minute)").following(MINUTE, 59 * MINUTE + 1) == 60 * MINUTE
    assert record("rate(1 minute)").following(MINUTE, MINUTE + 1) == 2 * MINUTE


def test_an_occurrence_whose_window_is_open_is_not_missed() -> None:
    """It may still run within its flexible window."""
    assert record("rate(5 minutes)", window=15).following(0, 12 * MINUTE) == 5 * MINUTE


def test_nothing_comes_after_the_end() -> None:
    """The end itself belongs to the schedule."""
    assert record("rate(1 minute)", EndDate=MINUTE).following(0, 0) == MINUTE
    assert record("rate(1 minute)", EndDate=MINUTE).following(MINUTE, MINUTE) is None


def test_a_rate_begins_at_its_start_and_cron_not_before_it() -> None:
    """A rate counts from its start, a cron goes by the clock."""
    assert record("rate(1 day)", StartDate=7 * MINUTE).next_after(0) == 7 * MINUTE
    assert record("cron(0/5 * * * ? *)", StartDate=7 * MINUTE).next_after(0) == 10 * MINUTE
