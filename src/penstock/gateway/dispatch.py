"""Calls from one service to another, by the names of the public API."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.api import (
    Answering,
    Context,
    Handler,
    HttpRequest,
    Request,
    Result,
    SendForm,
    refuse,
)
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.gateway.pipeline import Pipeline, find_handler
from penstock.storage.primitives import Store
from penstock.wire import Wire


class LocalDispatcher:
    """A `Dispatcher` over the same handlers, models and pipeline that the gateway serves."""

    def __init__(
        self,
        wire: Wire,
        handlers: Mapping[tuple[str, str], Handler],
        store: Store,
        ids: Ids,
        clock: Clock,
    ) -> None:
        self._wire = wire
        self._handlers = handlers
        self._store = store
        self._ids = ids
        self._clock = clock
        self.pipeline: Pipeline | None = None
        """Set by the composition root once the pipeline exists: it needs the services, which need this."""

    async def call(self, ctx: Context, service: str, operation: str, request: Request) -> Result:
        """Run an operation as `ctx`; durable on return."""
        epoch = self._store.epoch
        compiled = self._wire.operation(service, operation)
        compiled.validate(request)
        handler = find_handler(self._handlers, service, operation, request)
        inner = ctx.child(
            request_id=self._ids.uuid(),
            now=self._clock.now(),
            operation=operation,
            protocol=compiled.protocol,
            streams=False,
            rests_on=None,
        )
        result = await handler(inner, request)
        await self._store.durable(epoch, inner.rests_on)
        return result or {}

    async def call_document(
        self, ctx: Context, service_id: str, operation: str, document: Any
    ) -> Result:
        """Run an operation with a JSON document as its request."""
        service = self._wire.by_service_id(service_id)
        request = self._wire.read_document(service, operation, document)
        return await self.call(ctx, service, operation, request)

    def has_operation(self, service_id: str, operation: str) -> bool:
        """Whether the service's model has the operation. Raises `AwsError` by name for what is not built."""
        service = self._wire.by_service_id(service_id)
        if not self._wire.has_operation(service, operation):
            return False
        find_handler(self._handlers, service, operation, {})
        return True

    def http(self, ctx: Context, request: HttpRequest) -> Answering:
        """Send bytes to a service as `ctx`."""
        assert self.pipeline is not None
        return self.pipeline.handle(request, ctx)

    def check_action(self, signing_name: str, action: str) -> None:
        """Raise `AwsError` unless there is the service and, where `action` is not empty, its operation of that name."""
        service = self._wire.by_signing_name(signing_name)
        if action:
            if not self._wire.names_operations(service):
                raise refuse(f"the operation {action} of {service} by its name alone")
            if (service, action) not in self._handlers:
                raise refuse(f"{service}:{action}")

    def form(self, request: HttpRequest, names: Sequence[str]) -> SendForm | None:
        """How to send values of a form's fields."""
        assert self.pipeline is not None
        return self.pipeline.form(request, names)
