"""Functions as they are stored, and how a caller names one.

One document a function in `lambda/functions`, made by `new_document`: what runs (`config` as boto3 shapes it, the digest of
the package in `code`, the layers in `used`), and all that is set beside it. Published versions are documents of their own
in `lambda/versions`, with `config`, `code`, `used` and `deployed` as they were.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from penstock.api import Context
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError, Conflict
from penstock.core.ids import Ids
from penstock.storage.primitives import Row, Store

FUNCTIONS: Final = "lambda/functions"
VERSIONS: Final = "lambda/versions"
LATEST: Final = "$LATEST"
# Parsed documents are kept for so many functions and versions: those that run, not all that are deployed.
_KEPT: Final = 1024

# AWS: every part before the name may be missing, as the model's own pattern has it.
_NAME: Final = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(?P<account>\d{12}):)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
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

    @property
    def is_alias(self) -> bool:
        """Whether the qualifier can only be an alias's name."""
        return self.qualifier not in (None, LATEST) and not str(self.qualifier).isdecimal()


@dataclass(slots=True)
class Function:
    """A function's document with its version in the store: shared, and never changed.

    `config` and what follows are of the version asked for.
    """

    ref: Ref
    document: dict[str, Any]
    stored: int
    version: str
    config: dict[str, Any]
    code: str
    layers: tuple[str, ...] = ()
    """The digests of the layers' packages, in order."""
    deployed: str = ""
    """Changes with every change of code or configuration, and with nothing else."""
    arn: str = field(init=False)
    """The ARN without the qualifier."""
    qualified_arn: str = field(init=False)
    """The ARN as it was addressed."""
    key: str = field(init=False)
    """Names the version as it is deployed."""

    def __post_init__(self) -> None:
        self.arn, self.qualified_arn = self.ref.arn, self.ref.qualified_arn
        self.key = f"{self.arn}:{self.version}:{self.deployed}"


def new_document(config: dict[str, Any], code: str, deployed: str) -> dict[str, Any]:
    """The document of a new function. Maps whose keys are qualifiers have the empty string for none."""
    return {
        "config": config,
        "code": code,
        "unpacked": 0,
        "used": [],
        "deployed": deployed,
        "tags": {},
        "policies": {},
        "reserved": None,
        "provisioned": {},
        "event_invoke": {},
        "aliases": {},
        "urls": {},
        "recursion": "Terminate",
        "counter": 0,
    }


def parse_ref(ctx: Context, text: str, qualifier: str | None = None) -> Ref:
    """Read a name, a partial ARN or an ARN, each with or without a qualifier."""
    return _parsed_ref(ctx.account, ctx.region, text, qualifier)


@lru_cache(maxsize=_KEPT)
def _parsed_ref(account: str, own_region: str, text: str, qualifier: str | None) -> Ref:
    match = _NAME.fullmatch(text)
    if match is None:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: "
            r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
            r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
        )
    name, own, region = match["name"], match["qualifier"], match["region"]
    if region is not None and region != own_region:
        raise AwsError(
            "ResourceNotFoundException",
            f"Functions from '{region}' are not reachable in this region ('{own_region}')",
        )
    if own is not None and qualifier is not None and own != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    return Ref(match["account"] or account, own_region, name, qualifier or own)


def scope(account: str, region: str) -> bytes:
    """The partition of an account's resources in a region."""
    return f"{account}/{region}".encode()


def not_found(ref: Ref) -> AwsError:
    """The error for a function, or a version of one, that is not there."""
    return AwsError("ResourceNotFoundException", f"Function not found: {ref.qualified_arn}")


def no_alias(ref: Ref) -> AwsError:
    """The error for an alias that is not there, or whose function is not."""
    return AwsError("ResourceNotFoundException", f"Cannot find alias arn: {ref.qualified_arn}")


def update_in_progress(arn: str) -> AwsError:
    """The error for a change that meets another one of the same function."""
    return AwsError(
        "ResourceConflictException",
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {arn}",
    )


class Repository:
    """Reads and writes functions. What was parsed is kept until the stored version changes."""

    def __init__(self, store: Store, ids: Ids) -> None:
        self.store = store
        self._chance = ids.random.random
        self._parsed: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
        self._functions: dict[tuple[Ref, str], Function] = {}

    async def document(self, ref: Ref) -> tuple[int, dict[str, Any]] | None:
        """The stored version and the document. The document is shared: copy before changing it."""
        row = await self.store.table.get(
            FUNCTIONS, scope(ref.account, ref.region), ref.name.encode()
        )
        return self._read(ref[:3], row)

    async def find(self, ref: Ref, *, missing: str | None = None) -> Function:
        """The version that an invocation of `ref` runs: an alias with weights decides anew each time.

        Raises ResourceNotFoundException, telling `missing`.
        """
        return await self._resolve(ref, missing, routed=True)

    async def describe(self, ref: Ref, *, missing: str | None = None) -> Function:
        """As `find`, but an alias stands for its main version."""
        return await self._resolve(ref, missing, routed=False)

    async def _resolve(self, ref: Ref, missing: str | None, *, routed: bool) -> Function:
        found = await self.document(ref)
        if found is None:
            raise not_found(ref) if missing is None else _missing(missing)
        document = found[1]
        number = ref.qualifier
        if ref.is_alias:
            alias = document["aliases"].get(number)
            if alias is None:
                raise no_alias(ref) if missing is None else _missing(missing)
            number = alias["FunctionVersion"]
            if routed and (weights := weights_of(alias)):
                number = choose_version(number, weights, self._chance())
        if number is None or number == LATEST:
            return self._function(ref, found, LATEST, document)
        version = await self._version(ref, int(number))
        if version is None:
            raise not_found(ref) if missing is None else _missing(missing)
        return self._function(ref, found, number, version)

    def _function(
        self, ref: Ref, found: tuple[int, dict[str, Any]], number: str, version: dict[str, Any]
    ) -> Function:
        """A version of a function; the one that was made last time, as long as nothing has changed."""
        stored, document = found
        known = self._functions.get((ref, number))
        if known is None or known.stored != stored or known.config is not version["config"]:
            if len(self._functions) >= _KEPT:
                self._functions.clear()
            known = self._functions[ref, number] = Function(
                ref,
                document,
                stored,
                number,
                version["config"],
                version["code"],
                tuple(layer["digest"] for layer in version["used"]),
                version["deployed"],
            )
        return known

    async def _version(self, ref: Ref, number: int) -> dict[str, Any] | None:
        row = await self.store.table.get(VERSIONS, self._versions(ref), _sort(number))
        found = self._read((*ref[:3], str(number)), row)
        return None if found is None else found[1]

    def _read(self, key: tuple[str, ...], row: Row | None) -> tuple[int, dict[str, Any]] | None:
        if row is None:
            self._parsed.pop(key, None)
            return None
        known = self._parsed.get(key)
        if known is None or known[0] != row.version:
            if len(self._parsed) >= _KEPT:
                self._parsed.clear()
            known = self._parsed[key] = (row.version, orjson.loads(row.document))
        return known

    async def save(self, ref: Ref, document: dict[str, Any], expect: int) -> None:
        """Store a document in place of the version `expect`; 0 for a new one. Raises Conflict."""
        await self.store.table.put(
            FUNCTIONS,
            scope(ref.account, ref.region),
            ref.name.encode(),
            orjson.dumps(document),
            expect=expect,
        )

    async def change(self, function: Function, **changes: Any) -> Function:
        """Store members of the document anew. Raises ResourceConflictException when another change came first."""
        document = {**function.document, **changes}
        try:
            await self.save(function.ref, document, function.stored)
        except Conflict:
            raise update_in_progress(function.arn) from None
        return await self.describe(function.ref._replace(qualifier=None))

    async def publish(
        self, function: Function, number: int, document: dict[str, Any], config: dict[str, Any]
    ) -> None:
        """Store a version and the document that counts it. Raises ResourceConflictException."""
        ref = function.ref
        version = {name: document[name] for name in ("code", "used", "deployed")}
        version["config"] = config
        try:
            async with self.store.transaction() as tx:
                await tx.table.put(
                    FUNCTIONS,
                    scope(ref.account, ref.region),
                    ref.name.encode(),
                    orjson.dumps(document),
                    expect=function.stored,
                )
                await tx.table.put(
                    VERSIONS, self._versions(ref), _sort(number), orjson.dumps(version)
                )
        except Conflict:
            raise update_in_progress(function.arn) from None

    async def last_version(self, function: Function) -> Function | None:
        """The version that was published last, unless it is gone."""
        ref, number = function.ref, function.document["counter"]
        version = await self._version(ref, number) if number else None
        if version is None:
            return None
        found = (function.stored, function.document)
        return self._function(ref, found, str(number), version)

    async def versions(self, ref: Ref) -> list[dict[str, Any]]:
        """The configurations of the published versions, oldest first."""
        rows = await self.store.table.range(VERSIONS, self._versions(ref), limit=10_000)
        return [orjson.loads(row.document)["config"] for row in rows]

    async def delete_version(self, ref: Ref, number: int) -> None:
        """Remove a published version."""
        await self.store.table.delete(VERSIONS, self._versions(ref), _sort(number))

    async def delete(self, ref: Ref) -> None:
        """Remove a function with its versions."""
        async with self.store.transaction() as tx:
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


def weights_of(alias: Mapping[str, Any]) -> dict[str, float]:
    """The additional versions of an alias, each with its share."""
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def choose_version(main: str, weights: Mapping[str, float], chance: float) -> str:
    """The version that an alias routes to; `chance` is from 0 up to 1. What the weights leave is the main version's."""
    for version, weight in weights.items():
        if chance < weight:
            return version
        chance -= weight
    return main


def _missing(text: str) -> AwsError:
    return AwsError("ResourceNotFoundException", text)


def _sort(number: int) -> bytes:
    return f"{number:010d}".encode()
