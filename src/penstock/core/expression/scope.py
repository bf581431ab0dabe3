"""What `#names` and `:values` of a request stand for, and which of them its expressions have used."""

import re
from collections.abc import Mapping
from typing import Final

from penstock.core.dynamo_value import Value, canonicalize_value, invalid
from penstock.core.errors import AwsError
from penstock.core.expression.node import DocumentPath, Path, ValueRef

_NAME: Final = re.compile(r"#[A-Za-z0-9_]{1,254}")
_VALUE: Final = re.compile(r":[A-Za-z0-9_]{1,254}")


class Scope:
    """The substitutions of one request. Checks and canonicalizes the values. Raises `AwsError`.

    What is bound in a scope finds its values in `values` when it is evaluated, so that it serves another request, too, whose
    values have the same names and types and take the place of these: unless `varies` says that it depends on more.
    """

    def __init__(
        self, names: Mapping[str, str] | None = None, values: Mapping[str, Value] | None = None
    ) -> None:
        self._names = names or {}
        self.values = dict(values or {})
        self.varies = False
        """Whether what was bound depends on what a value is, beyond its type."""
        self._used: set[str] = set()
        _check_keys("ExpressionAttributeNames", names, _NAME)
        _check_keys("ExpressionAttributeValues", values, _VALUE)
        check_values(self.values)

    def path(self, path: Path, kind: str) -> DocumentPath:
        """The attributes that a path leads through."""
        return tuple(
            self._name(part, kind) if isinstance(part, str) and part[0] == "#" else part
            for part in path.parts
        )

    def _name(self, reference: str, kind: str) -> str:
        self._used.add(reference)
        try:
            return self._names[reference]
        except KeyError:
            raise invalid(
                f"Invalid {kind}: An expression attribute name used in the document path is not defined;"
                f" attribute name: {reference}"
            ) from None

    def value(self, reference: ValueRef, kind: str) -> Value:
        """The value that a reference stands for."""
        self._used.add(reference.name)
        try:
            return self.values[reference.name]
        except KeyError:
            raise invalid(
                f"Invalid {kind}: An expression attribute value used in expression is not defined;"
                f" attribute value: {reference.name}"
            ) from None

    def finish(self) -> None:
        """Refuse names and values that no expression has used."""
        for what, given in (("Names", self._names), ("Values", self.values)):
            unused = [key for key in given if key not in self._used]
            if unused:
                raise invalid(
                    f"Value provided in ExpressionAttribute{what} unused in expressions:"
                    f" keys: {{{', '.join(unused)}}}"
                )


def check_values(values: Mapping[str, Value]) -> None:
    """Check values, and write their numbers in one way. Raises `AwsError`."""
    for key, value in values.items():
        try:
            canonicalize_value(value)
        except AwsError as error:
            raise invalid(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}"
            ) from None


def _check_keys(
    parameter: str, given: Mapping[str, object] | None, pattern: re.Pattern[str]
) -> None:
    if given is None:
        return
    if not given:
        raise invalid(f"{parameter} must not be empty")
    for key in given:
        if not pattern.fullmatch(key):
            raise invalid(f'{parameter} contains invalid key: Syntax error; key: "{key}"')
