"""Connections: how API destinations prove who calls.

Their secrets are kept here, with the connection: there is no Secrets Manager. `SecretArn` ends in `-inside` to say so.
"""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.events.authorizing import Authorizing
from penstock.services.events.documents import Document, Documents, only, page
from penstock.services.events.names import Scope, scope_of
from penstock.storage.primitives import Primitives, Store

CONNECTIONS: Final = "events/connections"
_UNBUILT: Final = ("InvocationConnectivityParameters", "KmsKeyIdentifier")
_TIMES: Final = ("CreationTime", "LastModifiedTime", "LastAuthorizedTime")
_ANSWERED: Final = ("ConnectionArn", "ConnectionState", "CreationTime", "LastModifiedTime")
_MEMBERS: Final = {
    "API_KEY": "ApiKeyAuthParameters",
    "BASIC": "BasicAuthParameters",
    "OAUTH_CLIENT_CREDENTIALS": "OAuthParameters",
}
_METHODS: Final = ("GET", "POST", "PUT")
_SECRETS: Final = frozenset({"ApiKeyValue", "ClientSecret", "Password"})


class Connections:
    """Operations on connections.

    A document has the members of DescribeConnection, secrets included, and `Deauthorized` once DeauthorizeConnection
    was called: a connection whose token request failed is DEAUTHORIZED too, but asks again when it is used.
    """

    def __init__(self, store: Store, ids: Ids, authorizing: Authorizing) -> None:
        self._store = store
        self._ids = ids
        self._authorizing = authorizing
        self._documents = Documents(CONNECTIONS)

    async def find(self, given: Primitives, scope: Scope, name: str) -> Document:
        """A connection. Raises ResourceNotFoundException."""
        found = await self._documents.find(given, scope.partition, name)
        if found is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Failed to describe the connection(s). Connection '{name}' does not exist.",
            )
        return found

    @operation(
        "CreateConnection", refuses=_UNBUILT, in_part=["AuthParameters.ConnectivityParameters"]
    )
    async def create(self, ctx: Context, request: Request) -> Result:
        """Make a connection. One for OAuth is authorized afterwards."""
        scope, name = scope_of(ctx), request["Name"]
        parameters = request["AuthParameters"]
        _check(request["AuthorizationType"], parameters)
        secret = f"secret:events!connection/{name}/{self._ids.uuid()}-inside"
        document = {
            "Name": name,
            "ConnectionArn": scope.arn(f"connection/{name}/{self._ids.uuid()}"),
            "SecretArn": make_arn("secretsmanager", ctx.region, ctx.account, secret),
            "AuthorizationType": request["AuthorizationType"],
            "AuthParameters": parameters,
            "CreationTime": ctx.now,
            "LastModifiedTime": ctx.now,
            "LastAuthorizedTime": ctx.now,
            **only(request, "Description"),
        }
        async with self._store.transaction() as tx:
            if await self._documents.find(tx, scope.partition, name) is not None:
                raise AwsError(
                    "ResourceAlreadyExistsException", f"Connection {name} already exists."
                )
            await self._authorize(tx, scope, document, ctx.now)
        return only(document, *_ANSWERED)

    async def _authorize(self, tx: Primitives, scope: Scope, document: Document, now: int) -> None:
        """Store a connection whose parameters are new."""
        by_token = document["AuthorizationType"] == "OAUTH_CLIENT_CREDENTIALS"
        document["ConnectionState"] = "AUTHORIZING" if by_token else "AUTHORIZED"
        document.pop("StateReason", None)
        document.pop("Deauthorized", None)
        await self._documents.put(tx, scope.partition, document["Name"], document)
        if by_token:
            await self._authorizing.ask(tx, scope, document, now)

    @operation(
        "UpdateConnection", refuses=_UNBUILT, in_part=["AuthParameters.ConnectivityParameters"]
    )
    async def update(self, ctx: Context, request: Request) -> Result:
        """Change a connection; parameters that are not given stay."""
        scope = scope_of(ctx)
        async with self._store.transaction() as tx:
            document = await self.find(tx, scope, request["Name"])
            document.update(only(request, "Description", "AuthorizationType"))
            if not document.get("Description"):
                document.pop("Description", None)
            if "AuthParameters" in request:
                merged = _merged(document["AuthParameters"], request["AuthParameters"])
                kind = _MEMBERS[document["AuthorizationType"]]
                document["AuthParameters"] = only(merged, kind, "InvocationHttpParameters")
            _check(document["AuthorizationType"], document["AuthParameters"])
            document.update(LastModifiedTime=ctx.now, LastAuthorizedTime=ctx.now)
            await self._authorize(tx, scope, document, ctx.now)
        self._authorizing.forget(document["ConnectionArn"])
        return only(document, *_ANSWERED, "LastAuthorizedTime")

    @operation("DescribeConnection")
    async def describe(self, ctx: Context, request: Request) -> Result:
        """A connection without its secrets."""
        found = await self.find(self._store, scope_of(ctx), request["Name"])
        shown = only(
            found,
            *_ANSWERED,
            "LastAuthorizedTime",
            "Name",
            "Description",
            "StateReason",
            "AuthorizationType",
            "SecretArn",
        )
        return {**shown, "AuthParameters": _public(found["AuthParameters"])}

    @operation("ListConnections")
    async def list_connections(self, ctx: Context, request: Request) -> Result:
        """Connections by name."""
        state = request.get("ConnectionState")
        found = [
            only(one, *_ANSWERED, "LastAuthorizedTime", "Name", "StateReason", "AuthorizationType")
            for one in await self._documents.in_order(
                self._store, scope_of(ctx).partition, request.get("NamePrefix", "")
            )
            if state in (None, one["ConnectionState"])
        ]
        return page(found, request, "Connections")

    @operation("DeauthorizeConnection")
    async def deauthorize(self, ctx: Context, request: Request) -> Result:
        """Forget a connection's secrets; destinations that use it are refused from now on."""
        scope = scope_of(ctx)
        async with self._store.transaction() as tx:
            document = await self.find(tx, scope, request["Name"])
            document.update(
                ConnectionState="DEAUTHORIZED",
                Deauthorized=True,
                AuthParameters=_public(document["AuthParameters"]),
                LastModifiedTime=ctx.now,
            )
            await self._documents.put(tx, scope.partition, document["Name"], document)
        self._authorizing.forget(document["ConnectionArn"])
        answer = only(document, "ConnectionArn", *_TIMES)
        return {**answer, "ConnectionState": "DEAUTHORIZING"}

    @operation("DeleteConnection")
    async def delete(self, ctx: Context, request: Request) -> Result:
        """Remove a connection."""
        scope = scope_of(ctx)
        async with self._store.transaction() as tx:
            document = await self.find(tx, scope, request["Name"])
            await self._documents.delete(tx, scope.partition, document["Name"])
        self._authorizing.forget(document["ConnectionArn"])
        return {**only(document, "ConnectionArn", *_TIMES), "ConnectionState": "DELETING"}


def _check(kind: str, parameters: dict[str, Any]) -> None:
    if "ConnectivityParameters" in parameters:
        raise refuse("ConnectivityParameters of connections")
    method = parameters.get("OAuthParameters", {}).get("HttpMethod", "POST")
    if method.upper() not in _METHODS:
        raise AwsError(
            "ValidationException", "Parameter HttpMethod is not valid. Reason: GET, POST or PUT."
        )
    if _MEMBERS[kind] not in parameters:
        raise AwsError(
            "ValidationException",
            f"Parameter AuthParameters is not valid. Reason: {_MEMBERS[kind]} is required for {kind}.",
        )


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Parameters with changes; empty lists take away what was said before."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        both = isinstance(value, dict) and isinstance(before, dict)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
        if merged[name] in ([], {}):
            del merged[name]
    return merged


def _public(value: Any) -> Any:
    """Parameters without secrets: those that always are, and values that are marked so."""
    if isinstance(value, list):
        return [_public(item) for item in value]
    if not isinstance(value, dict):
        return value
    hidden = _SECRETS | ({"Value"} if value.get("IsValueSecret") else set())
    return {name: _public(item) for name, item in value.items() if name not in hidden}
