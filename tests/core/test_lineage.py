"""The lineage in a trace header: how often a chain has passed through a function."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.core.ids import Ids
from penstock.core.lineage import new_trace, passed, passes

FUNCTIONS = [f"arn:aws:lambda:us-east-1:000000000000:function:{name}" for name in "fgh"]


@given(st.lists(st.sampled_from(FUNCTIONS), max_size=40))
def test_every_pass_is_counted(chain: list[str]) -> None:
    """Functions count apart, in whatever order a chain passes through them, and the rest of the header stays."""
    begun = trace = new_trace(Ids(1), 1_700_000_000_000)
    for function in chain:
        trace = passed(trace, function)
    for function in FUNCTIONS:
        assert chain.count(function) == passes(trace, function)
    assert trace.startswith(begun)
    assert trace.count("Lineage=") <= 1


def test_long_lineage_forgets_the_oldest() -> None:
    """A header must not grow without end; a loop is found among the functions that came last."""
    trace = "Root=1-0-0"
    for number in range(100):
        trace = passed(trace, str(number))
    assert 0 == passes(trace, "0")
    assert 1 == passes(trace, "99")
    assert len(trace) < 500


@given(st.text())
def test_foreign_headers_are_borne(trace: str) -> None:
    """Clients may send anything; also with AWS's newer form, which has a depth in front."""
    assert 0 == passes(trace, FUNCTIONS[0])
    assert 1 == passes(passed(trace, FUNCTIONS[0]), FUNCTIONS[0])
    mark = passed("", FUNCTIONS[0]).rpartition("=")[2].partition(":")[0]
    assert 7 == passes(f"Root=1;Lineage=25:{mark}:7", FUNCTIONS[0])
