"""How asynchronous events are handled, set by qualifier: retries, age, destinations."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.configuration import invalid, page_size
from penstock.services.lambda_.repository import LATEST, Function, Ref, Repository, parse_ref

_NO_FUNCTION: Final = "The function doesn't exist."
_MEMBERS: Final = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


class EventInvokeConfigs:
    """The operations on them."""

    def __init__(self, repository: Repository, events: AsyncInvocations) -> None:
        self._repository = repository
        self._events = events

    @operation("PutFunctionEventInvokeConfig")
    async def put_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Replace what was put for the qualifier."""
        return await self._put(ctx, request, replace=True)

    @operation("UpdateFunctionEventInvokeConfig")
    async def update_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Change what was put for the qualifier."""
        return await self._put(ctx, request, replace=False)

    @operation("GetFunctionEventInvokeConfig")
    async def get_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """What was put for the qualifier."""
        ref = _ref(ctx, request)
        return _told(ref, await self._configs(ref))

    @operation("DeleteFunctionEventInvokeConfig")
    async def delete_function_event_invoke_config(self, ctx: Context, request: Request) -> Result:
        """Go back to the defaults."""
        ref = _ref(ctx, request)
        configs = await self._configs(ref)
        _told(ref, configs)
        function = await self._repository.describe(ref._replace(qualifier=None))
        left = {key: config for key, config in configs.items() if key != ref.qualifier}
        await self._save(function, left)
        return {}

    @operation("ListFunctionEventInvokeConfigs")
    async def list_function_event_invoke_configs(self, ctx: Context, request: Request) -> Result:
        """What was put for any qualifier."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.describe(ref, missing=_NO_FUNCTION)
        configs = function.document["event_invoke"]
        found = [_told(ref._replace(qualifier=key), configs) for key in sorted(configs)]
        page, marker = paged(
            found, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"FunctionEventInvokeConfigs": page} | ({"NextMarker": marker} if marker else {})

    async def _put(self, ctx: Context, request: Request, *, replace: bool) -> Result:
        ref = _ref(ctx, request)
        given = {name: request[name] for name in _MEMBERS if request.get(name) is not None}
        if not given:
            raise invalid("You must specify at least one of error handling or destination setting.")
        await self._repository.describe(ref, missing=_NO_FUNCTION)
        await self._events.destinations.check(ctx, ref, given.get("DestinationConfig") or {})
        function = await self._repository.describe(ref._replace(qualifier=None))
        configs = function.document["event_invoke"]
        if not replace:
            _told(ref, configs)  # AWS: there must be one to update
            given = {**configs[ref.qualifier], **given}
        changed = {**configs, ref.qualifier: {**given, "LastModified": ctx.now}}
        await self._save(function, changed)
        return _told(ref, changed)

    async def _save(self, function: Function, configs: dict[str, Any]) -> None:
        changed = await self._repository.change(function, event_invoke=configs)
        self._events.subscribe(function.ref, changed.document)

    async def _configs(self, ref: Ref) -> dict[str, Any]:
        found = await self._repository.document(ref)
        configs: dict[str, Any] = found[1]["event_invoke"] if found else {}
        return configs


def _ref(ctx: Context, request: Request) -> Ref:
    ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
    return ref if ref.qualifier is not None else ref._replace(qualifier=LATEST)


def _told(ref: Ref, configs: dict[str, Any]) -> Result:
    config = configs.get(ref.qualifier or LATEST)
    if config is None:
        raise AwsError(
            "ResourceNotFoundException",
            f"The function {ref.qualified_arn} doesn't have an EventInvokeConfig",
        )
    destinations = config.get("DestinationConfig") or {}
    return {
        **config,
        "FunctionArn": ref.qualified_arn,
        "DestinationConfig": {
            "OnSuccess": destinations.get("OnSuccess") or {},
            "OnFailure": destinations.get("OnFailure") or {},
        },
    }
