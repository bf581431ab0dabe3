"""The outbox: e-mail, text messages and mobile pushes, which are recorded instead of being sent."""

from typing import Any, Final

import orjson

from penstock.api import Context
from penstock.services.sns.instant import instant
from penstock.storage.primitives import Primitives, Store

_SHOWN: Final = 1000
_KEPT_MS: Final = 14 * 86_400_000


def entry(  # noqa: PLR0913 -- the columns of a record
    protocol: str,
    to: str,
    message: str,
    *,
    subject: str | None = None,
    id_: str,
    topic: str | None = None,
    subscription: str | None = None,
    attributes: dict[str, dict[str, str]] | None = None,
    link: str | None = None,
) -> bytes:
    """A record. `link` is what its reader is asked to visit."""
    document = {
        "protocol": protocol,
        "to": to,
        "subject": subject,
        "message": message,
        "messageId": id_,
        "topicArn": topic,
        "subscriptionArn": subscription,
        "messageAttributes": attributes or None,
        "link": link,
    }
    return orjson.dumps({name: value for name, value in document.items() if value is not None})


async def append(tx: Primitives, account: str, entries: list[bytes], now: int) -> None:
    """Record what an account sends. It is kept for two weeks."""
    log = _log_of(account)
    await tx.log.append(log, [(now, one) for one in entries])
    await tx.log.trim(log, now - _KEPT_MS)


class Outbox:
    """Reads what was recorded."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, ctx: Context, _: object) -> list[dict[str, Any]]:
        """The last thousand records of the caller's account, oldest first."""
        found = await self._store.log.read(_log_of(ctx.account), limit=_SHOWN, reverse=True)
        return [
            {"sentAt": instant(record.at), **orjson.loads(record.data)}
            for record in reversed(found)
        ]


def _log_of(account: str) -> str:
    return f"sns/outbox/{account}"
