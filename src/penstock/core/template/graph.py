"""The order in which resources can be made: each after all that it refers to."""

from collections.abc import Mapping
from typing import Any

from penstock.core.template.check import dependencies_named
from penstock.core.template.node import invalid, references


def dependencies(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The resources that each one needs, by logical id."""
    found = {}
    for name, resource in resources.items():
        needed = [*references(resource.get("Properties", {})), *dependencies_named(resource)]
        found[name] = list(dict.fromkeys(need for need in needed if need in resources))
    return found


def creation_order(resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Logical ids, each after those it needs; otherwise in the template's order. Raises ValidationError on a circle."""
    edges = dependencies(resources)
    order: list[str] = []
    done: set[str] = set()
    for root in edges:
        _visit(root, edges, done, order)
    return order


def _visit(root: str, edges: Mapping[str, list[str]], done: set[str], order: list[str]) -> None:
    """Depth first, without recursion: 500 resources may form one chain."""
    path = [(root, iter(edges[root]))] if root not in done else []
    open_names = {root}
    while path:
        name, needs = path[-1]
        following = next((need for need in needs if need not in done), None)
        if following is None:
            path.pop()
            open_names.discard(name)
            done.add(name)
            order.append(name)
        elif following in open_names:
            circle = [entry[0] for entry in path]
            listed = ", ".join(circle[circle.index(following) :])
            raise invalid(f"Circular dependency between resources: [{listed}]")
        else:
            open_names.add(following)
            path.append((following, iter(edges[following])))
