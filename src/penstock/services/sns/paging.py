"""Tokens of lists that are continued after a place."""

import base64
import binascii

from penstock.services.sns.problem import invalid


def make_token(place: str) -> str:
    """The token of the page after a place."""
    return base64.urlsafe_b64encode(place.encode()).decode()


def read_token(token: str | None) -> str:
    """The place in a token that a client sent. Raises for one that no page can have given."""
    if not token:
        return ""
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("NextToken") from None
