"""From a path and a method to what serves them: static parts beat `{variables}`, which beat `{greedy+}` ones."""

from typing import Generic, TypeVar

from penstock.services.apigateway.call import decoded

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("greedy", "methods", "static", "variable")

    def __init__(self) -> None:
        self.methods: dict[str, T] = {}
        self.static: dict[str, _Node[T]] = {}
        self.variable: tuple[str, _Node[T]] | None = None
        self.greedy: tuple[str, _Node[T]] | None = None


class Routes(Generic[T]):
    """The methods of a deployment."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._fixed: dict[str, _Node[T]] = {}

    def add(self, path: str, methods: dict[str, T]) -> None:
        """Add a resource."""
        node = self._root
        for part in path.strip("/").split("/"):
            if part:
                node = _below(node, part)
        node.methods = methods
        if "{" not in path:
            self._fixed[path] = node

    def find(self, path: str, verb: str) -> tuple[T, dict[str, str]] | None:
        """The method for a percent-encoded path, and its path parameters. A slash at the end changes nothing."""
        node = self._fixed.get(path)
        if node is not None:
            method = node.methods.get(verb) or node.methods.get("ANY")
            if method is not None:
                return method, {}
        parts = path.strip("/").split("/")
        return _search(self._root, [] if parts == [""] else parts, 0, verb)


def _below(node: _Node[T], part: str) -> _Node[T]:
    if part.endswith("+}"):
        if node.greedy is None:
            node.greedy = (part[1:-2], _Node())
        return node.greedy[1]
    if part.startswith("{"):
        if node.variable is None:
            node.variable = (part[1:-1], _Node())
        return node.variable[1]
    return node.static.setdefault(part, _Node())


def _search(
    node: _Node[T], parts: list[str], at: int, verb: str
) -> tuple[T, dict[str, str]] | None:
    if at == len(parts):
        method = node.methods.get(verb) or node.methods.get("ANY")
        return None if method is None else (method, {})
    child = node.static.get(decoded(parts[at]))
    if child is not None and (found := _search(child, parts, at + 1, verb)) is not None:
        return found
    if node.variable is not None:
        name, child = node.variable
        found = _search(child, parts, at + 1, verb)
        if found is not None:
            found[1][name] = decoded(parts[at])
            return found
    if node.greedy is not None:
        name, child = node.greedy
        method = child.methods.get(verb) or child.methods.get("ANY")
        if method is not None:
            return method, {name: decoded("/".join(parts[at:]))}
    return None
