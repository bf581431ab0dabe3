"""Where APIs, deployments and stages are kept.

An API with its resources, methods, models, validators and gateway responses is one document, so that a change is atomic
and a deployment is a copy of it. Deployments and stages lie under the API's id, which is how requests name them.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.storage.primitives import Primitives, Row, Store

APIS: Final = "apigateway/apis"
DEPLOYMENTS: Final = "apigateway/deployments"
STAGES: Final = "apigateway/stages"
ACCOUNTS: Final = "apigateway/accounts"

Document = dict[str, Any]


def bad_request(message: str) -> AwsError:
    """The error of a request that cannot be carried out."""
    return AwsError("BadRequestException", message)


def not_found(message: str) -> AwsError:
    """The error of a request for what is not there."""
    return AwsError("NotFoundException", message)


def conflict(message: str) -> AwsError:
    """The error of a request to make what is there already."""
    return AwsError("ConflictException", message)


def scope(ctx: Context) -> bytes:
    """The partition of an account's APIs in a region."""
    return f"{ctx.account}/{ctx.region}".encode()


def page(items: list[Document], request: Request) -> Result:
    """One page of `items`: `position` is the index of its first, `limit` (25, at most 500) its size."""
    limit = min(request.get("limit") or 25, 500)
    invalid = bad_request("Invalid position parameter")
    found, position = paged(items, request.get("position"), limit, invalid)
    return {"items": found} if position is None else {"items": found, "position": position}


class Releases:
    """Deployments and stages, in the store or within a transaction."""

    def __init__(self, primitives: Primitives) -> None:
        self._table = primitives.table

    async def stages(self, api_id: str) -> list[Document]:
        """The stages of an API, by name."""
        rows = await self._table.range(STAGES, api_id.encode(), limit=1000)
        return [orjson.loads(row.document) for row in rows]

    async def deployments(self, api_id: str) -> list[Document]:
        """The deployments of an API, by id."""
        rows = await self._table.range(DEPLOYMENTS, api_id.encode(), limit=10_000)
        return [orjson.loads(row.document) for row in rows]

    def stamp(self) -> int:
        """A number that is another one as soon as any stage may have changed."""
        return self._table.stamp(STAGES)

    def stage_row(self, api_id: str, stage: str) -> Awaitable[Row | None]:
        """A stage as it is stored, for those who keep what they made of it by its version."""
        return self._table.get(STAGES, api_id.encode(), stage.encode())

    async def deployment(self, api_id: str, deployment_id: str) -> Document:
        """A deployment."""
        key = (api_id.encode(), deployment_id.encode())
        row = await self._table.get(DEPLOYMENTS, *key)
        if row is None:
            raise not_found("Invalid Deployment identifier specified")
        document: Document = orjson.loads(row.document)
        return document

    async def put_stage(self, stage: Document) -> None:
        """Write a stage."""
        key = (stage["apiId"].encode(), stage["stageName"].encode())
        await self._table.put(STAGES, *key, orjson.dumps(stage))

    async def put_deployment(self, api_id: str, deployment: Document) -> None:
        """Write a deployment."""
        key = (api_id.encode(), deployment["id"].encode())
        await self._table.put(DEPLOYMENTS, *key, orjson.dumps(deployment))

    async def remove_stage(self, api_id: str, name: str) -> None:
        """Remove a stage."""
        await self._table.delete(STAGES, api_id.encode(), name.encode())

    async def remove_deployment(self, api_id: str, identifier: str) -> None:
        """Remove a deployment."""
        await self._table.delete(DEPLOYMENTS, api_id.encode(), identifier.encode())


class Repository:
    """Reads and writes the documents. Reads raise `AwsError` for what is not there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.releases = Releases(store)

    async def api(self, ctx: Context, api_id: str) -> Document:
        """An API's document."""
        return _loaded(ctx, api_id, await self._store.table.get(APIS, scope(ctx), api_id.encode()))

    async def apis(self, ctx: Context) -> list[Document]:
        """The APIs of the account and region, by id."""
        rows = await self._store.table.range(APIS, scope(ctx), limit=10_000)
        return [orjson.loads(row.document) for row in rows]

    @asynccontextmanager
    async def changing(self, ctx: Context, api_id: str) -> AsyncIterator[Document]:
        """An API's document to be changed; it is written unless the block raises."""
        async with self._store.transaction() as tx:
            row = await tx.table.get(APIS, scope(ctx), api_id.encode())
            document = _loaded(ctx, api_id, row)
            yield document
            await tx.table.put(APIS, scope(ctx), api_id.encode(), orjson.dumps(document))

    async def add(self, ctx: Context, document: Document) -> None:
        """Store a new API."""
        key = document["id"].encode()
        await self._store.table.put(APIS, scope(ctx), key, orjson.dumps(document), expect=0)

    async def remove(self, ctx: Context, api_id: str) -> None:
        """Remove an API with its deployments and stages."""
        partition = api_id.encode()
        async with self._store.transaction() as tx:
            _loaded(ctx, api_id, await tx.table.get(APIS, scope(ctx), partition))
            await tx.table.delete(APIS, scope(ctx), partition)
            for table in (STAGES, DEPLOYMENTS):
                for row in await tx.table.range(table, partition, limit=10_000):
                    await tx.table.delete(table, partition, row.sort)

    @asynccontextmanager
    async def releasing(
        self, ctx: Context, api_id: str
    ) -> AsyncIterator[tuple[Document, Releases]]:
        """An API's document and, in one transaction, its deployments and stages."""
        async with self._store.transaction() as tx:
            row = await tx.table.get(APIS, scope(ctx), api_id.encode())
            yield _loaded(ctx, api_id, row), Releases(tx)

    async def account(self, ctx: Context) -> Document:
        """The account's settings in the region."""
        row = await self._store.table.get(ACCOUNTS, scope(ctx), b"")
        return {} if row is None else orjson.loads(row.document)

    async def put_account(self, ctx: Context, document: Document) -> None:
        """Replace the account's settings."""
        await self._store.table.put(ACCOUNTS, scope(ctx), b"", orjson.dumps(document))


def _loaded(ctx: Context, api_id: str, row: Row | None) -> Document:
    if row is None:
        raise not_found(f"Invalid API identifier specified {ctx.account}:{api_id}")
    document: Document = orjson.loads(row.document)
    return document


def resource_of(api: Document, resource_id: str) -> Document:
    """A resource of an API."""
    resource: Document | None = api["resources"].get(resource_id)
    if resource is None:
        raise not_found("Invalid Resource identifier specified")
    return resource


def method_of(api: Document, request: Request) -> Document:
    """The method that `resourceId` and `httpMethod` of a request name."""
    methods = resource_of(api, request["resourceId"])["resourceMethods"]
    method: Document | None = methods.get(request["httpMethod"].upper())
    if method is None:
        raise not_found("Invalid Method identifier specified")
    return method


def integration_of(api: Document, request: Request) -> Document:
    """The integration of the method that a request names."""
    integration: Document | None = method_of(api, request).get("methodIntegration")
    if integration is None:
        raise not_found("Invalid Integration identifier specified")
    return integration


def response_of(responses: Document, request: Request) -> Document:
    """The response for the `statusCode` of a request."""
    response: Document | None = responses.get(request["statusCode"])
    if response is None:
        raise not_found("Invalid Response status code specified")
    return response
