"""The errors that cross layers.

    PenstockError
    ├── AwsError              what a caller of an AWS API is told
    └── StoreError            what storage can refuse
        ├── Conflict          a conditional write found another version
        ├── Unavailable       the write may not have reached the disk; nothing was acknowledged
        └── StoreFull         the disk is full; nothing was written

Services raise `AwsError`; storage raises `StoreError`; the gateway translates once.
"""

from collections.abc import Mapping
from typing import Any


class PenstockError(Exception):
    """The root of everything Penstock raises on purpose."""


class AwsError(PenstockError):
    """An error as an AWS API answers it.

    `code` is the error's shape name in the service model (`QueueDoesNotExist`) or one of the codes that
    every service shares (`ValidationException`). The wire layer finds the legacy code, the HTTP status and the
    envelope for the protocol in use; `status` overrides the model's. `fields` are further members of
    the error shape (`Reason`, `Item`, ...).
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = dict(fields or {})


class StoreError(PenstockError):
    """Storage could not do what was asked; nothing was acknowledged."""


class Conflict(StoreError):
    """A conditional write found another version than it expected."""


class Unavailable(StoreError):
    """The store lost a write before it was durable, or is closed. Whoever asked may ask again."""


class StoreFull(StoreError):
    """There is no room for the write."""
