"""botocore's service models, read as plain data.

Only the files are used: importing botocore's own loader and model classes costs a fifth of a second and tens of megabytes.
`Catalog` knows every service's metadata (the head of its file) and reads a whole model when it is first needed.
"""

import gzip
import importlib.util
import zlib
from collections.abc import Iterable, Iterator
from json import JSONDecoder
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from penstock.wire.overlay import OVERLAYS

REQUEST_LOCATIONS: Final = frozenset({"uri", "querystring", "header", "headers"})
RESPONSE_LOCATIONS: Final = frozenset({"statusCode", "header", "headers"})
"""Where REST puts members; those bound elsewhere are in the body, also when a shape serves requests and answers."""

_FILES: Final = "*/service-2.json*"
_DOCUMENTATION: Final = frozenset({"documentation", "deprecatedMessage", "deprecatedSince"})


class Shape(NamedTuple):
    """A shape as it is used in one place: the traits of the reference override those of the definition."""

    name: str
    kind: str
    """`structure`, `list`, `map`, `string`, `integer`, `long`, `float`, `double`, `boolean`, `blob`, `timestamp`, ..."""
    traits: dict[str, Any]

    def get(self, trait: str, default: Any = None) -> Any:
        """The value of a trait."""
        return self.traits.get(trait, default)


class Model:
    """One service's operations and shapes."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self.name = name
        self.metadata: dict[str, Any] = document["metadata"]
        self.operations: dict[str, dict[str, Any]] = document["operations"]
        self._shapes: dict[str, dict[str, Any]] = document["shapes"]
        self._errors: dict[str, str] | None = None

    def shape(self, reference: dict[str, Any]) -> Shape:
        """Resolve `{"shape": name, ...traits}`."""
        name = reference["shape"]
        definition = self._shapes[name]
        traits = {**definition, **reference}
        if definition["type"] == "structure" and "locationName" in definition:
            # What a structure itself is called is the name of a root element; members have names of their own.
            traits["rootName"] = definition["locationName"]
            if "locationName" not in reference:
                del traits["locationName"]
        return Shape(name, definition["type"], traits)

    def optional(self, reference: dict[str, Any] | None) -> Shape:
        """Resolve a reference that may be missing: an operation without input takes an empty structure."""
        if reference is None:
            return Shape("", "structure", {"members": {}})
        return self.shape(reference)

    def members(self, shape: Shape) -> Iterator[tuple[str, Shape]]:
        """The members of a structure in the model's order."""
        for name, reference in shape.traits["members"].items():
            yield name, self.shape(reference)

    def element(self, shape: Shape) -> Shape:
        """The element of a list."""
        return self.shape(shape.traits["member"])

    def key(self, shape: Shape) -> Shape:
        """The key of a map."""
        return self.shape(shape.traits["key"])

    def value(self, shape: Shape) -> Shape:
        """The value of a map."""
        return self.shape(shape.traits["value"])

    def error(self, code: str) -> Shape | None:
        """The error shape that is named `code`, or whose legacy code it is."""
        if self._errors is None:
            self._errors = {}
            for name, definition in self._shapes.items():
                if definition.get("exception") or "error" in definition:
                    self._errors.setdefault(definition.get("error", {}).get("code", name), name)
        name = code if code in self._shapes else self._errors.get(code, "")
        definition = self._shapes.get(name, {})
        if not (definition.get("exception") or "error" in definition):
            return None
        return self.shape({"shape": name})


class Catalog:
    """The models of a fixed set of services."""

    def __init__(self, services: Iterable[str]) -> None:
        self._files = {name: _newest(name) for name in services}
        self.metadata = {name: _metadata(name, file) for name, file in self._files.items()}
        self._models: dict[str, Model] = {}

    def model(self, service: str) -> Model:
        """A service's whole model. Raises `KeyError` for one that is not in the set."""
        model = self._models.get(service)
        if model is None:
            document = _load(self._files[service])
            _merge(document, OVERLAYS.get(service, {}))
            document["metadata"] = self.metadata[service]
            model = self._models[service] = Model(service, document)
        return model


def models_beginning(prefix: str) -> list[str]:
    """The names of services that begin with `prefix`, which is letters, digits and hyphens."""
    return sorted(
        folder.name for folder in _folder().glob(f"{prefix}*") if any(folder.glob(_FILES))
    )


def _folder() -> Path:
    spec = importlib.util.find_spec("botocore")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "data")


def _newest(service: str) -> Path:
    files = sorted((_folder() / service).glob(_FILES))
    if not files:
        raise LookupError(f"botocore has no model of the service {service!r}")
    return files[-1]


def _metadata(service: str, file: Path) -> dict[str, Any]:
    """The `metadata` object, which stands at the head of the file: the rest is not even decompressed."""
    if file.suffix == ".gz":
        with file.open("rb") as stream:
            head = zlib.decompressobj(31).decompress(stream.read(4096))
    else:
        head = file.read_bytes()
    text = head.decode(errors="replace")
    start = text.find('"metadata":')
    try:
        metadata: dict[str, Any] = JSONDecoder().raw_decode(text, text.index("{", start))[0]
    except ValueError:
        metadata = _load(file)["metadata"]
    metadata.setdefault("protocols", [metadata["protocol"]])
    _merge(metadata, OVERLAYS.get(service, {}).get("metadata", {}))
    return metadata


def _load(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    document: dict[str, Any] = orjson.loads(gzip.decompress(data) if file.suffix == ".gz" else data)
    extras = file.parent / "service-2.sdk-extras.json"
    if extras.exists():
        _merge(document, orjson.loads(extras.read_bytes())["merge"])
    slim = {part: document[part] for part in ("metadata", "operations", "shapes")}
    _strip(slim)
    return slim


def _strip(node: Any) -> None:
    """Drop the documentation: nine tenths of a model's memory."""
    if isinstance(node, dict):
        for word in _DOCUMENTATION:
            if isinstance(node.get(word), str):
                del node[word]
        for child in node.values():
            _strip(child)


def _merge(target: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, change in changes.items():
        if isinstance(change, dict) and isinstance(target.get(name), dict):
            _merge(target[name], change)
        else:
            target[name] = change
