"""Time and faults, steered from outside: what tests of applications do to a whole Penstock."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from penstock.api import Context
from penstock.clock import SteeredClock
from penstock.core.errors import AwsError
from penstock.delivery.fault import Fault, Faults, Kind

_KINDS: Final = {kind.value: kind for kind in Kind}
_MEMBERS: Final = frozenset(["arn", "fault", "probability", "delay", "seed"])
_LATEST: Final = 32_503_680_000_000
"""The year 3000 (ms): beyond it are dates that nothing can write."""
_LONGEST_DELAY_S: Final = 86_400


class Steering:
    """The endpoints `/_penstock/clock` and `/_penstock/faults`."""

    def __init__(
        self,
        clock: SteeredClock,
        faults: Faults,
        settle: Callable[[], Awaitable[None]],
        keep: Callable[[int], Awaitable[None]],
        check: Callable[[Context, Collection[str]], Awaitable[None]],
    ) -> None:
        """`keep` stores how far the clock is ahead (ms): what is on disk must not be in the future after a restart.

        `check` raises `AwsError` for ARNs of what no fault can hit.
        """
        self._keep = keep
        self._check = check
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
            case {"advance": seconds, **rest} if not rest:
                milliseconds = self._milliseconds(seconds)
                await self._keep(self._clock.ahead + milliseconds)
                await self._clock.advance(milliseconds, self._settle)
            case _:
                raise _invalid('give {"freeze": true}, {"advance": SECONDS} or {"resume": true}')
        return await self.tell_time(ctx, None)

    def _milliseconds(self, seconds: Any) -> int:
        """How far the clock is to be moved. Raises `AwsError`."""
        if not _is_number(seconds):
            raise _invalid(f"advance is a number of seconds, not {seconds!r}")
        if seconds < 0:
            raise _invalid(f"time does not go back: advance is 0 or more seconds, not {seconds!r}")
        if not self._clock.frozen:
            raise _invalid('time flows; {"freeze": true} first')
        if self._clock.now() + seconds * 1000 >= _LATEST:
            raise _invalid(f"time ends before the year 3000; advance cannot be {seconds!r} seconds")
        milliseconds: int = round(seconds * 1000)
        return milliseconds

    async def tell_faults(self, _: Context, __: Any) -> dict[str, Any]:
        """The faults in force."""
        return {"faults": [_shown(fault) for fault in self._faults.active]}

    async def set_faults(self, ctx: Context, document: Any) -> dict[str, Any]:
        """`{"faults": [...]}`: these and no others are in force from now on."""
        match document:
            case {"faults": list() as given, **rest} if not rest:
                faults = [_fault(one) for one in given]
            case _:
                raise _invalid('give {"faults": [{"arn": ..., "fault": ...}, ...]}')
        await self._check(ctx, [fault.arn for fault in faults])
        self._faults.active = faults
        return await self.tell_faults(ctx, None)


def _fault(given: Any) -> Fault:
    if not isinstance(given, dict) or not given.keys() >= {"arn", "fault"}:
        raise _invalid(f'give each fault as {{"arn": ..., "fault": ...}}; this is none: {given!r}')
    if unknown := given.keys() - _MEMBERS:
        raise _invalid(
            f"a fault has no {', '.join(sorted(unknown))}, only {', '.join(sorted(_MEMBERS))}"
        )
    arn, kind, seed = given["arn"], given["fault"], given.get("seed", 0)
    probability, delay = given.get("probability", 1.0), given.get("delay", 1)
    if not isinstance(arn, str):
        raise _invalid(f"an arn is a text, not {arn!r}")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _invalid(f"a fault is one of {', '.join(_KINDS)}, not {kind!r}")
    if not _is_number(probability) or not 0 <= probability <= 1:
        raise _invalid(f"a probability is a number from 0 to 1, not {probability!r}")
    if not _is_number(delay) or not 0 <= delay <= _LONGEST_DELAY_S:
        raise _invalid(f"a delay is from 0 to {_LONGEST_DELAY_S} seconds, not {delay!r}")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise _invalid(f"a seed is a whole number, not {seed!r}")
    return Fault(
        arn=arn,
        kind=_KINDS[kind],
        probability=probability,
        delay_ms=round(delay * 1000),
        seed=seed,
    )


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


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
