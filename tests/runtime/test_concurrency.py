"""The concurrency ledger: no schedule of permits, reservations, crashes and deletions may break its sums."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.concurrency import (
    ACCOUNT_EXCEEDED,
    RESERVED_EXCEEDED,
    SCALING_EXCEEDED,
    ConcurrencyLedger,
    Permit,
    ScalingRate,
)

WHERE = ("123456789012", "eu-west-1")
LIMIT = 108
MOST_CLAIMED = LIMIT - 100
FUNCTIONS = st.sampled_from(["f", "g", "h"])
VERSIONS = st.sampled_from(["$LATEST", "1", "2"])
STEPS = st.one_of(
    st.tuples(st.just("start"), FUNCTIONS, VERSIONS, st.just(0)),
    st.tuples(st.just("start"), FUNCTIONS, VERSIONS, st.just(0)),
    st.tuples(st.sampled_from(["end", "crash"]), FUNCTIONS, VERSIONS, st.just(0)),
    st.tuples(st.just("reserve"), FUNCTIONS, st.just(""), st.integers(0, 8)),
    st.tuples(st.sampled_from(["unreserve", "delete"]), FUNCTIONS, st.just(""), st.just(0)),
    st.tuples(st.just("provision"), FUNCTIONS, st.sampled_from(["1", "2"]), st.integers(0, 6)),
)


@dataclass
class Model:
    """The ledger without running sums: everything is counted anew each time it is asked for."""

    reserved: dict[str, int] = field(default_factory=dict)
    provisioned: Counter[tuple[str, str]] = field(default_factory=Counter)
    held: dict[tuple[str, str], list[Permit]] = field(default_factory=dict)

    def running(self, function: str) -> int:
        return sum(len(held) for (name, _), held in self.held.items() if name == function)

    def kept(self, function: str) -> int:
        return sum(n for (name, _), n in self.provisioned.items() if name == function)

    def on_demand(self, function: str) -> int:
        return sum(
            max(0, len(held) - self.provisioned[name, version])
            for (name, version), held in self.held.items()
            if name == function
        )

    def claimed(self) -> int:
        return sum(self.reserved.get(name, self.kept(name)) for name in "fgh")

    def refusal(self, function: str, version: str) -> str | None:
        if len(self.held.get((function, version), ())) < self.provisioned[function, version]:
            return None
        if function in self.reserved:
            free = self.reserved[function] - self.kept(function) - self.on_demand(function)
            return None if free > 0 else RESERVED_EXCEEDED
        used = sum(self.on_demand(name) for name in "fgh" if name not in self.reserved)
        return None if used < LIMIT - self.claimed() else ACCOUNT_EXCEEDED

    def may_reserve(self, function: str, amount: int) -> bool:
        now = self.reserved.get(function, self.kept(function))
        fits = amount == 0 or self.claimed() - now + amount <= MOST_CLAIMED
        return fits and amount >= self.kept(function)

    def may_provision(self, function: str, version: str, amount: int) -> bool:
        more = amount - self.provisioned[function, version]
        if more <= 0:
            return True
        if function in self.reserved:
            return self.kept(function) + more <= self.reserved[function]
        return self.claimed() + more <= MOST_CLAIMED


def crash(permit: Permit) -> None:
    """End an event as a fault in whoever runs it would."""
    try:
        with permit:
            raise RuntimeError
    except RuntimeError:
        pass


def carry_out(ledger: ConcurrencyLedger, model: Model, step: tuple[str, str, str, int]) -> None:
    """Do one step to both, and compare what they answer."""
    what, function, version, amount = step
    held = model.held.setdefault((function, version), [])
    if what == "start":
        expected = model.refusal(function, version)
        permit = ledger.admit(*WHERE, function, version)
        if isinstance(permit, Permit):
            assert expected is None
            held.append(permit)
        else:
            assert expected == permit
    elif what == "end" and held:
        permit = held.pop()
        permit.release()
        permit.release()
    elif what == "crash" and held:
        crash(held.pop())
    elif what == "reserve":
        expected_fit = model.may_reserve(function, amount)
        assert expected_fit == ledger.reserve(*WHERE, function, amount)
        if expected_fit:
            model.reserved[function] = amount
    elif what == "provision":
        expected_fit = model.may_provision(function, version, amount)
        assert expected_fit == ledger.provision(*WHERE, function, version, amount)
        if expected_fit:
            model.provisioned[function, version] = amount
    elif what in ("unreserve", "delete"):
        if what == "delete":
            for name, number in list(model.provisioned):
                if name == function:
                    assert ledger.provision(*WHERE, function, number, 0)
                    del model.provisioned[name, number]
        assert ledger.reserve(*WHERE, function, None)
        model.reserved.pop(function, None)


@given(st.lists(STEPS, max_size=80))
def test_ledger_agrees_with_a_count(steps: list[tuple[str, str, str, int]]) -> None:
    """The ledger keeps running sums; a recount after every step must give the same, and nothing stays at the end."""
    ledger, model = ConcurrencyLedger(limit=LIMIT), Model()
    for step in steps:
        carry_out(ledger, model, step)
        function = step[1]
        assert model.running(function) == ledger.running(*WHERE, function)
        assert model.kept(function) == ledger.provisioned(*WHERE, function)
        assert LIMIT - model.claimed() == ledger.unreserved(*WHERE)
    for held in model.held.values():
        for permit in held:
            permit.release()
    ledger.end_reservations()
    everything = [ledger.admit(*WHERE, "new") for _ in range(LIMIT)]
    assert all(isinstance(permit, Permit) for permit in everything)
    assert ACCOUNT_EXCEEDED == ledger.admit(*WHERE, "new")


@given(st.lists(st.sampled_from(["ends", "fails", "is cancelled", "times out"]), max_size=30))
def test_no_ending_keeps_a_place(endings: list[str]) -> None:
    """However events end, at whatever moment, all places are free when none is in flight."""
    ledger = ConcurrencyLedger()
    ledger.reserve(*WHERE, "f", len(endings))

    async def event(ending: str) -> None:
        permit = ledger.admit(*WHERE, "f")
        assert isinstance(permit, Permit)
        with permit:
            await asyncio.sleep(0)
            if ending == "fails":
                raise RuntimeError
            if ending != "ends":
                await asyncio.Event().wait()

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(event(ending)) for ending in endings]
        await asyncio.sleep(0)
        if endings:
            assert RESERVED_EXCEEDED == ledger.admit(*WHERE, "f")
        for task, ending in zip(tasks, endings, strict=True):
            if ending == "is cancelled":
                task.cancel()
            elif ending == "times out":
                asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    assert 0 == ledger.running(*WHERE, "f")


def test_provisioned_places_are_kept_from_others() -> None:
    """With everything that is reserved provisioned, an unpublished version finds no place: recorded from AWS."""
    ledger = ConcurrencyLedger()
    assert ledger.reserve(*WHERE, "f", 1)
    assert ledger.provision(*WHERE, "f", "1", 1)
    assert RESERVED_EXCEEDED == ledger.admit(*WHERE, "f", "$LATEST")
    assert isinstance(ledger.admit(*WHERE, "f", "1"), Permit)
    assert not ledger.provision(*WHERE, "f", "1", 2)
    assert not ledger.reserve(*WHERE, "f", 0)


def test_scaling_is_limited_by_its_rate() -> None:
    """Beyond the burst, environments become more at a rate; those that there are can all be used again."""
    ledger = ConcurrencyLedger(rate=ScalingRate(burst=3, per_second=1))
    permits = [ledger.admit(*WHERE, "f", now=0) for _ in range(3)]
    assert SCALING_EXCEEDED == ledger.admit(*WHERE, "f", now=0)
    permits.append(ledger.admit(*WHERE, "f", now=1_000))
    assert SCALING_EXCEEDED == ledger.admit(*WHERE, "f", now=1_500)
    permit = permits.pop()
    assert isinstance(permit, Permit)
    permit.release()
    assert isinstance(ledger.admit(*WHERE, "f", now=1_500), Permit)
    assert isinstance(ledger.admit(*WHERE, "g", now=1_500), Permit)
