"""What a caller must acknowledge before a template is executed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.core.errors import AwsError
from penstock.core.template.node import Template

# Type to the property that gives it a name of its own.
_IAM: Final[Mapping[str, str]] = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Policy": "",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::AccessKey": "",
    "AWS::IAM::UserToGroupAddition": "",
}


def transforms(template: Template) -> list[str]:
    """Names of the macros that a template asks for."""
    declared: Any = template.get("Transform", [])
    names = declared if isinstance(declared, list) else [declared]
    return [str(name.get("Name")) if isinstance(name, dict) else str(name) for name in names]


def needed(template: Template) -> tuple[list[str], str]:
    """Capabilities that the resources of a template need, and why."""
    resources = template.get("Resources") or {}
    found = [resource for resource in resources.values() if resource.get("Type") in _IAM]
    if not found:
        return [], ""
    named = any(_IAM[resource["Type"]] in (resource.get("Properties") or {}) for resource in found)
    kinds = ", ".join(dict.fromkeys(resource["Type"] for resource in found))
    reason = f"The following resource(s) require capabilities: [{kinds}]"
    return ["CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"], reason


def require_capabilities(
    template: Template, given: Sequence[str], *, expanded: Sequence[str] = ()
) -> None:
    """Raise InsufficientCapabilitiesException unless `given` covers the template; `expanded` are its macros."""
    held = set(given)
    if "CAPABILITY_NAMED_IAM" in held:
        held.add("CAPABILITY_IAM")
    wanted, _ = needed(template)
    if expanded:
        wanted = [*wanted, "CAPABILITY_AUTO_EXPAND"]
    if not held.issuperset(wanted):
        missing = ", ".join(wanted)
        raise AwsError(
            "InsufficientCapabilitiesException", f"Requires capabilities : [{missing}]", status=400
        )
