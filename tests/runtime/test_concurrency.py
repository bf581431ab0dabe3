"""The concurrency ledger: no schedule of permits and reservations may break its sums."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.concurrency import (
    ACCOUNT_EXCEEDED,
    RESERVED_EXCEEDED,
    ConcurrencyLedger,
    Permit,
)

WHERE = ("123456789012", "eu-west-1")
FUNCTIONS = st.sampled_from(["f", "g", "h"])
STEPS = st.one_of(
    st.tuples(st.just("admit"), FUNCTIONS, st.just(0)),
    st.tuples(st.just("release"), FUNCTIONS, st.just(0)),
    st.tuples(st.just("reserve"), FUNCTIONS, st.integers(0, 8)),
    st.tuples(st.just("unreserve"), FUNCTIONS, st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_ledger_agrees_with_a_count(steps: list[tuple[str, str, int]]) -> None:
    """The ledger keeps running sums; a recount after every step must give the same answers."""
    ledger = ConcurrencyLedger(limit=106)
    held: dict[str, list[Permit]] = {"f": [], "g": [], "h": []}
    reserved: dict[str, int] = {}
    for step, function, amount in steps:
        if step == "admit":
            permit = ledger.admit(*WHERE, function)
            free = 106 - sum(reserved.values())
            unreserved = sum(len(held[name]) for name in held if name not in reserved)
            if function in reserved and len(held[function]) >= reserved[function]:
                assert permit == RESERVED_EXCEEDED
            elif function not in reserved and unreserved >= free:
                assert permit == ACCOUNT_EXCEEDED
            else:
                assert isinstance(permit, Permit)
                held[function].append(permit)
        elif step == "release" and held[function]:
            permit = held[function].pop()
            with permit:
                pass
            permit.release()
        elif step == "reserve":
            fits = amount == 0 or sum({**reserved, function: amount}.values()) <= 6
            assert fits == ledger.reserve(*WHERE, function, amount)
            if fits:
                reserved[function] = amount
        elif step == "unreserve":
            assert ledger.reserve(*WHERE, function, None)
            reserved.pop(function, None)
        assert len(held[function]) == ledger.running(*WHERE, function)
        assert 106 - sum(reserved.values()) == ledger.unreserved(*WHERE)


def test_permit_is_given_back_when_the_invocation_fails() -> None:
    """A permit that leaks would throttle the function until a restart."""
    ledger = ConcurrencyLedger()
    ledger.reserve(*WHERE, "f", 1)
    permit = ledger.admit(*WHERE, "f")
    assert isinstance(permit, Permit)
    try:
        with permit:
            raise RuntimeError
    except RuntimeError:
        pass
    assert ledger.running(*WHERE, "f") == 0
    assert isinstance(ledger.admit(*WHERE, "f"), Permit)
