"""The jobs of the dramatiq worker. `connection` is what `docs/clients.md` says; the queue is the test's own."""

from pathlib import Path

import dramatiq
from connection import broker

QUEUE = Path("queue.txt").read_text()
broker.dead_letter = True


def write(number: int) -> None:
    """Add a line to the record. Short appends are whole, whoever else is writing."""
    with Path("done.txt").open("a") as done:
        done.write(f"{number}\n")


@dramatiq.actor(queue_name=QUEUE)
def record(number: int) -> None:
    """A job that leaves a trace."""
    write(number)


@dramatiq.actor(queue_name=QUEUE, max_retries=2, min_backoff=1000, max_backoff=1000)
def fail(number: int) -> None:
    """A job that never succeeds; each attempt leaves a trace."""
    write(number)
    raise ValueError(number)
