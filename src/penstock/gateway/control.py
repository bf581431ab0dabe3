"""Penstock's own endpoints, under `/_penstock/`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from penstock import __version__
from penstock.api import Answering, Context, HttpRequest, HttpResponse
from penstock.core.errors import AwsError

Action = Callable[[Context, Any], Awaitable[Any]]
"""Who asks, and the JSON that came along (None without a body) -> the answer."""


class Control:
    """A door for health, for what operators look at, for reset, and for what tests steer.

    Health is open to load balancers; everything else is admitted as AWS requests are.
    """

    def __init__(
        self,
        services: list[str],
        admit: Callable[[HttpRequest], Awaitable[Context]],
        actions: Mapping[tuple[str, str], Action],
    ) -> None:
        self._services = sorted(services)
        self._admit = admit
        self._actions = actions

    def __call__(self, request: HttpRequest) -> Answering | None:
        """Take what is addressed to Penstock itself."""
        if not request.path.startswith("/_penstock/"):
            return None
        return self._answer(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/_penstock/health":
            body = {"status": "running", "version": __version__, "services": self._services}
            return _json(200, body)
        action = self._actions.get((request.method, request.path))
        if action is None:
            return _json(404, {"message": f"There is no {request.method} {request.path}."})
        try:
            context = await self._admit(request)
        except AwsError as error:
            return _json(403, {"message": error.message})
        try:
            document = orjson.loads(request.body) if request.body else None
            return _json(200, await action(context, document))
        except orjson.JSONDecodeError as error:
            return _json(400, {"message": f"The body is no JSON: {error}"})
        except AwsError as error:
            return _json(400, {"message": error.message})


def _json(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, [("content-type", "application/json")], orjson.dumps(body))
