"""Event patterns as requests give them, and TestEventPattern."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.pattern import Pattern, PatternError, compile_pattern

# AWS: without these, an event is none (API reference, TestEventPattern).
_REQUIRED: Final = ("id", "account", "source", "time", "region", "detail-type")


def pattern_of(text: str) -> Pattern:
    """A pattern, compiled. Raises InvalidEventPatternException."""
    try:
        return compile_pattern(text)
    except RecursionError as error:
        reason = "Event pattern is not valid. Reason: Rule is too complex"
        raise AwsError("InvalidEventPatternException", reason) from error
    except PatternError as error:
        reason = f"Event pattern is not valid. Reason: {error}"
        raise AwsError("InvalidEventPatternException", reason) from error


class PatternTests:
    """TestEventPattern."""

    @operation("TestEventPattern")
    async def test(self, ctx: Context, request: Request) -> Result:
        """Whether an event matches a pattern."""
        event, pattern = _event(request["Event"]), pattern_of(request["EventPattern"])
        try:
            return {"Result": pattern.matches(event)}
        except RecursionError as error:
            raise AwsError("ValidationException", "Parameter Event is not valid.") from error


def _event(text: str) -> dict[str, Any]:
    try:
        event = orjson.loads(text)
    except ValueError:
        event = None
    if not isinstance(event, dict) or any(name not in event for name in _REQUIRED):
        raise AwsError("ValidationException", "Parameter Event is not valid.")
    return event
