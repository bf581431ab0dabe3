"""How many events of which function may be in flight: reserved shares and the pool that the rest have in common.

The ledger is of one account and region in one process; a permit is given back by leaving its `with` block.
"""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

# AWS: default quota of an account and region; a hundred of it always stay unreserved.
ACCOUNT_LIMIT: Final = 1000
UNRESERVED_MINIMUM: Final = 100
RESERVED_EXCEEDED: Final = "ReservedFunctionConcurrentInvocationLimitExceeded"
ACCOUNT_EXCEEDED: Final = "ConcurrentInvocationLimitExceeded"


@dataclass(slots=True)
class _Pool:
    """One account and region."""

    reserved: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    reserved_total: int = 0
    unreserved_running: int = 0


class Permit:
    """The right to run one event. A context manager: leaving it gives the place back."""

    __slots__ = ("_function", "_held", "_ledger", "_scope")

    def __init__(self, ledger: "ConcurrencyLedger", scope: tuple[str, str], function: str) -> None:
        self._ledger = ledger
        self._scope = scope
        self._function = function
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
            self._ledger._give_back(self._scope, self._function)


class ConcurrencyLedger:
    """Admits events by AWS's order: the function's reservation if it has one, else the unreserved pool."""

    def __init__(self, limit: int = ACCOUNT_LIMIT) -> None:
        self.limit = limit
        self._pools: dict[tuple[str, str], _Pool] = {}

    def reserve(self, account: str, region: str, function: str, amount: int | None) -> bool:
        """Set (or with None end) a reservation. False if too little would stay unreserved."""
        pool = self._pool((account, region))
        before = pool.reserved.get(function)
        total = pool.reserved_total - (before or 0) + (amount or 0)
        if amount and total > self.limit - UNRESERVED_MINIMUM:
            return False
        running = pool.running.get(function, 0)
        # What runs now counts in the pool that it belongs to from now on.
        if before is None and amount is not None:
            pool.unreserved_running -= running
        elif before is not None and amount is None:
            pool.unreserved_running += running
        if amount is None:
            pool.reserved.pop(function, None)
        else:
            pool.reserved[function] = amount
        pool.reserved_total = total
        return True

    def end_reservations(self) -> None:
        """Forget every reservation of every account; what is in flight stays counted."""
        for (account, region), pool in self._pools.items():
            for function in list(pool.reserved):
                self.reserve(account, region, function, None)

    def reserved(self, account: str, region: str, function: str) -> int | None:
        """The function's reservation."""
        return self._pool((account, region)).reserved.get(function)

    def unreserved(self, account: str, region: str) -> int:
        """How many places functions without a reservation share."""
        return self.limit - self._pool((account, region)).reserved_total

    def running(self, account: str, region: str, function: str) -> int:
        """How many events of the function are in flight."""
        return self._pool((account, region)).running.get(function, 0)

    def admit(self, account: str, region: str, function: str) -> Permit | str:
        """A permit, or AWS's reason why there is none."""
        scope = (account, region)
        pool = self._pool(scope)
        running = pool.running.get(function, 0)
        reserved = pool.reserved.get(function)
        if reserved is not None:
            if running >= reserved:
                return RESERVED_EXCEEDED
        elif pool.unreserved_running >= self.limit - pool.reserved_total:
            return ACCOUNT_EXCEEDED
        else:
            pool.unreserved_running += 1
        pool.running[function] = running + 1
        return Permit(self, scope, function)

    def _give_back(self, scope: tuple[str, str], function: str) -> None:
        pool = self._pools[scope]
        left = pool.running[function] - 1
        if left:
            pool.running[function] = left
        else:
            del pool.running[function]
        if function not in pool.reserved:
            pool.unreserved_running -= 1

    def _pool(self, scope: tuple[str, str]) -> _Pool:
        pool = self._pools.get(scope)
        if pool is None:
            pool = self._pools[scope] = _Pool()
        return pool
