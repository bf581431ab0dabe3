"""The part of AWS's Python client that speaks HTTP to the Runtime API, in place of the native one on libcurl.

`awslambdaric` does everything else: it finds the handler, makes the context, encodes and decodes, and puts errors into
documents. It imports this file under the name of its native half, from the runtime's folder in the function's process
(any Python from 3.9 on; nothing of Penstock is there). A short result goes out together with the question for the next
event, so an event costs the function one write and one read.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# By their names: a function may put something else in their place in the module.
from socket import AF_INET, AF_UNIX, IPPROTO_TCP, TCP_NODELAY, socket
from typing import Any

DEADLINE = "Lambda-Runtime-Deadline-Ms"
BASE = "/2018-06-01/runtime/invocation"
NEXT = f"GET {BASE}/next HTTP/1.1\r\nHost: runtime\r\n\r\n".encode()
# A longer result may be refused for its length, and has to be out before the next event is asked for.
TOGETHER = 64 * 1024
CHUNK = 64 * 1024


class Client:
    """One keep-alive connection, made when first needed."""

    def __init__(self) -> None:
        self._address: str | tuple[str, int] = ""
        self._socket: socket | None = None
        self._unsent = b""
        self._rest = b""

    def find(self, environ: MutableMapping[str, str]) -> None:
        """Learn where the Runtime API is, as long as the function has not changed its variables."""
        name = environ.pop("_PENSTOCK_RUNTIME_API", None)
        if name:
            self._address = f"\0{name}"
        else:
            host, _, port = environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
            self._address = (host, int(port))

    def next(self) -> tuple[bytes, dict[str, Any]]:
        """Wait for an event: its payload, and what comes with it by name of header. Raises RuntimeError."""
        result, self._unsent = self._unsent, b""
        connection = self._connected()
        connection.sendall(result + NEXT)
        if result:
            self._taken()
        status, headers, body = self._read()
        if status != 200:
            raise RuntimeError("Failed to get next")
        headers[DEADLINE] = int(headers[DEADLINE])
        return body, headers

    def post(self, action: str, body: bytes, headers: str) -> None:
        """Say what came of an event: with the next `next` if it is short, else now. Raises RuntimeError."""
        head = f"POST {BASE}/{action} HTTP/1.1\r\nHost: runtime\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        request = head.encode() + body
        if len(body) <= TOGETHER:
            self._unsent = request
            return
        self._connected().sendall(request)
        self._taken()

    def _connected(self) -> socket:
        if self._socket is None:
            self._socket = _connect(self._address)
        return self._socket

    def _taken(self) -> None:
        if self._read()[0] != 202:
            raise RuntimeError("Failed to post invocation response")

    def _read(self) -> tuple[int, dict[str, Any], bytes]:
        """The next answer: status, header fields and body."""
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        lines = data[:end].decode("latin-1").split("\r\n")
        headers: dict[str, Any] = dict([line.split(": ", 1) for line in lines[1:]])
        start = end + 4
        missing = start + int(headers["Content-Length"]) - len(data)
        if missing > 0:
            pieces = [data]
            while missing > 0:
                pieces.append(self._receive())
                missing -= len(pieces[-1])
            data = b"".join(pieces)
        end = len(data) + missing
        self._rest = data[end:]
        return int(lines[0][9:12]), headers, data[start:end]

    def _receive(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(CHUNK)
        if not data:
            raise RuntimeError("the Runtime API has hung up")
        return data


def _connect(address: str | tuple[str, int]) -> socket:
    """By the Unix socket where there is one: it costs the kernel a third of what TCP does."""
    local = isinstance(address, str)
    connection = socket(AF_UNIX if local else AF_INET)
    # An event may come much later, whatever timeout the function has set for the sockets that it makes.
    connection.settimeout(None)
    connection.connect(address)
    if not local:
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    return connection


_client = Client()
next = _client.next


def initialize_client(user_agent: str) -> None:
    """Called before the function's code runs. Nobody here reads the client's name."""
    _client.find(os.environ)  # noqa: TID251 - this process is the function's


def post_invocation_result(
    invoke_id: str, result: bytes, content_type: str, invocation_id: Any = None
) -> None:
    """An event's result. `invocation_id` is for functions that take several events at once."""
    _client.post(f"{invoke_id}/response", result, f"Content-Type: {content_type}\r\n")


def post_error(invoke_id: str, error: str, fault: str, invocation_id: Any = None) -> None:
    """An event's error document. `fault` is X-Ray's view of the same."""
    _client.post(f"{invoke_id}/error", error.encode(), "Content-Type: application/json\r\n")
