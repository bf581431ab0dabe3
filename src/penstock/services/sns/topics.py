"""Operations on topics."""

from collections.abc import Mapping
from typing import Final

from penstock.api import Context, Request, Result, operation
from penstock.core.arn import make_arn
from penstock.core.errors import AwsError
from penstock.services.sns.archive import archive_of
from penstock.services.sns.paging import make_token, read_token
from penstock.services.sns.problem import check_arn, invalid, missing
from penstock.services.sns.repository import Repository
from penstock.services.sns.tag import read_tags
from penstock.services.sns.topic import Topic, check_name, read_attribute, shown_attributes
from penstock.storage.primitives import Store

_PAGE: Final = 100


class Topics:
    """Topics by their ARN."""

    def __init__(self, store: Store, repository: Repository) -> None:
        self._store = store
        self._repository = repository

    async def find(self, ctx: Context, arn: str | None, parameter: str = "TopicArn") -> Topic:
        """The topic that a request means. Raises when there is none in the caller's region."""
        arn = check_arn(parameter, arn)
        if arn.split(":")[3] != ctx.region:
            raise invalid(parameter)
        topic = await self._repository.topic(arn)
        if topic is None:
            raise missing("Topic")
        return topic

    @operation(
        "CreateTopic",
        refuses=("DataProtectionPolicy",),
        in_part=[
            "Attributes.KmsMasterKeyId",
            "Attributes.TracingConfig: Active",
            "Attributes for the feedback of deliveries",
        ],
    )
    async def create_topic(self, ctx: Context, request: Request) -> Result:
        """Create a topic; one that is there with the same attributes and tags is answered."""
        name, given = request["Name"], request.get("Attributes") or {}
        fifo = given.get("FifoTopic", "false").lower() == "true"
        arn = make_arn("sns", ctx.region, ctx.account, name)
        check_name(name, fifo)
        attributes = {
            key: kept
            for key, value in given.items()
            if key != "FifoTopic" and (kept := _read(key, value, fifo))
        }
        tags = read_tags(request.get("Tags") or [])
        existing = await self._repository.topic(arn)
        if existing is not None:
            _check_same(existing, given, attributes, tags)
            return {"TopicArn": arn}
        topic = Topic(arn=arn, attributes=attributes, tags=tags, created_at=ctx.now)
        if "ArchivePolicy" in attributes:
            topic.archived_since = ctx.now
        await self._repository.put_topic(topic)
        return {"TopicArn": arn}

    @operation("DeleteTopic")
    async def delete_topic(self, ctx: Context, request: Request) -> None:
        """Remove a topic and its subscriptions; one that is not there is no error."""
        try:
            topic = await self.find(ctx, request["TopicArn"])
        except AwsError as error:
            if error.code != "NotFoundException":
                raise
            return
        if topic.archived_since:
            # AWS: an archive must be given up first (SNS guide, "archiving and replay"); the words are ours.
            raise AwsError(
                "InvalidStateException", "The topic has an ArchivePolicy: deactivate it first."
            )
        await self._repository.delete_topic(topic, await self._repository.of_topic(topic.arn))

    @operation("ListTopics")
    async def list_topics(self, ctx: Context, request: Request) -> Result:
        """Topics, a hundred at a time."""
        after = read_token(request.get("NextToken"))
        found = await self._repository.topics(ctx.account, ctx.region, after, _PAGE + 1)
        result: Result = {"Topics": [{"TopicArn": topic.arn} for topic in found[:_PAGE]]}
        if len(found) > _PAGE:
            result["NextToken"] = make_token(found[_PAGE - 1].name)
        return result

    @operation("GetTopicAttributes")
    async def get_topic_attributes(self, ctx: Context, request: Request) -> Result:
        """The attributes, with how many subscriptions there are."""
        topic = await self.find(ctx, request["TopicArn"])
        records = await self._repository.of_topic(topic.arn)
        alive = [record for record in records if not record.gone(ctx.now)]
        pending = sum(record.pending for record in alive)
        return {"Attributes": shown_attributes(topic, len(alive) - pending, pending)}

    @operation(
        "SetTopicAttributes",
        in_part=[
            "AttributeName: KmsMasterKeyId",
            "AttributeName: TracingConfig with Active",
            "AttributeName: the feedback of deliveries",
        ],
    )
    async def set_topic_attributes(self, ctx: Context, request: Request) -> None:
        """Set one attribute; without a value it is as if it had never been set."""
        topic = await self.find(ctx, request["TopicArn"])
        name, value = request["AttributeName"], request.get("AttributeValue") or ""
        attributes = dict(topic.attributes)
        kept = read_attribute(name, value, fifo=topic.fifo)
        attributes.pop(name, None)
        if kept:
            attributes[name] = kept
        topic.attributes = attributes
        if name == "ArchivePolicy":
            topic.archived_since = (topic.archived_since or ctx.now) if kept else 0
        async with self._store.transaction() as tx:
            if name == "ArchivePolicy" and not kept:
                await tx.log.drop(archive_of(topic.arn))
            await self._repository.put_topic(topic, tx=tx)

    @operation("TagResource")
    async def tag_resource(self, ctx: Context, request: Request) -> Result:
        """Add or replace tags of a topic."""
        topic = await self._tagged(ctx, request)
        topic.tags = {**topic.tags, **read_tags(request["Tags"])}
        if len(topic.tags) > 50:
            raise AwsError("TagLimitExceededException", "Could not complete request: tag quota")
        await self._repository.put_topic(topic)
        return {}

    @operation("UntagResource")
    async def untag_resource(self, ctx: Context, request: Request) -> Result:
        """Remove tags of a topic."""
        topic = await self._tagged(ctx, request)
        topic.tags = {k: v for k, v in topic.tags.items() if k not in request["TagKeys"]}
        await self._repository.put_topic(topic)
        return {}

    @operation("ListTagsForResource")
    async def list_tags_for_resource(self, ctx: Context, request: Request) -> Result:
        """The tags of a topic."""
        topic = await self._tagged(ctx, request)
        return {"Tags": [{"Key": key, "Value": value} for key, value in topic.tags.items()]}

    async def _tagged(self, ctx: Context, request: Request) -> Topic:
        try:
            return await self.find(ctx, request["ResourceArn"], "ResourceArn")
        except AwsError as error:
            if error.code != "NotFoundException":
                raise
            raise AwsError("ResourceNotFoundException", "Resource does not exist") from None


def _read(name: str, value: str, fifo: bool) -> str:
    """An attribute of a new topic. AWS: the same faults, told otherwise than when it is set later."""
    try:
        return read_attribute(name, value, fifo=fifo)
    except AwsError as error:
        if error.code != "InvalidParameterException":
            raise
        reason = error.message.removeprefix("Invalid parameter: ")
        raise invalid(f"Attributes Reason: {reason}") from None


def _check_same(
    existing: Topic,
    given: Mapping[str, str],
    attributes: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    shown = shown_attributes(existing, 0, 0)
    for name in given:
        value = attributes.get(name, given[name])
        if name == "FifoTopic":
            value, has = value.lower(), shown.get(name, "false")
        else:
            has = shown.get(name, "")
        if has != value:
            raise invalid("Attributes Reason: Topic already exists with different attributes")
    # AWS: fewer tags are the same topic, other ones are not (recorded by LocalStack).
    if any(existing.tags.get(key) != value for key, value in tags.items()):
        raise invalid("Tags Reason: Topic already exists with different tags")
