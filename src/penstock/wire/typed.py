"""Documents whose values already have types: JSON and CBOR bodies.

A shape compiles to a closure. A structure is a table from the wire's name to (member, exact class, converter): a value of the
right class passes through; everything else goes to the converter, which converts or refuses it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from penstock.core.errors import AwsError
from penstock.wire.cbor import Tagged
from penstock.wire.model import REQUEST_LOCATIONS, RESPONSE_LOCATIONS, Model, Shape
from penstock.wire.scalar import (
    TIMESTAMPS,
    epoch,
    malformed,
    read_blob,
    read_float,
    read_timestamp,
    write_float,
)

Convert: TypeAlias = Callable[[Any], Any]


class Codec(NamedTuple):
    """What differs between the two: how a blob arrives and how an instant and a float leave."""

    blob_class: type
    read_blob: Convert
    names: Callable[[dict[Any, Any]], dict[str, Any]]
    """Checks that the keys of a map are strings."""
    instant: Convert | None
    """None: in the format that the shape names."""
    number: Convert | None


def _json_blob(value: Any) -> bytes:
    if isinstance(value, str):
        return read_blob(value)
    raise _unfit(value, "Blob")


def _cbor_blob(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    raise _unfit(value, "Blob")


def _json_names(value: dict[Any, Any]) -> dict[str, Any]:
    return value


def _cbor_names(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        _string(key)
    return value


JSON: Final = Codec(type(None), _json_blob, _json_names, None, write_float)
CBOR: Final = Codec(bytes, _cbor_blob, _cbor_names, lambda at: Tagged(1, at / 1000), None)


_TOKENS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "BOOLEAN"),
    (int, "NUMBER"),
    (float, "DECIMAL"),
    (str, "STRING"),
    (bytes, "STRING"),
)


def _unfit(value: Any, wanted: str) -> AwsError:
    """The refusal of a value of the wrong type, in the words of AWS's JSON reader."""
    for kind, token in _TOKENS:
        if isinstance(value, kind):
            name = str(value).upper() if token == "BOOLEAN" else token
            return malformed(f"{name}_VALUE cannot be converted to {wanted}")
    if isinstance(value, dict):
        return malformed("Start of structure or map found where not expected")
    if isinstance(value, list):
        return malformed("Start of list found where not expected")
    return malformed("Unexpected value type in payload")


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _unfit(value, "String")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unfit(value, "Boolean")


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # AWS: a number with a fraction is cut, not refused (recorded on DynamoDB's `Limit`).
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    raise _unfit(value, "Integer")


def _float(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return read_float(value)
    raise _unfit(value, "Double")


def _as_it_is(value: Any) -> Any:
    return value


def _timestamp(value: Any) -> int:
    if isinstance(value, (bool, dict, list, bytes)):
        raise _unfit(value, "Timestamp")
    return read_timestamp(value)


_FLOATS: Final = frozenset({"float", "double"})
_NEVER: Final = type("Never", (), {})
_SCALARS: Final[dict[str, tuple[type, Convert]]] = {
    "boolean": (bool, _boolean),
    "timestamp": (_NEVER, _timestamp),
    **dict.fromkeys(("integer", "long", "short", "byte"), (int, _integer)),
    **dict.fromkeys(_FLOATS, (float, _float)),
}


class ReaderCompiler:
    """Compiles shapes of one model into readers; recursive shapes are closed by name."""

    def __init__(self, model: Model, codec: Codec) -> None:
        self._model = model
        self._codec = codec
        self._structures: dict[str, Convert] = {}

    def reader(self, shape: Shape) -> Convert:
        """A function from the decoded value to the member's value. Raises `AwsError`."""
        return self._entry(shape)[1]

    def _entry(self, shape: Shape) -> tuple[type, Convert]:
        """The class whose values pass as they are, and the converter for all others."""
        if shape.get("document"):
            return _NEVER, _as_it_is
        match shape.kind:
            case "structure":
                entry = (_NEVER, self.structure(shape))
            case "list":
                entry = (_NEVER, self._list(shape))
            case "map":
                entry = (_NEVER, self._map(shape))
            case "blob":
                entry = (self._codec.blob_class, self._codec.read_blob)
            case kind:
                entry = _SCALARS.get(kind, (str, _string))
        return entry

    def structure(self, shape: Shape) -> Convert:
        """The reader of a structure: a dict by member name, without what is null or not modelled."""
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        table: dict[str, tuple[str, type, Convert]] = {}
        scalars: dict[str, type] = {}
        plain = scalars.get

        def read(value: Any) -> dict[str, Any]:
            if value.__class__ is not dict:
                raise (
                    _unfit(value, "Structure")
                    if value.__class__ is list
                    else malformed("Unexpected value type in payload")
                )
            # Most structures within structures have plain values only, and are what they shall be.
            for wire_name, item in value.items():
                if plain(wire_name) is not item.__class__:
                    break
            else:
                return value
            out = {}
            for wire_name, item in value.items():
                entry = table.get(wire_name)
                if entry is None or item is None:
                    continue
                name, passes, convert = entry
                out[name] = item if item.__class__ is passes else convert(item)
            return out

        self._structures[shape.name] = read
        for wire_name, entry in self._members(shape):
            table[wire_name] = entry
            name, passes, _ = entry
            if wire_name == name and passes is not type(None):
                scalars[name] = passes
        return read

    def _members(self, shape: Shape) -> Iterator[tuple[str, tuple[str, type, Convert]]]:
        """The wire's name, the member's own, the class that passes and the converter."""
        for name, member in self._model.members(shape):
            if member.get("location") not in REQUEST_LOCATIONS:
                yield member.get("locationName", name), (name, *self._entry(member))

    def _list(self, shape: Shape) -> Convert:
        passes, convert = self._entry(self._model.element(shape))
        sparse = shape.get("sparse", False)

        def read(value: Any) -> list[Any]:
            if value.__class__ is not list:
                raise (
                    _unfit(value, "List")
                    if value.__class__ is dict
                    else malformed("Unexpected field type")
                )
            if passes is _NEVER and None not in value:
                return list(map(convert, value))
            return [
                item if item.__class__ is passes or item is None else convert(item)
                for item in value
                if item is not None or sparse
            ]

        return read

    def _map(self, shape: Shape) -> Convert:
        passes, convert = self._entry(self._model.value(shape))
        sparse, names = shape.get("sparse", False), self._codec.names

        def read(value: Any) -> dict[str, Any]:
            if value.__class__ is not dict:
                raise (
                    _unfit(value, "Map")
                    if value.__class__ is list
                    else malformed("Unexpected field type")
                )
            return {
                key: item if item.__class__ is passes or item is None else convert(item)
                for key, item in names(value).items()
                if item is not None or sparse
            }

        return read


class WriterCompiler:
    """Compiles shapes of one model into writers; None stands for a shape that is written as it is."""

    def __init__(self, model: Model, codec: Codec) -> None:
        self._model = model
        self._codec = codec
        self._structures: dict[str, Convert] = {}

    def writer(self, shape: Shape) -> Convert | None:
        """A function from a member's value to the value to encode."""
        if not self._needed(shape, set()):
            return None
        if shape.kind == "structure":
            return self.structure(shape)
        if shape.kind == "list":
            return self._list(shape)
        if shape.kind == "map":
            return self._map(shape)
        if shape.kind == "timestamp":
            return self._codec.instant or TIMESTAMPS.get(shape.get("timestampFormat", ""), epoch)
        return self._codec.number

    def structure(self, shape: Shape) -> Convert:
        """The writer of a structure: without None, under the names of the wire."""
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        table: dict[str, tuple[str, Convert | None]] = {}

        def write(value: dict[str, Any]) -> dict[str, Any]:
            out = {}
            for name, item in value.items():
                entry = table.get(name)
                if entry is None or item is None:
                    continue
                wire_name, convert = entry
                out[wire_name] = item if convert is None else convert(item)
            return out

        self._structures[shape.name] = write
        for name, member in self._model.members(shape):
            if member.get("location") not in RESPONSE_LOCATIONS:
                table[name] = (member.get("locationName", name), self.writer(member))
        return write

    def _list(self, shape: Shape) -> Convert:
        convert = self.writer(self._model.element(shape))
        assert convert is not None
        return lambda value: [None if item is None else convert(item) for item in value]

    def _map(self, shape: Shape) -> Convert:
        convert = self.writer(self._model.value(shape))
        assert convert is not None
        return lambda value: {
            key: None if item is None else convert(item) for key, item in value.items()
        }

    def _needed(self, shape: Shape, seen: set[str]) -> bool:
        """Whether anything below `shape` is renamed or is not written as it is."""
        kind = shape.kind
        if kind == "timestamp":
            return True
        if kind in _FLOATS:
            return self._codec.number is not None
        if kind == "list":
            return self._needed(self._model.element(shape), seen)
        if kind == "map":
            return self._needed(self._model.value(shape), seen)
        if kind != "structure" or shape.name in seen or shape.get("document"):
            return False
        seen.add(shape.name)
        return any(
            member.get("location") in RESPONSE_LOCATIONS
            or member.get("locationName", name) != name
            or self._needed(member, seen)
            for name, member in self._model.members(shape)
        )
