"""What the server asks of those who answer, and coroutines of answers: one begun without a task, one with a body to leave unread."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import coroutine
from typing import Any

from penstock.api import Answering, HttpRequest, HttpResponse
from penstock.gateway.incoming import IncomingBody
from penstock.storage.primitives import Store

Answerer = Callable[[HttpRequest], Answering]
TakesStream = Callable[[HttpRequest], bool]
"""Whether a request, of which only the header is there, is answered while its body comes in."""


@dataclass(frozen=True, slots=True)
class Durability:
    """What every answer waits for, and the answer to a request whose effects were lost on the way there."""

    store: Store
    unavailable: Callable[[HttpRequest, Exception], HttpResponse]


async def with_rest(work: Answering, stream: IncomingBody) -> HttpResponse:
    """The answer to a request with a stream, of which nobody reads what is left then."""
    try:
        return await work
    finally:
        stream.drop()


@coroutine
def resumed(work: Answering, waiting: Any) -> Generator[Any, Any, HttpResponse]:
    """The rest of a coroutine that has run until it waits for `waiting`."""
    try:
        while True:
            try:
                value = yield waiting
            except BaseException as error:  # noqa: BLE001 -- whatever is thrown in belongs to the coroutine
                waiting = work.throw(error)
            else:
                waiting = work.send(value)
    except StopIteration as done:
        response: HttpResponse = done.value
        return response
