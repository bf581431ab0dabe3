"""The expressions of a request: parsed once for each text, bound once for each request."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from penstock.core.dynamo_value import invalid
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
    parse_condition,
    parse_projection,
    parse_update,
)

_CACHED: Final = 2048


class Expressions:
    """Parses expressions and remembers the latest."""

    def __init__(self) -> None:
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
