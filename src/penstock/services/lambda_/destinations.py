"""Where the results of asynchronous events go: destinations and dead-letter queues, which ones may be set, which are gone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from penstock.api import refuse
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.repository import LATEST, Ref

_log: Final = logging.getLogger("penstock.lambda")

QueueExists: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether there is a queue of an ARN."""


def event_config(document: dict[str, Any], qualifier: str | None) -> dict[str, Any]:
    """The EventInvokeConfig of a qualifier, empty where none was put."""
    found: dict[str, Any] = document["event_invoke"].get(qualifier or LATEST) or {}
    return found


async def check_destination(arn: str | None, ref: Ref, exists: QueueExists) -> None:
    """Refuse a destination that is no standard queue. Raises AwsError."""
    if not arn:
        return
    if arn == ref.arn or arn.startswith(f"{ref.arn}:"):
        raise invalid("You can't specify the function as a destination for itself.")
    if not arn.startswith("arn:aws:sqs:"):
        raise refuse("a Lambda destination that is not an SQS queue")
    # AWS: FIFO queues are no destinations (Lambda guide, "asynchronous invocation: destinations").
    if arn.endswith(".fifo") or not await exists(arn):
        raise invalid(f"The destination ARN {arn} is invalid.")


async def check_dead_letter(arn: str | None, exists: QueueExists) -> None:
    """Refuse a DeadLetterConfig that names no standard queue. Raises AwsError."""
    if not arn:
        return
    if not arn.startswith("arn:aws:sqs:"):
        raise refuse("a Lambda DeadLetterConfig that is not an SQS queue")
    # AWS: FIFO queues are no dead-letter queues of functions (Lambda guide, "dead-letter queues").
    if arn.endswith(".fifo") or not await exists(arn):
        raise invalid(f"Invalid dead letter ARN: {arn}")


class Recipients:
    """The queues that one function's events may be reported to, and which of them were gone when last looked at."""

    def __init__(self, document: dict[str, Any], exists: QueueExists) -> None:
        self._document = document
        self._exists = exists
        self._gone: set[str] = set()

    def on_success(self, qualifier: str | None) -> str | None:
        """The ARN of the queue for records of success."""
        return self._destination(qualifier, "OnSuccess")

    def on_failure(self, qualifier: str | None) -> str | None:
        """The ARN of the queue for records of failure."""
        return self._destination(qualifier, "OnFailure")

    def dead_letter(self) -> str | None:
        """The ARN of the dead-letter queue."""
        found: dict[str, str] = self._document["config"].get("DeadLetterConfig") or {}
        return found.get("TargetArn")

    async def look(self, qualifier: str | None) -> None:
        """Find out which of the queues that an event under `qualifier` may be reported to are there."""
        for arn in {self.on_success(qualifier), self.on_failure(qualifier), self.dead_letter()}:
            if arn is None:
                continue
            if await self._exists(arn):
                self._gone.discard(arn)
            else:
                self._gone.add(arn)

    def there(self, arn: str) -> bool:
        """Whether a queue is there. What is meant for one that is gone is lost, as on AWS."""
        if arn in self._gone:
            _log.warning("a result or dead letter is lost: its queue %s does not exist", arn)
            return False
        return True

    def _destination(self, qualifier: str | None, side: str) -> str | None:
        config = event_config(self._document, qualifier).get("DestinationConfig") or {}
        return (config.get(side) or {}).get("Destination") or None
