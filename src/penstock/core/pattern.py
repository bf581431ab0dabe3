"""Event patterns: EventBridge's grammar, also used by event source mappings, Pipes and archives.

A pattern is compiled to alternatives (`$or` multiplied out); an alternative maps dotted paths to tests. An event is
flattened to its leaves, each with the array elements it lies in, so that tests on the objects of one array must
agree on the element ("array-consistent", as aws/event-ruler has it). Raises PatternError, whose text is AWS's reason.
"""

import ipaddress
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from penstock.core.leaves import Leaf, Leaves, Ways, flatten, ways_to

Test: TypeAlias = Callable[[Any], bool]

_OPERATORS: Final = frozenset(
    [
        "prefix",
        "suffix",
        "equals-ignore-case",
        "anything-but",
        "numeric",
        "exists",
        "cidr",
        "wildcard",
        "exactly",
    ]
)
_MAX_ALTERNATIVES: Final = 1000
_NUMERIC_PARTS: Final = (2, 4)
_SIGNS: Final = ("=", "<", "<=", ">", ">=")
_TOO_OFTEN: Final = 5


class PatternError(ValueError):
    """The pattern is not one. The text is the reason alone."""


@dataclass(frozen=True, slots=True)
class _Field:
    """What an alternative asks of one path."""

    path: str
    tests: tuple[Test, ...]
    or_absent: bool
    items: tuple[Any, ...]
    """What the tests were compiled from."""


_Alternative: TypeAlias = tuple[_Field, ...]
_Check: TypeAlias = tuple[str, Test, bool]
"""A path, what its leaf has to pass, and whether there need be none."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A path that has to be there and, as far as the pattern tells, what alone may be there: any of these."""

    path: str
    values: tuple[Any, ...] | None = None
    """Values that the leaf is equal to."""
    heads: tuple[str, ...] | None = None
    """Texts that the leaf begins with."""
    tails: tuple[str, ...] | None = None
    """Texts that the leaf ends with."""


class Pattern:
    """A compiled pattern: `matches(event)`."""

    __slots__ = ("_alternatives", "_checks", "_walk", "ways")

    def __init__(self, alternatives: list[_Alternative]) -> None:
        self._alternatives = alternatives
        self.ways = frozenset(
            way for fields in alternatives for field in fields for way in ways_to(field.path)
        )
        """The paths that it looks at, and the beginnings of them."""
        self._walk = Ways(self.ways)
        self._checks = [
            tuple((field.path, _any_of(field), field.or_absent) for field in fields)
            for fields in alternatives
        ]

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, as parsed JSON, has what the pattern asks for."""
        return self.matches_leaves(flatten(event, self._walk))

    def matches_leaves(self, leaves: Leaves) -> bool:
        """The same of an event that is flattened already."""
        for checks in self._checks:  # noqa: SIM110 -- many are asked about one event
            if _agree(checks, 0, leaves, {}):
                return True
        return False

    def demands(self) -> list[list[Demand]]:
        """What has to be there, for each alternative."""
        return [
            [_demand(field) for field in fields if not field.or_absent]
            for fields in self._alternatives
        ]


def compile_pattern(source: str | bytes | Mapping[str, Any]) -> Pattern:
    """Compile a pattern from JSON text or its parsed form. Raises PatternError."""
    if isinstance(source, str | bytes):
        try:
            source = json.loads(source, parse_constant=_no_constant, parse_float=_float)
        except ValueError as error:
            raise PatternError(str(error)) from error
    if not isinstance(source, Mapping):
        raise PatternError("Filter is not an object")
    if not source:
        raise PatternError("Empty objects are not allowed")
    # What may be absent is looked for last, in the array elements that the other fields chose.
    return Pattern(
        [
            tuple(sorted(fields.values(), key=lambda field: field.or_absent))
            for fields in _compile_object(source, "")
        ]
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"Unrecognized token '{name}'")


def _float(text: str) -> float:
    number = float(text)
    # AWS: a number too small for a double cannot be compared (event-ruler's vectors).
    if number == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise PatternError(f"Cannot compare number : {text}")
    return number


# Matching.


def _agree(
    checks: tuple[_Check, ...],
    at: int,
    leaves: Mapping[str, list[Leaf]],
    place: dict[str, int],
) -> bool:
    """Whether checks from `at` on have leaves that pass and lie in the elements chosen so far."""
    for number in range(at, len(checks)):
        path, passes, or_absent = checks[number]
        found = leaves.get(path)
        if found is None:
            if not or_absent:
                return False
        elif len(found) == 1 and not found[0][1]:
            # Outside of arrays there is nothing to choose.
            if not passes(found[0][0]):
                return False
        else:
            absent = True
            for value, lies_in in found:
                if any(place.get(array, index) != index for array, index in lies_in.items()):
                    continue
                absent = False
                if passes(value) and _agree(checks, number + 1, leaves, {**place, **lies_in}):
                    return True
            return absent and or_absent and _agree(checks, number + 1, leaves, place)
    return True


# Compiling.


def _compile_object(pattern: Mapping[str, Any], path: str) -> list[dict[str, _Field]]:
    """The alternatives that an object of the pattern stands for."""
    alternatives: list[dict[str, _Field]] = [{}]
    for key, value in pattern.items():
        if key == "$or" and _is_or(value):
            found = [option for branch in value for option in _compile_object(branch, path)]
        else:
            found = _compile_member(key, value, f"{path}.{key}" if path else key)
        if len(alternatives) * len(found) > _MAX_ALTERNATIVES:
            raise PatternError("Rule is too complex")
        alternatives = [_merge(one, other) for one in alternatives for other in found]
    return alternatives


def _is_or(value: Any) -> bool:
    """`$or` is an operator over two or more objects of fields; otherwise it is a field of that name."""
    return (
        isinstance(value, list)
        and len(value) >= 2
        and all(isinstance(branch, Mapping) and branch for branch in value)
        and not any(key in _OPERATORS for branch in value for key in branch)
    )


def _merge(one: dict[str, _Field], other: dict[str, _Field]) -> dict[str, _Field]:
    """Both demands; a path that both name takes the tests of either, as event-ruler's machine does."""
    merged = dict(one)
    for path, field in other.items():
        before = merged.get(path)
        merged[path] = field if before is None else _either(before, field)
    return merged


def _either(one: _Field, other: _Field) -> _Field:
    or_absent = one.or_absent or other.or_absent
    return _Field(one.path, one.tests + other.tests, or_absent, one.items + other.items)


def _demand(field: _Field) -> Demand:
    if not any(isinstance(item, Mapping) for item in field.items):
        return Demand(field.path, values=field.items)
    if all(heads := tuple(_edge_of(item, "prefix") for item in field.items)):
        return Demand(field.path, heads=heads)
    if all(tails := tuple(_edge_of(item, "suffix") for item in field.items)):
        return Demand(field.path, tails=tails)
    return Demand(field.path)


def _edge_of(item: Any, edge: str) -> str:
    """The text that a leaf begins or ends with to pass a test; empty if nobody knows."""
    if isinstance(item, str):
        return item
    if not isinstance(item, Mapping):
        return ""
    text = item.get(edge)
    if isinstance(text, str):
        return text
    wildcard = item.get("wildcard")
    if not isinstance(wildcard, str) or "\\" in wildcard:
        return ""
    return wildcard.split("*")[0 if edge == "prefix" else -1]


def _compile_member(key: str, value: Any, path: str) -> list[dict[str, _Field]]:
    if isinstance(value, Mapping):
        if not value:
            raise PatternError("Empty objects are not allowed")
        return _compile_object(value, path)
    if not isinstance(value, list):
        raise PatternError(f'"{key}" must be an object or an array')
    if not value:
        raise PatternError("Empty arrays are not allowed")
    tests: list[Test] = []
    or_absent = False
    for item in value:
        if isinstance(item, Mapping) and item == {"exists": False}:
            or_absent = True
        else:
            tests.append(_compile_test(item))
    return [{path: _Field(path, tuple(tests), or_absent, tuple(value))}]


def _any_of(field: _Field) -> Test:
    """One test for all that a field has: a leaf passes when it passes one."""
    tests = field.tests
    if all(isinstance(item, str) for item in field.items):
        # Nothing but a text is equal to one.
        return frozenset(field.items).__contains__
    if len(tests) == 1:
        return tests[0]

    def test(value: Any) -> bool:
        for one in tests:  # noqa: SIM110 -- many are asked about one event
            if one(value):
                return True
        return False

    return test


def _compile_test(item: Any) -> Test:
    if isinstance(item, Mapping):
        if len(item) != 1:
            raise PatternError("Only one key allowed in match expression")
        ((name, operand),) = item.items()
        compiler = _COMPILERS.get(name)
        if compiler is None:
            raise PatternError(f"Unrecognized match type {name}")
        return compiler(operand)
    if isinstance(item, list):
        raise PatternError("Match value must be String, number, true, false, or null")
    return _exactly(item)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _exactly(wanted: Any) -> Test:
    if _is_number(wanted):
        return lambda value: _is_number(value) and bool(value == wanted)
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    return lambda value: isinstance(value, str) and value == wanted


def _compile_exactly(operand: Any) -> Test:
    if not isinstance(operand, str):
        raise PatternError("exact match pattern must be a string")
    return _exactly(operand)


def _edge(name: str, match: Callable[[str, str], bool]) -> Callable[[Any], Test]:
    """A compiler for `prefix` or `suffix`, in the plain form and the one that ignores case."""

    def compile_edge(operand: Any) -> Test:
        if isinstance(operand, Mapping):
            if set(operand) != {"equals-ignore-case"}:
                raise PatternError(f"Unsupported anything-but pattern: {name}")
            operand = operand["equals-ignore-case"]
            if isinstance(operand, str):
                folded = operand.lower()
                return lambda value: isinstance(value, str) and match(value.lower(), folded)
        if not isinstance(operand, str):
            raise PatternError(f"{name} match pattern must be a string")
        return lambda value: isinstance(value, str) and match(value, operand)

    return compile_edge


def _compile_ignore_case(operand: Any) -> Test:
    if not isinstance(operand, str):
        raise PatternError("equals-ignore-case match pattern must be a string")
    folded = operand.lower()
    return lambda value: isinstance(value, str) and value.lower() == folded


def _compile_wildcard(operand: Any) -> Test:
    if not isinstance(operand, str):
        raise PatternError("wildcard match pattern must be a string")
    repeated = Counter(re.findall(r"\*([^*])", operand))
    # AWS: how complex a pattern is, is not told; one with `*:` five times is too complex (recorded).
    if max(repeated.values(), default=0) >= _TOO_OFTEN:
        raise PatternError(
            "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a "
            "wildcard character"
        )
    expression = re.compile(_wildcard_expression(operand), re.DOTALL)
    return lambda value: isinstance(value, str) and expression.fullmatch(value) is not None


def _wildcard_expression(text: str) -> str:
    """A regular expression for a wildcard; runs of characters are matched possessively where they can be."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 1
            if at == len(text) or text[at] not in "*\\":
                raise PatternError(f"Invalid escape character at pos {at}")
            parts.append(re.escape(text[at]))
        elif character == "*":
            if text[at + 1 : at + 2] == "*":
                # AWS: positions count the quote before the text (recorded).
                raise PatternError(f"Consecutive wildcard characters at pos {at + 1}")
            parts.append(".*")
        else:
            parts.append(re.escape(character))
        at += 1
    return "".join(parts)


def _compile_exists(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise PatternError("exists match pattern must be either true or false.")
    # A leaf that is there exists; `false` alone is handled by the field.
    return lambda value: True


def _compile_cidr(operand: Any) -> Test:
    if not isinstance(operand, str):
        raise PatternError("prefix match pattern must be a string")
    address, slash, bits = operand.partition("/")
    if not slash or "/" in bits:
        raise PatternError("Malformed CIDR, one '/' required")
    if not re.fullmatch(r"\d+", bits):
        raise PatternError("Malformed CIDR, mask bits must be an integer")
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError as error:
        raise PatternError(f"Nonstandard IP address: {address}") from error

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _compile_numeric(operand: Any) -> Test:
    if not isinstance(operand, list):
        raise PatternError("Value of numeric must be an array.")
    if len(operand) == 3 and operand[2] in _SIGNS:
        raise PatternError(f"Value of {operand[2]} must be numeric")
    if len(operand) not in _NUMERIC_PARTS:
        raise PatternError("Too few or too many elements in numeric expression")
    bounds: list[tuple[str, float]] = []
    for sign, number in zip(operand[::2], operand[1::2], strict=True):
        if sign not in _SIGNS:
            raise PatternError(f"Unrecognized numeric range operator: {sign}")
        if not _is_number(number) or not math.isfinite(number):
            raise PatternError(f"Value of {sign} must be numeric")
        bounds.append((sign, number))
    if len(bounds) == 2:
        (low_sign, low), (high_sign, high) = bounds
        if low_sign not in (">", ">=") or high_sign not in ("<", "<="):
            raise PatternError(f"Bad numeric range operator: {high_sign}")
        if low >= high:
            raise PatternError("Bottom must be less than top")
    compare = {
        "=": float.__eq__,
        "<": float.__lt__,
        "<=": float.__le__,
        ">": float.__gt__,
        ">=": float.__ge__,
    }
    checks = [(compare[sign], float(number)) for sign, number in bounds]
    return lambda value: (
        _is_number(value) and all(check(float(value), bound) for check, bound in checks)
    )


def _compile_anything_but(operand: Any) -> Test:
    if isinstance(operand, Mapping):
        if len(operand) != 1:
            raise PatternError("Only one key allowed in match expression")
        ((name, inner),) = operand.items()
        if name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
            raise PatternError(f"Unsupported anything-but pattern: {name}")
        items = _anything_but_texts(name, inner)
        tests = [_COMPILERS[name](item) for item in items]
    else:
        tests = _anything_but_values(operand)
    return lambda value: not any(test(value) for test in tests)


_NO_VALUE: Final = "Value of anything-but must be an array or single string/number value."


def _anything_but_texts(name: str, operand: Any) -> list[str]:
    """The texts of `anything-but` with an operator within. Raises PatternError in AWS's words for each operator."""
    items = operand if isinstance(operand, list) else [operand]
    edge = name in ("prefix", "suffix")
    if not items:
        raise PatternError("Empty arrays are not allowed")
    if edge and isinstance(operand, Mapping):
        raise PatternError(_NO_VALUE)
    if not all(isinstance(item, str) for item in items):
        if edge:
            raise PatternError("prefix/suffix match pattern must be a string")
        if name == "wildcard":
            raise PatternError("wildcard match pattern must be a string")
        raise PatternError(
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
        )
    if edge and "" in items:
        raise PatternError("Null prefix/suffix not allowed")
    return items


def _anything_but_values(operand: Any) -> list[Test]:
    items = operand if isinstance(operand, list) else [operand]
    if not items:
        raise PatternError("Empty arrays are not allowed")
    for item in items:
        if not isinstance(item, str) and not _is_number(item):
            if not isinstance(operand, list):
                raise PatternError(_NO_VALUE)
            raise PatternError("Inside anything but list, start|null|boolean is not supported.")
    if len({isinstance(item, str) for item in items}) > 1:
        raise PatternError(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    return [_exactly(item) for item in items]


_COMPILERS: Final[Mapping[str, Callable[[Any], Test]]] = {
    "prefix": _edge("prefix", str.startswith),
    "suffix": _edge("suffix", str.endswith),
    "equals-ignore-case": _compile_ignore_case,
    "wildcard": _compile_wildcard,
    "exists": _compile_exists,
    "cidr": _compile_cidr,
    "numeric": _compile_numeric,
    "anything-but": _compile_anything_but,
    "exactly": _compile_exactly,
}
