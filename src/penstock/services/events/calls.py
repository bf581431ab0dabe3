"""Calling HTTP targets: API destinations, and stages of API Gateway."""

import base64
import math
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote, urlencode

import orjson

from penstock.api import Answering, Context, Dispatcher, Headers, HttpRequest
from penstock.clock import Clock
from penstock.core.arn import parse_arn
from penstock.core.errors import AwsError
from penstock.fanout import Delivery, NotYetError, Outbound, OutboundAnswer, Pace
from penstock.services.events.authorizing import Authorizing, pairs, with_query
from penstock.services.events.destinations import Destinations
from penstock.services.events.documents import Document
from penstock.storage.primitives import Leased

Door: TypeAlias = Callable[[HttpRequest], Answering | None]
"""API Gateway's own: takes what is addressed to a deployed API."""
# AWS: an endpoint has five seconds (EventBridge guide, "API destinations").
_TIMEOUT_MS: Final = 5_000
_SUCCESS: Final = range(200, 300)
# AWS: 409, 429 and 5xx are tried again, everything else is not (same page).
_AGAIN: Final = frozenset({409, 429})
# AWS: what every request of an API destination carries (dossier 4.8).
_HEADERS: Final[Mapping[str, str]] = {
    "user-agent": "Amazon/EventBridge/ApiDestinations",
    "content-type": "application/json; charset=utf-8",
    "range": "bytes=0-1048575",
    "accept-encoding": "gzip,deflate",
    "connection": "close",
}
_UNAUTHORIZED: Final = 401


class Calls:
    """The senders of HTTP targets."""

    def __init__(
        self,
        destinations: Destinations,
        authorizing: Authorizing,
        outbound: Outbound,
        clock: Clock,
        door: Door,
    ) -> None:
        self._destinations = destinations
        self._authorizing = authorizing
        self._outbound = outbound
        self._clock = clock
        self._door = door
        self._paces: dict[str, Pace] = {}

    def reset(self) -> None:
        """Forget when whose next turn is."""
        self._paces.clear()

    def forget(self, arn: str) -> None:
        """Begin anew with a destination that has changed or is gone."""
        self._paces.pop(arn, None)

    async def to_destination(
        self, dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        """Hand an event to an API destination."""
        await self.call_destination(ctx, delivery, message.body)

    async def to_stage(
        self, dispatcher: Dispatcher, ctx: Context, delivery: Delivery, message: Leased
    ) -> None:
        """Hand an event to a method of a stage of API Gateway."""
        await self.call_stage(ctx, delivery, message.body)

    async def call_destination(self, ctx: Context, delivery: Delivery, body: bytes) -> bytes:
        """What an API destination answers, called at the rate that it allows. Raises AwsError, NotYetError."""
        destination, connection = await self._destinations.by_arn(delivery.to)
        if connection.get("Deauthorized"):
            raise AwsError("AccessDenied", "The connection is deauthorized.", status=403)
        pace = self._paces.setdefault(delivery.to, Pace())
        now = self._clock.now()
        again = pace.take(destination["InvocationRateLimitPerSecond"], now)
        if again is not None:
            raise NotYetError(again)
        answer = await self._call(destination, connection, delivery, body, fresh=False)
        if answer.status == _UNAUTHORIZED and _by_token(connection):
            answer = await self._call(destination, connection, delivery, body, fresh=True)
        _judge(answer.status, answer.headers, destination["InvocationEndpoint"], now)
        return answer.body

    async def _call(
        self,
        destination: Document,
        connection: Document,
        delivery: Delivery,
        body: bytes,
        *,
        fresh: bool,
    ) -> OutboundAnswer:
        own = delivery.request
        common = connection["AuthParameters"].get("InvocationHttpParameters", {})
        headers = {k.lower(): v for k, v in own.get("HeaderParameters", {}).items()}
        # AWS: what the connection says stands above what the target says (EventBridge guide, "connections").
        headers |= {k.lower(): v for k, v in pairs(common, "HeaderParameters").items()}
        headers |= await self._authorization(connection, fresh=fresh)
        if delivery.trace:
            headers["x-amzn-trace-id"] = delivery.trace
        query = {
            **own.get("QueryStringParameters", {}),
            **pairs(common, "QueryStringParameters"),
        }
        path = _filled(destination["InvocationEndpoint"], own.get("PathParameterValues", []))
        return await self._outbound.send(
            destination["HttpMethod"],
            with_query(path, query),
            {**_HEADERS, **headers},
            _with_members(body, pairs(common, "BodyParameters")),
            timeout_ms=_TIMEOUT_MS,
        )

    async def _authorization(self, connection: Document, *, fresh: bool) -> dict[str, str]:
        given = connection["AuthParameters"]
        match connection["AuthorizationType"]:
            case "BASIC":
                basic = given["BasicAuthParameters"]
                pair = f"{basic['Username']}:{basic['Password']}".encode()
                return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
            case "API_KEY":
                key = given["ApiKeyAuthParameters"]
                return {key["ApiKeyName"].lower(): key["ApiKeyValue"]}
        return {"authorization": await self._authorizing.token(connection, fresh=fresh)}

    async def call_stage(self, ctx: Context, delivery: Delivery, body: bytes) -> bytes:
        """What a method of a stage of API Gateway answers, called as a client would. Raises AwsError."""
        api, stage, method, *path = parse_arn(delivery.to).resource.split("/", 3)
        own = delivery.request
        rest = _filled("".join(path), own.get("PathParameterValues", []))
        # AWS: what API Gateway sees of EventBridge, the slash at the end included (recorded).
        headers = {
            "content-type": "application/json",
            "host": f"{api}.execute-api.{ctx.region}.amazonaws.com",
            "user-agent": "Amazon/EventBridge",
            "x-amz-source-account": delivery.account,
            "x-amz-source-arn": delivery.arn,
        }
        headers |= {k.lower(): v for k, v in own.get("HeaderParameters", {}).items()}
        if delivery.trace:
            headers["x-amzn-trace-id"] = delivery.trace
        request = HttpRequest(
            method="POST" if method == "*" else method,
            path=f"/restapis/{api}/{stage}/_user_request_/{rest.rstrip('/')}/",
            query=urlencode(own.get("QueryStringParameters", {})),
            headers=cast(Headers, headers),
            body=body,
        )
        answering = self._door(request)
        if answering is None:
            raise AwsError("ResourceNotFoundException", f"{delivery.to} does not exist.")
        answer = await answering
        found = {name.lower(): value for name, value in answer.headers}
        _judge(answer.status, found, delivery.to, self._clock.now())
        return answer.body


def _by_token(connection: Document) -> bool:
    return bool(connection["AuthorizationType"] == "OAUTH_CLIENT_CREDENTIALS")


def _filled(text: str, values: list[str]) -> str:
    """A path whose wildcards are replaced, one after the other."""
    left = iter(values)
    return re.sub(r"\*", lambda _: quote(next(left, "*"), safe="*"), text)


def _with_members(body: bytes, members: dict[str, str]) -> bytes:
    """The payload with the connection's members, if it is an object."""
    if not members:
        return body
    document: Any = orjson.loads(body)
    return orjson.dumps({**document, **members}) if isinstance(document, dict) else body


def _judge(status: int, headers: Mapping[str, str], target: str, now: int) -> None:
    """Raise AwsError for an answer that is no success, as one that may pass or one that is final."""
    if status in _SUCCESS:
        return
    reason = f"{target} answered with HTTP status {status}."
    if status not in _AGAIN and status < 500:
        raise AwsError("ERROR_FROM_TARGET", reason, status=400)
    wait = _seconds(headers.get("retry-after"), now)
    if wait is not None and wait < 0:
        # AWS: a negative Retry-After ends the tries (EventBridge guide, "API destinations").
        raise AwsError("ERROR_FROM_TARGET", reason, status=400)
    fields = {"RetryAfterMs": (wait or 0) * 1000}
    told = status if status == 429 else 503
    raise AwsError("ERROR_FROM_TARGET", reason, status=told, fields=fields)


def _seconds(text: str | None, now: int) -> int | None:
    """A Retry-After: seconds, or an instant."""
    if text is None:
        return None
    if re.fullmatch(r"-?\d{1,9}", text):
        return int(text)
    try:
        at = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
    return max(math.ceil(at - now / 1000), 0)
