"""The constraints that a model declares, checked and told in AWS's words.

A shape compiles to a predicate, which nearly every request passes, and to a checker for the others, which appends one text per
violation, in the model's order. Shapes without constraints compile to None.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final, TypeAlias

from penstock.core.errors import AwsError
from penstock.core.java_pattern import Pattern
from penstock.wire.model import Model, Shape
from penstock.wire.profile import Profile

Fits: TypeAlias = Callable[[Any], bool]
Check: TypeAlias = Callable[[Any, str, list[str]], None]
"""(value, path, violations)"""

BAD_XML: Final = (
    "The XML you provided was not well-formed or did not validate against our published schema"
)


def compile_validator(
    model: Model, shape: Shape, profile: Profile
) -> Callable[[dict[str, Any]], None] | None:
    """A function that raises `AwsError` with every violation in a request; None when nothing is constrained."""
    code = profile.constraints
    if code is None:
        return _schema_validator(model, shape, profile) if profile.schema else None
    compiler = _Compiler(model, profile)
    check, fits = compiler.check(shape), _Predicates(compiler).fits(shape)
    if check is None or fits is None:
        return None
    passes, tell = fits, check

    def validate(params: dict[str, Any]) -> None:
        if passes(params):
            return
        violations: list[str] = []
        tell(params, "", violations)
        if violations:
            count = len(violations)
            noun = "error" if count == 1 else "errors"
            raise AwsError(code, f"{count} validation {noun} detected: {'; '.join(violations)}")

    return validate


def _schema_validator(
    model: Model, shape: Shape, profile: Profile
) -> Callable[[dict[str, Any]], None] | None:
    """The check of the document in a request's body, for a service that has one text for all that may be wrong with it."""
    payload = shape.get("payload")
    if payload is None:
        return None
    member = model.shape(shape.traits["members"][payload])
    if member.kind != "structure":
        return None
    check = _Compiler(model, profile).check(member)
    required = payload in shape.get("required", ())

    def validate(params: dict[str, Any]) -> None:
        document = params.get(payload)
        if document is None:
            if required:
                raise AwsError("MissingRequestBodyError", "Request Body is empty", status=400)
            return
        violations: list[str] = []
        if check is not None:
            check(document, "", violations)
        if violations:
            raise AwsError("MalformedXML", BAD_XML)

    return validate


def java_text(value: Any, model: Model, shape: Shape) -> str:
    """A value as Java's `toString` prints it."""
    match shape.kind:
        case "structure" if not shape.get("document"):
            fields = ", ".join(
                f"{_lower(name)}={_java_or_null(value.get(name), model, member)}"
                for name, member in model.members(shape)
            )
            return f"{shape.name}({fields})"
        case "list":
            element = model.element(shape)
            return f"[{', '.join(_java_or_null(item, model, element) for item in value)}]"
        case "map":
            inner = model.value(shape)
            pairs = (f"{key}={_java_or_null(item, model, inner)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case "boolean":
            return "true" if value else "false"
        case "blob":
            size = len(value)
            return f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"
        case kind:
            return repr(float(value)) if kind in ("double", "float") else str(value)


def _java_or_null(value: Any, model: Model, shape: Shape) -> str:
    return "null" if value is None else java_text(value, model, shape)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


class _Compiler:
    def __init__(self, model: Model, profile: Profile) -> None:
        self.model = model
        self._profile = profile
        self._structures: dict[str, Check] = {}

    def check(self, shape: Shape) -> Check | None:
        """The checker of a value of this shape, with everything below it."""
        if shape.kind == "structure":
            return self.structure(shape) if self.constrained(shape, set()) else None
        own = self._own(shape)
        inner: Check | None = None
        if shape.kind == "list":
            inner = self._list(shape)
        elif shape.kind == "map":
            inner = self._map(shape)
        if own is None or inner is None:
            return own or inner
        first, second = own, inner

        def both(value: Any, path: str, violations: list[str]) -> None:
            first(value, path, violations)
            second(value, path, violations)

        return both

    def structure(self, shape: Shape) -> Check:
        """The checker of a structure: members in the model's order, missing ones where they are required."""
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        rows: list[tuple[str, str, bool, Check | None]] = []

        def check(value: dict[str, Any], path: str, violations: list[str]) -> None:
            for name, wire_name, required, inner in rows:
                item = value.get(name)
                if item is None:
                    if required:
                        violations.append(
                            f"Value null at '{path}{wire_name}' failed to satisfy constraint: Member must not be null"
                        )
                elif inner is not None:
                    inner(item, path + wire_name, violations)

        def nested(value: dict[str, Any], path: str, violations: list[str]) -> None:
            check(value, f"{path}." if path else "", violations)

        self._structures[shape.name] = nested
        required = shape.get("required", ())
        for name, member in self.model.members(shape):
            inner = self.check(member)
            if inner is not None or name in required:
                rows.append((name, _lower(name), name in required, inner))
        return nested

    def constrained(self, shape: Shape, seen: set[str]) -> bool:
        """Whether `shape` or anything below it is constrained (shapes may be recursive)."""
        if shape.name in seen or shape.get("document"):
            return False
        seen.add(shape.name)
        if self.rules(shape) or shape.get("required"):
            return True
        below: Iterable[Shape] = ()
        if shape.kind == "structure":
            below = (member for _, member in self.model.members(shape))
        elif shape.kind == "list":
            below = (self.model.element(shape),)
        elif shape.kind == "map":
            below = (self.model.key(shape), self.model.value(shape))
        return any(self.constrained(each, seen) for each in below)

    def _list(self, shape: Shape) -> Check | None:
        element = self.model.element(shape)
        if element.kind not in ("structure", "list", "map"):
            return self._bracketed(shape, element, "Member must satisfy constraint")
        inner = self.check(element)
        if inner is None:
            return None
        found = inner

        def check(value: list[Any], path: str, violations: list[str]) -> None:
            for number, item in enumerate(value, 1):
                if item is not None:
                    found(item, f"{path}.{number}.member", violations)

        return check

    def _map(self, shape: Shape) -> Check | None:
        key, element = self.model.key(shape), self.model.value(shape)
        checks = [
            self._bracketed(shape, key, "Map keys must satisfy constraint"),
            self._bracketed(shape, element, "Map value must satisfy constraint"),
        ]
        if element.kind in ("structure", "list", "map"):
            checks.append(self._map_values(element))
        present = [check for check in checks if check is not None]
        if not present:
            return None

        def check(value: dict[str, Any], path: str, violations: list[str]) -> None:
            for each in present:
                each(value, path, violations)

        return check

    def _map_values(self, element: Shape) -> Check | None:
        inner = {"list": self._list, "map": self._map}.get(element.kind, self.check)(element)
        if inner is None:
            return None
        found = inner

        def check(value: dict[str, Any], path: str, violations: list[str]) -> None:
            for key, item in value.items():
                if item is not None:
                    found(item, f"{path}.{key}.member", violations)

        return check

    def _bracketed(self, shape: Shape, element: Shape, words: str) -> Check | None:
        """A collection's constraint on its elements: told once for the whole, with all of the element's constraints."""
        rules = self.rules(element)
        if not rules:
            return None
        model, keys = self.model, words.startswith("Map keys")
        texts = [text for text, _ in rules]
        if shape.name in self._profile.without_nulls and not keys:
            texts.append("Member must not be null")
        listed = ", ".join(texts)

        def check(value: Any, path: str, violations: list[str]) -> None:
            items = value if keys or shape.kind == "list" else value.values()
            if any(not fits(item) for item in items if item is not None for _, fits in rules):
                text = java_text(value, model, shape)
                violations.append(
                    f"Value '{text}' at '{path}' failed to satisfy constraint: {words}: [{listed}]"
                )

        return check

    def _own(self, shape: Shape) -> Check | None:
        """The constraints on the value itself."""
        rules = self.rules(shape)
        if not rules:
            return None
        model = self.model

        def check(value: Any, path: str, violations: list[str]) -> None:
            for text, fits in rules:
                if not fits(value):
                    shown = java_text(value, model, shape)
                    violations.append(
                        f"Value '{shown}' at '{path}' failed to satisfy constraint: {text}"
                    )

        return check

    def rules(self, shape: Shape) -> list[tuple[str, Callable[[Any], bool]]]:
        """(text, predicate) in the order in which AWS lists them."""
        if not is_ruled(shape, self._profile):
            return []
        # AWS: several violations of one value come in either order from one request to the next (both on record for the
        # `stackName` of CloudFormation); the order within brackets is always this one.
        sized = shape.kind in ("string", "list", "map", "blob", "character")
        noun = "length" if sized else "value"
        rules = _bounds(shape, sized, noun)
        if "pattern" in shape.traits and shape.kind == "string":
            pattern = Pattern(shape.traits["pattern"])
            text = f"Member must satisfy regular expression pattern: {pattern.source}"
            rules.append((text, _bounded(pattern, shape.get("max"))))
        if self._profile.enums and "enum" in shape.traits:
            allowed = self._profile.orders.get(shape.name, shape.traits["enum"])
            text = f"Member must satisfy enum value set: [{', '.join(allowed)}]"
            rules.append((text, frozenset(allowed).__contains__))
        return rules


class _Predicates:
    """Compiles shapes to predicates: whether a value breaks none of the rules."""

    def __init__(self, compiler: _Compiler) -> None:
        self._compiler = compiler
        self._model = compiler.model
        self._structures: dict[str, Fits] = {}

    def fits(self, shape: Shape) -> Fits | None:
        """The predicate for values of this shape, with everything below it."""
        if shape.kind == "structure":
            return self._structure(shape) if self._compiler.constrained(shape, set()) else None
        parts = [fits for _, fits in self._compiler.rules(shape)]
        if shape.kind == "list":
            parts += self._items(shape)
        elif shape.kind == "map":
            parts += self._pairs(shape)
        if len(parts) < 2:
            return parts[0] if parts else None
        if len(parts) == 2:
            # As most have, and without a loop.
            first, second = parts
            return lambda value: first(value) and second(value)
        return lambda value: all([part(value) for part in parts])

    def _structure(self, shape: Shape) -> Fits:
        known = self._structures.get(shape.name)
        if known is not None:
            return known
        required = frozenset(shape.get("required", ()))
        members: dict[str, Fits] = {}
        constrained = {*required}
        fits = _structure_fits(required, members, constrained)
        self._structures[shape.name] = fits
        for name, member in self._model.members(shape):
            inner = self.fits(member)
            if inner is not None:
                members[name] = inner
                constrained.add(name)
        return fits

    def _items(self, shape: Shape) -> list[Fits]:
        inner = self.fits(self._model.element(shape))
        if inner is None:
            return []
        fits = inner
        return [lambda value: all([item is None or fits(item) for item in value])]

    def _pairs(self, shape: Shape) -> list[Fits]:
        parts: list[Fits] = []
        keys, values = self.fits(self._model.key(shape)), self.fits(self._model.value(shape))
        if keys is not None:
            key_fits = keys
            parts.append(lambda value: all(map(key_fits, value)))
        if values is not None:
            fits = values
            parts.append(lambda value: all([item is None or fits(item) for item in value.values()]))
        return parts


def _structure_fits(required: Set[str], members: Mapping[str, Fits], constrained: Set[str]) -> Fits:
    """The predicate for a structure. `constrained` are the names of its members that are required or have a predicate."""

    def fits(value: dict[str, Any]) -> bool:
        # Most structures within structures have none of those.
        if constrained.isdisjoint(value):
            return not required
        if not required <= value.keys():
            return False
        for name, item in value.items():
            if item is None:
                if name in required:
                    return False
            elif name in members and not members[name](item):
                return False
        return True

    return fits


def is_ruled(shape: Shape, profile: Profile) -> bool:
    """Whether what a model says of a shape's values themselves is checked."""
    if shape.kind in ("structure", "boolean", "timestamp") or shape.name in profile.own:
        return False
    return profile.bounds


def _bounded(pattern: Pattern, most: int | None) -> Callable[[str], bool]:
    """A pattern's check. Texts far beyond their length are refused for it anyway, and matching them could take ages."""
    if most is None:
        return pattern.fits
    return lambda text: len(text) > 2 * most or pattern.fits(text)


def _bounds(shape: Shape, sized: bool, noun: str) -> list[tuple[str, Callable[[Any], bool]]]:
    rules: list[tuple[str, Callable[[Any], bool]]] = []
    if "max" in shape.traits:
        most = shape.traits["max"]
        text = f"Member must have {noun} less than or equal to {most}"
        rules.append((text, (lambda v: len(v) <= most) if sized else (lambda v: v <= most)))
    least = shape.traits.get("min")
    if least is not None and (least or not sized):
        text = f"Member must have {noun} greater than or equal to {least}"
        rules.append((text, (lambda v: len(v) >= least) if sized else (lambda v: v >= least)))
    return rules
