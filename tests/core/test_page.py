"""Pages of lists, and tokens that are none."""

import pytest

from penstock.core.errors import AwsError
from penstock.core.page import paged

INVALID = AwsError("Invalid")


def test_pages_join_up() -> None:
    """The token of one page begins the next; the last has none."""
    first, token = paged("abc", None, 2, INVALID)
    rest, end = paged("abc", token, 2, INVALID)
    assert (["a", "b", "c"], None) == (first + rest, end)


@pytest.mark.parametrize("token", ["x", "-1", "1.5", " 1", "\u0661", "9" * 5000])
def test_what_no_page_gave(token: str) -> None:
    """A client's token is whatever the client sends, not always a number."""
    with pytest.raises(AwsError):
        paged("abc", token, 2, INVALID)
