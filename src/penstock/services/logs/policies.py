"""Resource policies: who else may write into an account's log groups. They are kept and shown; no call is refused by them."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.services.logs.groups import bad_token
from penstock.storage.primitives import Store

_POLICIES: Final = "logs/resource-policies"
# AWS: ten a region (CloudWatch Logs quotas).
_MOST: Final = 10
_OF_RESOURCES: Final = ("resourceArn", "expectedRevisionId")


class Policies:
    """Operations on an account's resource policies."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation("PutResourcePolicy", refuses=_OF_RESOURCES)
    async def put(self, ctx: Context, request: Request) -> Result:
        """Make or replace a policy."""
        name, text = request.get("policyName", ""), request.get("policyDocument", "")
        _require_name(name)
        _require_json(text)
        policy = {
            "policyName": name,
            "policyDocument": text,
            "lastUpdatedTime": ctx.now,
            "policyScope": "ACCOUNT",
        }
        where = _partition(ctx)
        async with self._store.transaction() as tx:
            others = {row.sort for row in await tx.table.range(_POLICIES, where)}
            if name.encode() not in others and len(others) >= _MOST:
                raise AwsError("LimitExceededException", "Resource limit exceeded.")
            await tx.table.put(_POLICIES, where, name.encode(), orjson.dumps(policy))
        return {"resourcePolicy": policy}

    @operation("DescribeResourcePolicies", refuses=["resourceArn"])
    async def describe(self, ctx: Context, request: Request) -> Result:
        """Policies by name."""
        if request.get("policyScope") == "RESOURCE":
            return {"resourcePolicies": []}
        rows = await self._store.table.range(_POLICIES, _partition(ctx))
        policies: list[dict[str, Any]] = [orjson.loads(row.document) for row in rows]
        found, token = paged(
            policies, request.get("nextToken"), request.get("limit", 50), bad_token()
        )
        return {"resourcePolicies": found, **({} if token is None else {"nextToken": token})}

    @operation("DeleteResourcePolicy", refuses=_OF_RESOURCES)
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove a policy."""
        name = request.get("policyName", "")
        _require_name(name)
        if not await self._store.table.delete(_POLICIES, _partition(ctx), name.encode()):
            raise AwsError("ResourceNotFoundException", f"Policy with name [{name}] does not exist")


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _require_name(name: str) -> None:
    if not name:
        raise AwsError("InvalidParameterException", "A policy name must be specified.")


def _require_json(text: str) -> None:
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "Statement" not in document:
        raise AwsError("InvalidParameterException", "The policy document is not valid.")
