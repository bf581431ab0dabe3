"""Text messages: recorded in the outbox. Attributes of an account, and numbers that want none."""

import re
from typing import Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.core.page import paged
from penstock.services.sns.problem import invalid
from penstock.storage.primitives import Store

_TABLE: Final = "sns/sms"
_ATTRIBUTES: Final = b"attributes"
_OPTED_OUT: Final = b"opted-out/"
# AWS: what a subscription and what a message takes differ (recorded by LocalStack).
ENDPOINT: Final = re.compile(r"\+?\d+([./-]?\d+)*")
_NUMBER: Final = re.compile(r"\+?\d{4,20}")
_KNOWN: Final = frozenset(
    [
        "DefaultSMSType",
        "DefaultSenderID",
        "DeliveryStatusIAMRole",
        "DeliveryStatusSuccessSamplingRate",
        "MonthlySpendLimit",
        "UsageReportS3Bucket",
    ]
)
_SENDER: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}")


class Sms:
    """Operations on what an account's text messages have in common."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @operation("SetSMSAttributes")
    async def set_attributes(self, ctx: Context, request: Request) -> Result:
        """Set defaults."""
        given = request["attributes"]
        for name, value in given.items():
            if name not in _KNOWN:
                raise AwsError("InvalidParameterException", f"{name} is not a valid attribute")
            if name == "DefaultSMSType" and value not in ("Promotional", "Transactional"):
                raise AwsError("InvalidParameterException", f"{name} is invalid")
            if name == "DefaultSenderID" and not _SENDER.fullmatch(value):
                raise AwsError("InvalidParameterException", f"{name} is not a valid attribute")
        kept = {**await self._attributes(ctx), **given}
        await self._store.table.put(_TABLE, _partition(ctx), _ATTRIBUTES, orjson.dumps(kept))
        return {}

    @operation("GetSMSAttributes")
    async def get_attributes(self, ctx: Context, request: Request) -> Result:
        """All defaults, or those asked for."""
        kept = {"MonthlySpendLimit": "1", **await self._attributes(ctx)}
        names = request.get("attributes")
        return {"attributes": {k: v for k, v in kept.items() if not names or k in names}}

    @operation("CheckIfPhoneNumberIsOptedOut")
    async def is_opted_out(self, ctx: Context, request: Request) -> Result:
        """Whether a number wants no messages."""
        number = _checked(request["phoneNumber"])
        return {"isOptedOut": await self._opted_out(ctx, number)}

    @operation("ListPhoneNumbersOptedOut")
    async def list_opted_out(self, ctx: Context, request: Request) -> Result:
        """Numbers that want no messages."""
        rows = await self._store.table.range(
            _TABLE, _partition(ctx), low=_OPTED_OUT, high=b"opted-out0", limit=10_000
        )
        numbers = [row.sort.removeprefix(_OPTED_OUT).decode() for row in rows]
        page, token = paged(numbers, request.get("nextToken"), 100, invalid("NextToken"))
        return {"phoneNumbers": page, **({"nextToken": token} if token else {})}

    @operation("OptInPhoneNumber")
    async def opt_in(self, ctx: Context, request: Request) -> Result:
        """Let a number get messages again."""
        number = _checked(request["phoneNumber"])
        await self._store.table.delete(_TABLE, _partition(ctx), _OPTED_OUT + number.encode())
        return {}

    async def check(self, ctx: Context, number: str) -> None:
        """Raise unless a message can go to a number."""
        if not _NUMBER.fullmatch(number):
            raise invalid(f"PhoneNumber Reason: {number} is not valid to publish to")
        if await self._opted_out(ctx, number):
            raise AwsError("OptedOutException", f"{number} is opted out")

    async def _attributes(self, ctx: Context) -> dict[str, str]:
        row = await self._store.table.get(_TABLE, _partition(ctx), _ATTRIBUTES)
        return {} if row is None else orjson.loads(row.document)

    async def _opted_out(self, ctx: Context, number: str) -> bool:
        key = _OPTED_OUT + number.encode()
        return await self._store.table.get(_TABLE, _partition(ctx), key) is not None


def _partition(ctx: Context) -> bytes:
    return f"{ctx.account}/{ctx.region}".encode()


def _checked(number: str) -> str:
    if not _NUMBER.fullmatch(number):
        raise invalid("PhoneNumber Reason: input incorrectly formatted")
    return number
