"""Lambda extensions of one environment: who has registered for what, who works, and who waits for the next event.

External extensions are programs of their own, from layers; internal ones are threads of the runtime's process.
The environment takes the next event when the runtime and all of them wait.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from penstock.runtime.model import FunctionSpec, Invocation
from penstock.runtime.runtime_api import Connection

Kind: TypeAlias = Literal["INVOKE", "SHUTDOWN"]
# AWS: Lambda quotas, extensions of a function.
_MOST: Final = 10


def external_extensions(spec: FunctionSpec) -> set[str]:
    """The names of the programs that a function's layers bring to be run beside it."""
    folder = None if spec.opt is None else spec.opt / "extensions"
    if folder is None or not folder.is_dir():
        return set()
    return {path.name for path in folder.iterdir() if path.is_file()}


@dataclass(slots=True, eq=False)
class Extension:
    """One extension that has registered."""

    identifier: str
    name: str
    events: frozenset[str]
    external: bool
    waiting: Connection | None = None
    due: bytes | None = None
    """An event that came before the extension asked for it."""


class Extensions:
    """`on_change` is called when one has registered or waits, `on_failure` with an error type when one reports an error."""

    def __init__(
        self,
        spec: FunctionSpec,
        new_id: Callable[[], str],
        on_change: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._new_id = new_id
        self._on_change = on_change
        self._on_failure = on_failure
        self._expected: set[str] = set()
        self._registered: dict[str, Extension] = {}
        self._closed = False

    def begin(self, expected: set[str]) -> None:
        """A new init phase, in which these external extensions will register."""
        self._expected = expected
        self._registered = {}
        self._closed = False

    def close_registration(self) -> None:
        """The runtime is initialised: nobody registers any more."""
        self._closed = True

    @property
    def present(self) -> bool:
        """Whether there is any."""
        return bool(self._registered)

    @property
    def external(self) -> bool:
        """Whether there is an external one."""
        return bool(self._expected)

    @property
    def all_registered(self) -> bool:
        """Whether every external extension has registered, so that the runtime may start."""
        return self._expected <= {one.name for one in self._registered.values()}

    @property
    def all_wait(self) -> bool:
        """Whether every extension has done its work."""
        if not self._expected and not self._registered:
            return True
        return self.all_registered and all(
            one.waiting is not None for one in self._registered.values()
        )

    def invoke(self, event: Invocation, deadline_at: int) -> None:
        """Tell them of an event that the runtime has been given."""
        told = {
            "deadlineMs": deadline_at,
            "requestId": event.request_id,
            "invokedFunctionArn": event.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": event.trace or ""},
        }
        self._announce("INVOKE", told)

    def shut_down(self, reason: str, deadline_at: int) -> None:
        """Tell them that the environment ends: SPINDOWN, TIMEOUT or FAILURE."""
        self._announce("SHUTDOWN", {"shutdownReason": reason, "deadlineMs": deadline_at})

    def _announce(self, kind: Kind, event: dict[str, Any]) -> None:
        """Tell those that asked to be told."""
        if not self._registered:
            return
        body = orjson.dumps({"eventType": kind, **event})
        for one in self._registered.values():
            if kind not in one.events:
                continue
            if one.waiting is not None and one.waiting.is_open:
                self._answer(one, one.waiting, body)
            else:
                one.due = body

    def call(self, connection: Connection, action: str, body: bytes) -> None:
        """A call of the Extensions API."""
        if action == "register":
            self._register(connection, body)
            return
        # AWS: error types and texts as in the Runtime Interface Emulator.
        identifier = connection.headers.get(b"lambda-extension-identifier")
        if identifier is None:
            connection.refuse(
                403,
                "Extension.MissingExtensionIdentifier",
                "Missing Lambda-Extension-Identifier header",
            )
            return
        one = self._registered.get(identifier)
        if one is None:
            connection.refuse(
                403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}"
            )
        elif action == "event/next":
            self._next(connection, one)
        elif action in ("init/error", "exit/error"):
            kind = connection.headers.get(b"lambda-extension-function-error-type")
            if kind is None:
                connection.refuse(
                    403,
                    "Extension.MissingHeader",
                    "Lambda-Extension-Function-Error-Type not found",
                )
                return
            connection.accept()
            self._on_failure(
                "Extension.InitError" if action == "init/error" else "Extension.ExitError"
            )
        else:
            connection.refuse(404, "NotFound", "No such path in the Extensions API.")

    def _register(self, connection: Connection, body: bytes) -> None:
        name = connection.headers.get(b"lambda-extension-name", "")
        refusal = self._refusal(name, body)
        if refusal is not None:
            connection.refuse(403, *refusal)
            return
        events = frozenset(orjson.loads(body).get("events") or ())
        one = Extension(self._new_id(), name, events, name in self._expected)
        self._registered[one.identifier] = one
        answer = {
            "functionName": self._spec.name,
            "functionVersion": self._spec.version,
            "handler": self._spec.handler,
        }
        if "accountId" in connection.headers.get(b"lambda-extension-accept-feature", ""):
            answer["accountId"] = self._spec.account
        connection.answer(
            200, orjson.dumps(answer), f"Lambda-Extension-Identifier: {one.identifier}\r\n"
        )
        self._on_change()

    def _refusal(self, name: str, body: bytes) -> tuple[str, str] | None:
        if not name:
            return "Extension.InvalidExtensionName", "Empty extension name"
        try:
            document = orjson.loads(body)
            events = document.get("events") or []
        except (orjson.JSONDecodeError, AttributeError):
            return "InvalidRequestFormat", "the body must be a JSON object"
        # AWS: an internal extension cannot register for SHUTDOWN.
        allowed = {"INVOKE", "SHUTDOWN"} if name in self._expected else {"INVOKE"}
        if wrong := sorted(set(events) - allowed):
            return "Extension.InvalidEventType", f"{wrong[0]}: invalid event type"
        return self._closed_to(name)

    def _closed_to(self, name: str) -> tuple[str, str] | None:
        if any(one.name == name for one in self._registered.values()):
            return "Extension.InvalidExtensionState", "Extension with this name already registered"
        if self._closed:
            return "Extension.RegistrationClosed", "Extension registration closed already"
        if len(self._registered) >= _MOST:
            return "Extension.TooManyExtensions", f"Extension limit ({_MOST}) reached"
        return None

    def _next(self, connection: Connection, one: Extension) -> None:
        one.waiting = connection
        if one.due is not None:
            due, one.due = one.due, None
            self._answer(one, connection, due)
            return
        self._on_change()

    @staticmethod
    def _answer(one: Extension, connection: Connection, body: bytes) -> None:
        one.waiting = None
        connection.answer(200, body, f"Lambda-Extension-Event-Identifier: {one.identifier}\r\n")
