"""A closed-loop HTTP load generator: so many connections, each with one request in flight.

It runs as its own process (`python load.py` reads a job as JSON on stdin and prints a result), so that what it
costs is the same for whoever is measured. Requests are built before the clock starts.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop


@dataclass
class Result:
    """What a run measured; latencies in ms."""

    done: int = 0
    errors: int = 0
    seconds: float = 0.0
    messages: int = 0
    """Messages that went through a whole cycle."""
    latencies: list[float] = field(default_factory=list)
    first_error: str = ""

    def summary(self) -> dict[str, float | int | str]:
        """Rate per second and percentiles."""
        ordered = sorted(self.latencies)
        at = lambda q: ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else 0.0  # noqa: E731
        return {
            "done": self.done,
            "errors": self.errors,
            "seconds": round(self.seconds, 3),
            "rate": round((self.messages or self.done) / self.seconds, 1) if self.seconds else 0,
            "p50": round(at(0.5), 3),
            "p99": round(at(0.99), 3),
            "first_error": self.first_error,
        }


Next = Callable[[bytes], bytes | None]
"""From the last answer (empty at first) to the next request; None at the end."""
_HANDLE = re.compile(rb'"ReceiptHandle":\s*"([^"]+)"')


class Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is complete."""

    def __init__(self, next_request: Next, result: Result, done: asyncio.Future[None]) -> None:
        self.next_request = next_request
        self.result = result
        self.done = done
        self.buffer = b""
        self.need = -1
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send(b"")

    def send(self, answer: bytes) -> None:
        request = self.next_request(answer)
        if request is None:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.started = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if self.need < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[: end + 2].lower()
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                self.need = end + 4 + int(head[at + 17 : head.index(b"\r\n", at + 17)])
            elif b"\r\ntransfer-encoding: chunked" in head:
                if not self.buffer.endswith(b"0\r\n\r\n"):
                    return
                self.need = len(self.buffer)
            else:
                self.need = end + 4
        if len(self.buffer) < self.need:
            return
        self.result.latencies.append((time.perf_counter() - self.started) * 1000)
        status = self.buffer[9:10]
        if status == b"2":
            self.result.done += 1
        else:
            self.result.errors += 1
            if not self.result.first_error:
                self.result.first_error = self.buffer[:600].decode("latin-1")
        answer, self.buffer = self.buffer, b""
        self.need = -1
        self.send(answer)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.result.errors += 1
            self.result.first_error = self.result.first_error or f"connection lost: {error}"
            self.done.set_result(None)


async def run(
    host: str,
    port: int,
    requests: list[bytes],
    *,
    connections: int,
    seconds: float,
    warmup: float = 0.5,
    count: int = 0,
    cycle: bool = False,
) -> Result:
    """Send `requests` round and round for `seconds`, after a warm-up that is not counted; or `count` of them.

    A cycle is three requests: one sends a batch, one receives, and one deletes what was received.
    """
    loop = asyncio.get_running_loop()
    result = Result()
    started = time.perf_counter()
    counting_from = started + warmup
    deadline = counting_from + seconds
    index = 0
    counting = False

    def next_request(_: bytes) -> bytes | None:
        nonlocal index, counting
        now = time.perf_counter()
        if not counting and now >= counting_from:
            counting = True
            result.done = result.errors = result.messages = 0
            result.latencies.clear()
        if now >= deadline or (count and index == count):
            return None
        request = requests[index % len(requests)]
        index += 1
        return request

    waits = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        following = Cycle(requests, next_request, result).next if cycle else next_request
        await loop.create_connection(
            lambda following=following, done=done: Connection(following, result, done), host, port
        )
        waits.append(done)
    await asyncio.wait_for(asyncio.gather(*waits), seconds + warmup + 60)
    result.seconds = time.perf_counter() - counting_from
    return result


class Cycle:
    """Send ten, receive ten, delete what was received, on one connection."""

    def __init__(self, requests: list[bytes], more: Next, result: Result) -> None:
        self._send, self._receive, delete = requests
        head, _, body = delete.partition(b"\r\n\r\n")
        self._head = re.sub(rb"content-length: \d+\r\n", b"", head)
        self._body = body.rstrip(b"}")
        self._more = more
        self._result = result
        self._state = 0

    def next(self, answer: bytes) -> bytes | None:
        """The next request; the run ends when `more` says so."""
        if self._more(b"") is None:
            return None
        self._state += 1
        if self._state % 3 == 1:
            return self._send
        if self._state % 3 == 2:
            return self._receive
        handles = _HANDLE.findall(answer)
        if not handles:
            self._state = 1
            return self._send
        self._result.messages += len(handles)
        entries = b",".join(
            b'{"Id":"%d","ReceiptHandle":"%s"}' % pair for pair in enumerate(handles)
        )
        body = b'%s,"Entries":[%s]}' % (self._body, entries)
        return b"%s\r\ncontent-length: %d\r\n\r\n%s" % (self._head, len(body), body)


def http(method: str, path: str, headers: dict[str, str], body: bytes, host: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def main() -> None:
    """Read a job from stdin: host, port, connections, seconds, requests as [method, path, headers, body]."""
    job = json.load(sys.stdin)
    host = f"{job['host']}:{job['port']}"
    requests = [http(m, p, h, b.encode(), host) for m, p, h, b in job["requests"]]
    result = uvloop.run(
        run(
            job["host"],
            job["port"],
            requests,
            connections=job["connections"],
            seconds=job["seconds"],
            warmup=0 if job["count"] else 0.5,
            count=job["count"],
            cycle=job["cycle"],
        )
    )
    print(json.dumps(result.summary()))


if __name__ == "__main__":
    main()
