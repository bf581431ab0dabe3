"""Functions as they are stored, and how a caller names one.

One document a function in `lambda/functions`: `config` (the FunctionConfiguration of `$LATEST`, as boto3 shapes it),
`code` (the digest of the package), `tags`, `policy`, `reserved`, `event_invoke` (by qualifier) and `counter` (the last
version number). Published versions are documents of their own in `lambda/versions`.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from penstock.api import Context
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.storage.primitives import Store

FUNCTIONS: Final = "lambda/functions"
VERSIONS: Final = "lambda/versions"
LATEST: Final = "$LATEST"

_NAME: Final = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:|(?P<partial>\d{12}):function:|function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


class Ref(NamedTuple):
    """Which function is meant. `qualifier` is None when the caller gave none."""

    account: str
    region: str
    name: str
    qualifier: str | None

    @property
    def arn(self) -> str:
        """The ARN without the qualifier."""
        return make_arn("lambda", self.region, self.account, f"function:{self.name}")

    @property
    def qualified_arn(self) -> str:
        """The ARN as it was addressed."""
        return self.arn if self.qualifier is None else f"{self.arn}:{self.qualifier}"


@dataclass(slots=True)
class Function:
    """A function's document with its version in the store. `config` and `code` are of the version asked for."""

    ref: Ref
    document: dict[str, Any]
    stored: int
    version: str
    config: dict[str, Any]
    code: str

    @property
    def arn(self) -> str:
        """The ARN without the qualifier."""
        return self.ref.arn


def parse_ref(ctx: Context, text: str, qualifier: str | None = None) -> Ref:
    """Read a name, a partial ARN or an ARN, each with or without a qualifier."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: "
            r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
            r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
        )
    name, own, region = match["name"], match["qualifier"], match["region"]
    if len(name) > 64:
        raise AwsError(
            "InvalidParameterValueException",
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64",
        )
    if region is not None and region != ctx.region:
        raise AwsError(
            "ResourceNotFoundException",
            f"Functions from '{region}' are not reachable in this region ('{ctx.region}')",
        )
    if own is not None and qualifier is not None and own != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    account = match["account"] or match["partial"] or ctx.account
    return Ref(account, ctx.region, name, qualifier or own)


def scope(account: str, region: str) -> bytes:
    """The partition of an account's resources in a region."""
    return f"{account}/{region}".encode()


class Repository:
    """Reads and writes functions. What was parsed is kept until the stored version changes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._parsed: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}

    async def document(self, ref: Ref) -> tuple[int, dict[str, Any]] | None:
        """The stored version and the document. The document is shared: copy before changing it."""
        row = await self.store.table.get(
            FUNCTIONS, scope(ref.account, ref.region), ref.name.encode()
        )
        key = ref[:3]
        if row is None:
            self._parsed.pop(key, None)
            return None
        known = self._parsed.get(key)
        if known is None or known[0] != row.version:
            known = self._parsed[key] = (row.version, orjson.loads(row.document))
        return known

    async def find(self, ref: Ref, *, missing: str | None = None) -> Function:
        """The version of a function that `ref` names. Raises ResourceNotFoundException, telling `missing`."""
        found = await self.document(ref)
        if found is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Function not found: {ref.qualified_arn}" if missing is None else missing,
            )
        stored, document = found
        if ref.qualifier is None or ref.qualifier == LATEST:
            return Function(ref, document, stored, LATEST, document["config"], document["code"])
        if not ref.qualifier.isdecimal():
            raise AwsError(
                "ResourceNotFoundException", f"Cannot find alias arn: {ref.qualified_arn}"
            )
        row = await self.store.table.get(VERSIONS, self._versions(ref), _sort(int(ref.qualifier)))
        if row is None:
            raise AwsError("ResourceNotFoundException", f"Function not found: {ref.qualified_arn}")
        version = orjson.loads(row.document)
        return Function(ref, document, stored, ref.qualifier, version["config"], version["code"])

    async def save(self, ref: Ref, document: dict[str, Any], expect: int) -> None:
        """Store a document in place of the version `expect`; 0 for a new one. Raises Conflict."""
        await self.store.table.put(
            FUNCTIONS,
            scope(ref.account, ref.region),
            ref.name.encode(),
            orjson.dumps(document),
            expect=expect,
        )

    async def save_version(self, ref: Ref, number: int, config: dict[str, Any], code: str) -> None:
        """Store a published version."""
        await self.store.table.put(
            VERSIONS,
            self._versions(ref),
            _sort(number),
            orjson.dumps({"config": config, "code": code}),
        )

    async def versions(self, ref: Ref) -> list[dict[str, Any]]:
        """The configurations of the published versions, oldest first."""
        rows = await self.store.table.range(VERSIONS, self._versions(ref), limit=10_000)
        return [orjson.loads(row.document)["config"] for row in rows]

    async def delete_version(self, ref: Ref, number: int) -> None:
        """Remove a published version."""
        await self.store.table.delete(VERSIONS, self._versions(ref), _sort(number))

    async def create(self, ref: Ref, document: dict[str, Any], queue: str) -> None:
        """Store a new function. Raises Conflict.

        Its `queue` of events is emptied: a throttled event of a function of the same name that was deleted may have
        gone back there.
        """
        async with self.store.transaction() as tx:
            await tx.table.put(
                FUNCTIONS,
                scope(ref.account, ref.region),
                ref.name.encode(),
                orjson.dumps(document),
                expect=0,
            )
            await tx.queue.purge(queue)

    async def delete(self, ref: Ref, queue: str) -> None:
        """Remove a function with its versions and its `queue` of events."""
        async with self.store.transaction() as tx:
            await tx.queue.purge(queue)
            await tx.table.delete(FUNCTIONS, scope(ref.account, ref.region), ref.name.encode())
            for row in await tx.table.range(VERSIONS, self._versions(ref), limit=10_000):
                await tx.table.delete(VERSIONS, row.partition, row.sort)

    async def page(
        self, ctx: Context, marker: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Documents in order of name from `marker` on, and where the next page begins."""
        rows = await self.store.table.range(
            FUNCTIONS,
            scope(ctx.account, ctx.region),
            low=(marker or "").encode(),
            limit=limit + 1,
        )
        after = rows[limit].sort.decode() if len(rows) > limit else None
        return [orjson.loads(row.document) for row in rows[:limit]], after

    async def all(self) -> list[tuple[Ref, dict[str, Any]]]:
        """Every function of every account."""
        found: list[tuple[Ref, dict[str, Any]]] = []
        after: tuple[bytes, bytes] | None = None
        while rows := await self.store.table.scan(FUNCTIONS, after=after):
            for row in rows:
                account, _, region = row.partition.decode().partition("/")
                document = orjson.loads(row.document)
                found.append((Ref(account, region, row.sort.decode(), None), document))
            after = (rows[-1].partition, rows[-1].sort)
        return found

    @staticmethod
    def _versions(ref: Ref) -> bytes:
        return f"{ref.account}/{ref.region}/{ref.name}".encode()


def _sort(number: int) -> bytes:
    return f"{number:010d}".encode()
