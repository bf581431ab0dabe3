"""Systems Manager's Parameter Store: String and StringList parameters with their history of versions."""

import re
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, Service, operation, operations_of, refuse
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.storage.primitives import Store

_PARAMETERS: Final = "ssm/parameters"
_NAME: Final = re.compile(r"[a-zA-Z0-9_.\-/]+")
# AWS: 4 KB a standard parameter (Systems Manager guide, "parameter tiers"); 100 versions; 15 levels.
_STANDARD_BYTES: Final = 4096
_VERSION_LIMIT: Final = 100
_LEVEL_LIMIT: Final = 15
_UNBUILT: Final = ("Policies", "KeyId")


def ssm_service(store: Store) -> Service:
    """The `ssm` service over `store`."""
    return Service("ssm", operations_of(Parameters(store)))


class Parameters:
    """Operations on parameters. A document holds `versions`, oldest first, and `tags`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def _find(self, ctx: Context, name: str) -> dict[str, Any] | None:
        row = await self._store.table.get(_PARAMETERS, _partition(ctx), name.encode())
        return None if row is None else orjson.loads(row.document)

    @operation(
        "PutParameter",
        refuses=_UNBUILT,
        in_part=["DataType: other than text", "Tier: other than Standard", "Type: SecureString"],
    )
    async def put(self, ctx: Context, request: Request) -> Result:
        """Create a parameter, or add a version when told to overwrite."""
        name = request["Name"]
        _require_valid(name, request)
        if not name.startswith("/") and "/" in name:
            message = "Parameter name must be a fully qualified name."
            raise AwsError("ValidationException", message)
        async with self._store.transaction() as tx:
            row = await tx.table.get(_PARAMETERS, _partition(ctx), name.encode())
            document = {"versions": [], "tags": []} if row is None else orjson.loads(row.document)
            if row is not None and not request.get("Overwrite"):
                raise AwsError(
                    "ParameterAlreadyExists",
                    "The parameter already exists. To overwrite this value, set the overwrite option in the "
                    "request to true.",
                )
            version = _next_version(ctx, request, document["versions"])
            document["versions"] = [*document["versions"], version][-_VERSION_LIMIT:]
            if request.get("Tags"):
                document["tags"] = request["Tags"]
            await tx.table.put(_PARAMETERS, _partition(ctx), name.encode(), orjson.dumps(document))
        return {"Version": version["Version"], "Tier": version["Tier"]}

    @operation("GetParameter")
    async def get(self, ctx: Context, request: Request) -> Result:
        """A parameter by name, ARN, or name with `:version`."""
        found = await self._resolve(ctx, request["Name"])
        if found is None:
            raise AwsError("ParameterNotFound")
        return {"Parameter": found}

    @operation("GetParameters")
    async def get_many(self, ctx: Context, request: Request) -> Result:
        """Up to ten parameters; names of those that are not there."""
        found, missing = [], []
        for name in request["Names"]:
            try:
                parameter = await self._resolve(ctx, name)
            except AwsError:
                parameter = None
            if parameter is None:
                missing.append(name)
            else:
                found.append(parameter)
        return {"Parameters": found, "InvalidParameters": missing}

    @operation("GetParametersByPath", refuses=["ParameterFilters"])
    async def get_by_path(self, ctx: Context, request: Request) -> Result:
        """Parameters below a path: its children, or all of them."""
        path = request["Path"].rstrip("/") + "/"
        if not path.startswith("/"):
            raise AwsError(
                "ValidationException",
                "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a "
                'forward slash "/".',
            )
        deep = request.get("Recursive", False)
        names = [
            name for name in await self._names(ctx, path) if deep or "/" not in name[len(path) :]
        ]
        page, token = _page(names, request, 10)
        parameters = [await self._resolve(ctx, name) for name in page]
        return {"Parameters": parameters, **token}

    @operation("GetParameterHistory", refuses=["NextToken"])
    async def history(self, ctx: Context, request: Request) -> Result:
        """Every version that is kept, oldest first."""
        document = await self._find(ctx, request["Name"])
        if document is None:
            raise AwsError("ParameterNotFound")
        versions = [
            {**version, "Name": request["Name"], "Labels": []} for version in document["versions"]
        ]
        return {"Parameters": versions}

    @operation("DescribeParameters", refuses=["Shared"])
    async def describe(self, ctx: Context, request: Request) -> Result:
        """Descriptions of parameters, filtered by name, path or type."""
        names = []
        for name in await self._names(ctx, ""):
            document = await self._find(ctx, name)
            if document is not None and _selected(name, document["versions"][-1], request):
                names.append(name)
        page, token = _page(names, request, 50)
        described = []
        for name in page:
            document = await self._find(ctx, name)
            if document is not None:
                version = {**document["versions"][-1]}
                del version["Value"]
                described.append({**version, "Name": name, "ARN": _arn(ctx, name), "Policies": []})
        return {"Parameters": described, **token}

    @operation("DeleteParameter")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove a parameter."""
        if not await self._remove(ctx, request["Name"]):
            raise AwsError("ParameterNotFound")

    @operation("DeleteParameters")
    async def delete_many(self, ctx: Context, request: Request) -> Result:
        """Remove up to ten parameters; names of those that were not there."""
        gone = {name: await self._remove(ctx, name) for name in request["Names"]}
        return {
            "DeletedParameters": [name for name, removed in gone.items() if removed],
            "InvalidParameters": [name for name, removed in gone.items() if not removed],
        }

    @operation("AddTagsToResource")
    async def tag(self, ctx: Context, request: Request) -> None:
        """Add or replace a parameter's tags."""
        added = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        await self._retag(ctx, request, lambda tags: {**tags, **added})

    @operation("RemoveTagsFromResource")
    async def untag(self, ctx: Context, request: Request) -> None:
        """Remove a parameter's tags."""
        gone = set(request["TagKeys"])
        await self._retag(
            ctx, request, lambda tags: {key: tags[key] for key in tags if key not in gone}
        )

    @operation("ListTagsForResource")
    async def list_tags(self, ctx: Context, request: Request) -> Result:
        """A parameter's tags."""
        return {"TagList": (await self._tagged(ctx, request))["tags"]}

    async def _tagged(self, ctx: Context, request: Request) -> dict[str, Any]:
        if request["ResourceType"] != "Parameter":
            raise refuse(f"ResourceType {request['ResourceType']}")
        document = await self._find(ctx, request["ResourceId"])
        if document is None:
            raise AwsError("InvalidResourceId")
        return document

    async def _retag(self, ctx: Context, request: Request, change: Any) -> None:
        document = await self._tagged(ctx, request)
        tags = change({tag["Key"]: tag["Value"] for tag in document["tags"]})
        document["tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        sort = request["ResourceId"].encode()
        await self._store.table.put(_PARAMETERS, _partition(ctx), sort, orjson.dumps(document))

    async def _remove(self, ctx: Context, name: str) -> bool:
        return await self._store.table.delete(_PARAMETERS, _partition(ctx), name.encode())

    async def _names(self, ctx: Context, prefix: str) -> list[str]:
        low = prefix.encode()
        rows = await self._store.table.range(
            _PARAMETERS,
            _partition(ctx),
            low=low,
            high=low + b"\xff" if low else None,
            limit=100_000,
        )
        return [row.sort.decode() for row in rows]

    async def _resolve(self, ctx: Context, reference: str) -> dict[str, Any] | None:
        """The parameter that a name, an ARN or `name:version` refers to."""
        text = reference
        if reference.startswith("arn:"):
            text = reference.split(":parameter", 1)[-1]
            if text.count("/") == 1:
                text = text.removeprefix("/")
        name, _, selector = text.partition(":")
        document = await self._find(ctx, name) or await self._find(ctx, f"/{name}")
        if document is None:
            return None
        versions = document["versions"]
        if selector:
            versions = [version for version in versions if str(version["Version"]) == selector]
            if not versions:
                raise AwsError(
                    "ParameterVersionNotFound",
                    f"Systems Manager could not find version {selector} of {name}. Verify the version and try again.",
                )
        version = versions[-1]
        found = {key: version[key] for key in ("Type", "Value", "Version", "LastModifiedDate")}
        found.update({"Name": name, "ARN": _arn(ctx, name), "DataType": version["DataType"]})
        if selector:
            found["Selector"] = f":{selector}"
        return found


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _arn(ctx: Context, name: str) -> str:
    return make_arn("ssm", ctx.region, ctx.account, f"parameter/{name.removeprefix('/')}")


def _require_valid(name: str, request: Request) -> None:
    if request.get("Type") == "SecureString":
        raise refuse("SecureString parameters")
    if request.get("DataType", "text") != "text":
        raise refuse(f"DataType {request['DataType']}")
    if request.get("Tier", "Standard") != "Standard":
        raise refuse(f"Tier {request['Tier']}")
    if _NAME.fullmatch(name) is None:
        raise AwsError(
            "ValidationException",
            'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
            "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the "
            "following 3 symbols .-_",
        )
    first = name.removeprefix("/").split("/", 1)[0].lower()
    if first.startswith(("aws", "ssm")):
        raise AwsError("AccessDeniedException", f"No access to reserved parameter name: {name}.")
    if name.count("/") > _LEVEL_LIMIT:
        raise AwsError(
            "HierarchyLevelLimitExceededException",
            "Parameter name must not exceed 15 levels.",
        )


def _next_version(ctx: Context, request: Request, versions: list[dict[str, Any]]) -> dict[str, Any]:
    value, previous = request["Value"], versions[-1] if versions else {}
    kind = request.get("Type") or previous.get("Type")
    if kind is None:
        raise AwsError(
            "ValidationException", "A parameter type is required when you create a parameter."
        )
    if previous and kind != previous["Type"]:
        raise AwsError(
            "HierarchyTypeMismatchException",
            "The parameter type can't be changed after it's created. Create a new, unique parameter.",
        )
    if len(value.encode()) > _STANDARD_BYTES:
        raise AwsError(
            "ValidationException",
            "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger "
            "parameter value, upgrade the parameter to use the advanced-parameter tier.",
        )
    pattern = request.get("AllowedPattern")
    if pattern and _compiled(pattern).search(value) is None:
        raise AwsError(
            "ParameterPatternMismatchException",
            f"Parameter value, cannot be validated against allowedPattern: {pattern}",
        )
    version = {
        "Type": kind,
        "Value": value,
        "Version": previous.get("Version", 0) + 1,
        "LastModifiedDate": ctx.now,
        "LastModifiedUser": ctx.principal or f"arn:aws:iam::{ctx.account}:root",
        "Tier": "Standard",
        "DataType": "text",
    }
    for name in ("Description", "AllowedPattern"):
        if name in request or name in previous:
            version[name] = request.get(name, previous.get(name))
    return version


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        message = "The request does not meet the regular expression requirement."
        raise AwsError("InvalidAllowedPatternException", message, status=400) from error


def _selected(name: str, version: dict[str, Any], request: Request) -> bool:
    old = [
        {
            "Key": given["Key"],
            "Option": "BeginsWith" if given["Key"] == "Name" else "Equals",
            **given,
        }
        for given in request.get("Filters", [])
    ]
    return all(
        _matches(name, version, given) for given in (*old, *request.get("ParameterFilters", []))
    )


def _matches(name: str, version: dict[str, Any], given: dict[str, Any]) -> bool:
    key, option, values = given["Key"], given.get("Option", "Equals"), given.get("Values", [])
    if key == "Path":
        deep = option == "Recursive"
        parents = [value.rstrip("/") + "/" for value in values]
        return any(
            name.startswith(parent) and (deep or "/" not in name[len(parent) :])
            for parent in parents
        )
    if key not in ("Name", "Type", "Tier", "DataType"):
        raise refuse(f"the parameter filter {key}")
    subject = name if key == "Name" else version[key]
    if option == "BeginsWith":
        return any(subject.startswith(value) for value in values)
    if option == "Contains":
        return any(value in subject for value in values)
    return subject in values


def _page(names: list[str], request: Request, default: int) -> tuple[list[str], dict[str, str]]:
    invalid = AwsError("InvalidNextToken", "The specified token isn't valid.")
    limit = request.get("MaxResults", default)
    found, token = paged(names, request.get("NextToken"), limit, invalid)
    return found, {} if token is None else {"NextToken": token}
