"""How many events of which function may be in flight: provisioned, reserved, and the pool that the rest have in common.

The ledger is of one account and region in one process; a permit is given back by leaving its `with` block. What is in
flight is counted by function and version. As much of it as is provisioned for the version takes no other place; the
rest is *on demand*, and counts against the function's reservation or, where it has none, against the unreserved pool.
"""

from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from penstock.core.throttle import TokenBucket

# AWS: default quota of an account and region; a hundred of it always stay unreserved.
ACCOUNT_LIMIT: Final = 1000
UNRESERVED_MINIMUM: Final = 100
RESERVED_EXCEEDED: Final = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_EXCEEDED: Final = "ConcurrentInvocationLimitExceeded"
SCALING_EXCEEDED: Final = "FunctionInvocationRateLimitExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingRate:
    """How fast a function's environments may become more: `burst` at once, `per_second` from then on."""

    # AWS: a thousand environments every ten seconds, for each function (Lambda guide, "scaling rate").
    burst: int = 1000
    per_second: float = 100.0


SCALING_RATE: Final = ScalingRate()


@dataclass(slots=True)
class _Function:
    """What the ledger knows of one function."""

    reserved: int | None = None
    in_flight: Counter[str] = field(default_factory=Counter)
    """Events by version."""
    provisioned: dict[str, int] = field(default_factory=dict)
    """Environments by version."""
    on_demand: int = 0
    peak: int = 0
    """The most that were on demand at once since nothing was in flight: environments that there are by now."""
    growth: TokenBucket | None = None

    @property
    def claimed(self) -> int:
        """What the function keeps from the unreserved pool, whether it uses it or not."""
        return sum(self.provisioned.values()) if self.reserved is None else self.reserved

    @property
    def blank(self) -> bool:
        """Whether there is nothing to remember."""
        return self.reserved is None and not self.provisioned and not self.in_flight


@dataclass(slots=True)
class _Pool:
    """One account and region, with running sums over its functions."""

    functions: dict[str, _Function] = field(default_factory=dict)
    claimed: int = 0
    unreserved_running: int = 0
    """What functions without a reservation have on demand."""

    def function(self, name: str) -> _Function:
        found = self.functions.get(name)
        if found is None:
            found = self.functions[name] = _Function()
        return found

    def forget_if_blank(self, name: str, function: _Function) -> None:
        if function.blank:
            self.functions.pop(name, None)


class Permit:
    """The right to run one event. A context manager: leaving it gives the place back."""

    __slots__ = ("_function", "_held", "_ledger", "_scope", "_version")

    def __init__(
        self, ledger: "ConcurrencyLedger", scope: tuple[str, str], function: str, version: str
    ) -> None:
        self._ledger = ledger
        self._scope = scope
        self._function = function
        self._version = version
        self._held = True

    def __enter__(self) -> "Permit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        if self._held:
            self._held = False
            self._ledger._give_back(self._scope, self._function, self._version)


class ConcurrencyLedger:
    """Admits events by AWS's order: provisioned for the version, the function's reservation, the unreserved pool."""

    def __init__(self, limit: int = ACCOUNT_LIMIT, rate: ScalingRate = SCALING_RATE) -> None:
        self.limit = limit
        self._rate = rate
        self._pools: dict[tuple[str, str], _Pool] = {}

    def reserve(self, account: str, region: str, function: str, amount: int | None) -> bool:
        """Set (or with None end) a reservation.

        False, and nothing done, if too little would stay unreserved or less than is provisioned would be reserved.
        """
        pool = self._pool((account, region))
        found = pool.function(function)
        after = sum(found.provisioned.values()) if amount is None else amount
        claimed = pool.claimed - found.claimed + after
        too_much = bool(amount) and claimed > self.limit - UNRESERVED_MINIMUM
        too_little = amount is not None and amount < sum(found.provisioned.values())
        if not too_much and not too_little:
            # What runs now counts in the pool that it belongs to from now on.
            if found.reserved is None and amount is not None:
                pool.unreserved_running -= found.on_demand
            elif found.reserved is not None and amount is None:
                pool.unreserved_running += found.on_demand
            found.reserved = amount
            pool.claimed = claimed
        pool.forget_if_blank(function, found)
        return not too_much and not too_little

    def provision(
        self, account: str, region: str, function: str, version: str, amount: int
    ) -> bool:
        """Keep places for one version, whose environments are ready; 0 ends that.

        False, and nothing done, if the function's reservation is too small or too little would stay unreserved.
        """
        pool = self._pool((account, region))
        found = pool.function(function)
        more = amount - found.provisioned.get(version, 0)
        total = sum(found.provisioned.values()) + more
        if found.reserved is None:
            fits = more <= 0 or pool.claimed + more <= self.limit - UNRESERVED_MINIMUM
        else:
            fits = more <= 0 or total <= found.reserved
        if fits:
            in_flight = found.in_flight[version]
            on_demand = max(0, in_flight - amount) - max(0, in_flight - amount + more)
            self._add_on_demand(pool, found, on_demand)
            if found.reserved is None:
                pool.claimed += more
            found.provisioned[version] = amount
            if not amount:
                del found.provisioned[version]
        pool.forget_if_blank(function, found)
        return fits

    def end_reservations(self) -> None:
        """Forget what every function of every account reserved and provisioned; what is in flight stays counted."""
        for (account, region), pool in self._pools.items():
            for name, function in list(pool.functions.items()):
                for version in list(function.provisioned):
                    self.provision(account, region, name, version, 0)
                self.reserve(account, region, name, None)

    def reserved(self, account: str, region: str, function: str) -> int | None:
        """The function's reservation."""
        found = self._pool((account, region)).functions.get(function)
        return None if found is None else found.reserved

    def provisioned(self, account: str, region: str, function: str) -> int:
        """How many places are kept for versions of the function."""
        found = self._pool((account, region)).functions.get(function)
        return 0 if found is None else sum(found.provisioned.values())

    def unreserved(self, account: str, region: str) -> int:
        """How many places functions share that nothing keeps from the others."""
        return self.limit - self._pool((account, region)).claimed

    def running(self, account: str, region: str, function: str) -> int:
        """How many events of the function are in flight."""
        found = self._pool((account, region)).functions.get(function)
        return 0 if found is None else sum(found.in_flight.values())

    def admit(
        self, account: str, region: str, function: str, version: str = "", now: int | None = None
    ) -> Permit | str:
        """A permit, or AWS's reason why there is none. `now` (ms) counts against the scaling rate."""
        scope = (account, region)
        pool = self._pool(scope)
        found = pool.function(function)
        in_flight = found.in_flight[version]
        if in_flight >= found.provisioned.get(version, 0):
            reason = self._refusal(pool, found, now)
            if reason is not None:
                pool.forget_if_blank(function, found)
                return reason
            self._add_on_demand(pool, found, 1)
        found.in_flight[version] = in_flight + 1
        return Permit(self, scope, function, version)

    def _refusal(self, pool: _Pool, function: _Function, now: int | None) -> str | None:
        """Why the function may have no more on demand."""
        if function.reserved is not None:
            if function.on_demand >= function.reserved - sum(function.provisioned.values()):
                return RESERVED_EXCEEDED
        elif pool.unreserved_running >= self.limit - pool.claimed:
            return ACCOUNT_EXCEEDED
        if now is None or function.on_demand < max(function.peak, self._rate.burst):
            return None
        if function.growth is None:
            function.growth = TokenBucket(self._rate.per_second, self._rate.burst)
            function.growth.tokens, function.growth.refilled_at = 0, now
        return None if function.growth.take(now) else SCALING_EXCEEDED

    def _give_back(self, scope: tuple[str, str], name: str, version: str) -> None:
        pool = self._pools[scope]
        function = pool.functions[name]
        left = function.in_flight[version] - 1
        if left:
            function.in_flight[version] = left
        else:
            del function.in_flight[version]
        if left >= function.provisioned.get(version, 0):
            self._add_on_demand(pool, function, -1)
        pool.forget_if_blank(name, function)

    @staticmethod
    def _add_on_demand(pool: _Pool, function: _Function, more: int) -> None:
        function.on_demand += more
        function.peak = max(function.peak, function.on_demand)
        if function.reserved is None:
            pool.unreserved_running += more

    def _pool(self, scope: tuple[str, str]) -> _Pool:
        pool = self._pools.get(scope)
        if pool is None:
            pool = self._pools[scope] = _Pool()
        return pool
