"""The expressions of a request: parsed once for each text, bound once for each request."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from penstock.core.dynamo_value import Value, invalid
from penstock.core.expression import (
    Condition,
    ConditionBinder,
    KeyCondition,
    Scope,
    Tree,
    Update,
    bind_key_condition,
    bind_projection,
    bind_update,
    check_values,
    parse_condition,
    parse_projection,
    parse_update,
)

_CACHED: Final = 2048


@dataclass(frozen=True, slots=True)
class Plan:
    """What a write does and on what condition, bound but for the values."""

    values: dict[str, Value]
    """Where both look for the values of the request that is being carried out."""
    update: Update | None
    condition: Condition | None


class Expressions:
    """Parses expressions and remembers the latest."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._condition = lru_cache(_CACHED)(parse_condition)
        self._update = lru_cache(_CACHED)(parse_update)
        self._projection = lru_cache(_CACHED)(parse_projection)

    @staticmethod
    def scope(request: Mapping[str, Any], parameters: Sequence[str]) -> Scope:
        """The substitutions of a request whose expressions are `parameters`."""
        names = request.get("ExpressionAttributeNames")
        values = request.get("ExpressionAttributeValues")
        if (names is not None or values is not None) and not any(map(request.get, parameters)):
            given = [parameter for parameter in parameters if request.get(parameter) is not None]
            if names is not None and not given:
                raise invalid(
                    "ExpressionAttributeNames can only be specified when using expressions"
                )
            if not given:
                # A projection uses no values, so it is not named here.
                users = [name for name in parameters if name != "ProjectionExpression"]
                verb = "is" if len(users) == 1 else "are"
                raise invalid(
                    "ExpressionAttributeValues can only be specified when using expressions:"
                    f" {' and '.join(users)} {verb} null"
                )
        return Scope(names, values)

    def plan(
        self, request: Mapping[str, Any], parameters: Sequence[str], keys: Collection[str] = ()
    ) -> Plan:
        """The plan of a write whose expressions are `parameters`; the update may not change `keys`.

        Writes that differ in nothing but what their values are share one: put the values in before it is used.
        """
        names = request.get("ExpressionAttributeNames")
        values = request.get("ExpressionAttributeValues")
        shape = (
            *map(request.get, parameters),
            None if names is None else tuple(names.items()),
            None if values is None else tuple((name, *value) for name, value in values.items()),
            *keys,
        )
        plan = self._plans.get(shape)
        if plan is not None:
            check_values(values or {})
            return plan
        scope = self.scope(request, parameters)
        update = self.update(request, scope, keys) if "UpdateExpression" in parameters else None
        plan = Plan(scope.values, update, self.condition(request, scope))
        scope.finish()
        if not scope.varies:
            if len(self._plans) >= _CACHED:
                self._plans.clear()
            self._plans[shape] = plan
        return plan

    def condition(self, request: Mapping[str, Any], scope: Scope) -> Condition | None:
        """The request's ConditionExpression."""
        text = request.get("ConditionExpression")
        if text is None:
            return None
        kind = "ConditionExpression"
        return ConditionBinder(scope, kind).bind(self._condition(text, kind))

    def filter(
        self, request: Mapping[str, Any], scope: Scope, keys: Collection[str]
    ) -> Condition | None:
        """The request's FilterExpression, which may not speak of `keys`."""
        text = request.get("FilterExpression")
        if text is None:
            return None
        kind = "FilterExpression"
        binder = ConditionBinder(scope, kind)
        condition = binder.bind(self._condition(text, kind))
        for name in keys:
            if name in binder.attributes:
                raise invalid(
                    "Filter Expression can only contain non-primary key attributes:"
                    f" Primary key attribute: {name}"
                )
        return condition

    def key_condition(
        self, text: str, scope: Scope, keys: Sequence[tuple[str, str]]
    ) -> KeyCondition:
        """A KeyConditionExpression for keys of these names and types."""
        return bind_key_condition(self._condition(text, "KeyConditionExpression"), scope, keys)

    def projection(self, request: Mapping[str, Any], scope: Scope) -> Tree | None:
        """The request's ProjectionExpression."""
        text = request.get("ProjectionExpression")
        return None if text is None else bind_projection(self._projection(text), scope)

    def update(
        self, request: Mapping[str, Any], scope: Scope, keys: Collection[str]
    ) -> Update | None:
        """The request's UpdateExpression, which may not change `keys`."""
        text = request.get("UpdateExpression")
        return None if text is None else bind_update(self._update(text), scope, keys)
