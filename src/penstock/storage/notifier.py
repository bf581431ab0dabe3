"""Wake-ups within one process."""

import asyncio
from collections import deque


class LocalNotifier:
    """A `Notifier` for waiters on this event loop."""

    def __init__(self) -> None:
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    def notify(self, name: str, count: int = 1) -> None:
        """Wake up to `count` waiters of `name`, longest waiting first."""
        waiters = self._waiters.get(name)
        while waiters and count:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def wait(self, name: str) -> "asyncio.Future[None]":
        """A future that is done at a `notify(name)` from now on."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(name, deque()).append(waiter)
        return waiter

    def forget(self, name: str, waiter: "asyncio.Future[None]") -> None:
        """Stop waiting; a wake-up that was not used goes to the next waiter."""
        waiters = self._waiters.get(name)
        if waiter.done():
            self.notify(name)
            return
        waiter.cancel()
        if waiters is not None:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[name]
