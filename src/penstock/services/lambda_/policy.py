"""Resource policies: a list of statements under a revision, made one statement at a time."""

import re
from typing import Any, Final

import orjson

from penstock.core.errors import AwsError
from penstock.services.lambda_.configuration import invalid

_ACCOUNT: Final = re.compile(r"\d{12}")
_PRINCIPAL_ARN: Final = re.compile(r"arn:aws[a-zA-Z-]*:(?:iam|sts)::\d{12}:\S+")
_SERVICE: Final = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(?:\.cn)?")


def principal_of(text: str) -> Any:
    """A principal as a statement has it. Raises AwsError for a text that names none."""
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:aws:iam::{text}:root"}
    if _PRINCIPAL_ARN.fullmatch(text):
        return {"AWS": text}
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    raise invalid("The provided principal was invalid. Please check the principal and try again.")


def with_statement(
    policy: dict[str, Any] | None, statement: dict[str, Any], revision: str
) -> dict[str, Any]:
    """The policy with one more statement. Raises ResourceConflictException where its Sid is taken."""
    statements = policy["statements"] if policy else []
    sid = statement["Sid"]
    if any(known["Sid"] == sid for known in statements):
        raise AwsError(
            "ResourceConflictException",
            f"The statement id ({sid}) provided already exists. "
            "Please provide a new statement id, or remove the existing statement.",
        )
    return {"statements": [*statements, statement], "revision": revision}


def without_statement(
    policy: dict[str, Any] | None, sid: str, revision: str
) -> dict[str, Any] | None:
    """The policy without a statement; None when nothing is left. Raises ResourceNotFoundException."""
    if not policy:
        raise no_policy()
    left = [known for known in policy["statements"] if known["Sid"] != sid]
    if len(left) == len(policy["statements"]):
        raise AwsError(
            "ResourceNotFoundException", f"Statement {sid} is not found in resource policy."
        )
    return {"statements": left, "revision": revision} if left else None


def no_policy() -> AwsError:
    """The error where nothing was ever permitted."""
    return AwsError("ResourceNotFoundException", "No policy is associated with the given resource.")


def check_policy_revision(current: str | None, wanted: str | None, operation: str) -> None:
    """Refuse a change that was meant for another revision; `operation` tells which one it is."""
    if wanted and wanted != current:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {operation} API to retrieve the latest Revision Id",
        )


def policy_text(policy: dict[str, Any]) -> str:
    """The policy as its readers get it."""
    document = {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    return orjson.dumps(document).decode()


def permits(policy: dict[str, Any] | None, account: str, operation: str) -> bool:
    """Whether a policy lets the root of another account do something, whatever else it may say."""
    wanted = ("*", {"AWS": f"arn:aws:iam::{account}:root"})
    return any(
        statement["Principal"] in wanted
        and statement["Action"] in (f"lambda:{operation}", "lambda:*")
        and "Condition" not in statement
        for statement in (policy["statements"] if policy else ())
    )
