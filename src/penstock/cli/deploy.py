"""`penstock deploy`: package a template, deploy it as a stack, show every step."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from penstock.cli.client import ClientError, make_client
from penstock.cli.package import local_folders, package, read_template
from penstock.core.errors import PenstockError

BUCKET = "penstock-deployments"
_POLL_S = 0.1
# What a first deployment that failed leaves behind: AWS lets nobody update it.
_DEAD: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")


class Deployed(NamedTuple):
    """A stack as it is now."""

    outputs: dict[str, str]
    changed: bool
    """Whether there was anything to do."""


class DeployError(PenstockError):
    """The stack could not be deployed; the message says which resource and why."""


def deploy(
    template_path: Path,
    stack: str,
    parameters: dict[str, str],
    endpoint: str,
    show: Callable[[dict[str, Any]], None],
) -> Deployed:
    """Create or update a stack and return what came of it. `show` is given each stack event.

    Raises `DeployError`, and `PenstockError` for a template that cannot be read.
    """
    cloudformation = make_client("cloudformation", endpoint)
    s3 = make_client("s3", endpoint)
    status, kept = _state(cloudformation, stack)
    if status in _DEAD:
        raise DeployError(
            f"the stack {stack} is in {status}: it was never whole, and cannot be updated; delete it first, by"
            f" aws cloudformation delete-stack --stack-name {stack} --endpoint-url {endpoint}"
        )
    template = read_template(template_path)
    _make_bucket(s3)

    def upload(key: str, data: bytes) -> None:
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)

    package(template, template_path.parent, BUCKET, upload)
    body = json.dumps(template)
    s3.put_object(Bucket=BUCKET, Key=f"{stack}.json", Body=body.encode())
    kind = "CREATE" if status in (None, "REVIEW_IN_PROGRESS") else "UPDATE"
    name = f"penstock-{time.time_ns()}"
    cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=name,
        ChangeSetType=kind,
        TemplateURL=f"{endpoint}/{BUCKET}/{stack}.json",
        Parameters=_values(template, parameters, kept),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    if not _await_change_set(cloudformation, stack, name):
        return Deployed(_outputs(cloudformation, stack), changed=False)
    seen = {e["EventId"] for e in _events(cloudformation, stack)} if kind == "UPDATE" else set()
    cloudformation.execute_change_set(StackName=stack, ChangeSetName=name)
    _follow(cloudformation, stack, seen, show)
    return Deployed(_outputs(cloudformation, stack), changed=True)


def functions_of(template_path: Path, stack: str, endpoint: str) -> dict[str, Path]:
    """The functions of a deployed stack whose code is a folder beside the template, with that folder."""
    template = read_template(template_path)
    folders = local_folders(template, template_path.parent)
    cloudformation = make_client("cloudformation", endpoint)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        resource["PhysicalResourceId"]: folders[resource["LogicalResourceId"]]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["LogicalResourceId"] in folders
    }


def _make_bucket(s3: Any) -> None:
    try:
        s3.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] not in (
            "BucketAlreadyOwnedByYou",
            "BucketAlreadyExists",
        ):
            raise


def _state(cloudformation: Any, stack: str) -> tuple[str | None, set[str]]:
    """The state that a stack is in, None where there is none; and the parameters that have a value."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError:
        return None, set()
    return found["StackStatus"], {one["ParameterKey"] for one in found.get("Parameters", [])}


def _values(
    template: dict[str, Any], given: dict[str, str], kept: set[str]
) -> list[dict[str, Any]]:
    """The parameters of a deployment: what is not given stays as it is."""
    declared = template.get("Parameters")
    return [
        *({"ParameterKey": name, "ParameterValue": value} for name, value in given.items()),
        *(
            {"ParameterKey": name, "UsePreviousValue": True}
            for name in (declared if isinstance(declared, dict) else ())
            if name in kept and name not in given
        ),
    ]


def _await_change_set(cloudformation: Any, stack: str, name: str) -> bool:
    """Whether the change set has changes. Raises `DeployError` when it cannot be made."""
    while True:
        found = cloudformation.describe_change_set(StackName=stack, ChangeSetName=name)
        if found["Status"] == "CREATE_COMPLETE":
            return True
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                return False
            raise DeployError(reason)
        time.sleep(_POLL_S)


def _follow(
    cloudformation: Any, stack: str, seen: set[str], show: Callable[[dict[str, Any]], None]
) -> None:
    failed: list[str] = []
    while True:
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        for event in reversed(_events(cloudformation, stack)):
            if event["EventId"] not in seen:
                seen.add(event["EventId"])
                show(event)
                reason = event.get("ResourceStatusReason", "")
                # Outputs that cannot be are no resource's fault: only the stack tells why it rolls back.
                turned = event["ResourceStatus"].endswith("ROLLBACK_IN_PROGRESS") and not failed
                if turned or event["ResourceStatus"].endswith("FAILED"):
                    failed.append(f"{event['LogicalResourceId']}: {reason}")
        if not status.endswith("IN_PROGRESS"):
            if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return
            raise DeployError("\n".join([f"the stack ended as {status}", *failed]))
        time.sleep(_POLL_S)


def _events(cloudformation: Any, stack: str) -> list[dict[str, Any]]:
    return list(cloudformation.describe_stack_events(StackName=stack)["StackEvents"])


def _outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
