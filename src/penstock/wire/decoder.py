"""JSON bodies that are decoded, read and checked in one pass, by msgspec.

What passes has the value that the readers of `typed` give it and breaks none of the rules of `constraint`. Nothing else does:
it is read again by those, who convert what can be converted and have AWS's words for the rest.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, TypedDict

import msgspec
from msgspec import Meta

from penstock.wire.constraint import is_ruled
from penstock.wire.model import REQUEST_LOCATIONS, Model, Shape
from penstock.wire.profile import Profile

Decode: TypeAlias = Callable[[bytes], dict[str, Any] | None]
"""A body's value, or None if it is for the readers to tell what it is."""

_INTEGERS: Final = frozenset({"integer", "long", "short", "byte"})
_NOTHING: Final = Annotated[int, Meta(ge=1, le=0)]
"""The type of what the readers shall look at whenever it is there."""
_LIST: Final[Any] = list
_DICT: Final[Any] = dict
# Beyond this the decoders differ in what they make of a number.
_LEAST, _MOST = -(2**63), 2**63 - 1


class _Inexpressible(Exception):
    """A rule that no type stands for."""


def compile_decoder(
    model: Model,
    shape: Shape,
    profile: Profile,
    validate: Callable[[dict[str, Any]], None] | None,
) -> Decode:
    """The decoder of a structure. Where its types cannot stand for all rules, it calls `validate`, which may raise."""
    rest = validate
    try:
        types = _Types(model, profile if validate is not None else None)
        decode = msgspec.json.Decoder(types.of(shape)).decode
        rest = None
    except _Inexpressible:
        decode = msgspec.json.Decoder(_Types(model, None).of(shape)).decode

    def read(body: bytes) -> dict[str, Any] | None:
        try:
            params: dict[str, Any] = decode(body)
            if not body.isascii():
                body.decode()  # also what no member has taken must be text
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if rest is not None:
            rest(params)
        return params

    return read


class _Types:
    """The types of a model's shapes; with a profile, their rules are part of them."""

    def __init__(self, model: Model, profile: Profile | None) -> None:
        self._model = model
        self._profile = profile
        self._structures: dict[str, Any] = {}

    def of(self, shape: Shape) -> Any:
        """The type whose values pass as they are. Raises `_Inexpressible`."""
        model = self._model
        match "document" if shape.get("document") else shape.kind:
            case "structure":
                type_ = self._structure(shape)
            case "list":
                type_ = self._sized(_LIST[self.of(model.element(shape))], shape)
            case "map":
                pair = self.of(model.key(shape)), self.of(model.value(shape))
                type_ = self._sized(_DICT[pair], shape)
            case "blob":
                type_ = self._sized(bytes, shape)
            case "boolean":
                type_ = bool
            case "string" | "character":
                type_ = self._string(shape)
            case kind if kind in _INTEGERS:
                type_ = self._integer(shape)
            case _:
                type_ = _NOTHING
        return type_

    def _structure(self, shape: Shape) -> Any:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        made: Any = TypedDict(shape.name, {})  # type: ignore[misc]
        self._structures[shape.name] = made
        # Filled afterwards, since shapes may be recursive.
        made.__annotations__ = {
            wire_name: self.of(member) if wire_name == name else _NOTHING
            for name, member in self._model.members(shape)
            for wire_name in [member.get("locationName", name)]
            if member.get("location") not in REQUEST_LOCATIONS
        }
        required = shape.get("required", ()) if self._profile is not None else ()
        made.__required_keys__ = frozenset(required)
        return made

    def _string(self, shape: Shape) -> Any:
        profile = self._profile
        if profile is None or not is_ruled(shape, profile):
            return str
        if "pattern" in shape.traits:
            raise _Inexpressible
        if profile.enums and "enum" in shape.traits:
            return Literal[*profile.orders.get(shape.name, shape.traits["enum"])]
        return self._sized(str, shape)

    def _integer(self, shape: Shape) -> Any:
        least, most = _LEAST, _MOST
        if self._profile is not None and is_ruled(shape, self._profile):
            least = max(least, shape.traits.get("min", least))
            most = min(most, shape.traits.get("max", most))
        return Annotated[int, Meta(ge=least, le=most)]

    def _sized(self, type_: Any, shape: Shape) -> Any:
        if self._profile is None or not is_ruled(shape, self._profile):
            return type_
        least, most = shape.traits.get("min") or None, shape.traits.get("max")
        if least is None and most is None:
            return type_
        return Annotated[type_, Meta(min_length=least, max_length=most)]
