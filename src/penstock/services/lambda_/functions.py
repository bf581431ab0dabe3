"""Functions and their versions: create, read, update, delete."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError, Conflict
from penstock.core.page import paged
from penstock.runtime.model import RuntimeUnavailable
from penstock.services.lambda_.asynchronous import AsyncInvocations
from penstock.services.lambda_.code import (
    Package,
    check_request_size,
    check_unpacked,
)
from penstock.services.lambda_.code_url import CodeUrls
from penstock.services.lambda_.configuration import (
    IN_PART,
    architecture_of,
    check,
    check_revision,
    created,
    invalid,
    listed,
    merge,
    new_configuration,
    page_size,
    timestamp,
    updating,
)
from penstock.services.lambda_.invocation import CANNOT_ASSUME
from penstock.services.lambda_.layers import Layers
from penstock.services.lambda_.policy import permits
from penstock.services.lambda_.provisioned import Provisioned
from penstock.services.lambda_.repository import (
    LATEST,
    Function,
    Ref,
    Repository,
    new_document,
    parse_ref,
    update_in_progress,
    weights_of,
)
from penstock.services.lambda_.surroundings import Surroundings
from penstock.services.lambda_.tags import check_tags
from penstock.services.lambda_.urls import forget_url

_LONGEST_NAME: Final = 64


def described(function: Function) -> dict[str, Any]:
    """A function's configuration as its caller addressed it."""
    if function.ref.qualifier is None:
        return function.config
    return {**function.config, "FunctionArn": function.ref.qualified_arn}


class Functions:
    """The operations on functions and versions."""

    def __init__(
        self,
        repository: Repository,
        urls: CodeUrls,
        layers: Layers,
        provisioned: Provisioned,
        given: Surroundings,
        events: AsyncInvocations,
    ) -> None:
        self._repository = repository
        self._code = urls.code
        self._urls = urls
        self._layers = layers
        self._provisioned = provisioned
        self._ids = given.ids
        self._runtime = given.runtime
        self._ledger = given.ledger
        self._role_exists = given.role_exists
        self._architecture = architecture_of(given.machine)
        self._events = events
        self._changing: set[tuple[str, str, str]] = set()
        """Functions with an update on its way."""

    @operation("CreateFunction", in_part=(*IN_PART, "Code.ImageUri", "Code.SourceKMSKeyArn"))
    async def create_function(self, ctx: Context, request: Request) -> Result:
        """Store a function, ready to be invoked."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        _check_name(ref.name)
        await self._check_caller(ctx, ref)
        check_request_size(request)
        await self._check(ctx, request)
        check_tags(request.get("Tags") or {})
        config = new_configuration(request, ref.arn, self._architecture, ctx.now, self._ids.uuid())
        package = await self._code.accept(ctx, request.get("Code") or {})
        config |= {"CodeSha256": package.sha256, "CodeSize": package.size}
        document = new_document(config, package.digest, self._ids.uuid())
        document["unpacked"] = package.unpacked
        document["tags"] = request.get("Tags") or {}
        document |= await self._layered(ctx, request, document)
        if await self._repository.document(ref) is None:
            # What a deleted function of that name still had on its way is not for this one.
            await self._events.forget(ref)
        try:
            await self._repository.save(ref, document, 0)
        except Conflict:
            raise AwsError(
                "ResourceConflictException", f"Function already exist: {ref.name}"
            ) from None
        self._events.subscribe(ref, document)
        answer = created(document["config"], self._ids.uuid())
        if request.get("Publish"):
            answer["Version"] = (await self._publish(ref, ctx.now, None))["Version"]
        return answer

    @operation("GetFunction")
    async def get_function(self, ctx: Context, request: Request) -> Result:
        """The configuration, a link to the code, the tags and the reservation."""
        function = await self._find(ctx, request)
        location = await self._urls.url(ctx, function.code)
        result: Result = {
            "Configuration": described(function),
            "Code": {"RepositoryType": "S3", "Location": location},
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

    @operation(
        "UpdateFunctionCode",
        in_part=["ImageUri", "SourceKMSKeyArn", "Architectures of another machine"],
    )
    async def update_function_code(self, ctx: Context, request: Request) -> Result:
        """Replace the code of `$LATEST`."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        await self._check_caller(ctx, ref)
        with self._update(ref):
            function = await self._repository.describe(ref)
            check_revision(function.config, request)
            members = {name: request.get(name) for name in ("Architectures", "PublishTo")}
            check(members, self._architecture)
            package = await self._code.accept(ctx, request)
            config = self._with_code(ctx, function, request, package)
            if request.get("DryRun"):
                return config
            await self._change(
                function, config=config, code=package.digest, unpacked=package.unpacked
            )
        if request.get("Publish"):
            version = await self._publish(ref, ctx.now, None)
            return created(version, version["RevisionId"])
        return updating(config, self._ids.uuid())

    def _with_code(
        self, ctx: Context, function: Function, request: Request, package: Package
    ) -> dict[str, Any]:
        sizes = [layer["unpacked"] for layer in function.document["used"]]
        check_unpacked([package.unpacked, *sizes])
        config = {
            **function.config,
            "CodeSha256": package.sha256,
            "CodeSize": package.size,
            "LastModified": timestamp(ctx.now),
            "RevisionId": self._ids.uuid(),
        }
        if request.get("Architectures"):
            config["Architectures"] = request["Architectures"]
        return config

    @operation("UpdateFunctionConfiguration", in_part=IN_PART)
    async def update_function_configuration(self, ctx: Context, request: Request) -> Result:
        """Change members of the configuration of `$LATEST`."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        await self._check_caller(ctx, ref)
        with self._update(ref):
            function = await self._repository.describe(ref)
            check_revision(function.config, request)
            await self._check(ctx, request)
            config = dict(function.config)
            merge(config, request, ctx.now, self._ids.uuid())
            document = {**function.document, "config": config}
            changes = await self._layered(ctx, request, document)
            await self._change(function, **{"config": config, **changes})
        return updating(config, self._ids.uuid())

    @operation("DeleteFunction")
    async def delete_function(self, ctx: Context, request: Request) -> Result:
        """Remove a function with all that is set for it, or one of its versions."""
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        await self._check_caller(ctx, ref)
        if ref.qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        if ref.is_alias and not str(ref.qualifier).startswith("$"):
            raise invalid("Deletion of aliases is not currently supported.")
        function = await self._repository.describe(ref._replace(qualifier=None))
        if ref.qualifier is not None:
            await self._delete_version(function, ref)
        else:
            await self._provisioned.end_all(function)
            for config in function.document["urls"].values():
                await forget_url(self._repository, config)
            await self._repository.delete(ref)
            await self._events.forget(ref)
            self._ledger.reserve(ref.account, ref.region, ref.name, None)
            await self._runtime.retire(function.arn)
        return {"StatusCode": 204}

    async def _delete_version(self, function: Function, ref: Ref) -> None:
        """AWS: a version that is not there is no error (recorded)."""
        number = str(ref.qualifier)
        naming = [
            alias["Name"]
            for alias in function.document["aliases"].values()
            if number in (alias["FunctionVersion"], *weights_of(alias))
        ]
        if naming:
            raise AwsError(
                "ResourceConflictException",
                f"Unable to delete version because the following aliases reference it: [{', '.join(naming)}]",
            )
        await self._provisioned.end(function, number)
        await self._repository.delete_version(ref, int(number))

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
                found += await self._every_version(ref, config)
            else:
                found.append(listed(config))
        return {"Functions": found} | ({"NextMarker": after} if after else {})

    @operation("PublishVersion")
    async def publish_version(self, ctx: Context, request: Request) -> Result:
        """Freeze `$LATEST` under the next number, unless nothing has changed since the last one."""
        ref = parse_ref(ctx, request["FunctionName"])._replace(qualifier=None)
        await self._check_caller(ctx, ref)
        function = await self._repository.describe(ref)
        check_revision(function.config, request)
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
        function = await self._repository.describe(ref)
        every = await self._every_version(ref, function.config)
        page, marker = paged(
            every, request.get("Marker"), page_size(request), invalid("Invalid Marker.")
        )
        return {"Versions": page} | ({"NextMarker": marker} if marker else {})

    @operation("GetFunctionCodeSigningConfig")
    async def get_function_code_signing_config(self, ctx: Context, request: Request) -> Result:
        """None is ever set."""
        ref = parse_ref(ctx, request["FunctionName"])
        await self._repository.describe(ref)
        return {}

    async def _check_caller(self, ctx: Context, ref: Ref) -> None:
        """AWS: what the policy does not let another account do is denied, and not told why (recorded)."""
        if ref.account == ctx.account:
            return
        found = await self._repository.document(ref)
        policy = found[1]["policies"].get("") if found else None
        if not permits(policy, ctx.account, ctx.operation):
            raise AwsError("AccessDeniedException", status=403)

    async def _every_version(self, ref: Ref, config: dict[str, Any]) -> list[dict[str, Any]]:
        latest = {**config, "FunctionArn": f"{ref.arn}:{LATEST}"}
        return [listed(each) for each in (latest, *await self._repository.versions(ref))]

    async def _check(self, ctx: Context, request: Request) -> None:
        """Check what a request configures, and that what it names exists."""
        check(request, self._architecture)
        if "Runtime" in request:
            try:
                await self._runtime.prepare(request["Runtime"])
            except RuntimeUnavailable as error:
                raise invalid(str(error)) from error
        if "Role" in request and not await self._role_exists(request["Role"]):
            raise invalid(CANNOT_ASSUME)
        dead_letter = (request.get("DeadLetterConfig") or {}).get("TargetArn")
        await self._events.destinations.check_dead_letter(ctx, dead_letter)

    async def _layered(
        self, ctx: Context, request: Request, document: dict[str, Any]
    ) -> dict[str, Any]:
        """The changes to a document that the layers of a request make; nothing where it does not speak of layers."""
        if request.get("Layers") is None:
            return {}
        used = await self._layers.use(ctx, request["Layers"])
        check_unpacked([document["unpacked"], *(layer.unpacked for layer in used)])
        config = document["config"]
        config.pop("Layers", None)
        if used:
            config["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.size} for layer in used]
        kept = [{"digest": layer.digest, "unpacked": layer.unpacked} for layer in used]
        return {"config": config, "used": kept}

    async def _find(self, ctx: Context, request: Request) -> Function:
        ref = parse_ref(ctx, request["FunctionName"], request.get("Qualifier"))
        missing = f"Function not found: {ref.qualified_arn}"
        return await self._repository.describe(ref, missing=missing)

    @contextmanager
    def _update(self, ref: Ref) -> Iterator[None]:
        """Hold off other updates of the function until the block ends."""
        key = ref[:3]
        if key in self._changing:
            raise update_in_progress(ref.arn)
        self._changing.add(key)
        try:
            yield
        finally:
            self._changing.discard(key)

    async def _change(self, function: Function, **changes: Any) -> None:
        """Store what runs from now on, and let go of the environments of before."""
        changes["deployed"] = self._ids.uuid()
        changed = await self._repository.change(function, **changes)
        self._events.subscribe(function.ref, changed.document)
        await self._runtime.retire(function.arn)

    async def _publish(self, ref: Ref, now: int, description: str | None) -> Result:
        function = await self._repository.describe(ref)
        document, config = function.document, function.config
        last = await self._repository.last_version(function)
        if last is not None and last.deployed == function.deployed:
            return last.config
        number = document["counter"] + 1
        version = {
            **config,
            "FunctionArn": f"{ref.arn}:{number}",
            "Version": str(number),
            "RevisionId": self._ids.uuid(),
            "LastModified": timestamp(now),
        }
        if description is not None:
            version["Description"] = description
        # AWS: publishing changes the revision of `$LATEST` (recorded).
        latest = {**config, "RevisionId": self._ids.uuid()}
        changed = {**document, "counter": number, "config": latest}
        await self._repository.publish(function, number, changed, version)
        return version


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_LONGEST_NAME}"
        )
