"""What an update would do: the difference between what is deployed and what a template wants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from penstock.core.template.evaluate import contains_unknown


class Action(Enum):
    """What happens to a resource, in the words of change sets."""

    ADD = "Add"
    MODIFY = "Modify"
    REMOVE = "Remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A resource as a template wants it: type, evaluated properties (UNKNOWN where not known yet)."""

    type: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of a plan. `changed` names the properties that differ, `replaced_by` those that force a new resource."""

    action: Action
    logical_id: str
    type: str
    changed: tuple[str, ...] = ()
    replaced_by: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = field(default=())
    """Properties of `replaced_by` whose new value is not known yet."""


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the properties that differ; an unknown value differs."""
    names = dict.fromkeys((*new, *old))
    return [
        name
        for name in names
        if name not in old
        or name not in new
        or contains_unknown(new[name])
        or old[name] != new[name]
    ]


def plan(
    deployed: Mapping[str, Wanted],
    wanted: Mapping[str, Wanted],
    order: Sequence[str],
    immutable: Callable[[str], frozenset[str]],
) -> list[Change]:
    """Changes from `deployed` to `wanted` in order of execution: removals last.

    `immutable` tells which properties of a type cannot change in place.
    """
    changes = []
    for name in order:
        want, have = wanted[name], deployed.get(name)
        if have is None:
            changes.append(Change(action=Action.ADD, logical_id=name, type=want.type))
            continue
        changed = difference(have.properties, want.properties)
        if have.type != want.type:
            replaced_by: tuple[str, ...] = ("Type",)
        else:
            replaced_by = tuple(item for item in changed if item in immutable(want.type))
        if changed or replaced_by:
            uncertain = tuple(
                item for item in replaced_by if contains_unknown(want.properties.get(item))
            )
            changes.append(
                Change(
                    action=Action.MODIFY,
                    logical_id=name,
                    type=want.type,
                    changed=tuple(changed),
                    replaced_by=replaced_by,
                    uncertain=uncertain,
                )
            )
    changes += [
        Change(action=Action.REMOVE, logical_id=name, type=have.type)
        for name, have in reversed(list(deployed.items()))
        if name not in wanted
    ]
    return changes
