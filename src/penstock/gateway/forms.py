"""The door for HTML forms that upload to S3: multipart bodies, and signatures of policies."""

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from typing import Final
from urllib.parse import quote, unquote, urlencode

from penstock.api import Answering, Context, HttpRequest, HttpResponse, Result
from penstock.core.errors import AwsError
from penstock.gateway.identity import Identities, Identity
from penstock.wire.body import bucket_path
from penstock.wire.rest_write import s3_ids
from penstock.wire.sigv4 import Credential, signing_key

Fields = dict[str, str]
Post = Callable[[Context, str, Mapping[str, str], bytes], Awaitable[Result]]
"""Stores a form's file: (context, bucket, fields by lower-case name, file)."""
Admit = Callable[[HttpRequest], Awaitable[Context]]
ContextOf = Callable[[HttpRequest, Identity], Context]
WriteError = Callable[[AwsError, str], HttpResponse]

_NAME: Final = re.compile(rb'name="([^"]*)"', re.IGNORECASE)
_FILE: Final = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)
_BOUNDARY: Final = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_V4: Final = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_SHOWN: Final = {
    "x-amz-algorithm": "X-Amz-Algorithm",
    "x-amz-credential": "X-Amz-Credential",
    "x-amz-date": "X-Amz-Date",
    "x-amz-signature": "X-Amz-Signature",
    "awsaccesskeyid": "AWSAccessKeyId",
    "signature": "Signature",
}


class FormDoor:
    """Answers POSTs of forms to a bucket."""

    def __init__(
        self,
        post: Post,
        identities: Identities,
        error: WriteError,
        admit: Admit,
        context_of: ContextOf,
        *,
        checks: bool,
    ) -> None:
        """`admit` says who an unsigned request is from, `context_of` makes a signer's context; `checks` signatures or not."""
        self._post = post
        self._context_of = context_of
        self._identities = identities
        self._error = error
        self._admit = admit
        self._checks = checks

    def __call__(self, request: HttpRequest) -> Answering | None:
        """Answer a form, or leave the request to others."""
        kind = request.headers.get("content-type") or ""
        if request.method != "POST" or not kind.startswith("multipart/form-data"):
            return None
        bucket = unquote(bucket_path(request).strip("/"))
        return self._answer(request, bucket) if bucket and "/" not in bucket else None

    async def _answer(self, request: HttpRequest, bucket: str) -> HttpResponse:
        request_id = "unknown"
        try:
            fields, body = parse_form(request)
            ctx = await self._context(request, fields)
            request_id = ctx.request_id
            result = await self._post(ctx, bucket, fields, body)
        except AwsError as error:
            return self._error(error, request_id)
        return _answered(ctx, bucket, fields, result)

    async def _context(self, request: HttpRequest, fields: Fields) -> Context:
        """Who signed the form's policy. Raises AccessDenied, InvalidArgument, SignatureDoesNotMatch."""
        wanted = _wanted(fields)
        missing = [name for name in wanted if not fields.get(name)]
        if missing and len(missing) < len(wanted):
            name = _SHOWN[missing[0]]
            raise AwsError(
                "InvalidArgument",
                f"Bucket POST must contain a field named '{name}'.  "
                "If it is specified, please check the order of the fields.",
                status=400,
                fields={"ArgumentName": name},
            )
        if missing and "policy" in fields:
            raise AwsError("AccessDenied", "Access Denied", status=403)
        if missing or not self._checks:
            return await self._admit(request)
        key, given = _signer(fields)
        identity = await self._identities.find(key)
        if identity is None or identity.secret is None:
            raise AwsError(
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                status=403,
                fields={"AWSAccessKeyId": key},
            )
        if not hmac.compare_digest(_signature(fields, identity.secret), given):
            raise AwsError(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                status=403,
                fields={"AWSAccessKeyId": key, "StringToSign": fields["policy"]},
            )
        ctx = self._context_of(request, identity)
        identity.check_session(fields.get("x-amz-security-token"), ctx.now)
        return ctx


def _wanted(fields: Fields) -> tuple[str, ...]:
    if "awsaccesskeyid" in fields or "signature" in fields:
        return ("awsaccesskeyid", "signature")
    return _V4


def _signer(fields: Fields) -> tuple[str, str]:
    """The access key, and the signature given."""
    if "awsaccesskeyid" in fields:
        return fields["awsaccesskeyid"], fields["signature"]
    return fields["x-amz-credential"].partition("/")[0], fields["x-amz-signature"]


def _signature(fields: Fields, secret: str) -> str:
    policy = fields.get("policy", "").encode()
    if "awsaccesskeyid" in fields:
        # AWS: forms may still be signed by the version before (S3 user guide, "Authenticating requests").
        return base64.b64encode(hmac.digest(secret.encode(), policy, "sha1")).decode()
    parts = fields["x-amz-credential"].split("/")
    if len(parts) != 5:
        raise AwsError("InvalidArgument", "The credential is malformed.", status=400)
    return hmac.digest(signing_key(secret, Credential(*parts)), policy, hashlib.sha256).hex()


def parse_form(request: HttpRequest) -> tuple[Fields, bytes]:
    """The fields by lower-case name, with `filename`, and the file. Raises InvalidArgument, MalformedPOSTRequest."""
    boundary = _BOUNDARY.search(request.headers.get("content-type") or "")
    if boundary is None:
        raise _malformed()
    mark = b"--" + boundary[1].encode("latin-1")
    fields: Fields = {}
    for part in (b"\r\n" + request.body).split(b"\r\n" + mark)[1:]:
        if part.startswith(b"--"):
            break
        head, found, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not found or name is None:
            raise _malformed()
        field = name[1].decode("utf-8", "replace").lower()
        if field == "file":
            # AWS: what follows the file is ignored (S3 API reference, "POST Object").
            return _with_file(fields, head), content
        fields[field] = content.decode("utf-8", "replace")
    raise AwsError(
        "InvalidArgument",
        "POST requires exactly one file upload per request.",
        status=400,
        fields={"ArgumentName": "file", "ArgumentValue": "0"},
    )


def _with_file(fields: Fields, head: bytes) -> Fields:
    name = _FILE.search(head)
    if name is not None:
        fields["filename"] = name[1].decode("utf-8", "replace")
    return fields


def _malformed() -> AwsError:
    return AwsError(
        "MalformedPOSTRequest",
        "The body of your POST request is not well-formed multipart/form-data.",
        status=400,
    )


def _answered(ctx: Context, bucket: str, fields: Fields, result: Result) -> HttpResponse:
    key, etag = result["Key"], result["ETag"]
    headers = s3_ids(ctx.request_id)
    location = f"{ctx.endpoint}/{bucket}/{quote(key, safe='')}"
    headers.append(("ETag", etag))
    for name, value in result.items():
        if name.startswith("Checksum") and name != "ChecksumType":
            headers.append((f"x-amz-checksum-{name.removeprefix('Checksum').lower()}", value))
    if result.get("VersionId"):
        headers.append(("x-amz-version-id", result["VersionId"]))
    redirect = fields.get("success_action_redirect") or fields.get("redirect")
    if redirect and redirect.startswith(("http://", "https://")):
        told = urlencode({"bucket": bucket, "key": key, "etag": etag})
        joined = f"{redirect}{'&' if '?' in redirect else '?'}{told}"
        return HttpResponse(303, [*headers, ("Location", joined)])
    headers.append(("Location", location))
    if fields.get("success_action_status") == "201":
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<PostResponse><Location>{escape(location)}</Location><Bucket>{escape(bucket)}</Bucket>"
            f"<Key>{escape(key)}</Key><ETag>{escape(etag)}</ETag></PostResponse>"
        )
        return HttpResponse(201, [*headers, ("Content-Type", "application/xml")], text.encode())
    status = 200 if fields.get("success_action_status") == "200" else 204
    return HttpResponse(status, headers)
