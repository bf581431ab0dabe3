"""Tags of functions and of event source mappings."""

import re
from collections.abc import Mapping
from typing import Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import Arn, parse_arn
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.services.lambda_.configuration import invalid
from penstock.services.lambda_.mappings import MAPPINGS
from penstock.services.lambda_.repository import (
    Ref,
    Repository,
    scope,
    update_in_progress,
)

# AWS: "tags for resources" of the Lambda guide.
_MOST: Final = 50
_RESOURCE: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:[a-z0-9-]+:\d{12}:(?:function|event-source-mapping|capacity-provider|layer|code-signing-config):.+"
)


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse more tags than a resource can have."""
    if len(tags) > _MOST:
        raise invalid("Number of tags exceeds resource tag limit.")


class Tags:
    """The operations on tags."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> Result:
        """Set tags."""
        tags = request["Tags"]
        if not tags:
            raise invalid("An error occurred and the request cannot be processed.")
        arn = _resource(request)
        changed = {**await self._read(arn), **tags}
        check_tags(changed)
        await self._write(arn, changed)
        return {}

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> Result:
        """Remove tags."""
        if not request.get("TagKeys"):
            raise AwsError(
                "ValidationException",
                "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: "
                "Member must not be null",
            )
        arn = _resource(request)
        gone = set(request["TagKeys"])
        tags = await self._read(arn)
        await self._write(arn, {key: text for key, text in tags.items() if key not in gone})
        return {}

    @operation("ListTags")
    async def list_tags(self, ctx: Context, request: Request) -> Result:
        """The tags."""
        return {"Tags": await self._read(_resource(request))}

    async def _read(self, arn: Arn) -> dict[str, str]:
        if arn.resource.startswith("function:"):
            function = await self._repository.describe(_function_ref(arn))
            tags: dict[str, str] = function.document["tags"]
            return tags
        _, document = await self._mapping(arn)
        found: dict[str, str] = document["tags"]
        return found

    async def _write(self, arn: Arn, tags: dict[str, str]) -> None:
        if arn.resource.startswith("function:"):
            function = await self._repository.describe(_function_ref(arn))
            # AWS: tags of a function are under its revision.
            config = {**function.config, "RevisionId": self._ids.uuid()}
            await self._repository.change(function, tags=tags, config=config)
            return
        version, document = await self._mapping(arn)
        try:
            await self._repository.store.table.put(
                MAPPINGS,
                scope(arn.account, arn.region),
                arn.name.encode(),
                orjson.dumps({**document, "tags": tags}),
                expect=version,
            )
        except Conflict:
            raise update_in_progress(str(arn)) from None

    async def _mapping(self, arn: Arn) -> tuple[int, dict[str, dict[str, str]]]:
        row = None
        if arn.resource.startswith("event-source-mapping:"):
            row = await self._repository.store.table.get(
                MAPPINGS, scope(arn.account, arn.region), arn.name.encode()
            )
        if row is None:
            kind = {
                "event-source-mapping": "Event source mapping",
                "capacity-provider": "Capacity provider",
            }.get(arn.resource.partition(":")[0], "Resource")
            raise AwsError("ResourceNotFoundException", f"{kind} not found: {arn}")
        return row.version, orjson.loads(row.document)


def _resource(request: Request) -> Arn:
    text = request["Resource"]
    if _RESOURCE.fullmatch(text) is None:
        raise invalid(f"Invalid ARN: {text}")
    return parse_arn(text)


def _function_ref(arn: Arn) -> Ref:
    _, name, *qualifier = arn.resource.split(":")
    if qualifier:
        raise invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    return Ref(arn.account, arn.region, name, None)
