"""Parameters: values given, defaults, constraints, and how they are shown."""

import re
from collections.abc import Mapping
from typing import Any, Final

from penstock.core.java_pattern import Pattern
from penstock.core.template.node import Template, invalid

_SSM: Final = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_LIST: Final = re.compile(r"(List<.+>|CommaDelimitedList)")
_TYPES: Final = re.compile(
    r"String|Number|List<(String|Number|AWS::[\w:]+)>|CommaDelimitedList|AWS::EC2::[\w:]+"
    r"|AWS::Route53::HostedZone::Id|AWS::SSM::Parameter::(Name|Value<.+>)"
)
_MAX_VALUE: Final = 4096


def given_values(
    template: Template, given: list[dict[str, Any]], previous: Mapping[str, str] | None
) -> dict[str, str]:
    """Text of each parameter: as given, kept from `previous`, or by default. Raises ValidationError.

    For a parameter of the SSM type it is the name to look up.
    """
    declared = template.get("Parameters") or {}
    entries = {entry["ParameterKey"]: entry for entry in given}
    unknown = [key for key in entries if key not in declared]
    if unknown:
        raise invalid(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values: dict[str, str] = {}
    missing = []
    for name, declaration in declared.items():
        value = _value(name, declaration, entries.get(name, {}), previous)
        if value is None:
            missing.append(name)
        else:
            values[name] = value
    if missing:
        raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
    for name, value in values.items():
        _check(name, declared[name], value)
    return values


def _value(
    name: str,
    declaration: Mapping[str, Any],
    entry: Mapping[str, Any],
    previous: Mapping[str, str] | None,
) -> str | None:
    if _TYPES.fullmatch(str(declaration.get("Type"))) is None:
        raise invalid(
            f"Template format error: Unrecognized parameter type: {declaration.get('Type')}"
        )
    if entry.get("UsePreviousValue"):
        if previous is None:
            raise invalid(
                f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter key not in the previous template"
            )
        return previous.get(name)
    if "ParameterValue" in entry:
        return str(entry["ParameterValue"])
    default = declaration.get("Default")
    return None if default is None else _text(default)


def ssm_names(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    """Parameter name to the SSM parameter whose value it takes."""
    declared = template.get("Parameters") or {}
    return {name: values[name] for name in values if _SSM.fullmatch(declared[name]["Type"])}


def typed_values(
    template: Template, values: Mapping[str, str], ssm: Mapping[str, str]
) -> dict[str, Any]:
    """What Ref gives: text, or a list of texts for the list types. `ssm` holds the values looked up."""
    declared = template.get("Parameters") or {}
    typed: dict[str, Any] = {}
    for name, value in values.items():
        kind = declared[name]["Type"]
        inner = _SSM.fullmatch(kind)
        text = ssm[name] if inner else value
        if _LIST.fullmatch(inner.group(1) if inner else kind):
            # AWS: items are trimmed (CloudFormation guide, CommaDelimitedList).
            typed[name] = [item.strip() for item in text.split(",")] if text else []
        else:
            typed[name] = text
    return typed


def shown_values(
    template: Template, values: Mapping[str, str], ssm: Mapping[str, str]
) -> list[dict[str, str]]:
    """Parameters as a stack shows them: NoEcho ones are hidden."""
    declared = template.get("Parameters") or {}
    shown = []
    for name, value in values.items():
        hidden = str(declared[name].get("NoEcho", False)).lower() == "true"
        entry = {"ParameterKey": name, "ParameterValue": "****" if hidden else value}
        if name in ssm:
            entry["ResolvedValue"] = ssm[name]
        shown.append(entry)
    return shown


def declarations(template: Template) -> list[dict[str, Any]]:
    """Parameters as GetTemplateSummary lists them."""
    listed = []
    for name, declaration in (template.get("Parameters") or {}).items():
        entry: dict[str, Any] = {
            "ParameterKey": name,
            "ParameterType": declaration.get("Type"),
            "NoEcho": str(declaration.get("NoEcho", False)).lower() == "true",
            "ParameterConstraints": {},
        }
        if "Default" in declaration:
            entry["DefaultValue"] = _text(declaration["Default"])
        if "Description" in declaration:
            entry["Description"] = declaration["Description"]
        if "AllowedValues" in declaration:
            allowed = [_text(value) for value in declaration["AllowedValues"]]
            entry["ParameterConstraints"] = {"AllowedValues": allowed}
        listed.append(entry)
    return listed


def _check(name: str, declaration: Mapping[str, Any], value: str) -> None:
    if len(value.encode()) > _MAX_VALUE:
        raise invalid(f"Parameter '{name}' cannot be longer than {_MAX_VALUE} bytes")
    kind = declaration["Type"]
    if kind in ("Number", "List<Number>"):
        for item in [value] if kind == "Number" else value.split(","):
            _check_number(name, declaration, item.strip())
    else:
        _check_length(name, declaration, value)
    items = [item.strip() for item in value.split(",")] if _LIST.fullmatch(kind) else [value]
    allowed = [_text(item) for item in declaration.get("AllowedValues", items)]
    explanation = declaration.get("ConstraintDescription")
    if any(item not in allowed for item in items):
        reason = explanation or f"[{', '.join(allowed)}]"
        raise invalid(
            f"Parameter '{name}' must be one of AllowedValues"
            if not explanation
            else f"Parameter {name} failed to satisfy constraint: {reason}"
        )
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and not Pattern(str(pattern)).fits(value):
        raise invalid(
            f"Parameter {name} failed to satisfy constraint: {explanation}"
            if explanation
            else f"Parameter '{name}' must match pattern {pattern}"
        )


def _check_number(name: str, declaration: Mapping[str, Any], value: str) -> None:
    try:
        number = float(value)
    except ValueError as error:
        raise invalid(f"Parameter '{name}' must be a number.") from error
    if "MinValue" in declaration and number < float(declaration["MinValue"]):
        raise invalid(
            f"Parameter '{name}' must be a number not less than {declaration['MinValue']}"
        )
    if "MaxValue" in declaration and number > float(declaration["MaxValue"]):
        raise invalid(
            f"Parameter '{name}' must be a number not greater than {declaration['MaxValue']}"
        )


def _check_length(name: str, declaration: Mapping[str, Any], value: str) -> None:
    if "MinLength" in declaration and len(value) < int(declaration["MinLength"]):
        least = declaration["MinLength"]
        raise invalid(f"Parameter '{name}' must contain at least {least} characters")
    if "MaxLength" in declaration and len(value) > int(declaration["MaxLength"]):
        most = declaration["MaxLength"]
        raise invalid(f"Parameter '{name}' must contain at most {most} characters")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value)
