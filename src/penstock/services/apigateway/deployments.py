"""The operations on deployments: immutable snapshots of an API."""

from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.ids import Ids
from penstock.services.apigateway.patch import apply
from penstock.services.apigateway.repository import (
    Document,
    Repository,
    bad_request,
    page,
)
from penstock.services.apigateway.stages import check_stage, new_stage, refuse_tracing

_UNBUILT: Final = ("canarySettings", "cacheClusterEnabled", "cacheClusterSize")


def _view(deployment: Document, request: Request) -> Result:
    result = {k: v for k, v in deployment.items() if k != "snapshot"}
    if "apisummary" in (request.get("embed") or ()):
        result["apiSummary"] = {
            resource["path"]: {
                verb: {"authorizationType": "NONE", "apiKeyRequired": False}
                for verb in resource["resourceMethods"]
            }
            for resource in deployment["snapshot"]["resources"].values()
            if resource["resourceMethods"]
        }
    return result


def _check_complete(api: Document) -> None:
    methods = [m for each in api["resources"].values() for m in each["resourceMethods"].values()]
    if not methods:
        raise bad_request("The REST API doesn't contain any methods")
    if any("methodIntegration" not in method for method in methods):
        raise bad_request("No integration defined for method")


class Deployments:
    """See the module."""

    def __init__(self, repository: Repository, ids: Ids) -> None:
        self._repository = repository
        self._ids = ids

    @operation("CreateDeployment", refuses=_UNBUILT, in_part=["tracingEnabled: true"])
    async def create_deployment(self, ctx: Context, request: Request) -> Result:
        """Freeze the API as it is, and point a stage to it when one is named."""
        api_id = request["restApiId"]
        name = request.get("stageName")
        refuse_tracing(request)
        async with self._repository.releasing(ctx, api_id) as (api, releases):
            _check_complete(api)
            deployment: Document = {
                "id": self._ids.token(6),
                "createdDate": ctx.now,
                "snapshot": api,
            }
            if request.get("description"):
                deployment["description"] = request["description"]
            await releases.put_deployment(api_id, deployment)
            if name:
                stages = {stage["stageName"]: stage for stage in await releases.stages(api_id)}
                stage = stages.get(name) or new_stage(ctx, api_id, name)
                stage["deploymentId"] = deployment["id"]
                stage["lastUpdatedDate"] = ctx.now
                if request.get("stageDescription"):
                    stage["description"] = request["stageDescription"]
                if request.get("variables"):
                    stage["variables"] = request["variables"]
                check_stage(stage)
                await releases.put_stage(stage)
        return _view(deployment, {})

    @operation("GetDeployment")
    async def get_deployment(self, ctx: Context, request: Request) -> Result:
        """One deployment."""
        await self._repository.api(ctx, request["restApiId"])
        deployment = await self._repository.releases.deployment(
            request["restApiId"], request["deploymentId"]
        )
        return _view(deployment, request)

    @operation("GetDeployments")
    async def get_deployments(self, ctx: Context, request: Request) -> Result:
        """A page of deployments."""
        await self._repository.api(ctx, request["restApiId"])
        found = await self._repository.releases.deployments(request["restApiId"])
        return page([_view(each, {}) for each in found], request)

    @operation("UpdateDeployment")
    async def update_deployment(self, ctx: Context, request: Request) -> Result:
        """Change a deployment's description."""
        api_id = request["restApiId"]
        async with self._repository.releasing(ctx, api_id) as (_, releases):
            deployment = await releases.deployment(api_id, request["deploymentId"])
            apply(deployment, request, {"description": "text"})
            await releases.put_deployment(api_id, deployment)
        return _view(deployment, {})

    @operation("DeleteDeployment")
    async def delete_deployment(self, ctx: Context, request: Request) -> None:
        """Remove a deployment that no stage points to."""
        api_id, identifier = request["restApiId"], request["deploymentId"]
        async with self._repository.releasing(ctx, api_id) as (_, releases):
            await releases.deployment(api_id, identifier)
            stages = await releases.stages(api_id)
            if any(stage["deploymentId"] == identifier for stage in stages):
                raise bad_request(
                    "Active stages pointing to this deployment must be moved or deleted"
                )
            await releases.remove_deployment(api_id, identifier)
