"""Lists in pages, continued by a token that is the place of the next item."""

from collections.abc import Sequence
from typing import Final, TypeVar

from penstock.core.errors import AwsError

_Item = TypeVar("_Item")
_MAX_DIGITS: Final = 15


def paged(
    items: Sequence[_Item], token: str | None, limit: int, invalid: AwsError
) -> tuple[list[_Item], str | None]:
    """Up to `limit` items from `token` on (None or empty: the first), and the next page's token.

    Raises `invalid` for a token that no page can have given.
    """
    start = place(token, invalid)
    end = start + limit
    return list(items[start:end]), str(end) if end < len(items) else None


def place(token: str | None, invalid: AwsError) -> int:
    """The number in a token a client sent. Raises `invalid`: what comes from outside need not be one of ours."""
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) <= _MAX_DIGITS):
        raise invalid
    return int(token)
