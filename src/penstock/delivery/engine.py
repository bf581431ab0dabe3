"""The delivery engine: the subscriptions that are in force, each with a runner of its own."""

import asyncio

from penstock.clock import Clock
from penstock.delivery.fault import Faults
from penstock.delivery.model import Subscription
from penstock.delivery.runner import Runner
from penstock.storage.primitives import Store


class DeliveryEngine:
    """Runs subscriptions until they are removed."""

    def __init__(self, store: Store, clock: Clock, faults: Faults) -> None:
        self._store = store
        self._clock = clock
        self._faults = faults
        self._runners: dict[str, Runner] = {}
        """Also those that take nothing more and still have batches in flight."""

    def add(self, subscription: Subscription) -> None:
        """Start to deliver. A subscription of the same id is replaced.

        Its batches in flight are finished as they began, and still take their places. To add the very same
        subscription again changes nothing.
        """
        runner = self._runners.get(subscription.id)
        if runner is None:
            self._runners[subscription.id] = Runner(
                subscription, self._store, self._clock, self._faults, self._forget
            )
        else:
            runner.follow(subscription)

    def discard(self, id_: str) -> None:
        """Stop to deliver, without waiting for the batches in flight; they are settled as ever."""
        runner = self._runners.get(id_)
        if runner is not None:
            runner.stop()

    async def remove(self, id_: str) -> None:
        """Stop to deliver; returns when the batches in flight are settled."""
        runner = self._runners.get(id_)
        if runner is not None:
            await runner.stop()

    def idle(self) -> bool:
        """Whether every subscription waits for messages or for time."""
        return not any(runner.busy for runner in self._runners.values())

    async def close(self) -> None:
        """Stop every subscription and finish what is in flight."""
        stopped: list[asyncio.Future[None]] = [one.stop() for one in self._runners.values()]
        for drained in stopped:
            await drained

    def _forget(self, runner: Runner) -> None:
        self._runners.pop(runner.subscription.id, None)
