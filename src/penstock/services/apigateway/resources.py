"""The operations on resources: the tree of an API's paths."""

import re
from typing import Any, Final

from penstock.api import Context, Request, Result, operation, refuse
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.apigateway.patch import apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    page,
    resource_of,
)

_PART: Final = re.compile(r"[A-Za-z0-9._~:-]+|\{[A-Za-z0-9._:-]+\+?\}")


def add_resource(api: Document, parent_id: str, part: str, ids: Ids) -> Document:
    """Add a resource below another one. Raises `AwsError` where AWS does."""
    parent = resource_of(api, parent_id)
    check_part(api, parent, part)
    identifier = ids.token(6)
    resource: Document = {
        "id": identifier,
        "parentId": parent_id,
        "pathPart": part,
        "path": f"{parent['path'].rstrip('/')}/{part}",
        "resourceMethods": {},
    }
    api["resources"][identifier] = resource
    return resource


def check_part(api: Document, parent: Document, part: str) -> None:
    """Whether `part` may stand below `parent`. Raises `AwsError`."""
    if not _PART.fullmatch(part):
        raise bad_request(
            "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and"
            " curly braces at the beginning and the end."
        )
    above = parent.get("pathPart", "")
    if above.endswith("+}"):
        raise bad_request(
            f"Cannot create a child of a resource with a greedy path variable: {above}"
        )
    for other in api["resources"].values():
        if other.get("parentId") != parent["id"]:
            continue
        if other["pathPart"] == part:
            raise AwsError(
                "ConflictException",
                f"Another resource with the same parent already has this name: {part}",
            )
        if part.startswith("{") and other["pathPart"].startswith("{"):
            raise bad_request(
                f"A sibling ({other['pathPart']}) of this resource already has a variable path part"
                " -- only one is allowed"
            )


def view(resource: Document, embed: bool) -> Result:
    """A resource as it is answered, its methods in full where they are to be embedded."""
    result: dict[str, Any] = {k: v for k, v in resource.items() if k != "resourceMethods"}
    methods = resource["resourceMethods"]
    if methods:
        result["resourceMethods"] = methods if embed else {name: {} for name in methods}
    return result


class Resources:
    """See the module."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("CreateResource")
    async def create_resource(self, ctx: Context, request: Request) -> Result:
        """A new path component below a resource."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            made = add_resource(api, request["parentId"], request["pathPart"], self._ids)
        return view(made, False)

    @operation("GetResource")
    async def get_resource(self, ctx: Context, request: Request) -> Result:
        """One resource."""
        api = await self._repository.api(ctx, request["restApiId"])
        return view(resource_of(api, request["resourceId"]), _embeds(request))

    @operation("GetResources")
    async def get_resources(self, ctx: Context, request: Request) -> Result:
        """A page of resources."""
        api = await self._repository.api(ctx, request["restApiId"])
        embed = _embeds(request)
        return page([view(each, embed) for each in api["resources"].values()], request)

    @operation("DeleteResource")
    async def delete_resource(self, ctx: Context, request: Request) -> None:
        """Remove a resource and those below it."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            if resource_of(api, request["resourceId"])["path"] == "/":
                raise bad_request("Unable to delete the root resource")
            doomed = [request["resourceId"]]
            for identifier in doomed:
                doomed += [
                    each["id"]
                    for each in api["resources"].values()
                    if each.get("parentId") == identifier
                ]
                del api["resources"][identifier]

    @operation("UpdateResource")
    async def update_resource(self, ctx: Context, request: Request) -> Result:
        """Rename a resource."""
        async with self._repository.changing(ctx, request["restApiId"]) as api:
            resource = resource_of(api, request["resourceId"])
            if resource["path"] == "/":
                raise bad_request("Root resource cannot update its parentId.")
            changed = {"pathPart": resource["pathPart"]}
            apply(changed, request, {"pathPart": "text", "parentId": "refused"})
            if any(each.get("parentId") == resource["id"] for each in api["resources"].values()):
                raise refuse("renaming a resource that has children")
            parent = resource_of(api, resource["parentId"])
            del api["resources"][resource["id"]]
            check_part(api, parent, changed["pathPart"])
            resource["pathPart"] = changed["pathPart"]
            resource["path"] = f"{parent['path'].rstrip('/')}/{changed['pathPart']}"
            api["resources"][resource["id"]] = resource
        return view(resource, False)


def _embeds(request: Request) -> bool:
    return "methods" in (request.get("embed") or ())
