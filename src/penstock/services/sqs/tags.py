"""Operations on the tags of queues."""

from penstock.api import Context, Request, Result, operation
from penstock.services.sqs.queues import Queues, required
from penstock.services.sqs.tag import check_tags


class Tags:
    """Labels for the owner's own use; they change nothing."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    @operation("TagQueue")
    async def tag_queue(self, ctx: Context, request: Request) -> None:
        """Add or replace tags."""
        record = await self._queues.by_url(ctx, request)
        tags = {**record.tags, **required(request, "Tags")}
        check_tags(record.name, tags)
        await self._queues.set_tags(record, tags)

    @operation("UntagQueue")
    async def untag_queue(self, ctx: Context, request: Request) -> None:
        """Remove tags."""
        record = await self._queues.by_url(ctx, request)
        gone = set(required(request, "TagKeys"))
        tags = {key: value for key, value in record.tags.items() if key not in gone}
        await self._queues.set_tags(record, tags)

    @operation("ListQueueTags")
    async def list_queue_tags(self, ctx: Context, request: Request) -> Result:
        """The tags."""
        record = await self._queues.by_url(ctx, request)
        return {"Tags": record.tags} if record.tags else {}
