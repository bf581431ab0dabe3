"""`python -m bench`: measure everything, or the scenarios that are named."""

import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import fanout, work
from bench.systems import PEER_PYTHON, System, running

ROUNDS = 3
# Scenario: prepare, connections, target against the peer, target share of the limit.
RATES: dict[str, tuple[Callable[[System], Any], int, float, float | None]] = {
    "SQS SendMessage": (work.send, 64, 8, 0.55),
    "SQS SendMessage FIFO": (work.send_fifo, 64, 0, None),
    "SQS batch cycle": (work.cycle, 64, 8, None),
    "API Gateway to SQS": (work.api, 64, 5, None),
    "DynamoDB PutItem": (work.put, 64, 4, None),
    "DynamoDB GetItem": (work.get, 64, 6, None),
    "Lambda Invoke (warm)": (work.invoke, 4, 30, 0.7),
    "Lambda Invoke (Event)": (work.accept, 64, 100, None),
    "S3 PutObject, small": (fanout.small_objects, 64, 4, None),
}
# Scenario: one measurement on a fresh system, per second, and the target against the peer.
WHOLE: dict[str, tuple[Callable[[System], float], float]] = {
    "orders pipeline": (work.pipeline, 3),
    "SNS to five queues": (fanout.publish, 8),
    "SNS to five queues, raw": (fanout.publish_raw, 8),
    "EventBridge to a queue": (fanout.put_events, 8),
}


def main() -> None:
    """Run, print a table, keep the figures."""
    console = Console()
    console.print(f"on Python {platform.python_version()} of {sys.base_prefix}, both systems alike")
    only = sys.argv[1:]
    wanted = lambda name: not only or any(word.lower() in name.lower() for word in only)  # noqa: E731
    peers = ["penstock", "ministack"] if PEER_PYTHON.exists() else ["penstock"]
    results: dict[str, Any] = {}
    with running("limit") as limit:
        for name, (prepare, connections, _, share) in RATES.items():
            if wanted(name):
                console.print(f"measuring {name}")
                own_limit = prepare is work.invoke
                shared = limit if share and not own_limit else None
                results[name] = _rates(prepare, connections, peers, shared)
                if own_limit:
                    rate = work.runtime_limit(connections)
                    results[name]["limit"] = {"rate": rate}
                console.print(f"  {results[name]}")
    for name, measure in (
        ("start", _start),
        ("first invocation", _cold),
        *((name, partial(_whole, measure)) for name, (measure, _) in WHOLE.items()),
    ):
        if wanted(name):
            console.print(f"measuring {name}")
            results[name] = {peer: measure(peer) for peer in peers}
            console.print(f"  {results[name]}")
    for name, told, measured in (
        ("backlog", "a queue with a million messages", work.backlog),
        ("group", "a FIFO queue with 216,000 messages in one group", work.group),
        ("queues", "10,000 queues", work.queues),
        ("drain", "asynchronous invocations as they are done", work.drain),
        ("functions", "10,000 functions", work.functions),
        ("rules", "a bus with ten rules and one with a thousand", fanout.rules),
        ("large object", "an object of 100 MB", fanout.large_object),
    ):
        if wanted(name):
            console.print(f"measuring {told}")
            with running("penstock") as system:
                results[name] = measured(system)
                console.print(f"  {results[name]}")
    _print(console, results)
    console.print(f"kept in {work.save(results)}")


def _rates(
    prepare: Callable[[System], Any], connections: int, peers: list[str], limit: System | None
) -> dict[str, Any]:
    """Median rates and latencies of rounds taken in turn, so that a slow minute of the machine hits all alike."""
    measured: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as running_systems:
        systems = {peer: running_systems.enter_context(running(peer)) for peer in peers}
        requests = {name: _prepared(prepare, system) for name, system in systems.items()}
        if limit is not None:
            systems["limit"] = limit
            requests["limit"] = requests[peers[0]]
        for _ in range(ROUNDS):
            for name, system in systems.items():
                figures = work.load(
                    system,
                    requests[name],
                    connections=connections,
                    cycle=prepare is work.cycle,
                )
                measured.setdefault(name, []).append(figures)
    return {
        name: {key: median(f[key] for f in figures) for key in ("rate", "p50", "p99")}
        for name, figures in measured.items()
    }


def _prepared(prepare: Callable[[System], Any], system: System) -> Any:
    if prepare is work.get:
        work.load(system, work.put(system), seconds=2)
    return prepare(system)


def _start(name: str) -> dict[str, float]:
    ready, memory = [], []
    for _ in range(ROUNDS):
        with running(name) as system:
            ready.append(system.ready_s)
            memory.append(system.memory_mb())
    return {"ready_s": round(median(ready), 2), "memory_mb": round(median(memory), 1)}


def _cold(name: str) -> float:
    with running(name) as system:
        return round(work.cold(system), 1)


def _whole(measure: Callable[[System], float], name: str) -> float:
    figures = []
    for _ in range(ROUNDS):
        with running(name) as system:
            figures.append(measure(system))
    return round(median(figures), 1)


def _print(console: Console, results: dict[str, Any]) -> None:
    table = Table(title="per second (p99 in ms)")
    for column in ("", "penstock", "ministack", "ratio", "goal", "limit", "share", "goal "):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, (_, _, goal, share) in RATES.items():
        if name in results:
            table.add_row(name, *_row(results[name], goal, share))
    for name, (_, goal) in WHOLE.items():
        if name in results:
            rates = {peer: {"rate": rate} for peer, rate in results[name].items()}
            table.add_row(name, *_row(rates, goal, None))
    console.print(table)
    for name, figures in results.items():
        if name not in RATES and name not in WHOLE:
            console.print(f"{name}: {figures}")


def _row(figures: dict[str, Any], goal: float, share: float | None) -> list[str]:
    own = figures["penstock"]
    peer = figures.get("ministack")
    limit = figures.get("limit")

    def shown(one: dict[str, Any] | None) -> str:
        if one is None:
            return "-"
        return f"{one['rate']:,.0f}" + (f" ({one['p99']:.1f})" if "p99" in one else "")

    return [
        shown(own),
        shown(peer),
        f"{own['rate'] / peer['rate']:.1f}x" if peer else "-",
        f"{goal:g}x" if goal else "-",
        shown(limit),
        f"{own['rate'] / limit['rate']:.0%}" if limit else "-",
        f"{share:.0%}" if share else "-",
    ]


if __name__ == "__main__":
    main()
