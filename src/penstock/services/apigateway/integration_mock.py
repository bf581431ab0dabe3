"""MOCK integrations: the request template says which response to give."""

import re
from typing import Final

import orjson

from penstock.api import HttpResponse
from penstock.services.apigateway.call import Call
from penstock.services.apigateway.gateway_response import internal_error
from penstock.services.apigateway.mapping import Answer, RequestMapping, ResponseMapping
from penstock.services.apigateway.repository import Document

# AWS: `{statusCode: 200}`, which is no JSON, is taken as well.
_BARE_KEY: Final = re.compile(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)")


class MockIntegration:
    """See the module."""

    def __init__(self, integration: Document) -> None:
        self._request = RequestMapping(integration)
        self._response = ResponseMapping(integration)

    async def invoke(self, call: Call) -> HttpResponse:
        """Answer. Raises GatewayFailure."""
        status = _status(self._request.body(call).decode(errors="replace"))
        return self._response.apply(call, Answer(HttpResponse(status)))


def _status(text: str) -> int:
    for candidate in (text, _BARE_KEY.sub(r'\1"\2"\3', text.replace("'", '"'))):
        try:
            return int(orjson.loads(candidate)["statusCode"])
        except (ValueError, TypeError, KeyError):
            continue
    raise internal_error("the mock's template gives no statusCode")
