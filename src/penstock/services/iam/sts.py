"""STS: who the caller is, and sessions of roles."""

import re
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.iam.credential import Credentials
from penstock.services.iam.entity import ROLES, Entities

_ROLE_ARN: Final = re.compile(r"arn:aws:iam::(\d{12}):role/[\w+=,.@/-]+")
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]*", re.ASCII)


class Sessions:
    """Operations of STS."""

    def __init__(self, entities: Entities, credentials: Credentials) -> None:
        self._entities = entities
        self._credentials = credentials

    @operation("GetCallerIdentity")
    async def caller(self, ctx: Context, _request: Request) -> Result:
        """The caller's account, ARN and id."""
        arn = ctx.principal or f"arn:aws:iam::{ctx.account}:root"
        return {"UserId": ctx.principal_id or ctx.account, "Account": ctx.account, "Arn": arn}

    @operation(
        "AssumeRole",
        refuses=[
            "Policy",
            "PolicyArns",
            "Tags",
            "TransitiveTagKeys",
            "SerialNumber",
            "TokenCode",
            "ExternalId",
            "ProvidedContexts",
        ],
    )
    async def assume(self, ctx: Context, request: Request) -> Result:
        """Session credentials of a role. Its trust policy is kept, but not evaluated: every caller may assume it.

        A request whose outcome in AWS turns on that policy, as one with an ExternalId does, is refused by name.
        """
        arn = request["RoleArn"]
        match = _ROLE_ARN.fullmatch(arn)
        if match is None:
            raise AwsError("ValidationError", f"{arn} is invalid", status=400)
        name = request["RoleSessionName"]
        if _SESSION_NAME.fullmatch(name) is None:
            raise AwsError(
                "ValidationError",
                f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
                status=400,
            )
        role = await self._entities.find(ROLES, match.group(1), arn.rsplit("/", 1)[-1])
        if role is None or role["Arn"] != arn:
            # AWS: a role that is missing is answered like one that may not be assumed (dossier 11.5).
            raise AwsError(
                "AccessDenied",
                f"User: {ctx.principal} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                status=403,
            )
        seconds = request.get("DurationSeconds", 3600)
        if seconds > role["MaxSessionDuration"]:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
                status=400,
            )
        credentials, user = await self._credentials.assume(arn, name, ctx.now, seconds * 1000)
        result: Result = {"Credentials": credentials, "AssumedRoleUser": user}
        if "SourceIdentity" in request:
            result["SourceIdentity"] = request["SourceIdentity"]
        return result
