"""Tokens of OAuth connections: asked for when a connection is made, and again whenever one has run out."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import orjson

from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.delivery.model import Delivered, Outcome
from penstock.fanout import Fanout, Work
from penstock.services.events.documents import Document, Documents
from penstock.services.events.names import Scope
from penstock.storage.primitives import Hold, Leased, NewMessage, Primitives

AUTHORIZATIONS: Final = "events/authorizations"
_TIMEOUT_MS: Final = 5_000
# AWS: a connection is authorized after CreateConnection has answered (recorded: it and the next DescribeConnection say
# AUTHORIZING).
_LATER_MS: Final = 1_000
# A token whose answer does not say how long it lasts.
_LASTS_S: Final = 3_600
# A token is not used in its last seconds.
_SPARE_MS: Final = 30_000
_SUCCESS: Final = range(200, 300)


class _Token(NamedTuple):
    """What a connection's endpoint gave."""

    modified_at: int
    """The connection's last change."""
    value: str
    """The header's."""
    until: int
    """It is good before this (ms)."""


class Authorizing:
    """Gets tokens, and keeps them until they run out."""

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._ids: Ids = fanout.ids
        self._documents = Documents("events/connections")
        self._tokens: dict[str, _Token] = {}
        """By connection."""
        self._work = Work(fanout, AUTHORIZATIONS, self)

    async def restore(self) -> None:
        """Go on with what a restart interrupted."""
        await self._work.restore()

    def reset(self) -> None:
        """Forget every token."""
        self._tokens.clear()

    def forget(self, arn: str) -> None:
        """Forget the token of a connection that has changed or is gone."""
        self._tokens.pop(arn, None)

    async def ask(self, tx: Primitives, scope: Scope, connection: Document, now: int) -> None:
        """Have a connection authorized soon."""
        known = {
            "scope": list(scope),
            "name": connection["Name"],
            "arn": connection["ConnectionArn"],
        }
        message = NewMessage(
            id=self._ids.uuid(), body=orjson.dumps(known), visible_at=now + _LATER_MS
        )
        await tx.queue.put(AUTHORIZATIONS, [message], now)
        self._work.start()

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Authorize one connection and note what came of it."""
        (message,) = batch
        known: dict[str, Any] = orjson.loads(message.body)
        store, scope = self._fanout.store, Scope(*known["scope"])
        found = await self._documents.find(store, scope.partition, known["name"])
        if found is None or found["ConnectionArn"] != known["arn"] or found.get("Deauthorized"):
            return Delivered()
        state, reason = "AUTHORIZED", None
        try:
            await self.token(found, fresh=True)
        except AwsError as error:
            state, reason = "DEAUTHORIZED", error.message
        now = self._fanout.clock.now()
        async with store.transaction() as tx:
            held = await tx.queue.settle(AUTHORIZATIONS, message.receipt, now, strict=True)
            current = await self._documents.find(tx, scope.partition, known["name"])
            if held is Hold.DONE and current is not None and _same(current, found):
                current.update(ConnectionState=state, LastAuthorizedTime=now)
                if reason is not None:
                    current["StateReason"] = reason
                await self._documents.put(tx, scope.partition, known["name"], current)
        return Delivered()

    async def token(self, connection: Document, *, fresh: bool = False) -> str:
        """The value of the Authorization header. Raises AwsError when the endpoint gives none."""
        arn, modified_at = connection["ConnectionArn"], connection["LastModifiedTime"]
        now = self._fanout.clock.now()
        kept = self._tokens.get(arn)
        good = kept is not None and kept.modified_at == modified_at and now < kept.until
        if kept is not None and good and not fresh:
            return kept.value
        answer = await self._ask_endpoint(connection["AuthParameters"]["OAuthParameters"])
        value = f"{answer.get('token_type', 'Bearer')} {answer['access_token']}"
        until = now + max(answer["expires_in"] * 1000 - _SPARE_MS, 0)
        self._tokens[arn] = _Token(modified_at, value, until)
        return value

    async def _ask_endpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        client, more = given["ClientParameters"], given.get("OAuthHttpParameters", {})
        body = {
            "client_id": client["ClientID"],
            "client_secret": client.get("ClientSecret", ""),
            "grant_type": "client_credentials",
            **pairs(more, "BodyParameters"),
        }
        headers = {"content-type": "application/json; charset=utf-8"}
        headers |= {k.lower(): v for k, v in pairs(more, "HeaderParameters").items()}
        query = pairs(more, "QueryStringParameters")
        url, method = given["AuthorizationEndpoint"], given["HttpMethod"].upper()
        data = b""
        if method == "GET":
            query = {**body, **query}
        elif "urlencoded" in headers["content-type"]:
            data = urlencode(body).encode()
        else:
            data = orjson.dumps(body)
        answer = await self._fanout.outbound.send(
            method, with_query(url, query), headers, data, timeout_ms=_TIMEOUT_MS
        )
        try:
            found = orjson.loads(answer.body)
        except ValueError:
            found = None
        if answer.status not in _SUCCESS or not isinstance(found, dict):
            raise _no_token(url, answer.status)
        if not isinstance(found.get("access_token"), str):
            raise _no_token(url, answer.status)
        try:
            return {**found, "expires_in": int(found.get("expires_in", _LASTS_S))}
        except (TypeError, ValueError, OverflowError) as error:
            raise _no_token(url, answer.status) from error


def _same(one: Document, other: Document) -> bool:
    """Whether two readings are of the same state of a connection."""
    names = ("ConnectionArn", "LastModifiedTime", "Deauthorized")
    return all(one.get(name) == other.get(name) for name in names)


def pairs(parameters: dict[str, Any], member: str) -> dict[str, str]:
    """Header, query or body parameters of a connection by their keys."""
    return {one["Key"]: one.get("Value", "") for one in parameters.get(member, [])}


def with_query(url: str, query: dict[str, str]) -> str:
    """A URL with more parameters."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _no_token(url: str, status: int) -> AwsError:
    return AwsError(
        "ERROR_FROM_TARGET",
        f"The authorization endpoint {url} gave no token (HTTP status {status}).",
        status=503,
    )
