"""What a user is told of a failure that they can do something about, in one line."""

from typing import Final
from urllib.error import HTTPError, URLError

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)
from botocore.parsers import ResponseParserError

from penstock.cli.client import NotPenstock
from penstock.core.errors import PenstockError

EXPECTED: Final = (BotoCoreError, ClientError, ResponseParserError, OSError, PenstockError)
_NOBODY: Final = (EndpointConnectionError, ConnectTimeoutError, URLError)
_SOMEBODY: Final = (NotPenstock, HTTPClientError, ResponseParserError)


def explanation(error: Exception, endpoint: str) -> str:
    """What went wrong, and what to do where it is the connection to `endpoint`."""
    if isinstance(error, HTTPError):
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of this Penstock"
        return f"{error}; {hint}" if error.code == 403 else f"{endpoint} answers: {error}"
    if isinstance(error, _NOBODY):
        return (
            f"nothing answers at {endpoint}; is it running (penstock up), or does it listen elsewhere"
            f" (--endpoint or AWS_ENDPOINT_URL)? {_line(error)}"
        )
    if isinstance(error, _SOMEBODY):
        return (
            f"what answers at {endpoint} is not Penstock, or has ended meanwhile; say where it listens"
            f" (--endpoint or AWS_ENDPOINT_URL). {_line(error)}"
        )
    return str(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
