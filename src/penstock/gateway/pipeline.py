"""The life of a request: authenticate, route, parse, dispatch, serialize.

The first `AwsError` ends it and becomes the answer, in the envelope of the protocol in use. The HTTP server keeps every
answer back until what it may speak of is on disk.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal
from urllib.parse import parse_qs

from penstock.api import (
    Answering,
    Context,
    Handler,
    HttpRequest,
    HttpResponse,
    Request,
    SendForm,
)
from penstock.clock import Clock
from penstock.core.errors import AwsError, Conflict, StoreError
from penstock.core.ids import Ids
from penstock.core.query_json import json_of
from penstock.gateway.identity import Identities, Identity
from penstock.wire import Operation, Wire, sigv2
from penstock.wire.sigv4 import credential_of, verify

_log: Final = logging.getLogger("penstock.gateway")
_JSON: Final = "application/json"


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
        self._checks = auth != "off"

    def takes_stream(self, request: HttpRequest) -> bool:
        """Whether a request whose body has not come yet may be handed over as it is."""
        return self._wire.takes_stream(request)

    def form(self, request: HttpRequest, names: Sequence[str]) -> SendForm | None:
        """How to answer forms like `request` that differ in values only; see `Dispatcher.form`."""
        try:
            operation = self._wire.route(request)
        except AwsError:
            return None
        if operation.protocol != "query":
            return None

        def send(ctx: Context, values: Sequence[str]) -> Answering:
            return self.handle(request, ctx, operation, zip(names, values, strict=True))

        return send

    async def handle(
        self,
        request: HttpRequest,
        context: Context | None = None,
        operation: Operation | None = None,
        fields: Iterable[tuple[str, str]] = (),
    ) -> HttpResponse:
        """Answer a request from outside; or one made inside, as `context`, which is this request's own.

        For an `operation` that is known, what is asked are the `fields` of a form, whatever the request's body says.
        """
        try:
            if context is None:
                context = self._trusted(request) or await self._known(request)
            if operation is None:
                operation = self._wire.route(request)
                params = operation.parse(request)
            else:
                params = operation.parse(request, fields)
            context.operation = operation.name
            context.protocol = operation.protocol
            handler = find_handler(self._handlers, operation.service, operation.name, params)
            result = await handler(context, params)
            response = operation.serialize(result, context.request_id)
            response.rests_on = context.rests_on
            if operation.protocol == "query":
                _negotiate(request, response)
            return response
        except AwsError as error:
            told = error
        except Conflict:
            text = "Another request changed the resource; try again."
            told = AwsError("ServiceUnavailable", text, status=503)
        except StoreError as error:
            _log.error("%s", error)
            told = AwsError("ServiceUnavailable", str(error), status=503)
        except Exception:  # noqa: BLE001 -- the boundary to the outside: a fault of ours is a 500, and is logged
            _log.exception("%s %s failed", request.method, request.path)
            text = "The request processing has failed because of an unknown error."
            told = AwsError("InternalFailure", text, status=500)
        request_id = context.request_id if context is not None else self._ids.uuid()
        return self._error(request, operation, told, request_id)

    def unavailable(self, request: HttpRequest, error: Exception) -> HttpResponse:
        """The answer to a request whose effects were lost before they were on disk."""
        told = AwsError("ServiceUnavailable", str(error), status=503)
        return self._wire.error(request, told, self._ids.uuid())

    def _error(
        self, request: HttpRequest, operation: Operation | None, error: AwsError, request_id: str
    ) -> HttpResponse:
        if operation is None:
            return self._wire.error(request, error, request_id)
        response = operation.error(error, request_id)
        if operation.protocol == "query":
            _negotiate(request, response)
        return response

    async def admit(self, request: HttpRequest) -> Context:
        """The context of a request that may be no AWS operation. Raises `AwsError` for one that may not be sent."""
        return self._trusted(request) or await self._known(request)

    def _trusted(self, request: HttpRequest) -> Context | None:
        """The context of a caller who is taken at their word (`--auth off`, loopback only); None where that may not be."""
        if self._checks:
            return None
        credential = credential_of(request)
        if credential is None:
            return self._context(request, self._identities.anonymous(), "", "")
        access_key = credential.access_key
        if self._identities.may_be_issued(access_key):
            return None
        identity = self._identities.trust(access_key)
        return self._context(request, identity, access_key, credential.region)

    async def _known(self, request: HttpRequest) -> Context:
        """The context of a caller whose access key is looked up. Raises `AwsError` for a wrong signature."""
        if self._checks:
            return await self._authenticated(request)
        credential = credential_of(request)
        assert credential is not None
        identity = await self._identities.find(credential.access_key)
        if identity is None:
            identity = self._identities.anonymous()
        return self._context(request, identity, credential.access_key, credential.region)

    async def _authenticated(self, request: HttpRequest) -> Context:
        """Verify the signature (`--auth sigv4`)."""
        credential = credential_of(request)
        identity = None
        if credential is not None:
            identity = await self._identities.find(credential.access_key)
        secret = identity.secret if identity is not None else None
        check = sigv2.verify if sigv2.is_presigned(request) else verify
        verified = check(request, lambda _: secret, self._machine.now())
        assert identity is not None
        self._wire.check_scope(request, verified)
        identity.check_session(_session_token(request), self._clock.now())
        return self._context(request, identity, verified.access_key, verified.region)

    def context_of(self, request: HttpRequest, identity: Identity) -> Context:
        """The context of a request whose sender was found out elsewhere."""
        return self._context(request, identity, "", "")

    def _context(
        self, request: HttpRequest, identity: Identity, access_key: str, region: str
    ) -> Context:
        headers = request.headers
        # By position: by keyword it takes several times as long, and every request has one.
        return Context(
            identity.account,
            region or self._region,
            self._clock.now(),
            self._ids.uuid(),
            identity.principal,
            identity.principal_id,
            access_key,
            f"{request.scheme}://{headers.get('host') or 'localhost'}",
            headers.get("x-amzn-trace-id"),
            "json",
            "",
            None,
            request.connection,
            True,
        )


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
