"""Asynchronous invocation: a durable queue for each function and qualifier, and one subscription that runs its events.

An event is a message whose id is the request id. Its attributes are its history: the trace (`t`), and how often it was
throttled (`n`). The queue of `$LATEST` is always subscribed to; that of another qualifier from its first event on,
which a document of `lambda/event-queues` remembers.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import orjson

from penstock.clock import Clock
from penstock.core.errors import AwsError, PenstockError
from penstock.core.lineage import MOST_PASSES, new_trace, passed, passes
from penstock.delivery.model import Delivered, Failed, Outcome, Scaling, Subscription, Throttled
from penstock.delivery.sources import QueueSource
from penstock.fanout import Letters
from penstock.runtime.concurrency import Permit
from penstock.runtime.model import InvocationResult
from penstock.services.lambda_.destinations import Destinations, Recipients
from penstock.services.lambda_.event_policy import (
    AGE_EXCEEDED,
    NO_CONCURRENCY,
    EventPolicy,
    retry_policy,
)
from penstock.services.lambda_.report import destinations_lane
from penstock.services.lambda_.repository import LATEST, Function, Ref, Repository, scope
from penstock.services.lambda_.surroundings import Surroundings
from penstock.storage.primitives import Leased, LeaseTerms, NewMessage

EVENT_QUEUES: Final = "lambda/event-queues"
# Codes of events that never run: what was to run is not there; the function calls itself without end.
NOT_FOUND: Final = 404
RECURSIVE: Final = 400
# AWS: the text of RecursiveInvocationException (Lambda API reference).
TOO_MANY_PASSES: Final = "Lambda detected that the function was invoked in a recursive loop with other AWS services, and has stopped it."
# How many events of one qualifier are in flight at once, at most; the rest wait in the queue, where nothing is lost.
_IN_FLIGHT: Final = 32
# A lease is renewed while the function runs: after a crash the event is run again so long later, at most.
_LEASE_MS: Final = 30_000


class RunsFunctions(Protocol):
    """What is asked of the runner."""

    def admit(self, function: Function) -> Permit | str:
        """A permit or the reason why not."""
        ...

    async def run(
        self, function: Function, request_id: str, payload: bytes, trace: str | None, now: int
    ) -> InvocationResult:
        """Run one event."""
        ...


def queue_of(ref: Ref) -> str:
    """The queue of a qualifier's events."""
    queue = f"lambda/async/{ref.account}/{ref.region}/{ref.name}"
    return queue if ref.qualifier in (None, LATEST) else f"{queue}:{ref.qualifier}"


def loops(function: Function, trace: str | None) -> bool:
    """Whether the chain of a request has passed through the function too often."""
    # AWS: PutFunctionRecursionConfig lets a function go on (Lambda API reference).
    return (
        passes(trace, function.arn) >= MOST_PASSES and function.document.get("recursion") != "Allow"
    )


class AsyncInvocations:
    """Accepts events, and keeps one subscription a function and qualifier that runs them."""

    def __init__(self, repository: Repository, runner: RunsFunctions, given: Surroundings) -> None:
        self._repository = repository
        self._store = repository.store
        self._runner = runner
        self._engine = given.engine
        self._clock = given.clock
        self._ids = given.ids
        self._ledger = given.ledger
        self._letters = Letters(given.fanout.queue_exists)
        self._reports = destinations_lane(given.fanout)
        self._qualifiers: dict[Ref, set[str | None]] = {}
        """Those that are subscribed to, by function."""
        self.destinations = Destinations(given.dispatcher, given.fanout.queue_exists)
        """Says which recipients of results may be configured."""

    async def accept(
        self, ref: Ref, request_id: str, payload: bytes, trace: str | None, now: int
    ) -> None:
        """Queue an event."""
        history = orjson.dumps({"t": trace or new_trace(self._ids, now)})
        message = NewMessage(id=request_id, body=payload, attributes=history, visible_at=now)
        if ref.qualifier in (None, LATEST) or ref.qualifier in self._known(ref):
            await self._store.queue.put(queue_of(ref), [message], now)
            return
        async with self._store.transaction() as tx:
            where, sort = _place(ref)
            await tx.table.put(EVENT_QUEUES, where, sort, b"{}")
            await tx.queue.put(queue_of(ref), [message], now)
        found = await self._repository.document(ref)
        if found is not None:
            self._subscribe(ref, found[1])

    def subscribe(self, ref: Ref, document: dict[str, Any]) -> None:
        """Run the function's events by its configuration as it now is."""
        self._reports.start()
        for qualifier in {None, *self._known(ref)}:
            self._subscribe(ref._replace(qualifier=qualifier), document)

    def unsubscribe(self, ref: Ref) -> None:
        """Take no more events. Those that run go on."""
        for qualifier in self._qualifiers.pop(ref._replace(qualifier=None), ()):
            self._engine.discard(queue_of(ref._replace(qualifier=qualifier)))

    async def forget(self, ref: Ref) -> None:
        """Remove the events that wait for a function which was deleted, under whatever qualifier."""
        self.unsubscribe(ref)
        where, _ = _place(ref)
        low, high = f"{ref.name}:".encode(), f"{ref.name};".encode()
        async with self._store.transaction() as tx:
            await tx.queue.purge(queue_of(ref._replace(qualifier=None)))
            for row in await tx.table.range(EVENT_QUEUES, where, low=low, high=high, limit=10_000):
                qualifier = row.sort.decode().partition(":")[2]
                await tx.queue.purge(queue_of(ref._replace(qualifier=qualifier)))
                await tx.table.delete(EVENT_QUEUES, where, row.sort)

    async def restore(self) -> None:
        """Go on with reports, and with the events of qualifiers; those of functions that are gone are removed."""
        self._reports.start()
        after: tuple[bytes, bytes] | None = None
        while rows := await self._store.table.scan(EVENT_QUEUES, after=after):
            for row in rows:
                account, _, region = row.partition.decode().partition("/")
                name, _, qualifier = row.sort.decode().partition(":")
                ref = Ref(account, region, name, qualifier)
                found = await self._repository.document(ref)
                if found is None:
                    await self.forget(ref)
                else:
                    self._subscribe(ref, found[1])
            after = (rows[-1].partition, rows[-1].sort)

    def _known(self, ref: Ref) -> set[str | None]:
        return self._qualifiers.get(ref._replace(qualifier=None), set())

    def _subscribe(self, ref: Ref, document: dict[str, Any]) -> None:
        """Run the events of one qualifier."""
        self._qualifiers.setdefault(ref._replace(qualifier=None), set()).add(ref.qualifier)
        recipients = Recipients(document, ref.qualifier, self._letters)
        self._engine.add(
            Subscription(
                id=queue_of(ref),
                source=QueueSource(queue_of(ref), _lease_terms),
                target=EventTarget(self._repository, self._runner, self._clock, ref, recipients),
                policy=EventPolicy(ref, document, recipients, self._ids.uuid),
                scaling=Scaling(
                    start=_IN_FLIGHT, most=_IN_FLIGHT, cap=lambda: self._places_for(ref)
                ),
                renew_ms=_LEASE_MS,
                singly=True,
                arns=frozenset((ref.arn, ref.qualified_arn)),
            )
        )

    def _places_for(self, ref: Ref) -> int:
        """As many events as the function may run at once: more would be throttled and wait for longer."""
        reserved = self._ledger.reserved(ref.account, ref.region, ref.name)
        return reserved or _IN_FLIGHT


async def _lease_terms(now: int) -> LeaseTerms:
    return LeaseTerms(until=now + _LEASE_MS)


def _place(ref: Ref) -> tuple[bytes, bytes]:
    """Where `lambda/event-queues` has a qualifier."""
    return scope(ref.account, ref.region), f"{ref.name}:{ref.qualifier}".encode()


class EventTarget:
    """Runs one event of the function, then looks which queues can be told."""

    def __init__(
        self,
        repository: Repository,
        runner: RunsFunctions,
        clock: Clock,
        ref: Ref,
        recipients: Recipients,
    ) -> None:
        self._repository = repository
        self._runner = runner
        self._clock = clock
        self._ref = ref
        self._recipients = recipients

    async def deliver(self, batch: Sequence[Leased]) -> Outcome:
        """Run the batch's one event."""
        (message,) = batch
        outcome = await self._outcome(message, orjson.loads(message.attributes)["t"])
        await self._recipients.look()
        return outcome

    async def _outcome(self, message: Leased, trace: str) -> Outcome:
        try:
            function = await self._repository.find(self._ref)
        except AwsError as error:
            # What was to run has been deleted since the event was accepted.
            document = {"errorMessage": error.message, "errorType": error.code}
            return Failed(orjson.dumps(document), NOT_FOUND)
        if loops(function, trace):
            document = {
                "errorMessage": TOO_MANY_PASSES,
                "errorType": "RecursiveInvocationException",
            }
            return Failed(orjson.dumps(document), RECURSIVE)
        now = self._clock.now()
        if (reason := self._given_up(function, message, now)) is not None:
            return Throttled(reason)
        return await self._run(function, message, passed(trace, function.arn), now)

    def _given_up(self, function: Function, message: Leased, now: int) -> str | None:
        """Why the event is not even tried."""
        if function.document["reserved"] == 0:
            return NO_CONCURRENCY
        limit = retry_policy(function.document, self._ref.qualifier).max_age_ms
        return AGE_EXCEEDED if now - message.sent_at > limit else None

    async def _run(self, function: Function, message: Leased, trace: str, now: int) -> Outcome:
        permit = self._runner.admit(function)
        if isinstance(permit, str):
            return Throttled(permit)
        with permit:
            try:
                result = await self._runner.run(function, message.id, message.body, trace, now)
            except PenstockError as error:
                return Throttled(str(error))
        if result.error is None:
            return Delivered(result.payload, function.version)
        return Failed(result.payload, by=function.version)
