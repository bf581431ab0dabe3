"""The jobs of the Celery worker. `connection` is what `docs/clients.md` says; the queue is the test's own."""

import os
import time
from pathlib import Path

from connection import app

app.conf.task_default_queue = Path("queue.txt").read_text()
app.conf.task_acks_late = True


def write(number: int) -> None:
    """Add a line to the record. Short appends are whole, whoever else is writing."""
    with Path("done.txt").open("a") as done:
        done.write(f"{number}\n")


@app.task
def record(number: int) -> None:
    """A job that leaves a trace."""
    write(number)


@app.task
def stall(number: int) -> None:
    """A job that never ends for the first worker that takes it, and does for the next."""
    try:
        os.close(os.open("stalled", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        write(number)
    else:
        time.sleep(600)
