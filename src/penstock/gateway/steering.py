"""Time and faults, steered from outside: what tests of applications do to a whole Penstock."""

from collections.abc import Awaitable, Callable
from typing import Any

from penstock.api import Context
from penstock.clock import SteeredClock
from penstock.core.errors import AwsError
from penstock.delivery.fault import Fault, Faults, Kind

_KINDS = {kind.value: kind for kind in Kind}


class Steering:
    """The endpoints `/_penstock/clock` and `/_penstock/faults`."""

    def __init__(
        self,
        clock: SteeredClock,
        faults: Faults,
        settle: Callable[[], Awaitable[None]],
        keep: Callable[[int], Awaitable[None]],
    ) -> None:
        """`keep` stores how far the clock is ahead (ms): what is on disk must not be in the future after a restart."""
        self._keep = keep
        self._clock = clock
        self._faults = faults
        self._settle = settle

    async def tell_time(self, _: Context, __: Any) -> dict[str, Any]:
        """The system's time (ms), and whether it stands still."""
        return {"now": self._clock.now(), "frozen": self._clock.frozen}

    async def set_time(self, ctx: Context, document: Any) -> dict[str, Any]:
        """`{"freeze": true}`, `{"advance": SECONDS}` or `{"resume": true}`; returns when the system is idle."""
        match document:
            case {"freeze": True, **rest} if not rest:
                self._clock.freeze()
                await self._settle()
            case {"resume": True, **rest} if not rest:
                self._clock.resume()
                await self._keep(self._clock.ahead)
            case {"advance": int() | float() as seconds, **rest} if not rest and seconds >= 0:
                if not self._clock.frozen:
                    raise _invalid('time flows; {"freeze": true} first')
                milliseconds = round(seconds * 1000)
                await self._keep(self._clock.ahead + milliseconds)
                await self._clock.advance(milliseconds, self._settle)
            case _:
                raise _invalid('give {"freeze": true}, {"advance": SECONDS} or {"resume": true}')
        return await self.tell_time(ctx, None)

    async def tell_faults(self, _: Context, __: Any) -> dict[str, Any]:
        """The faults in force."""
        return {"faults": [_shown(fault) for fault in self._faults.active]}

    async def set_faults(self, ctx: Context, document: Any) -> dict[str, Any]:
        """`{"faults": [...]}`: these and no others are in force from now on."""
        match document:
            case {"faults": list() as given, **rest} if not rest:
                self._faults.active = [_fault(one) for one in given]
            case _:
                raise _invalid('give {"faults": [{"arn": ..., "fault": ...}, ...]}')
        return await self.tell_faults(ctx, None)


def _fault(given: Any) -> Fault:
    match given:
        case {"arn": str() as arn, "fault": str() as kind, **rest} if kind in _KINDS:
            more: dict[Any, Any] = rest
            probability, delay = more.pop("probability", 1.0), more.pop("delay", 1)
            seed = more.pop("seed", 0)
            numbers = all(isinstance(n, int | float) and n >= 0 for n in (probability, delay))
            if not more and numbers and probability <= 1 and isinstance(seed, int):
                return Fault(
                    arn=arn,
                    kind=_KINDS[kind],
                    probability=probability,
                    delay_ms=round(delay * 1000),
                    seed=seed,
                )
    raise _invalid(
        f"a fault has an arn, a fault ({', '.join(_KINDS)}) and perhaps a probability (0 to 1),"
        f" a delay (seconds) and a seed; this is none: {given!r}"
    )


def _shown(fault: Fault) -> dict[str, Any]:
    return {
        "arn": fault.arn,
        "fault": fault.kind.value,
        "probability": fault.probability,
        "delay": fault.delay_ms / 1000,
        "seed": fault.seed,
    }


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
