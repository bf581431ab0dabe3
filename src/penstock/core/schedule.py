"""Schedule expressions of EventBridge rules and EventBridge Scheduler: `rate(...)`, `cron(...)`, `at(...)`.

Source: EventBridge guide, "rate and cron expressions"; EventBridge Scheduler guide, "schedule types".
"""

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol
from zoneinfo import ZoneInfo

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)(s?)\)")
_CRON: Final = re.compile(r"cron\(([^()]*)\)")
_AT: Final = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_UNIT_MS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_MONTHS: Final = {name.upper(): n for n, name in enumerate(calendar.month_abbr) if n}
_DAYS: Final = {
    name: n for n, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)
}
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2199


class ScheduleError(ValueError):
    """The expression is not one."""


class Schedule(Protocol):
    """When something is due. Instants in ms."""

    def next_after(self, at: int, since: int) -> int | None:
        """The first instant after `at`, of a schedule that began at `since`; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so often, from one period after the beginning on."""

    every_ms: int

    def next_after(self, at: int, since: int) -> int | None:
        """The first multiple of the period after `at`."""
        periods = max((at - since) // self.every_ms, 0) + 1
        return since + periods * self.every_ms


@dataclass(frozen=True, slots=True)
class Once:
    """At one instant."""

    at: int

    def next_after(self, at: int, since: int) -> int | None:
        """The instant, if it is still to come."""
        return self.at if self.at > at else None


DaysOf = Callable[[int, int], set[int]]
"""The days of a month that fit, from the year and the month."""


@dataclass(frozen=True, slots=True)
class Cron:
    """At wall-clock times of a zone."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days_of: DaysOf
    months: tuple[int, ...]
    years: tuple[int, ...]
    zone: ZoneInfo

    def next_after(self, at: int, since: int) -> int | None:
        """The first time after `at`. A time that the clocks skip is skipped; one that they show twice is the first."""
        local = datetime.fromtimestamp(at / 1000, self.zone).replace(tzinfo=None)
        for wall in self._walls(local.replace(second=0, microsecond=0)):
            instant = wall.replace(tzinfo=self.zone)
            # AWS: where the clocks go forward a time that does not exist is not run; where they go back, a time runs once
            # (Scheduler guide, "daylight savings time").
            if instant.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != wall:
                continue
            found = int(instant.timestamp()) * 1000
            if found > at:
                return found
        return None

    def _walls(self, first: datetime) -> Iterator[datetime]:
        """Wall-clock times in order, from `first` on."""
        for day in self._days(first.date()):
            whole = day > first.date()
            for hour in self.hours:
                if not whole and hour < first.hour:
                    continue
                for minute in self.minutes:
                    if whole or hour > first.hour or minute >= first.minute:
                        yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 -- a wall has no zone

    def _days(self, first: date) -> Iterator[date]:
        for year in self.years:
            if year < first.year:
                continue
            for month in self.months:
                if (year, month) < (first.year, first.month):
                    continue
                for number in sorted(self.days_of(year, month)):
                    day = date(year, month, number)
                    if day >= first:
                        yield day


def parse_schedule(text: str, *, zone: str = "UTC", strict_units: bool = True) -> Schedule:
    """The schedule of an expression. Raises ScheduleError.

    With `strict_units` (rules), `minute` goes with 1 alone and `minutes` with everything else.
    """
    if found := _RATE.fullmatch(text):
        return _rate(int(found[1]), found[2], bool(found[3]), strict_units)
    where = _zone(zone)
    if found := _AT.fullmatch(text):
        try:
            wall = datetime.fromisoformat(found[1])
        except ValueError as error:
            raise ScheduleError(str(error)) from error
        return Once(int(wall.replace(tzinfo=where).timestamp()) * 1000)
    if found := _CRON.fullmatch(text):
        return _cron(found[1].split(), where)
    raise ScheduleError(f"{text!r} is no schedule expression")


def _rate(value: int, unit: str, plural: bool, strict: bool) -> Rate:
    if value < 1:
        raise ScheduleError("a rate is at least 1")
    if strict and plural != (value > 1):
        raise ScheduleError("the unit is singular with 1, and plural with more")
    return Rate(value * _UNIT_MS[unit])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ScheduleError(f"{name!r} is no time zone") from error


def _cron(fields: list[str], zone: ZoneInfo) -> Cron:
    if len(fields) != 6:
        raise ScheduleError("cron takes six fields")
    minute, hour, day_of_month, month, day_of_week, year = fields
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ScheduleError("one of day-of-month and day-of-week is ?, and not both")
    by_month = day_of_week == "?"
    days_of = _days_of_month(day_of_month) if by_month else _days_of_week(day_of_week)
    return Cron(
        minutes=_values(minute, 0, 59),
        hours=_values(hour, 0, 23),
        days_of=days_of,
        months=_values(month, 1, 12, _MONTHS),
        years=_values(year, _FIRST_YEAR, _LAST_YEAR),
        zone=zone,
    )


def _values(text: str, low: int, high: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """The numbers that a field of `,`, `-`, `*` and `/` names, in order."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first == "*" and not dash:
            start, end = low, high
        else:
            start = _number(first, low, high, names)
            end = _number(last, low, high, names) if dash else (high if slash else start)
        every = _number(step, 1, high, None) if slash else 1
        if end >= start:
            found.update(range(start, end + 1, every))
        else:
            # A range may go over the end: FRI-MON, NOV-FEB.
            found.update(
                low + (n - low) % (high - low + 1)
                for n in range(start, end + high - low + 2, every)
            )
    return tuple(sorted(found))


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    if names is not None and text.upper() in names:
        return names[text.upper()]
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ScheduleError(f"{text!r} is not within {low} and {high}")
    return int(text)


def _last(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _days_of_month(text: str) -> DaysOf:
    if text == "L":
        return lambda year, month: {_last(year, month)}
    if text == "LW":
        return lambda year, month: {_weekday_near(year, month, _last(year, month))}
    if text.endswith("W"):
        day = _number(text[:-1], 1, 31, None)
        return lambda year, month: (
            {_weekday_near(year, month, day)} if day <= _last(year, month) else set()
        )
    days = set(_values(text, 1, 31))
    return lambda year, month: {day for day in days if day <= _last(year, month)}


def _weekday_near(year: int, month: int, day: int) -> int:
    """The weekday of the month that is nearest to a day."""
    match date(year, month, day).weekday():
        case 5:
            return day - 1 if day > 1 else day + 2
        case 6:
            return day + 1 if day < _last(year, month) else day - 2
    return day


def _days_of_week(text: str) -> DaysOf:
    if "#" in text:
        name, _, place = text.partition("#")
        weekday, nth = _number(name, 1, 7, _DAYS), _number(place, 1, 5, None)
        return lambda year, month: set(_all(year, month, {weekday})[nth - 1 : nth])
    if text == "L":
        return lambda year, month: set(_all(year, month, {7}))
    if text.endswith("L"):
        weekday = _number(text[:-1], 1, 7, _DAYS)
        return lambda year, month: set(_all(year, month, {weekday})[-1:])
    weekdays = set(_values(text, 1, 7, _DAYS))
    return lambda year, month: set(_all(year, month, weekdays))


def _all(year: int, month: int, weekdays: set[int]) -> list[int]:
    """Days of a month that are such weekdays (1 is Sunday), in order."""
    first = date(year, month, 1)
    days = (first + timedelta(days=n) for n in range(_last(year, month)))
    return [day.day for day in days if day.isoweekday() % 7 + 1 in weekdays]
