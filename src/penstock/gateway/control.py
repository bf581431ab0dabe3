"""Penstock's own endpoints, under `/_penstock/`."""

from collections.abc import Awaitable, Callable

import orjson

from penstock import __version__
from penstock.api import HttpRequest, HttpResponse


class Control:
    """A door for health and reset."""

    def __init__(self, services: list[str], reset: Callable[[], Awaitable[None]]) -> None:
        self._services = sorted(services)
        self._reset = reset

    def __call__(self, request: HttpRequest) -> Awaitable[HttpResponse] | None:
        """Take what is addressed to Penstock itself."""
        if not request.path.startswith("/_penstock/"):
            return None
        return self._answer(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        match request.method, request.path:
            case "GET", "/_penstock/health":
                body = {"status": "running", "version": __version__, "services": self._services}
                return _json(200, body)
            case "POST", "/_penstock/reset":
                await self._reset()
                return _json(200, {"status": "reset"})
            case _:
                return _json(404, {"message": f"There is no {request.method} {request.path}."})


def _json(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, [("content-type", "application/json")], orjson.dumps(body))
