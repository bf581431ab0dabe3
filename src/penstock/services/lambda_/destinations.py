"""Where the results of asynchronous events go: destinations and dead-letter queues, which ones may be set, which are gone."""

from collections.abc import Mapping
from typing import Any, Final

from penstock.api import Context, Dispatcher, refuse
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.fanout import Letters, QueueExists
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.report import find_recipient
from penstock.services.lambda_.repository import LATEST, Ref

_SIDES: Final = ("OnSuccess", "OnFailure")
_TAKE_RECORDS: Final = ("sqs", "sns", "lambda", "events", "s3")
_TAKE_LETTERS: Final = ("sqs", "sns")


def event_config(document: dict[str, Any], qualifier: str | None) -> dict[str, Any]:
    """The EventInvokeConfig of a qualifier, empty where none was put."""
    found: dict[str, Any] = document["event_invoke"].get(qualifier or LATEST) or {}
    return found


class Destinations:
    """Says which recipients may be configured. A service that is not built is refused by name, by the dispatcher."""

    def __init__(self, dispatcher: Dispatcher, queue_exists: QueueExists) -> None:
        self._dispatcher = dispatcher
        self._queue_exists = queue_exists

    async def check(self, ctx: Context, ref: Ref, config: Mapping[str, Any]) -> None:
        """Check a DestinationConfig for a function. Raises AwsError."""
        for side in _SIDES:
            arn = (config.get(side) or {}).get("Destination")
            if arn:
                await self._check_side(ctx, ref, config, side, arn)

    async def check_dead_letter(self, ctx: Context, arn: str | None) -> None:
        """Check the TargetArn of a DeadLetterConfig: a standard queue or topic that exists. Raises AwsError."""
        if arn and not await self._is_there(ctx, arn, _TAKE_LETTERS):
            raise invalid(f"Invalid dead letter ARN: {arn}")

    async def _check_side(
        self, ctx: Context, ref: Ref, config: Mapping[str, Any], side: str, arn: str
    ) -> None:
        if arn == ref.arn or arn.startswith(f"{ref.arn}:"):
            raise invalid("You can't specify the function as a destination for itself.")
        service = _service(arn)
        # AWS: a bucket takes records of failures only (Lambda guide, "destinations").
        if service not in _TAKE_RECORDS or (service == "s3" and side == "OnSuccess"):
            shown = ", ".join(_shown(config, one) for one in _SIDES)
            raise invalid(f"The provided destination config DestinationConfig({shown}) is invalid.")
        if not await self._is_there(ctx, arn, _TAKE_RECORDS):
            raise invalid(f"The destination ARN {arn} is invalid.")

    async def _is_there(self, ctx: Context, arn: str, services: tuple[str, ...]) -> bool:
        service = _service(arn)
        # AWS: neither FIFO queues nor FIFO topics are recipients (Lambda guide, "destinations").
        if service not in services or arn.endswith(".fifo"):
            return False
        if service == "sqs":
            return await self._queue_exists(arn)
        try:
            await find_recipient(self._dispatcher, ctx, parse_arn(arn))
        except AwsError as error:
            if error.code == "NotImplemented":
                raise refuse(f"Lambda destinations of the service {service}") from error
            return False
        return True


def _service(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[2] if len(parts) == 6 else ""


def _shown(config: Mapping[str, Any], side: str) -> str:
    name = side[0].lower() + side[1:]
    arn = (config.get(side) or {}).get("Destination")
    return f"{name}={f'{side}(destination={arn})' if arn else 'null'}"


class Recipients:
    """Who is told of one qualifier's events, and which of the queues were gone when last looked at."""

    def __init__(self, document: dict[str, Any], qualifier: str | None, letters: Letters) -> None:
        config = event_config(document, qualifier).get("DestinationConfig") or {}
        self._letters = letters
        self.on_success: str | None = (config.get("OnSuccess") or {}).get("Destination") or None
        """The ARN of whoever gets records of success."""
        self.on_failure: str | None = (config.get("OnFailure") or {}).get("Destination") or None
        """The ARN of whoever gets records of failure."""
        dead = document["config"].get("DeadLetterConfig") or {}
        self.dead_letter: str | None = dead.get("TargetArn") or None
        """The ARN of the dead-letter queue or topic."""
        told = (self.on_success, self.on_failure, self.dead_letter)
        self._queues = {arn for arn in told if arn and _service(arn) == "sqs"}

    async def look(self) -> None:
        """Find out which of the queues are there."""
        await self._letters.look(*self._queues)

    def there(self, arn: str) -> bool:
        """Whether a recipient is there, as far as is known."""
        return self._letters.there(arn)
