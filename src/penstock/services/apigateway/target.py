"""The URIs of AWS integrations: `arn:aws:apigateway:region:service:path|action/...`."""

import re
from typing import Final
from urllib.parse import quote

from penstock.services.apigateway.call import Call

_VARIABLE: Final = re.compile(r"\$\{stageVariables\.(\w+)\}")
_PARAMETER: Final = re.compile(r"\{([\w.:-]+)\}")


class Uri:
    """A parsed URI. Its path may hold stage variables and `{parameters}`."""

    __slots__ = ("action", "fixed", "fixed_path", "region", "service")

    def __init__(self, text: str) -> None:
        _, _, _, region, service, rest = text.split(":", 5)
        kind, _, target = rest.partition("/")
        self.region = region
        self.service = service
        self.action = target if kind == "action" else ""
        self.fixed_path = f"/{target}" if kind == "path" else "/"
        self.fixed = "{" not in self.fixed_path

    def path(self, call: Call, parameters: dict[str, str]) -> str:
        """The path with its query, if it has one. `parameters` are the integration's path values."""
        if self.fixed:
            return self.fixed_path
        variables = call.stage.variables
        path = _VARIABLE.sub(lambda found: variables.get(found[1], ""), self.fixed_path)
        return _PARAMETER.sub(lambda found: quote(parameters.get(found[1], ""), safe="/"), path)
