"""The operations on tags of REST APIs and stages, which they name by ARN."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.api import Context, Request, Result, operation
from penstock.services.apigateway.repository import Document, Repository, not_found
from penstock.services.apigateway.stages import stage_of


class Tags:
    """See the module."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @operation("GetTags", refuses=["position", "limit"])
    async def get_tags(self, ctx: Context, request: Request) -> Result:
        """The tags of an API or a stage."""
        api_id, stage = _named(request["resourceArn"])
        tagged = await self._repository.api(ctx, api_id)
        if stage:
            place = {"restApiId": api_id, "stageName": stage}
            tagged = await stage_of(self._repository.releases, place)
        return {"tags": tagged.get("tags") or {}}

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> None:
        """Add or replace tags of an API or a stage."""
        async with self._changing(ctx, request["resourceArn"]) as tagged:
            tagged["tags"] = {**(tagged.get("tags") or {}), **request["tags"]}

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> None:
        """Remove tags of an API or a stage."""
        async with self._changing(ctx, request["resourceArn"]) as tagged:
            for key in request["tagKeys"]:
                (tagged.get("tags") or {}).pop(key, None)

    @asynccontextmanager
    async def _changing(self, ctx: Context, arn: str) -> AsyncIterator[Document]:
        """The document that an ARN names, to be changed; it is written unless the block raises."""
        api_id, name = _named(arn)
        if not name:
            async with self._repository.changing(ctx, api_id) as api:
                yield api
            return
        async with self._repository.releasing(ctx, api_id) as (_, releases):
            stage = await stage_of(releases, {"restApiId": api_id, "stageName": name})
            yield stage
            await releases.put_stage(stage)


def _named(arn: str) -> tuple[str, str]:
    """The API that `arn:aws:apigateway:region::/restapis/id` names, and the stage if `/stages/name` follows."""
    _, found, rest = arn.partition("::/restapis/")
    api_id, stages, name = rest.partition("/stages/")
    if not found or "/" in api_id or bool(stages) != bool(name):
        raise not_found(f"Invalid resource ARN specified: {arn}")
    return api_id, name
