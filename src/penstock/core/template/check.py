"""Is a template well made? Everything that can be said without parameters."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from penstock.core.java_pattern import Pattern
from penstock.core.template.function import check_functions
from penstock.core.template.node import (
    PSEUDO_PARAMETERS,
    Template,
    attributes_named,
    functions,
    invalid,
    references,
)

_SECTIONS: Final = frozenset(
    {
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Mappings",
        "Conditions",
        "Rules",
        "Transform",
        "Globals",
        "Resources",
        "Outputs",
        "Hooks",
    }
)
_RESOURCE_MEMBERS: Final = frozenset(
    {
        "Type",
        "Properties",
        "DependsOn",
        "Condition",
        "Metadata",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "CreationPolicy",
        "UpdatePolicy",
        "Version",
    }
)
_PARAMETER_MEMBERS: Final = frozenset(
    {
        "Type",
        "Default",
        "NoEcho",
        "Description",
        "ConstraintDescription",
        "AllowedValues",
        "AllowedPattern",
        "MinLength",
        "MaxLength",
        "MinValue",
        "MaxValue",
    }
)
_POLICIES: Final = ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot")
# AWS: quotas of a template (CloudFormation guide, "quotas").
_LIMITS: Final = {"Parameters": 200, "Mappings": 200, "Resources": 500, "Outputs": 200}


def check_template(template: Template) -> None:
    """Raise ValidationError for the first thing that is wrong with a template after its transforms."""
    check_sections(template)
    unknown = sorted(set(template) - _SECTIONS)
    if unknown:
        raise invalid(f"Invalid template property or properties [{', '.join(unknown)}]")
    version = template.get("AWSTemplateFormatVersion", "2010-09-09")
    if str(version) != "2010-09-09":
        raise invalid(
            f'Template format error: "{version}" is not a supported value for AWSTemplateFormatVersion.'
        )
    resources = template.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise invalid("Template format error: At least one Resources member must be defined.")
    for section, limit in _LIMITS.items():
        if len(template.get(section) or {}) > limit:
            raise invalid(
                f"Template format error: Number of {section.lower()}, {len(template[section])}, is greater than "
                f"maximum allowed, {limit}"
            )
    for name, resource in resources.items():
        _check_resource(name, resource)
    for section in ("Conditions", "Rules", "Resources", "Outputs"):
        check_functions(template.get(section))
    _check_mappings(template.get("Mappings") or {})
    _check_outputs(template.get("Outputs") or {})
    _check_references(template)


def check_sections(template: Template) -> None:
    """Raise ValidationError for a section that is no object, or whose members are to be objects and are not."""
    for section in ("Parameters", "Mappings", "Conditions", "Rules", "Resources", "Outputs"):
        if not isinstance(template.get(section) or {}, dict):
            raise invalid(f"Template format error: {section} must be an object.")
    for section in ("Parameters", "Resources"):
        for name, member in (template.get(section) or {}).items():
            if not isinstance(member, dict):
                raise invalid(f"Template format error: Any {section} member must be an object.")
            if not isinstance(member.get("Type"), str):
                raise invalid(
                    f"Template format error: [/{section}/{name}] Every {section} object must contain a Type member."
                )
    for name, parameter in (template.get("Parameters") or {}).items():
        _check_parameter(name, parameter)
    for name, resource in (template.get("Resources") or {}).items():
        _check_members(name, resource)
    for name, rule in (template.get("Rules") or {}).items():
        _check_rule(name, rule)


def _check_rule(name: str, rule: Any) -> None:
    assertions = rule.get("Assertions", []) if isinstance(rule, dict) else None
    if not isinstance(assertions, list) or not all(
        isinstance(one, dict) and "Assert" in one for one in assertions
    ):
        raise invalid(f"Template format error: Rule {name} must be an object with Assertions.")


def _check_parameter(name: str, parameter: Mapping[str, Any]) -> None:
    unknown = [member for member in parameter if member not in _PARAMETER_MEMBERS]
    if unknown:
        raise invalid(f"Invalid template parameter property '{unknown[0]}'")
    if not isinstance(parameter.get("AllowedValues", []), list):
        raise invalid(f"Template format error: AllowedValues of parameter {name} must be a list.")
    for member in ("MinLength", "MaxLength", "MinValue", "MaxValue"):
        number = int if member.endswith("Length") else float
        try:
            number(parameter.get(member, 0))
        except (TypeError, ValueError, OverflowError) as error:
            message = f"Template format error: {member} of parameter {name} must be a number."
            raise invalid(message) from error
    if Pattern(str(parameter.get("AllowedPattern", ""))).compiled is None:
        raise invalid(f"Template format error: AllowedPattern of parameter {name} is not valid.")


def _check_members(name: str, resource: Mapping[str, Any]) -> None:
    if not isinstance(resource.get("Properties") or {}, dict):
        raise invalid(
            f"Template format error: [/Resources/{name}/Properties] Properties must be an object."
        )
    for member in ("Condition", "DeletionPolicy", "UpdateReplacePolicy"):
        if not isinstance(resource.get(member, ""), str):
            raise invalid(f"Template format error: Every {member} member must be a string.")
    needed = resource.get("DependsOn", [])
    if not isinstance(needed, str | list) or not all(isinstance(one, str) for one in needed):
        raise invalid("Template format error: DependsOn must be a string or list of strings.")


def _check_resource(name: str, resource: Any) -> None:
    if not name.isalnum():
        raise invalid(f"Template format error: Resource name {name} is non alphanumeric.")
    for member in resource:
        if member not in _RESOURCE_MEMBERS:
            raise invalid(f"Invalid template resource property '{member}'")
    for member in ("DeletionPolicy", "UpdateReplacePolicy"):
        value = resource.get(member, "Delete")
        if isinstance(value, str) and value not in _POLICIES:
            raise invalid(
                f"Template format error: Unrecognized {member} {value} for resource {name}"
            )
    _check_values(resource.get("Properties"), f"/Resources/{name}/Properties")


def _check_values(node: Any, path: str) -> None:
    if node is None and path.count("/") > 3:
        raise invalid(f"[{path}] 'null' values are not allowed in templates")
    if isinstance(node, dict):
        for key, value in node.items():
            _check_values(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            _check_values(value, f"{path}/{index}")


def _check_mappings(mappings: Mapping[str, Any]) -> None:
    for name, mapping in mappings.items():
        if not isinstance(mapping, dict):
            raise invalid(f"Template format error: Every Mappings member {name} must be a map")
        for attributes in mapping.values():
            if not isinstance(attributes, dict):
                raise invalid(f"Template format error: Every Mappings member {name} must be a map")
            if any(isinstance(value, dict) for value in attributes.values()):
                raise invalid(
                    "Template format error: Every Mappings attribute must be a String or a List."
                )


def _check_outputs(outputs: Mapping[str, Any]) -> None:
    for name, output in outputs.items():
        if not isinstance(output, dict) or "Value" not in output:
            raise invalid("Template format error: Every Outputs member must contain a Value object")
        export = output.get("Export", {"Name": ""})
        if not isinstance(export, dict) or "Name" not in export:
            raise invalid(
                f"Template format error: Output {name} is malformed. Export must be an object with a Name."
            )
        if output["Value"] is None:
            raise invalid(f"[/Outputs/{name}/Value] 'null' values are not allowed in templates")


def _check_references(template: Template) -> None:
    values = {*PSEUDO_PARAMETERS, *(template.get("Parameters") or {})}
    known = {*template["Resources"], *values}
    for resource in template["Resources"].values():
        wanted = list(references(resource.get("Properties", {})))
        wanted += dependencies_named(resource)
        _require_known(wanted, known, "Template format error: ", "Resources")
        _require_condition(resource, template)
    for output in (template.get("Outputs") or {}).values():
        _require_condition(output, template)
    outputs = list(references(template.get("Outputs") or {}))
    _require_known(outputs, known, "", "Outputs")
    if missing := _missing(list(references(template.get("Conditions") or {})), values):
        raise invalid(_unresolved(f"dependencies [{missing}]"))
    for section in ("Conditions", "Resources", "Outputs"):
        _check_names(template.get(section) or {}, template)
    for name, argument in functions(template.get("Conditions") or {}):
        if name == "Condition" and isinstance(argument, str):
            _require_condition({name: argument}, template)


def _check_names(node: Any, template: Template) -> None:
    """Conditions and mappings are there, also where no value of a parameter leads."""
    conditions, mappings = (template.get(name) or {} for name in ("Conditions", "Mappings"))
    for name, argument in functions(node):
        if name == "Fn::If" and argument[0] not in conditions:
            raise invalid(
                f"Template error: unresolved condition dependency {argument[0]} in Fn::If"
            )
        outright = name == "Fn::FindInMap" and len(argument) == 3 and isinstance(argument[0], str)
        if outright and argument[0] not in mappings:
            raise invalid(
                f"Template error: Mapping named '{argument[0]}' is not present in the 'Mappings' section of template."
            )


def check_types(template: Template, attributes_of: Callable[[str], frozenset[str]]) -> None:
    """Raise ValidationError for what the type of a resource does not have: attributes, snapshots, signals."""
    resources = template["Resources"]
    for resource in resources.values():
        # AWS: in these words; snapshots are of databases and volumes, signals of instances (CloudFormation guide,
        # "DeletionPolicy attribute", "CreationPolicy attribute"): none of the types here has either.
        kind = resource["Type"]
        for member, words in (
            ("DeletionPolicy", "deletion policy"),
            ("UpdateReplacePolicy", "update replace policy"),
        ):
            if resource.get(member) == "Snapshot":
                raise invalid(
                    f"Template error: resource type {kind} does not support {words} Snapshot"
                )
        if "CreationPolicy" in resource:
            raise invalid(f"Template error: resource type {kind} does not support creation policy")
        if "UpdatePolicy" in resource and kind == "AWS::Lambda::Alias":
            raise invalid(f"Penstock does not implement the UpdatePolicy of {kind} yet.")
        if "UpdatePolicy" in resource:
            raise invalid(f"Template error: resource type {kind} does not support update policy")
    for section in ("Resources", "Outputs"):
        for name, attribute in attributes_named(template.get(section) or {}):
            if name in resources and attribute not in attributes_of(resources[name]["Type"]):
                raise invalid(
                    f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
                )


def _require_condition(member: Mapping[str, Any], template: Template) -> None:
    condition = member.get("Condition")
    if condition is not None and condition not in (template.get("Conditions") or {}):
        raise invalid(_unresolved(f"dependency {condition}"))


def _unresolved(what: str) -> str:
    return (
        f"Template format error: Unresolved {what}. Cannot reference resources in the Conditions block of the "
        "template"
    )


def _require_known(names: list[str], known: set[str], prefix: str, block: str) -> None:
    if missing := _missing(names, known):
        raise invalid(
            f"{prefix}Unresolved resource dependencies [{missing}] in the {block} block of the template"
        )


def _missing(names: list[str], known: set[str]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name not in known))


def dependencies_named(resource: Mapping[str, Any]) -> list[str]:
    """The logical ids in a resource's DependsOn."""
    named = resource.get("DependsOn", [])
    return [named] if isinstance(named, str) else list(named)
