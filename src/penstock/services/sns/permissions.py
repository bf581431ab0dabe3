"""Who may do what with a topic: AddPermission and RemovePermission."""

from typing import Any, Final

import orjson

from penstock.api import Context, Request, operation
from penstock.services.sns.problem import invalid
from penstock.services.sns.repository import Repository
from penstock.services.sns.topics import Topics

# AWS: what may be granted to others (API reference, AddPermission).
_GRANTED: Final = frozenset(
    [
        "*",
        "AddPermission",
        "DeleteTopic",
        "GetDataProtectionPolicy",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "ListTagsForResource",
        "Publish",
        "PutDataProtectionPolicy",
        "Receive",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    ]
)


class Permissions:
    """Statements of a topic's policy, one for each label."""

    def __init__(self, topics: Topics, repository: Repository) -> None:
        self._topics = topics
        self._repository = repository

    @operation("AddPermission")
    async def add_permission(self, ctx: Context, request: Request) -> None:
        """Add a statement that allows actions to accounts."""
        topic = await self._topics.find(ctx, request["TopicArn"])
        actions = request["ActionName"]
        if any(action not in _GRANTED for action in actions):
            raise invalid("Policy statement action out of service scope!")
        policy = topic.policy
        statements = _statements(policy)
        if any(statement.get("Sid") == request["Label"] for statement in statements):
            raise invalid("Statement already exists")
        principals = [f"arn:aws:iam::{account}:root" for account in request["AWSAccountId"]]
        statements.append(
            {
                "Sid": request["Label"],
                "Effect": "Allow",
                "Principal": {"AWS": _one_or_many(principals)},
                "Action": _one_or_many([f"SNS:{action}" for action in actions]),
                "Resource": topic.arn,
            }
        )
        topic.attributes["Policy"] = orjson.dumps({**policy, "Statement": statements}).decode()
        await self._repository.put_topic(topic)

    @operation("RemovePermission")
    async def remove_permission(self, ctx: Context, request: Request) -> None:
        """Remove the statement of a label; one that is not there is no error."""
        topic = await self._topics.find(ctx, request["TopicArn"])
        policy = topic.policy
        left = [one for one in _statements(policy) if one.get("Sid") != request["Label"]]
        topic.attributes["Policy"] = orjson.dumps({**policy, "Statement": left}).decode()
        await self._repository.put_topic(topic)


def _statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    found = policy["Statement"]
    return [found] if isinstance(found, dict) else list(found)


def _one_or_many(values: list[str]) -> str | list[str]:
    # AWS: a single value stands alone, several are a list (recorded by LocalStack).
    return values[0] if len(values) == 1 else values
