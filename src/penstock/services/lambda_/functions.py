"""Functions and their versions: create, read, update, delete."""

from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError, Conflict
from penstock.core.page import paged
from penstock.services.lambda_.asynchronous import AsyncInvocations, queue_of
from penstock.services.lambda_.code import CodeStore, code_sha256
from penstock.services.lambda_.configuration import (
    architecture_of,
    check,
    invalid,
    merge,
    new_configuration,
    timestamp,
)
from penstock.services.lambda_.destinations import check_dead_letter
from penstock.services.lambda_.invocation import CANNOT_ASSUME
from penstock.services.lambda_.repository import LATEST, Function, Ref, Repository, parse_ref
from penstock.services.lambda_.surroundings import Surroundings

_PAGE: Final = 50
_CODE_MEMBERS: Final = ("Architectures", "PublishTo")


def described(function: Function) -> dict[str, Any]:
    """A function's configuration as its caller addressed it."""
    config = function.config
    if function.version == LATEST and function.ref.qualifier is not None:
        config = {**config, "FunctionArn": function.ref.qualified_arn}
    return config


def page_size(request: Request, largest: int = _PAGE) -> int:
    """`MaxItems`, at most what AWS gives in a page."""
    return min(int(request.get("MaxItems") or largest), largest)


class Functions:
    """The operations on functions."""

    def __init__(
        self,
        repository: Repository,
        code: CodeStore,
        given: Surroundings,
        events: AsyncInvocations,
    ) -> None:
        self._repository = repository
        self._code = code
        self._ids = given.ids
        self._runtime = given.runtime
        self._ledger = given.ledger
        self._role_exists = given.role_exists
        self._queue_exists = given.queue_exists
        self._architecture = architecture_of(given.machine)
        self._events = events

    @operation("CreateFunction")
    async def create_function(self, ctx: Context, request: Request) -> Result:
        """Store a function, ready to be invoked."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        await self._check(request)
        config = new_configuration(request, ref.arn, self._architecture, ctx.now, self._ids.uuid())
        digest, size = await self._code.accept(ctx, request.get("Code") or {})
        config |= {"CodeSha256": code_sha256(digest), "CodeSize": size}
        document = {
            "config": config,
            "code": digest,
            "tags": request.get("Tags") or {},
            "policy": None,
            "reserved": None,
            "event_invoke": {},
            "counter": 0,
        }
        try:
            await self._repository.create(ref, document, queue_of(ref))
        except Conflict:
            raise AwsError(
                "ResourceConflictException", f"Function already exist: {ref.name}"
            ) from None
        self._events.subscribe(ref, document)
        if request.get("Publish"):
            return await self._publish(ref, ctx.now, None)
        return config

    @operation("GetFunction")
    async def get_function(self, ctx: Context, request: Request) -> Result:
        """The configuration, the tags and the reservation. `Code.Location` is not given."""
        function = await self._find(ctx, request)
        result: Result = {
            "Configuration": described(function),
            "Code": {"RepositoryType": "S3"},
        }
        if function.document["tags"]:
            result["Tags"] = function.document["tags"]
        if function.document["reserved"] is not None:
            result["Concurrency"] = {"ReservedConcurrentExecutions": function.document["reserved"]}
        return result

    @operation("GetFunctionConfiguration")
    async def get_function_configuration(self, ctx: Context, request: Request) -> Result:
        """The configuration of a version."""
        return described(await self._find(ctx, request))

    @operation("UpdateFunctionCode")
    async def update_function_code(self, ctx: Context, request: Request) -> Result:
        """Replace the code of `$LATEST`."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.find(ref)
        _check_revision(function, request)
        check({name: request.get(name) for name in _CODE_MEMBERS}, self._architecture)
        digest, size = await self._code.accept(ctx, request)
        config = {
            **function.config,
            "CodeSha256": code_sha256(digest),
            "CodeSize": size,
            "LastModified": timestamp(ctx.now),
            "RevisionId": self._ids.uuid(),
        }
        if request.get("Architectures"):
            config["Architectures"] = request["Architectures"]
        if request.get("DryRun"):
            return config
        await self._change(function, {"config": config, "code": digest})
        if request.get("Publish"):
            return await self._publish(ref, ctx.now, None)
        return config

    @operation("UpdateFunctionConfiguration")
    async def update_function_configuration(self, ctx: Context, request: Request) -> Result:
        """Change members of the configuration of `$LATEST`."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.find(ref)
        _check_revision(function, request)
        await self._check(request)
        config = dict(function.config)
        merge(config, request, ctx.now, self._ids.uuid())
        await self._change(function, {"config": config})
        return config

    @operation("DeleteFunction")
    async def delete_function(self, ctx: Context, request: Request) -> Result:
        """Remove a function, with its waiting events; or one of its versions."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        if ref.qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        function = await self._repository.find(ref)
        if ref.qualifier is not None:
            await self._repository.delete_version(ref, int(ref.qualifier))
        else:
            await self._repository.delete(ref, queue_of(ref))
            self._events.unsubscribe(ref)
            self._ledger.reserve(ref.account, ref.region, ref.name, None)
        await self._runtime.retire(function.arn)
        return {}

    @operation("ListFunctions", refuses=["MasterRegion"])
    async def list_functions(self, ctx: Context, request: Request) -> Result:
        """Configurations in order of name; with `FunctionVersion` ALL, of every version."""
        documents, after = await self._repository.page(
            ctx, request.get("Marker"), page_size(request)
        )
        found: list[dict[str, Any]] = []
        for document in documents:
            config = document["config"]
            if request.get("FunctionVersion") == "ALL":
                ref = parse_ref(ctx, config["FunctionName"])
                latest = {**config, "FunctionArn": f"{ref.arn}:{LATEST}"}
                found += [latest, *await self._repository.versions(ref)]
            else:
                found.append(config)
        return {"Functions": found} | ({"NextMarker": after} if after else {})

    @operation("PublishVersion")
    async def publish_version(self, ctx: Context, request: Request) -> Result:
        """Freeze `$LATEST` under the next number, unless nothing has changed since the last one."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.find(ref)
        _check_revision(function, request)
        check({"PublishTo": request.get("PublishTo")}, self._architecture)
        theirs, ours = request.get("CodeSha256"), function.config["CodeSha256"]
        if theirs and theirs != ours:
            raise invalid(
                f"CodeSHA256 ({theirs}) is different from current CodeSHA256 in $LATEST ({ours}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
        return await self._publish(ref, ctx.now, request.get("Description"))

    @operation("ListVersionsByFunction")
    async def list_versions_by_function(self, ctx: Context, request: Request) -> Result:
        """`$LATEST` and the published versions."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        function = await self._repository.find(ref)
        latest = {**function.config, "FunctionArn": f"{ref.arn}:{LATEST}"}
        every = [latest, *await self._repository.versions(ref)]
        page, marker = paged(
            every, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"Versions": page} | ({"NextMarker": marker} if marker else {})

    @operation("GetFunctionCodeSigningConfig")
    async def get_function_code_signing_config(self, ctx: Context, request: Request) -> Result:
        """None is ever set."""
        ref = parse_ref(ctx, request["FunctionName"])
        await self._repository.find(ref)
        return {"FunctionName": ref.name, "CodeSigningConfigArn": ""}

    async def _check(self, request: Request) -> None:
        """Check what a request configures, and that what it names exists."""
        check(request, self._architecture)
        if "Role" in request and not await self._role_exists(request["Role"]):
            raise invalid(CANNOT_ASSUME)
        dead_letter = (request.get("DeadLetterConfig") or {}).get("TargetArn")
        await check_dead_letter(dead_letter, self._queue_exists)

    async def _find(self, ctx: Context, request: Request) -> Function:
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        return await self._repository.find(ref)

    async def _change(self, function: Function, changes: dict[str, Any]) -> None:
        """Store changes and let go of the environments of before."""
        document = {**function.document, **changes}
        ref = function.ref
        try:
            await self._repository.save(ref, document, function.stored)
        except Conflict:
            raise AwsError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {ref.arn}",
            ) from None
        self._events.subscribe(ref, document)
        await self._runtime.retire(ref.arn)

    async def _publish(self, ref: Ref, now: int, description: str | None) -> Result:
        function = await self._repository.find(ref)
        document, config = function.document, function.config
        number = document["counter"]
        versions = await self._repository.versions(ref)
        for known in versions:
            if known["Version"] == str(number) and _same(known, config):
                return known
        number += 1
        version = {
            **config,
            "FunctionArn": f"{ref.arn}:{number}",
            "Version": str(number),
            "RevisionId": self._ids.uuid(),
            "LastModified": timestamp(now),
        }
        if description is not None:
            version["Description"] = description
        await self._repository.save(ref, {**document, "counter": number}, function.stored)
        await self._repository.save_version(ref, number, version, function.code)
        return version


def _same(version: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether nothing but what publishing itself changes differs."""
    own = {"FunctionArn", "Version", "RevisionId", "LastModified", "Description"}
    return all(version.get(name) == config.get(name) for name in {*version, *config} - own)


def _check_revision(function: Function, request: Request) -> None:
    wanted = request.get("RevisionId")
    if wanted and wanted != function.config["RevisionId"]:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
        )
