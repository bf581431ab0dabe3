"""What a pipe does with a batch: filter, transform, enrich, transform, hand over."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from penstock.api import Context
from penstock.core.arn import parse_arn
from penstock.core.batch import failed_items
from penstock.core.errors import AwsError, PenstockError
from penstock.core.input_transformer import dumps
from penstock.core.lineage import new_trace
from penstock.core.pipe_template import PipeTemplate, compile_pipe_template
from penstock.delivery.model import Delivered, Failed, Outcome, PartiallyFailed, Throttled
from penstock.delivery.sqs_event import SqsFilter, sqs_record
from penstock.fanout import Fanout, NotYetError
from penstock.services.pipes.definition import Pipe, service_of
from penstock.services.pipes.targets import CallHttp, Events, http_delivery, senders
from penstock.storage.primitives import Leased

_FUNCTION_ERROR: Final = "the function failed"


class PipeTarget:
    """Takes batches of the pipe's queue through its stages."""

    def __init__(
        self,
        pipe: Pipe,
        given: Fanout,
        handle: Callable[[str, str], str],
        call: CallHttp,
    ) -> None:
        self._pipe = pipe
        self._dispatcher = given.dispatcher
        self._clock = given.clock
        self._ids = given.ids
        self._endpoint = given.endpoint
        self._handle = handle
        self._call = call
        self._source = pipe.given["Source"]
        self._enrichment = pipe.given.get("Enrichment") or None
        self._filter = SqsFilter(pipe.filters)
        self._before = _template(pipe, "EnrichmentParameters")
        self._after = _template(pipe, "TargetParameters")
        self._send = senders(call)[service_of(pipe.given["Target"])]

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Hand the batch over. What the filters do not let through is done with."""
        records = [
            sqs_record(message, self._handle(self._source, message.receipt), self._source)
            for message in batch
        ]
        wanted = [record for record in records if self._filter.matches(record)]
        if not wanted:
            return Delivered()
        ids = [record["messageId"] for record in wanted]
        try:
            failed = await self._run(wanted, ids)
        except NotYetError as error:
            return Throttled(str(error), frozenset(ids))
        except PenstockError as error:
            text = error.message if isinstance(error, AwsError) else str(error)
            if len(wanted) == len(records):
                return Failed(text.encode())
            failed = frozenset(ids)
        return PartiallyFailed(failed) if failed else Delivered()

    async def _run(self, records: list[dict[str, Any]], ids: list[str]) -> frozenset[str]:
        """The ids of the messages that were not handed over. Raises PenstockError when none was."""
        ctx = self._context(records)
        reserved = self._reserved(ctx)
        events = Events([(one, dumps(one)) for one in records])
        if self._enrichment is not None:
            given = _transformed(events, self._before, reserved)
            answer = await self._enrich(ctx, self._enrichment, given)
            if not answer:
                return frozenset()
            if len(answer) > self._pipe.target_takes:
                # AWS: the target is not called then (EventBridge guide, "Pipes batching").
                raise AwsError("ValidationException", "The target does not take so many events.")
            events = Events([(one, dumps(one)) for one in answer])
        payloads = _transformed(events, self._after, reserved)
        result = await self._send(self._dispatcher, ctx, self._pipe, payloads)
        if isinstance(result, bytes):
            # AWS: a function may say which of the batch failed, by the message's id (EventBridge guide, "Pipes batching").
            return failed_items(result, ids)
        if not result:
            return frozenset()
        if self._enrichment is None:
            return frozenset(ids[index] for index in result)
        raise AwsError("InternalException", "The target did not take every event.")

    def _context(self, records: list[dict[str, Any]]) -> Context:
        now = self._clock.now()
        arn = parse_arn(self._pipe.arn)
        traces = (one["attributes"].get("AWSTraceHeader") for one in records)
        return Context(
            account=arn.account,
            region=arn.region,
            now=now,
            # The same for the same batch: who waits for its turn at an endpoint keeps it.
            request_id=records[0]["messageId"],
            principal=self._pipe.given["RoleArn"],
            principal_id=arn.account,
            endpoint=self._endpoint,
            trace=next((one for one in traces if one), None) or new_trace(self._ids, now),
        )

    def _reserved(self, ctx: Context) -> dict[str, Any]:
        given = self._pipe.given
        instant = datetime.fromtimestamp(ctx.now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "aws.pipes.enrichment-arn": given.get("Enrichment", ""),
            "aws.pipes.event.ingestion-time": instant,
            "aws.pipes.pipe-arn": self._pipe.arn,
            "aws.pipes.pipe-name": self._pipe.name,
            "aws.pipes.source-arn": given["Source"],
            "aws.pipes.target-arn": given["Target"],
        }

    async def _enrich(self, ctx: Context, arn: str, events: Events) -> list[Any]:
        """What the enrichment makes of the events: an event each, or none at all."""
        if service_of(arn) != "lambda":
            return _events_of(await self._ask(ctx, arn, events))
        request = {"FunctionName": arn, "Payload": events.array()}
        answer = await self._dispatcher.call(ctx, "lambda", "Invoke", request)
        if answer.get("FunctionError"):
            raise AwsError("InternalException", _FUNCTION_ERROR)
        return _events_of(answer.get("Payload") or b"null")

    async def _ask(self, ctx: Context, arn: str, events: Events) -> bytes:
        """What an HTTP enrichment answers to the one event of a batch."""
        ((event, payload),) = events.pairs
        delivery = http_delivery(self._pipe, ctx, arn, "EnrichmentParameters", event)
        return await self._call(ctx, delivery, payload)


def _events_of(answer: bytes) -> list[Any]:
    """The events that an enrichment answers."""
    try:
        document = orjson.loads(answer.strip() or b"null")
    except orjson.JSONDecodeError as error:
        raise AwsError("InternalException", "The enrichment's answer is not JSON.") from error
    # AWS: nothing, and an empty list, end the batch without a call of the target (EventBridge guide, "Pipes enrichment").
    if document in (None, "", {}, []):
        return []
    return document if isinstance(document, list) else [document]


def _template(pipe: Pipe, side: str) -> PipeTemplate | None:
    text = pipe.template(side)
    return None if text is None else compile_pipe_template(text)


def _transformed(events: Events, template: PipeTemplate | None, reserved: dict[str, Any]) -> Events:
    if template is None:
        return events
    return Events([(event, template.apply(event, reserved)) for event, _ in events.pairs])
