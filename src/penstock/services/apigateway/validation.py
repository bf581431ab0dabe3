"""Request validators: required parameters, and bodies against the models of their media types."""

from collections.abc import Callable
from typing import Any, Final

import orjson

from penstock.services.apigateway.call import Call
from penstock.services.apigateway.gateway_response import GatewayFailure
from penstock.services.apigateway.mapping import media_type
from penstock.services.apigateway.repository import Document

_PLACES: Final[dict[str, Callable[[Call, str], bool]]] = {
    "header": lambda call, name: bool(call.request.headers.get(name.lower())),
    "multivalueheader": lambda call, name: bool(call.request.headers.get(name.lower())),
    "querystring": lambda call, name: bool(call.query.get(name)),
    "multivaluequerystring": lambda call, name: name in call.multi_query,
    "path": lambda call, name: name in call.path_parameters,
}


class RequestCheck:
    """What a method's validator asks."""

    __slots__ = ("_parameters", "_schemas")

    def __init__(
        self, parameters: list[tuple[str, str]], schemas: dict[str, Callable[[Any], bool]]
    ) -> None:
        self._parameters = parameters
        self._schemas = schemas

    @classmethod
    def of(cls, api: Document, method: Document) -> "RequestCheck | None":
        """The check of a method; None when nothing is to be checked."""
        validator = api["validators"].get(method.get("requestValidatorId"))
        if validator is None:
            return None
        parameters: list[tuple[str, str]] = []
        schemas: dict[str, Callable[[Any], bool]] = {}
        if validator["validateRequestParameters"]:
            for name, required in (method.get("requestParameters") or {}).items():
                _, _, place, parameter = name.split(".", 3)
                if required:
                    parameters.append((place, parameter))
        models = method.get("requestModels") or {}
        if validator["validateRequestBody"] and models:
            from penstock.services.apigateway.schema import checks  # noqa: PLC0415 -- slow to import

            schemas = checks(api, models)
        return cls(parameters, schemas) if parameters or schemas else None

    def check(self, call: Call) -> None:
        """Raises GatewayFailure for a request that is not as it must be."""
        missing = [name for place, name in self._parameters if not _PLACES[place](call, name)]
        if missing:
            raise GatewayFailure(
                "BAD_REQUEST_PARAMETERS",
                f"Missing required request parameters: [{', '.join(missing)}]",
            )
        schema = self._schemas.get(media_type(call.request.headers.get("content-type")))
        if schema is not None and not schema(_document(call)):
            raise GatewayFailure("BAD_REQUEST_BODY", "Invalid request body")


def _document(call: Call) -> Any:
    """The body as JSON; what is none fits no schema."""
    try:
        return orjson.loads(call.body.raw or b"{}")
    except orjson.JSONDecodeError:
        raise GatewayFailure("BAD_REQUEST_BODY", "Invalid request body") from None
