"""Functions of templates: from nodes to values.

A value that depends on a resource that does not exist yet is `UNKNOWN`, and so is all that is computed from it.
"""

import base64
import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from penstock.core.template.function import (
    CIDR_ERROR,
    CONTAINS_ERROR,
    EQUALS_ERROR,
    FIND_IN_MAP_ERROR,
    GETATT_ERROR,
    IMPORT_ERROR,
    JOIN_ERROR,
    LENGTH_ERROR,
    SELECT_ERROR,
    SPLIT_ERROR,
)
from penstock.core.template.node import (
    NO_VALUE,
    UNKNOWN,
    Deployed,
    Node,
    Template,
    invalid,
)

_SUB: Final = re.compile(r"\$\{(!?)([^{}]+)\}")
_ZONES: Final = "abc"


@dataclass(slots=True, kw_only=True)
class Scope:
    """What a template is evaluated against."""

    template: Template
    parameters: Mapping[str, Any]
    pseudo: Mapping[str, Any]
    """`AWS::Region` and so on, by full name."""
    resources: Mapping[str, Deployed] = field(default_factory=dict)
    exports: Mapping[str, str] | None = field(default_factory=dict)
    """None: not looked at yet."""


class Evaluator:
    """Evaluates nodes of one template in one scope. Raises ValidationError."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.imported: set[str] = set()
        """Names of the exports that Fn::ImportValue asked for."""
        self._conditions: dict[str, bool] = {}
        self._open: list[str] = []
        self._functions: dict[str, Callable[[Node], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::If": self._if,
            "Fn::FindInMap": self._find_in_map,
            "Fn::Base64": self._base64,
            "Fn::GetAZs": self._zones,
            "Fn::ImportValue": self._import,
            "Fn::Cidr": self._cidr,
            "Fn::Length": self._length,
            "Fn::ToJsonString": self._json,
        }
        self._tests: dict[str, Callable[[Node], bool]] = {
            "Fn::Equals": self._equals,
            "Fn::And": lambda nodes: all([self.test(node) for node in nodes]),
            "Fn::Or": lambda nodes: any([self.test(node) for node in nodes]),
            "Fn::Not": lambda nodes: not self.test(nodes[0]),
            "Fn::Contains": self._contains,
            "Condition": lambda name: self.condition(str(name)),
        }

    def see(self, resources: Mapping[str, Deployed]) -> None:
        """Evaluate from now on with these resources."""
        self._scope.resources = resources

    def evaluate(self, node: Node) -> Any:
        """The value of a node, without what is NO_VALUE in it."""
        if isinstance(node, dict):
            if len(node) == 1:
                name, argument = next(iter(node.items()))
                function = self._functions.get(name)
                if function is not None:
                    return function(argument)
                if name in self._tests and name != "Condition":
                    return self.test(node)
                if name.startswith("Fn::"):
                    raise invalid(f"Template error: unsupported function {name}")
            values = ((key, self.evaluate(value)) for key, value in node.items())
            return {key: value for key, value in values if value is not NO_VALUE}
        if isinstance(node, list):
            items = [self.evaluate(item) for item in node]
            return [item for item in items if item is not NO_VALUE]
        return node

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        if name not in self._conditions:
            conditions = self._scope.template.get("Conditions") or {}
            if name not in conditions:
                raise invalid(f"Template error: unresolved condition dependency {name} in Fn::If")
            if name in self._open:
                circle = ", ".join(self._open[self._open.index(name) :])
                raise invalid(f"Circular dependency between conditions: [{circle}]")
            self._open.append(name)
            self._conditions[name] = self.test(conditions[name])
            self._open.pop()
        return self._conditions[name]

    def test(self, node: Node) -> bool:
        """Whether a condition function holds."""
        if not isinstance(node, dict) or len(node) != 1:
            raise invalid(
                "Template format error: Every Conditions member must be a condition function."
            )
        name, argument = next(iter(node.items()))
        if name not in self._tests:
            raise invalid(f"Template error: {name} is not a condition function.")
        return self._tests[name](argument)

    def active(self) -> dict[str, dict[str, Any]]:
        """The resources whose condition holds, in the template's order."""
        resources: Mapping[str, dict[str, Any]] = self._scope.template["Resources"]
        return {
            name: resource
            for name, resource in resources.items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def rules(self) -> None:
        """Check the Rules section."""
        for name, rule in (self._scope.template.get("Rules") or {}).items():
            if "RuleCondition" in rule and not self.test(rule["RuleCondition"]):
                continue
            for assertion in rule.get("Assertions", []):
                if not self.test(assertion["Assert"]):
                    reason = assertion.get("AssertDescription", "")
                    raise invalid(
                        f"Template error: Rule {name} failed to satisfy assertion: {reason}"
                    )

    def _ref(self, name: Node) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        for known in (self._scope.parameters, self._scope.pseudo):
            if name in known:
                return known[name]
        return self._resource(name, lambda deployed: deployed.ref)

    def _get_att(self, argument: Node) -> Any:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if not isinstance(parts, list) or len(parts) < 2 or not all(parts):
            raise invalid(GETATT_ERROR)
        name, attribute = parts[0], ".".join(_text(self.evaluate(part)) for part in parts[1:])

        def read(deployed: Deployed) -> Any:
            if attribute not in deployed.attributes:
                raise invalid(
                    f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
                )
            return deployed.attributes[attribute]

        return self._resource(name, read)

    def _resource(self, name: str, read: Callable[[Deployed], Any]) -> Any:
        if name in self._scope.resources:
            return read(self._scope.resources[name])
        if name not in self.active():
            raise invalid(
                f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
            )
        return UNKNOWN

    def _sub(self, argument: Node) -> Any:
        text, given = (argument, {}) if isinstance(argument, str) else (*argument, {})[:2]
        variables = {name: self.evaluate(node) for name, node in given.items()}
        found: list[Any] = []

        def replaced(match: re.Match[str]) -> str:
            if match.group(1):
                return f"${{{match.group(2)}}}"
            name = match.group(2).strip()
            if name in variables:
                value = variables[name]
            elif "." in name:
                value = self._get_att(name)
            else:
                value = self._ref(name)
            found.append(value)
            return _text(value)

        result = _SUB.sub(replaced, text)
        return UNKNOWN if _unknown(found) else result

    def _join(self, argument: Node) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            raise invalid(JOIN_ERROR)
        items = self.evaluate(argument[1])
        if _unknown(items):
            return UNKNOWN
        if not isinstance(items, list):
            raise invalid(JOIN_ERROR)
        return argument[0].join(_text(item) for item in items)

    def _select(self, argument: Node) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            raise invalid(SELECT_ERROR)
        index, items = self.evaluate(argument[0]), self.evaluate(argument[1])
        if index is UNKNOWN or items is UNKNOWN:
            return UNKNOWN
        if not isinstance(items, list) or not str(index).isdigit():
            raise invalid(SELECT_ERROR)
        if int(index) >= len(items):
            raise invalid(
                f"Template error: Fn::Select cannot select nonexistent value at index {index}"
            )
        return items[int(index)]

    def _split(self, argument: Node) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not argument[0]:
            raise invalid(SPLIT_ERROR)
        text = self.evaluate(argument[1])
        if text is UNKNOWN:
            return UNKNOWN
        if not isinstance(text, str):
            raise invalid(SPLIT_ERROR)
        return text.split(argument[0])

    def _if(self, argument: Node) -> Any:
        if not isinstance(argument, list) or len(argument) != 3:
            raise invalid("Template error: Fn::If requires a list argument with three elements")
        return self.evaluate(argument[1] if self.condition(argument[0]) else argument[2])

    def _find_in_map(self, argument: Node) -> Any:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            raise invalid(FIND_IN_MAP_ERROR)
        keys = [_text(self.evaluate(node)) for node in argument[:3]]
        found: Any = self._scope.template.get("Mappings") or {}
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None and len(argument) == 4:
            return self.evaluate(argument[3]["DefaultValue"])
        if found is None and keys[0] not in (self._scope.template.get("Mappings") or {}):
            raise invalid(
                f"Template error: Mapping named '{keys[0]}' is not present in the 'Mappings' section of template."
            )
        if found is None:
            raise invalid(f"Template error: Unable to get mapping for {'::'.join(keys)}")
        return found

    def _base64(self, argument: Node) -> Any:
        text = self.evaluate(argument)
        return UNKNOWN if text is UNKNOWN else base64.b64encode(_text(text).encode()).decode()

    def _zones(self, argument: Node) -> Any:
        region = self.evaluate(argument) or self._scope.pseudo["AWS::Region"]
        return [f"{region}{letter}" for letter in _ZONES]

    def _import(self, argument: Node) -> Any:
        name, exports = self.evaluate(argument), self._scope.exports
        if name is UNKNOWN:
            return UNKNOWN
        if not isinstance(name, str):
            raise invalid(IMPORT_ERROR)
        self.imported.add(name)
        if exports is None:
            return UNKNOWN
        if name not in exports:
            raise invalid(f"No export named {name} found")
        return exports[name]

    def _cidr(self, argument: Node) -> Any:
        given = self.evaluate(argument)
        if not isinstance(given, list) or len(given) not in (2, 3):
            raise invalid(CIDR_ERROR)
        if _unknown(given):
            return UNKNOWN
        block, count, *bits = given
        try:
            network = ipaddress.ip_network(block)
            prefix = network.max_prefixlen - int(bits[0] if bits else 8)
            subnets = network.subnets(new_prefix=prefix)
            return [str(subnet) for subnet, _ in zip(subnets, range(int(count)), strict=False)]
        except (TypeError, ValueError) as error:
            raise invalid(
                f"Template error: Fn::Cidr of {block} is not possible: {error}"
            ) from error

    def _length(self, argument: Node) -> Any:
        items = self.evaluate(argument)
        if items is UNKNOWN:
            return UNKNOWN
        if not isinstance(items, list):
            raise invalid(LENGTH_ERROR)
        return len(items)

    def _json(self, argument: Node) -> Any:
        value = self.evaluate(argument)
        return UNKNOWN if contains_unknown(value) else json.dumps(value, separators=(",", ":"))

    def _contains(self, argument: Node) -> bool:
        items = self.evaluate(argument[0])
        if not isinstance(items, list):
            raise invalid(CONTAINS_ERROR)
        return self.evaluate(argument[1]) in items

    def _equals(self, argument: Node) -> bool:
        if not isinstance(argument, list) or len(argument) != 2:
            raise invalid(EQUALS_ERROR)
        left, right = (self.evaluate(node) for node in argument)
        # AWS: comparison is of text, so 1 equals "1" (CloudFormation guide, Fn::Equals).
        return _text(left) == _text(right) if _scalar(left, right) else bool(left == right)


def contains_unknown(value: Any) -> bool:
    """Whether something in a value is not known yet."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


def _unknown(values: Any) -> bool:
    return values is UNKNOWN or (
        isinstance(values, Sequence) and any(item is UNKNOWN for item in values)
    )


def _scalar(*values: Any) -> bool:
    return not any(isinstance(value, dict | list) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ",".join(_text(item) for item in value) if isinstance(value, list) else str(value)
