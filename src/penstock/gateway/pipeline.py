"""The life of a request, as a list of steps.

Each step reads and completes one `Exchange`. The first `AwsError` ends the run and becomes the answer, in the envelope of
the protocol in use. The HTTP server keeps every answer back until what it may speak of is on disk.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import parse_qs

from penstock.api import Answering, Context, Handler, HttpRequest, HttpResponse, Request, Result
from penstock.clock import Clock
from penstock.core.errors import AwsError, Conflict, StoreError
from penstock.core.ids import Ids
from penstock.core.query_json import json_of
from penstock.gateway.identity import Identities, Identity
from penstock.wire import Operation, Wire, sigv2
from penstock.wire.sigv4 import credential_of, verify

_log: Final = logging.getLogger("penstock.gateway")
_JSON: Final = "application/json"


class Exchange:
    """A request on its way to a response."""

    __slots__ = ("context", "operation", "params", "request", "response", "result")

    request: HttpRequest
    context: Context
    operation: Operation | None
    params: Request
    result: Result | None
    response: HttpResponse

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.operation = None


Step = Callable[[Exchange], Awaitable[None] | None]
"""Does its part at once, or returns what to wait for."""


class Pipeline:
    """Runs AWS API requests against a table of services."""

    def __init__(  # noqa: PLR0913 -- the composition root names each of them
        self,
        *,
        wire: Wire,
        handlers: Mapping[tuple[str, str], Handler],
        identities: Identities,
        ids: Ids,
        clock: Clock,
        machine: Clock,
        auth: Literal["off", "sigv4"],
        region: str,
    ) -> None:
        self._wire = wire
        self._handlers = handlers
        self._identities = identities
        self._ids = ids
        self._clock = clock
        self._machine = machine
        """Whose time signatures are checked against: clients sign in theirs."""
        self._region = region
        self.steps: Sequence[Step] = (
            self.identify if auth == "off" else self.authenticate,
            self.route,
            self.parse,
            self.dispatch,
            self.serialize,
        )
        self._inner_steps = self.steps[1:]

    def handle(self, request: HttpRequest) -> Answering:
        """Answer a request from outside."""
        return self._run(Exchange(request), self.steps)

    def takes_stream(self, request: HttpRequest) -> bool:
        """Whether a request whose body has not come yet may be handed over as it is."""
        return self._wire.takes_stream(request)

    def handle_as(self, ctx: Context, request: HttpRequest) -> Answering:
        """Answer a request made inside, as `ctx`, which is this request's own, through the same parser and serializer."""
        exchange = Exchange(request)
        ctx.streams = False
        ctx.rests_on = None
        exchange.context = ctx
        return self._run(exchange, self._inner_steps)

    async def admit(self, request: HttpRequest) -> Context:
        """Who sends a request that is no AWS operation. Raises `AwsError` for one that may not."""
        exchange = Exchange(request)
        waiting = self.steps[0](exchange)
        if waiting is not None:
            await waiting
        return exchange.context

    def context_of(self, request: HttpRequest, identity: Identity) -> Context:
        """The context of a request whose sender was found out elsewhere."""
        exchange = Exchange(request)
        self._enter(exchange, identity, "", self._region)
        return exchange.context

    async def _run(self, exchange: Exchange, steps: Sequence[Step]) -> HttpResponse:
        try:
            for step in steps:
                waiting = step(exchange)
                if waiting is not None:
                    await waiting
        except AwsError as error:
            return self._error(exchange, error)
        except Conflict:
            return self._error(
                exchange,
                AwsError(
                    "ServiceUnavailable",
                    "Another request changed the resource; try again.",
                    status=503,
                ),
            )
        except StoreError as error:
            _log.error("%s", error)
            return self._error(exchange, AwsError("ServiceUnavailable", str(error), status=503))
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", exchange.request.method, exchange.request.path)
            return self._error(
                exchange,
                AwsError(
                    "InternalFailure",
                    "The request processing has failed because of an unknown error.",
                    status=500,
                ),
            )
        return exchange.response

    def unavailable(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """The answer to a request whose effects were lost before they were on disk."""
        told = AwsError("ServiceUnavailable", str(error), status=503)
        return self._wire.error(request, told, self._ids.uuid())

    def _error(self, exchange: Exchange, error: AwsError) -> HttpResponse:
        context = getattr(exchange, "context", None)
        request_id = context.request_id if context is not None else self._ids.uuid()
        if exchange.operation is None:
            return self._wire.error(exchange.request, error, request_id)
        response = exchange.operation.error(error, request_id)
        if exchange.operation.protocol == "query":
            _negotiate(exchange.request, response)
        return response

    def identify(self, exchange: Exchange) -> Awaitable[None] | None:
        """Take the caller's word for who it is (`--auth off`, loopback only)."""
        credential = credential_of(exchange.request)
        if credential is None:
            self._enter(exchange, self._identities.anonymous(), "", self._region)
            return None
        access_key = credential.access_key
        if self._identities.may_be_issued(access_key):
            return self._recognise(exchange, access_key, credential.region)
        self._enter(exchange, self._identities.trust(access_key), access_key, credential.region)
        return None

    async def _recognise(self, exchange: Exchange, access_key: str, region: str) -> None:
        identity = await self._identities.find(access_key) or self._identities.anonymous()
        self._enter(exchange, identity, access_key, region)

    async def authenticate(self, exchange: Exchange) -> None:
        """Verify the signature (`--auth sigv4`)."""
        self._enter(exchange, self._identities.anonymous(), "", self._region)
        credential = credential_of(exchange.request)
        identity = None
        if credential is not None:
            identity = await self._identities.find(credential.access_key)
        secret = identity.secret if identity is not None else None
        check = sigv2.verify if sigv2.is_presigned(exchange.request) else verify
        verified = check(exchange.request, lambda _: secret, self._machine.now())
        assert identity is not None
        self._wire.check_scope(exchange.request, verified)
        identity.check_session(_session_token(exchange.request), exchange.context.now)
        self._enter(exchange, identity, verified.access_key, verified.region)

    def _enter(self, exchange: Exchange, identity: Identity, access_key: str, region: str) -> None:
        request = exchange.request
        headers = request.headers
        # By position: by keyword it takes several times as long, and every request has one.
        context = exchange.context = Context(
            identity.account,
            region or self._region,
            self._clock.now(),
            self._ids.uuid(),
            identity.principal,
            identity.principal_id,
            access_key,
            f"{request.scheme}://{headers.get('host') or 'localhost'}",
            headers.get("x-amzn-trace-id"),
        )
        context.connection = request.connection
        context.streams = True

    def route(self, exchange: Exchange) -> None:
        """Find the operation."""
        operation = self._wire.route(exchange.request)
        exchange.operation = operation
        exchange.context.operation = operation.name
        exchange.context.protocol = operation.protocol

    def parse(self, exchange: Exchange) -> None:
        """Turn bytes into the operation's parameters, checked against the model."""
        assert exchange.operation is not None
        exchange.params = exchange.operation.parse(exchange.request)

    async def dispatch(self, exchange: Exchange) -> None:
        """Run the operation."""
        operation = exchange.operation
        assert operation is not None
        handler = find_handler(self._handlers, operation.service, operation.name, exchange.params)
        exchange.result = await handler(exchange.context, exchange.params)

    def serialize(self, exchange: Exchange) -> None:
        """Turn the result into bytes."""
        assert exchange.operation is not None
        exchange.response = exchange.operation.serialize(
            exchange.result, exchange.context.request_id
        )
        exchange.response.rests_on = exchange.context.rests_on
        if exchange.operation.protocol == "query":
            _negotiate(exchange.request, exchange.response)


def _negotiate(request: HttpRequest, response: HttpResponse) -> None:
    """AWS: query services answer in JSON to who accepts nothing else (recorded by LocalStack)."""
    if request.headers.get("accept") == _JSON:
        xml = response.body.decode()
        response.headers = [
            (name, _JSON if name.lower() == "content-type" else value)
            for name, value in response.headers
        ]
        response.body = json_of(xml).encode()


def _session_token(request: HttpRequest) -> str | None:
    """The session token of a header, or of a presigned URL."""
    token = request.headers.get("x-amz-security-token")
    if token is None:
        for name in ("X-Amz-Security-Token", "x-amz-security-token"):
            if name in request.query:
                token = parse_qs(request.query).get(name, [None])[0]
    return token


def find_handler(
    handlers: Mapping[tuple[str, str], Handler], service: str, operation: str, params: Request
) -> Handler:
    """The handler of an operation. An operation or a parameter that is not built is refused by name."""
    handler = handlers.get((service, operation))
    if handler is None:
        raise AwsError(
            "NotImplemented", f"Penstock does not implement {service}:{operation} yet.", status=501
        )
    refused = handler.aws_refuses  # type: ignore[attr-defined]
    if not refused.isdisjoint(params):
        for name in params:
            if name in refused and params[name] not in (None, "", [], {}):
                raise AwsError(
                    "NotImplemented",
                    f"Penstock does not implement the parameter {name} of {service}:{operation} yet.",
                    status=501,
                )
    return handler
