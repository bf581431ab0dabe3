"""MD5, by which AWS's APIs let clients check what was sent. It protects nothing."""

from typing import Any

try:
    # CPython's own: OpenSSL's takes twice as long for a message, mostly to look the algorithm up.
    from _md5 import md5 as _md5  # type: ignore[import-not-found]
except ImportError:
    from hashlib import md5 as _md5


def md5_of(data: bytes) -> str:
    """The digest in hexadecimal."""
    digest: Any = _md5(data, usedforsecurity=False)
    text: str = digest.hexdigest()
    return text
