"""What a resource type is: its properties, and how it is made, changed and removed through other services' operations."""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from penstock.api import Context, Result, refuse
from penstock.core.errors import AwsError
from penstock.core.template.node import UNKNOWN
from penstock.core.template.shape import Record

Properties: TypeAlias = dict[str, Any]
_CONSTRAINTS: Final = re.compile(r"\d+ validation errors? detected: ")
_TAKEN: Final = re.compile(r"[Aa]lready exist| exists for this ")
_NAMELESS: Final = frozenset(
    {"InvalidAddress", "InvalidParameterException", "MissingRequiredParameterException"}
)
_GONE: Final = frozenset(
    {
        "NoSuchEntity",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NotFoundException",
        "ParameterNotFound",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)


class Call(Protocol):
    """Runs an operation of another service for the stack's caller."""

    async def __call__(self, service: str, operation: str, request: dict[str, Any]) -> Result:
        """The operation's result. Raises its `AwsError`."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that exists: its physical id, what Fn::GetAtt gives, and what Ref gives if not the id."""

    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)
    ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One resource of one stack, and the means to act on it."""

    ctx: Context
    call: Call
    settle: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    """Waits until a check says yes; raises when it takes too long."""
    stack_name: str
    stack_id: str
    logical_id: str
    suffix: str
    """Random text that makes generated names of this resource unique; stored before anything is made."""
    properties: Properties
    hold: Callable[[str], Awaitable[None]]
    """Keeps the physical id of a resource that exists but is not configured yet, so that a rollback removes it."""
    previous: Properties = field(default_factory=dict)
    physical_id: str = ""
    replaces: str = ""
    """The physical id of the resource whose place a new one takes."""
    resumed: bool = False
    """A stop interrupted an earlier attempt to create: the resource may be there already."""

    async def make(self, service: str, operation: str, request: dict[str, Any]) -> Result | None:
        """Bring the resource into being. None when an interrupted attempt had done so: its name was stored first."""
        try:
            return await self.call(service, operation, request)
        except AwsError as error:
            if self.resumed and is_taken(error):
                return None
            raise

    async def drop(self, service: str, operation: str, request: dict[str, Any]) -> None:
        """Take something away; what is gone already is no error, nor what cannot be there: its name is not valid."""
        try:
            await self.call(service, operation, request)
        except AwsError as error:
            nameless = error.code in _NAMELESS or _CONSTRAINTS.match(error.message)
            if not is_gone(error) and not nameless:
                raise

    def name(self, limit: int = 64, *, ending: str = "") -> str:
        """The physical name `stack-Logical-RANDOM`, shortened to `limit`."""
        # AWS: both parts give way equally, the random part stays (dossier 12.2).
        room = limit - len(self.suffix) - len(ending) - 2
        logical = self.logical_id[: max(room // 2, room - len(self.stack_name))]
        stack = self.stack_name[: room - len(logical)]
        return f"{stack}-{logical}-{self.suffix}{ending}"

    def changed(self, *names: str) -> bool:
        """Whether an update changes one of these properties."""
        return any(self.properties.get(name) != self.previous.get(name) for name in names)

    def given(self, names: Iterable[str]) -> Properties:
        """Those of the properties that are there."""
        return {name: self.properties[name] for name in names if name in self.properties}

    def tags_removed(self) -> list[str]:
        """Keys of list-shaped tags that an update takes away."""
        kept = {tag["Key"] for tag in self.properties.get("Tags", [])}
        return [tag["Key"] for tag in self.previous.get("Tags", []) if tag["Key"] not in kept]


Maker: TypeAlias = Callable[[Target], Awaitable[Made]]
Finder: TypeAlias = Callable[[Target], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """A row of the table."""

    name: str
    shape: Record
    """Its properties, nested ones included; others are refused by name."""
    create: Maker
    delete: Callable[[Target], Awaitable[None]]
    update: Maker | None = None
    """None: every change makes a new resource."""
    immutable: frozenset[str] = frozenset()
    """Changing one of these makes a new resource."""
    fixed: frozenset[str] = frozenset()
    """Changing one of these is refused by name: AWS does it in place, and no operation here can."""
    check: Callable[[Properties, Properties], None] | None = None
    """Raises for what cannot change in one update, from the properties of before and those that are wanted."""
    tags: Literal["list", "map"] | None = None
    identity: tuple[str, ...] = ()
    """The properties that name it, together; without the first of them no other resource can be meant."""
    found: Finder | None = None
    """Whether something has this identity. None: each creation makes something of its own, or sets what is shared."""
    adopts: bool = False
    """One that is found is taken as it is, and left when the stack's resource goes."""

    def identifier(self, properties: Properties) -> str | None:
        """What other resources of the type must not be called. None for a generated name."""
        if not self.identity or self.identity[0] not in properties:
            return None
        return "|".join(str(properties[name]) for name in self.identity if name in properties)

    def replacing(self) -> frozenset[str]:
        """The properties that cannot change in place."""
        return frozenset(self.shape.members) if self.update is None else self.immutable

    def require_possible(
        self, previous: Properties, properties: Properties, changes: Collection[str]
    ) -> None:
        """Raise an error for changes that no update makes."""
        if self.replacing().isdisjoint(changes):
            if fixed := sorted(self.fixed.intersection(changes)):
                raise refuse(f"a change of {', '.join(fixed)} of {self.name}")
            if self.check is not None:
                self.check(previous, properties)
            return
        identifier = self.identifier(properties)
        named = identifier is not None and self.identity[0].endswith("Name")
        if named and identifier == self.identifier(previous):
            # AWS: in these words, as the new one is made while the old is there (CloudFormation guide, "Name type").
            message = (
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {properties[self.identity[0]]} and update the stack again."
            )
            raise AwsError("ValidationError", message, status=400)

    def checked(self, logical_id: str, properties: Any) -> Properties:
        """Properties of the right types. Raises ValidationError that names all that is unknown, missing or wrong."""
        faults: list[str] = []
        read = self.shape.read(properties, "#", faults)
        if faults:
            # AWS: the words and the pointers are those of its validator (resource provider schemas, JSON Schema 7).
            message = f"Properties validation failed for resource {logical_id} with message:\n[{', '.join(faults)}]"
            raise AwsError("ValidationError", message, status=400)
        return cast(Properties, read)

    def fitting(self, properties: Properties) -> Properties:
        """What is right in properties that were stored: an older version may have let others pass."""
        return self.shape.fitting(properties, "#", [])

    def tagged(self, properties: Properties, tags: list[dict[str, str]]) -> Properties:
        """The properties with the stack's tags, where the type has tags and does not set the same ones."""
        if self.tags is None or not tags:
            return properties
        if self.tags == "map":
            inherited = {tag["Key"]: tag["Value"] for tag in tags}
            return {**properties, "Tags": {**inherited, **properties.get("Tags", {})}}
        own = properties.get("Tags", [])
        if own is UNKNOWN:
            return properties
        keys = {tag["Key"] for tag in own}
        added = [tag for tag in tags if tag["Key"] not in keys]
        return {**properties, "Tags": [*own, *added]}


def tag_map(properties: Properties) -> dict[str, str]:
    """List-shaped tags as the map that some services take."""
    return {tag["Key"]: tag.get("Value", "") for tag in properties.get("Tags", [])}


def instant(name: str, text: str) -> int:
    """The instant (ms) of a date, of UTC unless it says otherwise. Raises ValidationError."""
    try:
        date = datetime.fromisoformat(text.replace("Z", "+00:00"))
        # In UTC, for what is no date there can be written nowhere.
        date = date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
        return int(date.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        message = f"Value '{text}' at '{name}' is no date in ISO 8601 format"
        raise AwsError("ValidationError", message, status=400) from error


def is_gone(error: AwsError) -> bool:
    """Whether a service says that what it was asked about is not there."""
    return error.code in _GONE or error.status == 404


def is_taken(error: AwsError) -> bool:
    """Whether a service says that what it was asked to make is there."""
    return "Already" in error.code or _TAKEN.search(error.message) is not None


def there(service: str, operation: str, /, **members: str) -> Finder:
    """A finder by an operation that describes one: request members with the properties that they are filled from."""

    async def found(target: Target) -> bool:
        given = {
            member: target.properties[name]
            for member, name in members.items()
            if name in target.properties
        }
        return await answers(target, service, operation, given) is not None

    return found


async def answers(
    target: Target, service: str, operation: str, request: dict[str, Any]
) -> Result | None:
    """What a service tells of something. None when it is not there, or cannot be: the creation will say why."""
    try:
        return await target.call(service, operation, request)
    except AwsError as error:
        if is_gone(error) or "Invalid" in error.code or "Validation" in error.code:
            return None
        raise


async def keep(_target: Target) -> None:
    """Remove nothing: the resource goes with its parent, or is none."""
