"""`penstock demo`: the orders application, for real, from one command."""

import contextlib
import hashlib
import hmac
import http.client
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from penstock.cli.client import ask, make_client
from penstock.cli.deploy import deploy

_SECRET: Final = "demo-secret"
_CLIENTS: Final = 8
_PATIENCE_S: Final = 120


@dataclass
class Tally:
    """What the senders saw; `accepted_at` in ms by order id."""

    accepted_at: dict[str, int] = field(default_factory=dict)
    refused: list[int] = field(default_factory=list)
    """Statuses of the webhooks that had to be refused, and were."""
    errors: list[str] = field(default_factory=list)


def run(orders: int) -> int:
    """Run the demonstration. Returns the exit status: 0 if every order ended as it should."""
    console = Console()
    with (
        tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder,
        _server(folder, console) as port,
    ):
        endpoint = f"http://127.0.0.1:{port}"
        started = time.monotonic()
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        parameters = {
            "PythonRuntime": version,
            "WebhookSecret": _SECRET,
            "ConsumerTimeout": "4",
            "VisibilityTimeout": "4",
        }
        with console.status("deploying examples/orders"):
            outputs = deploy(_template(), "orders", parameters, endpoint, lambda _: None).outputs
        console.print(f"deployed examples/orders in {time.monotonic() - started:.1f} s")
        return _run_orders(console, endpoint, port, outputs, orders)


def _run_orders(
    console: Console, endpoint: str, port: int, outputs: dict[str, str], orders: int
) -> int:
    poison = max(1, orders // 50)
    webhooks = max(1, orders // 20)
    unsigned = max(1, orders // 100)
    tally = Tally()
    work = _requests(outputs["ApiId"], orders, poison, webhooks, unsigned)
    began = _now()
    columns = (TextColumn("{task.description:>13}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        bars = {
            "accepted": progress.add_task("accepted", total=orders),
            "done": progress.add_task("done", total=orders - poison),
            "dead-lettered": progress.add_task("dead-lettered", total=poison),
        }
        senders = [
            threading.Thread(target=_send, args=(port, work, tally), daemon=True)
            for _ in range(_CLIENTS)
        ]
        for sender in senders:
            sender.start()
        done, dead = _follow(progress, bars, endpoint, outputs, tally, (orders - poison, poison))
        for sender in senders:
            sender.join()
    _report(console, tally, done, dead, began)
    ok = (
        len(tally.accepted_at) == orders
        and len(done) == orders - poison
        and dead == poison
        and len(tally.refused) == unsigned
    )
    for error in tally.errors[:3]:
        console.print(f"[red]{error}")
    if ok:
        console.print(
            f"{unsigned} unsigned webhooks were refused; {poison} orders asked for a product that is not in the"
            " catalogue, were tried three times, and wait in the dead-letter queue."
        )
    else:
        console.print("[red]The demonstration did not end as it should.")
    return 0 if ok else 1


def _follow(
    progress: Progress,
    bars: dict[str, TaskID],
    endpoint: str,
    outputs: dict[str, str],
    tally: Tally,
    expected: tuple[int, int],
) -> tuple[dict[str, int], int]:
    """Poll until every order has ended. Returns when each was done (ms), and how many dead letters there are."""
    dynamodb = make_client("dynamodb", endpoint)
    deadline = time.monotonic() + _PATIENCE_S
    dead_arn = outputs["DeadLetterQueueArn"]
    while True:
        done = _done(dynamodb, outputs["TableName"])
        queues = {q["arn"]: q for q in ask(endpoint, "GET", "/_penstock/queues")}
        dead = queues[dead_arn]["visible"]
        progress.update(bars["accepted"], completed=len(tally.accepted_at))
        progress.update(bars["done"], completed=len(done))
        progress.update(bars["dead-lettered"], completed=dead)
        if (len(done), dead) == expected or tally.errors or time.monotonic() > deadline:
            return done, dead
        time.sleep(0.5)


def _done(dynamodb: Any, table: str) -> dict[str, int]:
    done = {}
    for page in dynamodb.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="id, updated_at",
        FilterExpression="#status = :done",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":done": {"S": "DONE"}},
    ):
        for item in page["Items"]:
            done[item["id"]["S"]] = int(item["updated_at"]["N"])
    return done


def _report(console: Console, tally: Tally, done: dict[str, int], dead: int, began: int) -> None:
    took = sorted(at - tally.accepted_at[i] for i, at in done.items() if i in tally.accepted_at)
    seconds = (max(done.values(), default=began) - began) / 1000 or 1
    table = Table(title="1,000 orders" if len(tally.accepted_at) == 1000 else "orders")
    for column in ("accepted", "done", "dead-lettered", "orders/s", "p50", "p99"):
        table.add_column(column, justify="right")

    def at(share: float) -> str:
        return f"{max(0, took[min(len(took) - 1, int(len(took) * share))]):,} ms" if took else "-"

    table.add_row(
        f"{len(tally.accepted_at):,}",
        f"{len(done):,}",
        str(dead),
        f"{len(done) / seconds:,.0f}",
        at(0.5),
        at(0.99),
    )
    console.print(table)
    console.print("orders/s until the last good order; p50 and p99 from accepted to done")


Call = tuple[str, dict[str, str], bytes, int]
"""Path, headers, body, expected status."""


def _requests(
    api: str, orders: int, poison: int, webhooks: int, unsigned: int
) -> "queue.SimpleQueue[Call]":
    """Orders by API and by webhook, poison spread among them, and webhooks that must be refused."""
    base = f"/restapis/{api}/v1/_user_request_"
    work: queue.SimpleQueue[Call] = queue.SimpleQueue()
    products = ("book", "lamp", "pen")
    plain = {"content-type": "application/json"}
    for n in range(orders):
        product = (
            "unicorn"
            if n % (orders // poison) == 7 and n // (orders // poison) < poison
            else products[n % 3]
        )
        body = json.dumps({"product": product, "quantity": n % 5 + 1}).encode()
        if n < webhooks and product != "unicorn":
            signature = hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()
            work.put((f"{base}/webhooks/payments", {**plain, "x-signature": signature}, body, 202))
        else:
            work.put((f"{base}/orders", plain, body, 202))
    for _ in range(unsigned):
        work.put((f"{base}/webhooks/payments", plain, b"{}", 401))
    return work


def _send(port: int, work: "queue.SimpleQueue[Call]", tally: Tally) -> None:
    try:
        _send_all(port, work, tally)
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        tally.errors.append(f"a sender ended early: {type(error).__name__}: {error}")


def _send_all(port: int, work: "queue.SimpleQueue[Call]", tally: Tally) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.suppress(queue.Empty):
        while not tally.errors:
            path, headers, body, expected = work.get_nowait()
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != expected:
                tally.errors.append(
                    f"POST {path}: {response.status} {answer.decode(errors='replace')}"
                )
            elif expected == 401:
                tally.refused.append(response.status)
            else:
                tally.accepted_at[json.loads(answer)["id"]] = _now()


@contextlib.contextmanager
def _server(folder: str, console: Console) -> Iterator[int]:
    """A Penstock of its own, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = Path(folder) / "penstock.log"
    command = [
        sys.executable,
        "-m",
        "penstock",
        "up",
        "--port",
        str(port),
        "--data",
        f"{folder}/data",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        started = time.monotonic()
        while True:
            try:
                ask(f"http://127.0.0.1:{port}", "GET", "/_penstock/health")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - started > 30:
                    raise RuntimeError(f"Penstock did not start: {log.read_text()}") from None
                time.sleep(0.02)
        console.print(
            f"Penstock is ready on http://127.0.0.1:{port} after {time.monotonic() - started:.1f} s"
        )
        yield port
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def _template() -> Path:
    """The application's template: inside the package, or beside the sources."""
    packaged = Path(str(files("penstock"))) / "examples" / "orders" / "template.yaml"
    if packaged.exists():
        return packaged
    return Path(__file__).parents[3] / "examples" / "orders" / "template.yaml"


def _now() -> int:
    return time.time_ns() // 1_000_000
