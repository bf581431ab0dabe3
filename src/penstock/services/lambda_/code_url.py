"""Links to stored packages, as GetFunction and GetLayerVersion give them: signed, good for ten minutes, without credentials."""

import hmac
from typing import Final
from urllib.parse import parse_qs

from penstock.api import Answering, Context, HttpRequest, HttpResponse
from penstock.clock import Clock
from penstock.core.ids import Ids
from penstock.services.lambda_.code import CodeStore
from penstock.storage.primitives import Store

_PREFIX: Final = "/_aws/lambda-code/"
_SECRETS: Final = "lambda/secrets"
_KEY: Final = b"code-urls"
# AWS: "a presigned URL that you can use to download the deployment package", valid for 10 minutes (GetFunction).
_VALID_MS: Final = 600_000
_DENIED: Final = HttpResponse(
    403,
    [("content-type", "application/json")],
    b'{"Code":"AccessDenied","Message":"Request has expired"}',
)


class CodeUrls:
    """Makes the links, and is the door that they lead to."""

    def __init__(self, store: Store, code: CodeStore, ids: Ids, clock: Clock) -> None:
        self._store = store
        self.code = code
        self._ids = ids
        self._clock = clock
        self._key: bytes | None = None

    async def url(self, ctx: Context, digest: str) -> str:
        """A link to a package by its digest."""
        until = str(ctx.now + _VALID_MS)
        signature = await self._sign(digest, until)
        return f"{ctx.endpoint}{_PREFIX}{digest}?until={until}&signature={signature}"

    def door(self, request: HttpRequest) -> Answering | None:
        """Take what such a link asks for."""
        if not request.path.startswith(_PREFIX):
            return None
        return self._serve(request)

    def forget(self) -> None:
        """Let go of the key, when the store is emptied."""
        self._key = None

    async def _serve(self, request: HttpRequest) -> HttpResponse:
        digest = request.path[len(_PREFIX) :]
        query = parse_qs(request.query)
        until, given = query.get("until", [""])[0], query.get("signature", [""])[0]
        expected = await self._sign(digest, until)
        if not hmac.compare_digest(expected.encode(), given.encode()):
            return _DENIED
        if self._clock.now() > int(until) or request.method not in ("GET", "HEAD"):
            return _DENIED
        package = await self.code.packed(digest)
        if package is None:
            return HttpResponse(404, [], b"")
        return HttpResponse(200, [("content-type", "application/zip")], package)

    async def _sign(self, digest: str, until: str) -> str:
        if self._key is None:
            self._key = await self._load()
        return hmac.digest(self._key, f"{digest}/{until}".encode(), "sha256").hex()

    async def _load(self) -> bytes:
        """The key, made on first use; it lives as long as the data folder."""
        row = await self._store.table.get(_SECRETS, _KEY, b"")
        if row is not None:
            return row.document
        key = self._ids.random.getrandbits(256).to_bytes(32, "big")
        await self._store.table.put(_SECRETS, _KEY, b"", key)
        return key
