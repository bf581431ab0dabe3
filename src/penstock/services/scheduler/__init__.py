"""EventBridge Scheduler: schedules in groups, each a message of a durable queue that is visible when it is due."""

from penstock.api import Service, operations_of
from penstock.fanout import Fanout
from penstock.services.scheduler.due import DueSchedules
from penstock.services.scheduler.groups import Groups
from penstock.services.scheduler.schedules import Schedules

__all__ = ["Scheduler"]


class Scheduler:
    """Builds the service."""

    def __init__(self, given: Fanout) -> None:
        self._due = DueSchedules(given)
        groups = Groups(given.store)
        schedules = Schedules(given.store, groups, self._due, given.dispatcher)
        self.service = Service("scheduler", operations_of(groups, schedules))

    def restore(self) -> None:
        """Go on with the schedules of before: what was due meanwhile fires once."""
        self._due.start()
