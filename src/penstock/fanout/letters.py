"""Dead-letter queues: which of them are gone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

_log: Final = logging.getLogger("penstock.fanout")

QueueExists: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether there is a queue of an ARN."""


class Letters:
    """Queues as they were when last looked at: who decides about a message is pure and cannot look."""

    def __init__(self, exists: QueueExists) -> None:
        self._exists = exists
        self._gone: set[str] = set()

    async def look(self, *arns: str) -> None:
        """Find out which of some queues are there."""
        for arn in arns:
            if await self._exists(arn):
                self._gone.discard(arn)
            else:
                self._gone.add(arn)

    def there(self, arn: str) -> bool:
        """Whether a queue is there, as far as is known. What is meant for one that is gone is lost, as on AWS."""
        if arn in self._gone:
            _log.warning("a result or dead letter is lost: its queue %s does not exist", arn)
            return False
        return True
