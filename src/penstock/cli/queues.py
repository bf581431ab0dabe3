"""`penstock queues` and `penstock redrive`."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from penstock.cli.client import ask, make_client, region
from penstock.core.errors import PenstockError

_POLL_S = 0.2


class RedriveError(PenstockError):
    """Dead letters could not be moved; the message says why."""


def show_queues(endpoint: str) -> None:
    """Print each queue with its depth, what is in flight, the age of its oldest message, and its dead letters."""
    table = Table(title=f"Queues in {region()} at {endpoint}")
    table.add_column("queue", overflow="fold", min_width=20)
    for column in ("visible", "in flight", "delayed", "oldest", "dead letters"):
        table.add_column(column, justify="right")
    queues = ask(endpoint, "GET", "/_penstock/queues")
    by_arn = {queue["arn"]: queue for queue in queues}
    for queue in queues:
        dead = by_arn.get(queue["dead_letter"])
        letters = (
            "-" if dead is None else str(dead["visible"] + dead["in_flight"] + dead["delayed"])
        )
        table.add_row(
            queue["name"],
            str(queue["visible"]),
            str(queue["in_flight"]),
            str(queue["delayed"]),
            _age(queue["oldest_ms"]),
            letters,
        )
    console = Console()
    # A pipe has no width: names stay whole, to be copied.
    (console if console.is_terminal else Console(width=200)).print(table)


def redrive(endpoint: str, queue: str, destination: str | None, rate: int | None) -> int:
    """Move the messages of a dead-letter queue back, with a progress bar. Returns how many were moved."""
    sqs = make_client("sqs", endpoint)
    source = queue if queue.startswith("arn:") else _arn(sqs, queue)
    request: dict[str, Any] = {"SourceArn": source}
    if destination:
        request["DestinationArn"] = (
            destination if destination.startswith("arn:") else _arn(sqs, destination)
        )
    if rate:
        request["MaxNumberOfMessagesPerSecond"] = rate
    sqs.start_message_move_task(**request)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task(f"redrive {source.rsplit(':', 1)[-1]}", total=None)
        while True:
            (task,) = sqs.list_message_move_tasks(SourceArn=source)["Results"]
            moved = task["ApproximateNumberOfMessagesMoved"]
            total = max(moved, task["ApproximateNumberOfMessagesToMove"])
            progress.update(bar, completed=moved, total=total)
            if task["Status"] not in ("RUNNING", "CANCELLING"):
                break
            time.sleep(_POLL_S)
    if task["Status"] != "COMPLETED":
        raise RedriveError(f"the task ended as {task['Status']}: {task.get('FailureReason', '')}")
    return int(moved)


def _arn(sqs: Any, name: str) -> str:
    url = name if "://" in name else sqs.get_queue_url(QueueName=name)["QueueUrl"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def _age(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
