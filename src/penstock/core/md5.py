"""MD5, as AWS's APIs tell the content of messages by. It protects nothing."""

from typing import Any

try:
    # CPython's own: OpenSSL takes twice as long for a message, most of the time to find what it is asked for.
    from _md5 import md5 as _md5  # type: ignore[import-not-found]
except ImportError:
    from hashlib import md5 as _md5


def md5_of(data: bytes) -> str:
    """The digest in hexadecimal."""
    digest: Any = _md5(data, usedforsecurity=False)
    text: str = digest.hexdigest()
    return text
