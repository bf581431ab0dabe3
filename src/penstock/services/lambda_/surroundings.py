"""What the composition root gives to Lambda."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.api import Dispatcher
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.delivery.model import Source
from penstock.fanout import Engine, Fanout
from penstock.runtime.concurrency import ConcurrencyLedger
from penstock.runtime.model import FunctionRuntime
from penstock.storage.primitives import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The objects that Lambda works with."""

    store: Store
    ids: Ids
    clock: Clock
    runtime: FunctionRuntime
    ledger: ConcurrencyLedger
    dispatcher: Dispatcher
    engine: Engine
    sqs_source: Callable[[str], Source]
    """The delivery source of a queue, by its ARN."""
    receipt_handle: Callable[[str, str], str]
    """From a queue's ARN and a lease's receipt to the handle that SQS's clients know."""
    credentials_for: Callable[[str, str, int], Awaitable[Mapping[str, Any]]]
    """From a role's ARN, a session name and `now` to `Credentials` as STS answers them, `Expiration` in ms.

    Raises AwsError when there is no such role."""
    role_exists: Callable[[str], Awaitable[bool]]
    """Whether there is a role of an ARN."""
    fanout: Fanout
    code_folder: Path
    """Where packages are unpacked."""
    machine: str
    """The processor's architecture as the operating system names it: `x86_64`, `aarch64`, `arm64`."""
