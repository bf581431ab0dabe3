"""What a service is.

A `Service` is a name and a table of operations: plain `async` functions from a context and a parsed request to
a result. It knows neither HTTP nor SQL. Services meet only through `Dispatcher` (by operation name) and through delivery (by ARN).
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from penstock.core.errors import AwsError

Answering: TypeAlias = Coroutine[Any, Any, "HttpResponse"]
"""An answer on its way. It may be there without any wait."""
Request: TypeAlias = dict[str, Any]
Result: TypeAlias = dict[str, Any]
SendForm: TypeAlias = Callable[["Context", Sequence[str]], Answering]
"""Sends the values of a form's fields."""
Handler: TypeAlias = Callable[["Context", Request], Awaitable[Result | None]]


@dataclass(slots=True)
class Context:
    """Who asks for what, and when. One for each request."""

    account: str
    """12 digits."""
    region: str
    now: int
    request_id: str
    principal: str = ""
    """ARN of the caller."""
    principal_id: str = ""
    """`AIDA...`, `AROA...:session` or the account, as SQS's SenderId tells it."""
    access_key: str = ""
    endpoint: str = "http://127.0.0.1:4566"
    """How the client reached us: scheme and host, without a slash at the end."""
    trace: str | None = None
    """The X-Ray trace header that came with the request."""
    protocol: str = "json"
    """`json`, `query`, `rest-json`, `rest-xml` or `smithy-rpc-v2-cbor`."""
    operation: str = ""
    rests_on: int | None = None
    """An operation sets this to the highest version or sequence in the store that its answer speaks of, where that may be
    on disk long before everything that others have written meanwhile. None: of all there is."""
    connection: "Connection | None" = None
    """Where the request came in; None inside."""
    streams: bool = False
    """Whether whoever asks takes a large body in chunks."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody is there any more to hear the answer."""
        return self.connection is not None and self.connection.closed

    @property
    def source_ip(self) -> str:
        """The client's address."""
        return _address(self.connection)

    def child(self, **changes: Any) -> "Context":
        """The context of a call made on behalf of this one."""
        values = {name: getattr(self, name) for name in Context.__slots__}
        return Context(**{**values, **changes})


class Headers(Protocol):
    """Header fields by lower-case name."""

    def get(self, key: str, default: str | None = None, /) -> str | None:
        """The (first) value of a field."""
        ...

    def items(self) -> Iterator[tuple[str, str]] | Any:
        """Every field, lower-case name first."""
        ...


class Connection(Protocol):
    """Where a request came in; looked at only when somebody asks."""

    @property
    def closed(self) -> bool: ...  # noqa: D102

    @property
    def client(self) -> str: ...  # noqa: D102
    @property
    def http_version(self) -> str: ...  # noqa: D102


def _address(connection: Connection | None) -> str:
    """Where a request came in from; from here, if it came from inside."""
    return "127.0.0.1" if connection is None else connection.client.rsplit(":", 1)[0]


class BodyStream(Protocol):
    """A large body while it comes in."""

    @property
    def length(self) -> int | None:
        """How many bytes it was said to have."""
        ...

    @property
    def sha256(self) -> str | None:
        """The digest that its bytes must have, in hexadecimal; whoever reads them compares."""
        ...

    @property
    def announced(self) -> Sequence[str]:
        """The lower-case names of the fields that follow it."""
        ...

    @property
    def trailers(self) -> Mapping[str, str]:
        """The fields that followed it, once all has been read."""
        ...

    async def read(self) -> bytes:
        """The bytes that have come since; nothing at the end, when all was as declared. Raises AwsError."""
        ...


@dataclass(frozen=True, slots=True)
class Chunks:
    """A large body as it goes out: so many bytes, in chunks. Whoever takes them closes the iterator."""

    size: int
    chunks: AsyncIterator[bytes]


@dataclass(slots=True)
class HttpRequest:
    """An HTTP request whose body has arrived, or is a `stream`. `path` is as sent, percent-encoded, without the query."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes = b""
    scheme: str = "http"
    connection: Connection | None = None
    stream: BodyStream | None = None

    @property
    def source_ip(self) -> str:
        """The client's address."""
        return _address(self.connection)

    @property
    def http_version(self) -> str:
        """As in `HTTP/1.1`."""
        return "1.1" if self.connection is None else self.connection.http_version


@dataclass(slots=True)
class HttpResponse:
    """An HTTP response. `headers` keeps the order; names may repeat."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    rests_on: int | None = None
    """See `Context.rests_on`."""


class ChunkedResponse(HttpResponse):
    """A response whose body goes out in chunks."""

    __slots__ = ("chunks",)

    def __init__(self, status: int, headers: list[tuple[str, str]], chunks: Chunks) -> None:
        self.status = status
        self.headers = headers
        self.body = b""
        self.rests_on = None
        self.chunks = chunks


class LateResponse(HttpResponse):
    """A response whose body is made when somebody reads it: who maps an answer often does not."""

    __slots__ = ("_make",)

    def __init__(
        self, status: int, headers: list[tuple[str, str]], make: Callable[[], bytes]
    ) -> None:
        self.status = status
        self.headers = headers
        self.rests_on = None
        self._make = make

    @property
    def body(self) -> bytes:
        """The bytes."""
        return self._make()

    @body.setter
    def body(self, body: bytes) -> None:
        self._make = lambda: body


def operation(
    name: str, *, refuses: Sequence[str] = (), in_part: Sequence[str] = ()
) -> Callable[[Any], Any]:
    """Mark a method as the implementation of an AWS operation, named as in the service model.

    `refuses` are members of the request that are modelled but not built: a request that gives one is refused by name.
    `in_part` tells, for the documentation, what of other members the method itself refuses by name.
    """

    def mark(function: Any) -> Any:
        function.aws_operation = name
        function.aws_refuses = frozenset(refuses)
        function.aws_refuses_in_part = tuple(in_part)
        return function

    return mark


def refuse(what: str) -> AwsError:
    """The error for something of the AWS API that is not built: say what it is by its AWS name."""
    return AwsError("NotImplemented", f"Penstock does not implement {what} yet.", status=501)


def operations_of(*resources: object) -> dict[str, Handler]:
    """The operations that methods of `resources` implement, by name."""
    table: dict[str, Handler] = {}
    for resource in resources:
        for attribute in dir(type(resource)):
            name = getattr(getattr(type(resource), attribute), "aws_operation", None)
            if name is not None:
                table[name] = getattr(resource, attribute)
    return table


@dataclass(frozen=True, slots=True)
class Service:
    """A service's model name (`sqs`, `lambda`, `dynamodb`, ...) and its operations."""

    name: str
    operations: Mapping[str, Handler]


class Dispatcher(Protocol):
    """How a service calls another one: by the names and shapes of the public API, durable on return."""

    async def call(self, ctx: Context, service: str, operation: str, request: Request) -> Result:
        """Run an operation as `ctx`. Raises `AwsError` as the operation does."""
        ...

    async def call_document(
        self, ctx: Context, service_id: str, operation: str, document: Any
    ) -> Result:
        """The same from outside: the service by its id (`eventbridge`), the request as plain JSON with blobs as text."""
        ...

    def has_operation(self, service_id: str, operation: str) -> bool:
        """Whether AWS's service has the operation. Raises `AwsError` by name for what is not built."""
        ...

    def http(self, ctx: Context, request: HttpRequest) -> Answering:
        """Send bytes through the same parser and serializer that the gateway uses, as `ctx`.

        For those who answer an HTTP request of their own: that answer waits for the disk, this one does not.
        """
        ...

    def check_action(self, signing_name: str, action: str) -> None:
        """Raise `AwsError` unless there is the service and, where `action` is not empty, its operation of that name."""
        ...

    def form(self, request: HttpRequest, names: Sequence[str]) -> SendForm | None:
        """How to do the same with the values of many forms: `request` is one of them, `names` are their fields.

        None where no operation takes forms like this one.
        """
        ...
