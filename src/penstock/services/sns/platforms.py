"""Mobile push: platform applications and their endpoints. What is pushed is recorded in the outbox."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.sns.paging import make_token, read_token
from penstock.services.sns.problem import check_arn, invalid, missing
from penstock.storage.primitives import Row, Store

_APPLICATIONS: Final = "sns/applications"
_ENDPOINTS: Final = "sns/endpoints"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]*")
_PAGE: Final = 100
_PLATFORMS: Final = frozenset(
    [
        "ADM",
        "APNS",
        "APNS_SANDBOX",
        "APNS_VOIP",
        "APNS_VOIP_SANDBOX",
        "BAIDU",
        "GCM",
        "MACOS",
        "MACOS_SANDBOX",
        "MPNS",
        "WNS",
    ]
)
_SECRET: Final = ("PlatformCredential", "PlatformPrincipal")
_OF_ENDPOINTS: Final = ("CustomUserData", "Enabled", "Token")
_MOST_DATA: Final = 2048


class Platforms:
    """Operations on platform applications and endpoints. Credentials are kept and used for nothing."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self._store = store
        self._ids = ids

    @operation("CreatePlatformApplication")
    async def create_application(self, ctx: Context, request: Request) -> Result:
        """Create an application, or change the one of that name."""
        name, platform = request["Name"], request["Platform"]
        _check_application_name(name)
        if platform not in _PLATFORMS:
            raise invalid(f"Platform Reason: {platform} is not supported")
        given = request["Attributes"]
        _check_credentials(platform, given)
        arn = make_arn("sns", ctx.region, ctx.account, f"app/{platform}/{name}")
        await self._put(_APPLICATIONS, arn, {"Enabled": "true", **given})
        return {"PlatformApplicationArn": arn}

    @operation("DeletePlatformApplication")
    async def delete_application(self, ctx: Context, request: Request) -> None:
        """Remove an application with its endpoints."""
        arn = check_arn("PlatformApplicationArn", request["PlatformApplicationArn"])
        endpoints = await self._endpoints(arn)
        async with self._store.transaction() as tx:
            await tx.table.delete(_APPLICATIONS, *_key(arn))
            for row in endpoints:
                await tx.table.delete(_ENDPOINTS, row.partition, row.sort)

    @operation("GetPlatformApplicationAttributes")
    async def get_application(self, ctx: Context, request: Request) -> Result:
        """The attributes without the credentials."""
        attributes = await self._application(request)
        return {"Attributes": _shown(attributes)}

    @operation("SetPlatformApplicationAttributes")
    async def set_application(self, ctx: Context, request: Request) -> None:
        """Set attributes."""
        arn = check_arn("PlatformApplicationArn", request["PlatformApplicationArn"])
        given = request.get("Attributes")
        if not given:
            # AWS: told after what is wrong with the ARN (recorded by LocalStack).
            raise AwsError(
                "ValidationError",
                "1 validation error detected: Value null at 'attributes' failed to satisfy"
                " constraint: Member must not be null",
            )
        attributes = await self._application(request)
        await self._put(_APPLICATIONS, arn, {**attributes, **given})

    @operation("ListPlatformApplications")
    async def list_applications(self, ctx: Context, request: Request) -> Result:
        """Applications, a hundred at a time."""
        rows, token = await self._page(_APPLICATIONS, _partition(ctx), b"", None, request)
        found = [
            {"PlatformApplicationArn": _arn(row), "Attributes": _shown(orjson.loads(row.document))}
            for row in rows
        ]
        return {"PlatformApplications": found, **token}

    @operation("CreatePlatformEndpoint")
    async def create_endpoint(self, ctx: Context, request: Request) -> Result:
        """Create an endpoint; one with the same token and attributes is answered."""
        await self._application(request)
        application, token = request["PlatformApplicationArn"], request["Token"]
        given = dict(request.get("Attributes") or {})
        if request.get("CustomUserData"):
            given["CustomUserData"] = request["CustomUserData"]
        _check_endpoint_attributes(given)
        wanted = {"Enabled": "true", "Token": token, **given}
        for row in await self._endpoints(application):
            kept = orjson.loads(row.document)
            if kept["Token"] != token:
                continue
            if any(kept.get(name) != value for name, value in wanted.items()):
                raise invalid(
                    f"Token Reason: Endpoint {_arn(row)} already exists with the same Token, but"
                    " different attributes."
                )
            return {"EndpointArn": _arn(row)}
        arn = f"{application.replace(':app/', ':endpoint/', 1)}/{self._ids.uuid()}"
        await self._put(_ENDPOINTS, arn, wanted)
        return {"EndpointArn": arn}

    @operation("DeleteEndpoint")
    async def delete_endpoint(self, ctx: Context, request: Request) -> None:
        """Remove an endpoint; one that is not there is no error."""
        arn = check_arn("EndpointArn", request["EndpointArn"])
        await self._store.table.delete(_ENDPOINTS, *_key(arn))

    @operation("GetEndpointAttributes")
    async def get_endpoint(self, ctx: Context, request: Request) -> Result:
        """The attributes."""
        return {"Attributes": await self._endpoint(request)}

    @operation("SetEndpointAttributes")
    async def set_endpoint(self, ctx: Context, request: Request) -> None:
        """Set attributes."""
        _check_endpoint_attributes(request["Attributes"])
        attributes = await self._endpoint(request)
        await self._put(_ENDPOINTS, request["EndpointArn"], {**attributes, **request["Attributes"]})

    @operation("ListEndpointsByPlatformApplication")
    async def list_endpoints(self, ctx: Context, request: Request) -> Result:
        """The endpoints of an application, a hundred at a time."""
        await self._application(request)
        partition, low, high = _endpoint_range(request["PlatformApplicationArn"])
        rows, token = await self._page(_ENDPOINTS, partition, low, high, request)
        found = [
            {"EndpointArn": _arn(row), "Attributes": orjson.loads(row.document)} for row in rows
        ]
        return {"Endpoints": found, **token}

    async def exists(self, arn: str) -> bool:
        """Whether there is an endpoint of an ARN."""
        return ":endpoint/" in arn and await self._find(_ENDPOINTS, arn) is not None

    async def check_target(self, arn: str) -> str:
        """The platform of an endpoint that is to get a message. Raises when it cannot."""
        found = await self._find(_ENDPOINTS, check_arn("TargetArn", arn))
        if found is None:
            raise invalid("TargetArn Reason: No endpoint found for the target arn specified")
        if found["Enabled"] != "true":
            raise AwsError("EndpointDisabledException", "Endpoint is disabled")
        return arn.split("/")[1]

    async def _application(self, request: Request) -> dict[str, str]:
        arn = check_arn("PlatformApplicationArn", request["PlatformApplicationArn"])
        found = await self._find(_APPLICATIONS, arn)
        if found is None:
            raise missing("PlatformApplication")
        return found

    async def _endpoint(self, request: Request) -> dict[str, str]:
        arn = check_arn("EndpointArn", request["EndpointArn"])
        if arn.count("/") != 3:
            raise invalid(
                "EndpointArn Reason: Wrong number of slashes in relative portion of the ARN."
            )
        found = await self._find(_ENDPOINTS, arn)
        if found is None:
            raise missing("Endpoint")
        return found

    async def _find(self, table: str, arn: str) -> dict[str, str] | None:
        row = await self._store.table.get(table, *_key(arn))
        return None if row is None else orjson.loads(row.document)

    async def _put(self, table: str, arn: str, attributes: Mapping[str, str]) -> None:
        await self._store.table.put(table, *_key(arn), orjson.dumps(attributes))

    async def _endpoints(self, application: str) -> list[Row]:
        partition, low, high = _endpoint_range(application)
        found: list[Row] = []
        while rows := await self._store.table.range(_ENDPOINTS, partition, low=low, high=high):
            found += rows
            low = rows[-1].sort + b"\0"
        return found

    async def _page(
        self, table: str, partition: bytes, low: bytes, high: bytes | None, request: Request
    ) -> tuple[list[Row], dict[str, Any]]:
        after = read_token(request.get("NextToken")).encode()
        rows = await self._store.table.range(
            table, partition, low=after + b"\0" if after else low, high=high, limit=_PAGE + 1
        )
        more = {"NextToken": make_token(rows[_PAGE - 1].sort.decode())} if len(rows) > _PAGE else {}
        return rows[:_PAGE], more


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _key(arn: str) -> tuple[bytes, bytes]:
    parts = arn.split(":", 5)
    return f"{parts[4]}/{parts[3]}".encode(), parts[5].encode()


def _arn(row: Row) -> str:
    account, region = row.partition.decode().split("/")
    return make_arn("sns", region, account, row.sort.decode())


def _endpoint_range(application: str) -> tuple[bytes, bytes, bytes]:
    partition, name = _key(application.replace(":app/", ":endpoint/", 1))
    return partition, name + b"/", name + b"0"


def _shown(attributes: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in attributes.items() if name not in _SECRET}


def _check_application_name(name: str) -> None:
    if not name:
        raise invalid(f"{name} Reason: cannot be empty")
    if len(name) > 256:
        raise invalid(f"{name} Reason: must be at most 256 characters long")
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{name} Reason: must contain only characters 'a'-'z', 'A'-'Z', '0'-'9', '_', '-', and '.'"
        )


def _check_credentials(platform: str, given: Mapping[str, str]) -> None:
    if "PlatformPrincipal" in given and "PlatformCredential" not in given:
        raise invalid(
            "Attributes Reason: PlatformPrincipal attribute provided without PlatformCredential"
        )
    # AWS: Google's key stands alone, every other platform has two parts (API reference).
    if platform != "GCM" and "PlatformCredential" in given and "PlatformPrincipal" not in given:
        raise invalid(
            "Attributes Reason: PlatformCredential attribute provided without PlatformPrincipal"
        )


def _check_endpoint_attributes(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name not in _OF_ENDPOINTS:
            raise invalid(f"Attributes Reason: Invalid attribute name: {name}")
        if name == "CustomUserData" and len(value.encode()) > _MOST_DATA:
            raise invalid(
                "Attributes Reason: Invalid value for attribute: CustomUserData: must be at most"
                f" {_MOST_DATA} bytes long in UTF-8 encoding"
            )
