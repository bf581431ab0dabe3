"""Operations on messages: send, receive, delete, change visibility, one by one and in batches."""

import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from penstock.api import Context, Request, Result, operation
from penstock.clock import Clock
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.core.md5 import md5_of
from penstock.core.sqs_message import (
    DEDUP_MS,
    attributes_size,
    encode_attributes,
    md5_of_attributes,
    sequence_number,
)
from penstock.services.sqs.arrival import Arrivals
from penstock.services.sqs.attempt import Attempts
from penstock.services.sqs.batch import batch_result, entries_of, failure
from penstock.services.sqs.message import (
    SYSTEM_NAMES,
    check_attributes,
    check_body,
    check_token,
    invalid,
    is_plain,
    shown,
    too_long,
)
from penstock.services.sqs.queue import QueueRecord, missing_dedup
from penstock.services.sqs.queues import MAX_IN_FLIGHT, Queues
from penstock.services.sqs.receipts import Receipts
from penstock.services.sqs.throttle import CallRates
from penstock.storage.primitives import Hold, Leased, NewMessage, Store, Stored

_MAX_BATCH_BYTES: Final = 1_048_576
_MAX_HELD_MS: Final = 43_200_000


class Messages:
    """Messages under the ARN of their queue."""

    def __init__(
        self,
        store: Store,
        queues: Queues,
        receipts: Receipts,
        attempts: Attempts,
        ids: Ids,
        clock: Clock,
    ) -> None:
        self._store = store
        self._queues = queues
        self._receipts = receipts
        self._attempts = attempts
        self._ids = ids
        self._clock = clock
        self._arrivals = Arrivals(store, clock)
        self._rates = CallRates()
        self._awaited: set[str] = set()
        self._released = False

    def release(self) -> None:
        """Answer every receive that waits, and let none wait from now on."""
        self._released = True
        for queue in self._awaited:
            self._store.notifier.notify(queue, sys.maxsize)

    @operation("SendMessage")
    async def send_message(self, ctx: Context, request: Request) -> Result:
        """Store one message."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        body = check_body(request.get("MessageBody"))
        message = self._message(queue, body, request, ctx.principal_id, ctx.trace, ctx.now)
        if queue.fifo:
            self._rates.take(queue, "SendMessage", ctx.now, (str(message.group),))
        stored = await self._store.queue.put(
            queue.arn, (message,), ctx.now, dedup_since=ctx.now - DEDUP_MS
        )
        return _sent(queue, stored[0], message.body, request, {})

    def take(
        self,
        queue: QueueRecord,
        now: int,
        body: bytes,
        request: Request,
        sender: str,
        trace: str | None,
    ) -> NewMessage | None:
        """The message that SendMessage would store in `queue`, for those who put it themselves; None where it refuses.

        `request` says what there is beside the body.
        """
        try:
            if not is_plain(body):
                body = check_body(body.decode())
            message = self._message(queue, body, request, sender, trace, now)
            if queue.fifo:
                self._rates.take(queue, "SendMessage", now, (str(message.group),))
        except AwsError:
            return None
        return message

    @operation("SendMessageBatch")
    async def send_message_batch(self, ctx: Context, request: Request) -> Result:
        """Store up to ten messages in order; each entry is answered for itself."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        entries = entries_of(request, "SendMessageBatch")
        _check_batch_size(entries)
        if queue.fifo:
            _check_fifo_batch(queue, entries)
            groups = {entry["MessageGroupId"] for entry in entries}
            self._rates.take(queue, "SendMessage", ctx.now, groups)
        taken: list[Mapping[str, Any]] = []
        messages: list[NewMessage] = []
        failed: list[Result] = []
        for entry in entries:
            try:
                body = check_body(entry.get("MessageBody"))
                message = self._message(queue, body, entry, ctx.principal_id, ctx.trace, ctx.now)
            except AwsError as error:
                failed.append(failure(entry["Id"], error))
            else:
                taken.append(entry)
                messages.append(message)
        stored = await self._store.queue.put(
            queue.arn, messages, ctx.now, dedup_since=ctx.now - DEDUP_MS
        )
        return batch_result(
            [
                _sent(queue, one, message.body, entry, {"Id": entry["Id"]})
                for entry, message, one in zip(taken, messages, stored, strict=True)
            ],
            failed,
        )

    def _message(
        self,
        queue: QueueRecord,
        body: bytes,
        request: Mapping[str, Any],
        sender: str,
        trace: str | None,
        now: int,
    ) -> NewMessage:
        """A message to put: a body that was checked, and what a request says beside it. Raises AwsError."""
        size, group, dedup, delay = len(body), None, None, queue.delay_ms
        attributes = request.get("MessageAttributes")
        if attributes:
            check_attributes(attributes)
            size += attributes_size(attributes)
        if size > queue.max_bytes:
            raise too_long(queue.max_bytes)
        if request or queue.fifo:
            if system := request.get("MessageSystemAttributes"):
                trace = _check_system(system)["AWSTraceHeader"]["StringValue"]
            group = request.get("MessageGroupId")
            if group is not None:
                check_token("MessageGroupId", group)
            if queue.fifo or "MessageDeduplicationId" in request:
                dedup = self._dedup(queue, request, group, body)
            if "DelaySeconds" in request:
                delay = self._delay(queue, request)
        tenant = None if queue.fifo else group
        # By position: by keyword it takes several times as long.
        return NewMessage(
            self._ids.uuid(),
            body,
            now + delay,
            encode_attributes(sender, attributes, trace, tenant),
            group if queue.fifo else None,
            tenant,
            dedup,
        )

    @staticmethod
    def _dedup(
        queue: QueueRecord, request: Mapping[str, Any], group: str | None, body: bytes
    ) -> str | None:
        explicit = request.get("MessageDeduplicationId")
        check_token("MessageDeduplicationId", explicit)
        if not queue.fifo:
            if explicit is not None:
                raise _not_for_this_type("MessageDeduplicationId", explicit)
            return None
        if group is None:
            raise AwsError(
                "MissingRequiredParameterException",
                "The request must contain the parameter MessageGroupId.",
            )
        return queue.dedup_key(explicit, group, lambda: hashlib.sha256(body).hexdigest())

    @staticmethod
    def _delay(queue: QueueRecord, request: Mapping[str, Any]) -> int:
        """The delay in ms: the message's own, or the queue's."""
        seconds = request.get("DelaySeconds")
        if seconds is None:
            return queue.delay_ms
        if not 0 <= seconds <= 900:
            raise invalid(
                f"Value {seconds} for parameter DelaySeconds is invalid."
                " Reason: DelaySeconds must be >= 0 and <= 900."
            )
        if queue.fifo:
            if seconds:
                raise _not_for_this_type("DelaySeconds", seconds)
            return queue.delay_ms
        return int(seconds) * 1000

    @operation("ReceiveMessage")
    async def receive_message(self, ctx: Context, request: Request) -> Result:
        """Lease up to ten messages, waiting for the first one if asked to."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        limit = request.get("MaxNumberOfMessages", 1)
        if not 1 <= limit <= 10:
            raise invalid(
                f"Value {limit} for parameter MaxNumberOfMessages is invalid."
                " Reason: Must be between 1 and 10, if provided."
            )
        wait = request.get("WaitTimeSeconds")
        if wait is not None and not 0 <= wait <= 20:
            raise invalid(
                f"Value {wait} for parameter WaitTimeSeconds is invalid."
                " Reason: Must be >= 0 and <= 20, if provided."
            )
        visibility = _visibility(request)
        for name in request.get("MessageSystemAttributeNames") or ():
            if name not in SYSTEM_NAMES:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        until = ctx.now + (queue.wait_ms if wait is None else wait * 1000)
        attempt = request.get("ReceiveRequestAttemptId")
        if queue.fifo:
            self._rates.take(queue, "ReceiveMessage", ctx.now)
            if attempt is not None:
                return await self._receive_again(ctx, queue, request, until, visibility)
        elif attempt is not None:
            raise _not_for_this_type("ReceiveRequestAttemptId", attempt)
        leased, now = await self._lease(ctx, queue, limit, visibility, until)
        return self._received(queue, leased, now, request)

    async def _receive_again(
        self,
        ctx: Context,
        queue: QueueRecord,
        request: Request,
        until: int,
        visibility: int | None,
    ) -> Result:
        """A receive that may be repeated: the same attempt is given the same messages."""
        attempt = request["ReceiveRequestAttemptId"]
        check_token("ReceiveRequestAttemptId", attempt)
        hidden_ms = queue.visibility_ms if visibility is None else visibility
        again = await self._attempts.repeat(queue.arn, attempt, ctx.now + hidden_ms, ctx.now)
        if again is not None:
            return self._received(queue, again.messages, again.received_at, request)
        limit = request.get("MaxNumberOfMessages", 1)
        leased, now = await self._lease(ctx, queue, limit, visibility, until)
        if leased:
            await self._attempts.keep(queue.arn, attempt, leased, now + hidden_ms, now)
        return self._received(queue, leased, now, request)

    async def _lease(
        self, ctx: Context, queue: QueueRecord, limit: int, visibility: int | None, until: int
    ) -> tuple[list[Leased], int]:
        """Messages, and the instant at which they were leased; none if there is none by `until`."""
        now = ctx.now
        terms = await self._queues.lease_terms(queue, visibility, now)
        leased = await self._store.queue.lease(queue.arn, limit, terms, now)
        if leased:
            return leased, now
        if now >= until or self._released:
            await self._check_in_flight(queue, now)
            return leased, now
        self._awaited.add(queue.arn)
        try:
            while not leased and now < until and not self._released:
                await self._arrivals.wait(queue.arn, until, now)
                now = self._clock.now()
                if ctx.abandoned:
                    # Whoever waits next gets what this one was woken for.
                    self._store.notifier.notify(queue.arn)
                    break
                terms = await self._queues.lease_terms(queue, visibility, now)
                leased = await self._store.queue.lease(queue.arn, limit, terms, now)
        finally:
            self._arrivals.leave(queue.arn)
        return leased, now

    async def _check_in_flight(self, queue: QueueRecord, now: int) -> None:
        # AWS: only a short poll of a standard queue is told; others are given nothing (developer guide, "quotas").
        if not queue.fifo and await self._store.queue.leased(queue.arn, now) >= MAX_IN_FLIGHT:
            raise AwsError(
                "OverLimit", "The maximum number of in flight messages is reached for the queue."
            )

    def _received(
        self, queue: QueueRecord, leased: Sequence[Leased], now: int, request: Request
    ) -> Result:
        if not leased:
            return {}
        handles = self._receipts.seal_all(queue.arn, [message.receipt for message in leased], now)
        return {"Messages": shown(leased, handles, request)}

    @operation("DeleteMessage")
    async def delete_message(self, ctx: Context, request: Request) -> None:
        """Settle a message by its receipt handle."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        if queue.fifo:
            self._rates.take(queue, "DeleteMessage", ctx.now)
        await self._delete(ctx, queue, request)

    @operation("DeleteMessageBatch")
    async def delete_message_batch(self, ctx: Context, request: Request) -> Result:
        """Settle up to ten messages."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        if queue.fifo:
            return await self._each(ctx, request, "DeleteMessage", self._delete)
        receipts: list[str] = []
        successful: list[Result] = []
        failed: list[Result] = []
        arn, unseal = queue.arn, self._receipts.open
        for entry in entries_of(request, "DeleteMessageBatch"):
            try:
                receipt, _ = unseal(arn, entry.get("ReceiptHandle") or _no_handle())
                receipts.append(receipt)
            except AwsError as error:
                failed.append(failure(entry["Id"], error))
            else:
                successful.append({"Id": entry["Id"]})
        # AWS: a standard queue says of every handle of its own that its message is deleted (API reference, DeleteMessage).
        await self._store.queue.settle_many(arn, receipts, ctx.now)
        return batch_result(successful, failed)

    async def _delete(self, ctx: Context, queue: QueueRecord, entry: Mapping[str, Any]) -> None:
        handle = entry["ReceiptHandle"] if entry.get("ReceiptHandle") else _no_handle()
        receipt, _ = self._receipts.open(queue.arn, handle)
        held = await self._store.queue.settle(queue.arn, receipt, ctx.now, strict=queue.fifo)
        if queue.fifo and held is Hold.ENDED:
            # AWS: a FIFO message can be deleted only while it is in flight (recorded by LocalStack).
            raise invalid(
                f"Value {handle} for parameter ReceiptHandle is invalid."
                " Reason: The receipt handle has expired."
            )

    @operation("ChangeMessageVisibility")
    async def change_message_visibility(self, ctx: Context, request: Request) -> None:
        """Move the end of a lease; 0 ends it now."""
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        if queue.fifo:
            self._rates.take(queue, "ChangeMessageVisibility", ctx.now)
        await self._change(ctx, queue, request)

    @operation("ChangeMessageVisibilityBatch")
    async def change_message_visibility_batch(self, ctx: Context, request: Request) -> Result:
        """Move the ends of up to ten leases."""
        return await self._each(ctx, request, "ChangeMessageVisibility", self._change)

    async def _change(self, ctx: Context, queue: QueueRecord, entry: Mapping[str, Any]) -> None:
        handle = entry["ReceiptHandle"] if entry.get("ReceiptHandle") else _no_handle()
        receipt, received_at = self._receipts.open(queue.arn, handle)
        visibility = _visibility(entry)
        if visibility is None:
            raise AwsError(
                "MissingRequiredParameterException",
                "The request must contain the parameter VisibilityTimeout.",
            )
        if received_at and ctx.now - received_at + visibility > _MAX_HELD_MS:
            raise invalid(
                f"Value {visibility // 1000} for parameter VisibilityTimeout is invalid. Reason: Total"
                " VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            )
        # AWS: on a standard queue any handle of a message will do, also after its time (recorded by LocalStack).
        held = await self._store.queue.extend(
            queue.arn, receipt, ctx.now + visibility, ctx.now, strict=queue.fifo
        )
        if held is not Hold.DONE:
            raise invalid(
                f"Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist"
                " or is not available for visibility timeout change."
            )

    async def _each(
        self,
        ctx: Context,
        request: Request,
        name: str,
        act: Callable[[Context, QueueRecord, Mapping[str, Any]], Awaitable[None]],
    ) -> Result:
        queue = self._queues.known(ctx, request) or await self._queues.by_url(ctx, request)
        entries = entries_of(request, f"{name}Batch")
        if queue.fifo:
            self._rates.take(queue, name, ctx.now)
        successful: list[Result] = []
        failed: list[Result] = []
        for entry in entries:
            try:
                await act(ctx, queue, entry)
            except AwsError as error:
                failed.append(failure(entry["Id"], error))
            else:
                successful.append({"Id": entry["Id"]})
        return batch_result(successful, failed)


def _visibility(entry: Mapping[str, Any]) -> int | None:
    seconds = entry.get("VisibilityTimeout")
    if seconds is None:
        return None
    if not 0 <= seconds <= 43_200:
        raise invalid(
            f"Value {seconds} for parameter VisibilityTimeout is invalid."
            " Reason: VisibilityTimeout must be an integer between 0 and 43200."
        )
    return int(seconds) * 1000


def _no_handle() -> str:
    raise AwsError(
        "MissingRequiredParameterException", "The request must contain the parameter ReceiptHandle."
    )


def _check_system(system: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in system.items():
        if name != "AWSTraceHeader":
            raise invalid(f"Message system attribute name '{name}' is invalid.")
        if value.get("DataType") != "String" or not value.get("StringValue"):
            raise invalid(
                "Message (system) attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'."
            )
    return system


def _check_batch_size(entries: Sequence[Mapping[str, Any]]) -> None:
    characters = 0
    for entry in entries:
        if "MessageAttributes" in entry:
            break
        characters += len(entry.get("MessageBody") or "")
    else:
        # A character has four bytes at most: what has few of them need not be encoded to be measured.
        if 4 * characters <= _MAX_BATCH_BYTES:
            return
    total = sum(
        len((entry.get("MessageBody") or "").encode())
        + attributes_size(entry.get("MessageAttributes") or {})
        for entry in entries
    )
    if total > _MAX_BATCH_BYTES:
        raise AwsError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {_MAX_BATCH_BYTES} bytes."
            f" You have sent {total} bytes.",
        )


def _sent(
    queue: QueueRecord, stored: Stored, body: bytes, request: Mapping[str, Any], result: Result
) -> Result:
    """The answer about a message, added to `result`, with the checksums of what was sent."""
    result["MessageId"] = stored.id
    result["MD5OfMessageBody"] = md5_of(body)
    if attributes := request.get("MessageAttributes"):
        result["MD5OfMessageAttributes"] = md5_of_attributes(attributes)
    if system := request.get("MessageSystemAttributes"):
        result["MD5OfMessageSystemAttributes"] = md5_of_attributes(system)
    if queue.fifo:
        result["SequenceNumber"] = sequence_number(stored.sequence)
    return result


def _check_fifo_batch(queue: QueueRecord, entries: Sequence[Mapping[str, Any]]) -> None:
    """What every entry for a FIFO queue must have; AWS refuses the whole batch for one that has not."""
    if any(entry.get("MessageGroupId") is None for entry in entries):
        raise invalid("The request must contain the parameter MessageGroupId.")
    if queue.attributes["ContentBasedDeduplication"] != "true" and any(
        entry.get("MessageDeduplicationId") is None for entry in entries
    ):
        raise missing_dedup()


def _not_for_this_type(name: str, value: object) -> AwsError:
    return invalid(
        f"Value {value} for parameter {name} is invalid. Reason:"
        " The request include parameter that is not valid for this queue type."
    )
