"""Cross-origin rules of buckets: which pages of other origins a browser lets read its answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, Result, operation
from penstock.core.errors import AwsError
from penstock.services.s3.bucket import BUCKETS, NAMESPACE, Buckets
from penstock.storage.primitives import Store

Rule = Mapping[str, Any]
"""A CORS rule, as `PutBucketCors` takes it."""

_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
_MAX_RULES: Final = 100


class Cors:
    """Operations on a bucket's rules, and what answers browsers."""

    def __init__(self, store: Store, buckets: Buckets) -> None:
        self._store = store
        self._buckets = buckets

    @operation("PutBucketCors")
    async def put(self, ctx: Context, request: Request) -> None:
        """Replace the rules. Raises InvalidRequest, MalformedXML."""
        bucket = await self._buckets.find(ctx, request)
        bucket["cors"] = _require_rules(request["CORSConfiguration"].get("CORSRules", []))
        await self._buckets.save(bucket)

    @operation("GetBucketCors")
    async def get(self, ctx: Context, request: Request) -> Result:
        """The rules. Raises NoSuchCORSConfiguration."""
        bucket = await self._buckets.find(ctx, request)
        if "cors" not in bucket:
            raise AwsError(
                "NoSuchCORSConfiguration",
                "The CORS configuration does not exist",
                status=404,
                fields={"BucketName": bucket["name"]},
            )
        return {"CORSRules": bucket["cors"]}

    @operation("DeleteBucketCors")
    async def delete(self, ctx: Context, request: Request) -> None:
        """Remove the rules."""
        bucket = await self._buckets.find(ctx, request)
        if bucket.pop("cors", None) is not None:
            await self._buckets.save(bucket)

    async def known(self, bucket: str) -> bool:
        """Whether there is such a bucket."""
        return await self._bucket(bucket) is not None

    async def preflight(
        self, bucket: str, key: str, fields: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """The header fields that answer a browser's question; `fields` as in `allowed`.

        Raises BadRequest for what is no such question, AccessForbidden where the rules do not allow what is asked.
        """
        if "origin" not in fields:
            text = "Insufficient information. Origin request header needed."
            raise AwsError("BadRequest", text, status=400)
        document = await self._bucket(bucket)
        method = fields.get("access-control-request-method")
        text, kind = "", "BUCKET"
        if document is None:
            text = "Bucket not found"
        elif "cors" not in document:
            text = "CORS is not enabled for this bucket."
        elif method not in _METHODS:
            text = f"Invalid Access-Control-Request-Method: {method or 'null'}"
            raise AwsError("BadRequest", text, status=400)
        else:
            told = allowed(document["cors"], method, fields)
            if told is not None:
                return told
            text, kind = _NOT_ALLOWED, "OBJECT" if key else "BUCKET"
        told_method = {"Method": method or "OPTIONS", "ResourceType": kind}
        raise AwsError("AccessForbidden", f"CORSResponse: {text}", status=403, fields=told_method)

    async def headers(
        self, bucket: str, method: str, fields: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """The fields that go with the answer to a request that a page has made; none where no rule allows it."""
        document = await self._bucket(bucket)
        # AWS: a method that is asked for counts before the request's own (recorded by LocalStack).
        wanted = fields.get("access-control-request-method") or method
        return allowed((document or {}).get("cors", ()), wanted, fields) or []

    async def _bucket(self, name: str) -> dict[str, Any] | None:
        row = await self._store.table.get(BUCKETS, NAMESPACE, name.encode())
        return None if row is None else orjson.loads(row.document)


def allowed(
    rules: Sequence[Rule], method: str, fields: Mapping[str, str]
) -> list[tuple[str, str]] | None:
    """The header fields that the first fitting rule gives; None when no rule fits.

    `fields` are the request's by lower-case name; `origin` is one of them.
    """
    origin = fields["origin"]
    listed = fields.get("access-control-request-headers") or ""
    asked = [name.strip().lower() for name in listed.split(",") if name.strip()]
    for rule in rules:
        if method in rule["AllowedMethods"] and _fits(rule, origin, asked):
            return _granted(rule, origin, asked)
    return None


def _fits(rule: Rule, origin: str, asked: Sequence[str]) -> bool:
    patterns = [pattern.lower() for pattern in rule.get("AllowedHeaders", ())]
    return any(_matches(pattern, origin) for pattern in rule["AllowedOrigins"]) and all(
        any(_matches(pattern, name) for pattern in patterns) for name in asked
    )


def _matches(pattern: str, text: str) -> bool:
    """Whether a text fits a pattern with at most one `*`."""
    start, star, end = pattern.partition("*")
    if not star:
        return text == pattern
    return len(text) >= len(start) + len(end) and text.startswith(start) and text.endswith(end)


def _granted(rule: Rule, origin: str, asked: Sequence[str]) -> list[tuple[str, str]]:
    anybody = "*" in rule["AllowedOrigins"]
    told = [("Access-Control-Allow-Origin", "*" if anybody else origin)]
    if not anybody:
        told.append(("Access-Control-Allow-Credentials", "true"))
    told.append(("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])))
    if asked:
        told.append(("Access-Control-Allow-Headers", ", ".join(asked)))
    if rule.get("ExposeHeaders"):
        told.append(("Access-Control-Expose-Headers", ", ".join(rule["ExposeHeaders"])))
    if "MaxAgeSeconds" in rule:
        told.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    told.append(
        ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    )
    return told


def _require_rules(rules: Sequence[Rule]) -> Sequence[Rule]:
    if not rules or any(
        not rule.get("AllowedMethods") or not rule.get("AllowedOrigins") for rule in rules
    ):
        raise AwsError(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            status=400,
        )
    if len(rules) > _MAX_RULES:
        raise _invalid(
            f"The number of CORS rules should not exceed allowed limit of {_MAX_RULES} rules."
        )
    for rule in rules:
        _require_rule(rule)
    return rules


def _require_rule(rule: Rule) -> None:
    for method in rule["AllowedMethods"]:
        if method not in _METHODS:
            raise _invalid(
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            )
    for member, element in (
        ("AllowedOrigins", "AllowedOrigin"),
        ("AllowedHeaders", "AllowedHeader"),
    ):
        for text in rule.get(member, ()):
            if text.count("*") > 1:
                raise _invalid(f'{element} "{text}" can not have more than one wildcard.')
    for text in rule.get("ExposeHeaders", ()):
        if "*" in text:
            raise _invalid(
                f'ExposeHeader "{text}" contains wildcard. '
                "We currently do not support wildcard for ExposeHeader."
            )


def _invalid(text: str) -> AwsError:
    return AwsError("InvalidRequest", text, status=400)


_NOT_ALLOWED: Final = (
    "This CORS request is not allowed. This is usually because the evalution of Origin, request method / "
    "Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
)
