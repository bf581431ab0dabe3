"""What a request asks of a service that is not here, by botocore's models: read only when something is to be refused.

A signature's scope names a service or several that share it; models are looked for in the folders whose names begin with it.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from penstock.api import HttpRequest, refuse
from penstock.core.errors import AwsError
from penstock.wire.model import Catalog, models_beginning
from penstock.wire.rest_route import RestTable

_SCOPE: Final = re.compile(r"[a-z0-9-]{2,64}")
_KEPT_SCOPES: Final = 256
_KEPT_TABLES: Final = 8
"""Of so many services the routes are kept: some have thousands."""
_REST: Final = ("rest-json", "rest-xml")


class Unbuilt:
    """Knows services by the scope of signatures for them, but for those that are `built`."""

    def __init__(self, built: Collection[str]) -> None:
        self._built = built
        self._scopes: dict[str, Catalog] = {}
        self._tables: dict[str, RestTable] = {}

    def rest_protocol(self, scope: str) -> str:
        """The REST protocol of a scope's service; that of most where none is known."""
        protocols = [metadata["protocol"] for metadata in self._catalog(scope).metadata.values()]
        return next((protocol for protocol in protocols if protocol in _REST), "rest-json")

    def by_target(self, scope: str, prefix: str, operation: str) -> AwsError | None:
        """The refusal of an operation that a header names by its service's prefix; None where no service has it."""
        for name, metadata in self._catalog(scope).metadata.items():
            if metadata.get("targetPrefix") == prefix:
                return refuse(f"{name}:{operation[:128]}")
        return None

    def by_path(self, scope: str, request: HttpRequest) -> AwsError | None:
        """The refusal of an operation that has a method and a path; None where no service has it."""
        for name, table in self._rest_tables(scope):
            operation = table.find(request.method, request.path, request.query, request.headers)
            if operation is not None:
                return refuse(f"{name}:{operation}")
        return None

    def _rest_tables(self, scope: str) -> Iterator[tuple[str, RestTable]]:
        for name, metadata in self._catalog(scope).metadata.items():
            if metadata["protocol"] in _REST:
                table = self._tables.get(name)
                if table is None:
                    if len(self._tables) >= _KEPT_TABLES:
                        self._tables.clear()
                    table = self._tables[name] = RestTable(Catalog([name]).model(name))
                yield name, table

    def _catalog(self, scope: str) -> Catalog:
        """The services of a scope that are not built, as far as their names begin with it."""
        found = self._scopes.get(scope)
        if found is None:
            names = models_beginning(scope) if _SCOPE.fullmatch(scope) else []
            every = Catalog([name for name in names if name not in self._built])
            fitting = [name for name, told in every.metadata.items() if _scope_of(told) == scope]
            if len(self._scopes) >= _KEPT_SCOPES:
                self._scopes.clear()
            found = self._scopes[scope] = Catalog(fitting)
        return found


def _scope_of(metadata: dict[str, Any]) -> str:
    return str(metadata.get("signingName", metadata["endpointPrefix"]))
