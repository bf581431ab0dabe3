"""Who may do what with a queue: AddPermission, RemovePermission, and what the Policy attribute may be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from penstock.api import Context, Request, operation
from penstock.core.errors import AwsError
from penstock.services.sqs.message import invalid
from penstock.services.sqs.queue import QueueRecord
from penstock.services.sqs.queues import Queues, required

_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ACCOUNT: Final = re.compile(r"\d{12}")
# AWS: what may be granted to others by AddPermission (API reference; batches follow their single actions).
_GRANTED: Final = (
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
)


class Permissions:
    """Statements of a queue's policy, one for each label."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    @operation("AddPermission")
    async def add_permission(self, ctx: Context, request: Request) -> None:
        """Add a statement that allows actions to accounts."""
        record = await self._queues.by_url(ctx, request)
        label = required(request, "Label")
        accounts, actions = required(request, "AWSAccountIds"), required(request, "Actions")
        _check_grant(label, accounts, actions)
        policy = _policy_of(record)
        if any(statement.get("Sid") == label for statement in policy["Statement"]):
            raise invalid(f"Value {label} for parameter Label is invalid. Reason: Already exists.")
        policy["Statement"].append(
            {
                "Sid": label,
                "Effect": "Allow",
                "Principal": {
                    "AWS": _one_or_many([f"arn:aws:iam::{a}:root" for a in dict.fromkeys(accounts)])
                },
                "Action": _one_or_many([f"SQS:{action}" for action in actions]),
                "Resource": record.arn,
            }
        )
        await self._queues.set_attribute(record, "Policy", orjson.dumps(policy).decode(), ctx.now)

    @operation("RemovePermission")
    async def remove_permission(self, ctx: Context, request: Request) -> None:
        """Remove the statement of a label; the policy goes with its last one."""
        record = await self._queues.by_url(ctx, request)
        label = required(request, "Label")
        policy = _policy_of(record)
        left = [statement for statement in policy["Statement"] if statement.get("Sid") != label]
        if len(left) == len(policy["Statement"]):
            # AWS: the lower case is AWS's own (recorded by LocalStack).
            raise invalid(
                f"Value {label} for parameter Label is invalid. Reason: can't find label."
            )
        text = orjson.dumps({**policy, "Statement": left}).decode() if left else None
        await self._queues.set_attribute(record, "Policy", text, ctx.now)


def _check_grant(label: str, accounts: Sequence[str], actions: Sequence[str]) -> None:
    if not _LABEL.fullmatch(label):
        raise invalid(
            f"Value {label} for parameter Label is invalid. Reason: Can only include alphanumeric"
            " characters, hyphens, or underscores. 1 to 80 in length."
        )
    # AWS: a statement names at most seven actions (API reference, AddPermission).
    if len(actions) > 7:
        raise AwsError("OverLimit", f"{len(actions)} Actions were found, maximum allowed is 7.")
    for action in actions:
        if action not in _GRANTED:
            # AWS: the space at the end is AWS's own (recorded by peers).
            raise invalid(
                f"Value SQS:{action} for parameter ActionName is invalid. Reason: Please refer to"
                " the appropriate WSDL for a list of valid actions. "
            )
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            raise invalid(
                f"Value {account} for parameter PrincipalId is invalid. Reason: Unable to verify."
            )


def _policy_of(record: QueueRecord) -> dict[str, Any]:
    """The queue's policy with its statements as a list; a new one if it has none."""
    text = record.attributes.get("Policy")
    if not text:
        return {"Version": "2008-10-17", "Id": f"{record.arn}/SQSDefaultPolicy", "Statement": []}
    policy: dict[str, Any] = orjson.loads(text)
    statements = policy["Statement"]
    if isinstance(statements, Mapping):
        statements = [statements]
    return {**policy, "Statement": list(statements)}


def _one_or_many(values: list[str]) -> str | list[str]:
    # AWS: a single value stands alone, several are a list (recorded by LocalStack).
    return values[0] if len(values) == 1 else values
