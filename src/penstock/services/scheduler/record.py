"""What a schedule is as it is stored, and when it is due. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from penstock.core.arn import make_arn
from penstock.core.schedule import Once, Rate, Schedule, parse_schedule

SCHEDULES: Final = "scheduler/schedules"
GROUPS: Final = "scheduler/groups"
DEFAULT_GROUP: Final = "default"
# AWS: a schedule runs within the minute that it names (Scheduler guide, "schedule types").
_PRECISION_MS: Final = 60_000
_TIMES: Final = ("ScheduleExpression", "ScheduleExpressionTimezone", "State")


class Place(NamedTuple):
    """Where a schedule is."""

    account: str
    region: str
    group: str
    name: str

    @property
    def partition(self) -> bytes:
        """Of the table."""
        return partition(self.account, self.region)

    @property
    def sort(self) -> bytes:
        """Of the table."""
        return f"{self.group}/{self.name}".encode()

    @property
    def arn(self) -> str:
        """The schedule's ARN."""
        return make_arn(
            "scheduler", self.region, self.account, f"schedule/{self.group}/{self.name}"
        )


def partition(account: str, region: str) -> bytes:
    """Where the tables have an account's schedules and groups of a region."""
    return f"{account}/{region}".encode()


@dataclass(slots=True, kw_only=True)
class Record:
    """A stored schedule. `given` has the members of the request that describe it, instants in ms."""

    given: dict[str, Any]
    created_at: int
    modified_at: int
    generation: str
    """Another one after each change of its times: what is due for an older one is void."""
    client_token: str | None = None

    def dump(self) -> bytes:
        """The document for the table."""
        return orjson.dumps(self)

    @staticmethod
    def load(document: bytes) -> "Record":
        """The record of a stored document."""
        return Record(**orjson.loads(document))

    @property
    def enabled(self) -> bool:
        """Whether it runs."""
        return bool(self.given.get("State", "ENABLED") == "ENABLED")

    @property
    def window_ms(self) -> int:
        """How much later than due it may run."""
        return int(self.given["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0)) * 60_000

    def first(self, now: int) -> int | None:
        """The instant when it is due first; None if it never is.

        One time that has just passed is not missed yet.
        """
        if isinstance(self._schedule(), Once):
            # AWS: an older one is accepted (recorded), and is no time at which it could still run.
            return self.next_after(now - 1 - max(self.window_ms, _PRECISION_MS))
        return self.next_after(now - 1)

    def next_after(self, at: int) -> int | None:
        """The first instant after `at` when it is due; None when it has come to its end."""
        schedule = self._schedule()
        if isinstance(schedule, Once):
            # AWS: StartDate and EndDate mean nothing to it (API reference, CreateSchedule).
            return schedule.next_after(at, 0)
        start = self.given.get("StartDate")
        if isinstance(schedule, Rate):
            # AWS: a rate first runs at its StartDate, and at once without one (Scheduler guide, "rate-based schedules").
            since = start or self.modified_at
            found = since if at < since else schedule.next_after(at, since)
        else:
            found = schedule.next_after(max(at, (start or 0) - 1), 0)
        end = self.given.get("EndDate")
        return None if found is None or (end is not None and found > end) else found

    def runs_as(self, other: "Record") -> bool:
        """Whether another record names the same times."""
        return self._agrees(other, _TIMES)

    def is_due_as(self, other: "Record") -> bool:
        """Whether what is due for another record is due for this one, too."""
        return self._agrees(other, (*_TIMES, "FlexibleTimeWindow", "StartDate", "EndDate"))

    def _agrees(self, other: "Record", names: Sequence[str]) -> bool:
        return all(self.given.get(name) == other.given.get(name) for name in names)

    def following(self, base: int, now: int) -> int | None:
        """What comes after the occurrence that was due at `base`. Those that were missed altogether are passed over."""
        found = self.next_after(base)
        if found is not None and found + self.window_ms < now:
            found = self.next_after(now)
        return found

    def _schedule(self) -> Schedule:
        zone = self.given.get("ScheduleExpressionTimezone", "UTC")
        return parse_schedule(self.given["ScheduleExpression"], zone=zone, strict_units=False)
