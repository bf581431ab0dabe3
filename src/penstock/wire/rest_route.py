"""Which REST operation a method, path and query mean: a trie of path components for each service."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from penstock.api import Headers
from penstock.wire.model import Model

_KEPT: Final = 1024
_KEPT_LENGTH: Final = 256


@dataclass(slots=True)
class _Candidate:
    """An operation at the end of a path, and what else the request must carry."""

    name: str
    static: frozenset[tuple[str, str]]
    """`?uploads` and `?list-type=2`: pairs that are part of the model's URI."""
    query: frozenset[str]
    headers: frozenset[str]
    deprecated: bool

    def rank(self) -> tuple[int, bool, str]:
        """The most demanding candidate is asked first."""
        demands = len(self.static) + len(self.query) + len(self.headers)
        return -demands, self.deprecated, self.name


@dataclass(slots=True)
class _Node:
    fixed: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    ends: dict[str, list[_Candidate]] = field(default_factory=dict)
    """Candidates by method."""
    bare: dict[str, list[_Candidate]] = field(default_factory=dict)
    """Those of them that a request without a query can mean."""


class RestTable:
    """The REST operations of one service."""

    def __init__(self, model: Model) -> None:
        self._root = _Node()
        # AWS: S3 knows its operations by their parameters; other services tell which one is missing.
        self._tells_missing = model.name != "s3"
        self._bucket_nodes: tuple[_Node, _Node] | None = None
        """Where `/bucket` and `/bucket/key` lead in S3, which has nothing else below a label."""
        self._known: dict[tuple[str, str], str] = {}
        """What some methods and paths mean whatever else a request says: clients ask for the same few over and over."""
        for name, operation in model.operations.items():
            self._add(model, name, operation)
        bucket = self._root.label
        key = None if bucket is None else bucket.greedy
        if (
            bucket
            and key
            and not (bucket.fixed or bucket.label or key.fixed or self._tells_missing)
        ):
            self._bucket_nodes = bucket, key

    def _add(self, model: Model, name: str, operation: dict[str, Any]) -> None:
        http = operation["http"]
        path, _, query = http["requestUri"].partition("?")
        node = self._root
        for part in _split(path):
            node = _child(node, part)
        shape = model.optional(operation.get("input"))
        required = frozenset(shape.get("required", ()))
        demanded: dict[str, set[str]] = {"querystring": set(), "header": set()}
        for member_name, member in model.members(shape):
            if member_name in required and member.get("location") in demanded:
                demanded[member.get("location")].add(member.get("locationName", member_name))
        candidate = _Candidate(
            name,
            frozenset(parse_qsl(query, keep_blank_values=True)),
            frozenset(demanded["querystring"]),
            frozenset(header.lower() for header in demanded["header"]),
            bool(operation.get("deprecated")),
        )
        candidates = node.ends.setdefault(http["method"], [])
        candidates.append(candidate)
        candidates.sort(key=_Candidate.rank)
        node.bare[http["method"]] = [
            each for each in candidates if not each.static and not each.query
        ]

    def find(self, method: str, path: str, query: str, headers: Headers) -> str | None:
        """The operation's name: fixed components go before labels, labels before greedy ones."""
        if not query and self._bucket_nodes is not None:
            first, _, rest = path[1:].partition("/")
            if first and first not in self._root.fixed:
                # A slash at the end does not begin another component, so it takes two for a key.
                return _among(self._bucket_nodes[bool(rest)].bare.get(method, ()), headers)
        known = self._known.get((method, path))
        return self._search(method, path, query, headers) if known is None else known

    def _search(self, method: str, path: str, query: str, headers: Headers) -> str | None:
        """The operation by a walk through the trie."""
        pairs: frozenset[tuple[str, str]] | None = None
        for node in _walk(self._root, _split(path), 0):
            candidates = node.ends.get(method)
            if not candidates:
                continue
            if len(candidates) == 1 and not candidates[0].static and self._tells_missing:
                name = candidates[0].name
                if pairs is None and len(path) <= _KEPT_LENGTH:
                    if len(self._known) >= _KEPT:
                        self._known.clear()
                    self._known[method, path] = name
                return name
            if pairs is None:
                pairs = _pairs(query)
            found = self._choose(candidates, pairs, headers)
            if found is not None:
                return found
        return None

    def _choose(
        self, candidates: list[_Candidate], pairs: frozenset[tuple[str, str]], headers: Headers
    ) -> str | None:
        keys = {key for key, _ in pairs}
        loose = None
        for candidate in candidates:
            # AWS: a key without value in the URI (`?uploads`) may be sent with one (`?uploads=`).
            fits = not candidate.static or (
                bool(keys)
                and all(
                    (key in keys) if not value else ((key, value) in pairs)
                    for key, value in candidate.static
                )
            )
            if not fits:
                continue
            if candidate.query <= keys and all(headers.get(name) for name in candidate.headers):
                return candidate.name
            # What only lacks a parameter is told so by validation, unless another operation fits.
            if self._tells_missing or candidate.query <= keys:
                loose = candidate.name
        return loose


def _among(candidates: Iterable[_Candidate], headers: Headers) -> str | None:
    """The operation of a request without a query: the first that has its header fields, else the last of all."""
    loose = None
    for candidate in candidates:
        for name in candidate.headers:
            if not headers.get(name):
                break
        else:
            return candidate.name
        loose = candidate.name
    return loose


def _split(path: str) -> list[str]:
    """The components; a slash at the end does not begin another one."""
    return [part for part in (path[1:].removesuffix("/")).split("/") if part or path != "/"][
        : 1 << 12
    ]


def _child(node: _Node, part: str) -> _Node:
    if part.endswith("+}"):
        node.greedy = node.greedy or _Node()
        return node.greedy
    if part.startswith("{"):
        node.label = node.label or _Node()
        return node.label
    return node.fixed.setdefault(part, _Node())


def _walk(node: _Node, parts: list[str], at: int) -> Iterator[_Node]:
    """Every node that the path leads to, the most specific first."""
    if at == len(parts):
        yield node
        return
    fixed = node.fixed.get(parts[at])
    if fixed is not None:
        yield from _walk(fixed, parts, at + 1)
    if node.label is not None and parts[at]:
        yield from _walk(node.label, parts, at + 1)
    if node.greedy is not None:
        if node.greedy.fixed:
            for end in range(len(parts) - 1, at, -1):
                if parts[end] in node.greedy.fixed:
                    yield from _walk(node.greedy, parts, end)
        yield node.greedy


def _pairs(query: str) -> frozenset[tuple[str, str]]:
    try:
        return frozenset(parse_qsl(query, keep_blank_values=True, max_num_fields=10_000))
    except ValueError:
        return frozenset()
