"""The client that functions run, and the endpoint that it speaks to, byte by byte."""

import asyncio
import runpy
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime import launcher
from penstock.runtime.model import Invocation
from penstock.runtime.runtime_api import Connection, event_headers

Module = dict[str, Any]
BASE = b"/2018-06-01/runtime/invocation"


def new_client(port: int, patch: pytest.MonkeyPatch) -> Module:
    patch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{port}")
    client = runpy.run_path(str(Path(launcher.__file__).with_name("runtime_client.py")))
    client["initialize_client"]("test")
    return client


def event(body: bytes) -> bytes:
    head = f"Lambda-Runtime-Aws-Request-Id: r1\r\nLambda-Runtime-Deadline-Ms: 17\r\nContent-Length: {len(body)}"
    return f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body


ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n"


def serving(answers: bytes, size: int) -> tuple[int, Callable[[], bytes]]:
    """A server for one connection that says `answers` in pieces; what it was asked is known when the client hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = bytearray()

    def run() -> None:
        with listener, listener.accept()[0] as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(answers), size):
                connection.sendall(answers[at : at + size])
            while data := connection.recv(65536):
                heard.extend(data)

    thread = threading.Thread(target=run)
    thread.start()

    def all_heard() -> bytes:
        thread.join(10)
        return bytes(heard)

    return listener.getsockname()[1], all_heard


def hang_up(client: Module) -> None:
    client["_client"]._socket.close()


@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=4), size=st.integers(1, 400))
def test_answers_in_pieces_are_put_together(bodies: list[bytes], size: int) -> None:
    """Where the network cuts an answer changes nothing of it, and nothing of the next one is lost."""
    answers = ACCEPTED.join(event(body) for body in bodies)
    port, heard = serving(answers, size)
    with pytest.MonkeyPatch.context() as patch:
        client = new_client(port, patch)
        for number, body in enumerate(bodies):
            if number:
                client["post_invocation_result"]("r1", b"{}", "application/json")
            payload, headers = client["next"]()
            assert payload == body
            assert headers["Lambda-Runtime-Aws-Request-Id"] == "r1"
            assert headers["Lambda-Runtime-Deadline-Ms"] == 17
    hang_up(client)
    assert heard().count(b"GET " + BASE + b"/next HTTP/1.1\r\n") == len(bodies)


@pytest.mark.parametrize(("size", "asked_first"), [(64, True), (70_000, False)])
def test_result_that_may_be_refused_is_out_before_the_next_event(
    size: int, asked_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one goes with the question for the next event, and is refused there."""
    port, heard = serving(event(b"1") + REFUSED, 1000)
    client = new_client(port, monkeypatch)
    client["next"]()
    with pytest.raises(RuntimeError, match="Failed to post invocation response"):
        client["post_invocation_result"]("r1", b"x" * size, "application/json")
        client["next"]()
    hang_up(client)
    assert heard().count(b"/next ") == 1 + asked_first


def test_server_that_hangs_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function whose environment has gone ends, and does not wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = new_client(listener.getsockname()[1], monkeypatch)
        client["_client"]._connected()
        listener.accept()[0].close()
        with pytest.raises(RuntimeError, match="hung up"):
            client["next"]()


class Proxied(socket.socket):
    """A socket that reaches nobody here."""

    def connect(self, address: Any) -> None:
        raise OSError(address)


def test_what_a_function_does_to_its_process_does_not_reach_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Proxies take the place of sockets, modules set a timeout for all of them, tests clear the variables."""
    port, heard = serving(event(b"1"), 1000)
    client = new_client(port, monkeypatch)
    before = socket.getdefaulttimeout()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_LAMBDA_RUNTIME_API")
        patch.setattr(socket, "socket", Proxied)
        socket.setdefaulttimeout(5)
        try:
            assert client["next"]()[0] == b"1"
        finally:
            socket.setdefaulttimeout(before)
    assert client["_client"]._socket.gettimeout() is None
    hang_up(client)
    assert heard().startswith(b"GET ")


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))


class Calls:
    """Takes every response, and lets who asks for an event wait."""

    def on_next(self, connection: Connection) -> None:
        pass

    def on_response(self, connection: Connection, request_id: str, body: bytes) -> None:
        connection.accept()

    on_error = on_response

    def on_init_error(self, connection: Connection, body: bytes) -> None:
        raise AssertionError

    def on_extension(self, connection: Connection, action: str, body: bytes) -> None:
        raise AssertionError


POST = b"POST " + BASE + b"/r1/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
NEXT = b"GET " + BASE + b"/next HTTP/1.1\r\nHost: x\r\n\r\n"


def test_post_is_accepted_at_once_or_together_with_the_event_that_was_asked_for() -> None:
    """Other clients wait for the acceptance before they ask; Penstock's own reads both at once."""
    transport = Transport()
    connection = Connection(Calls())
    connection.connection_made(transport)
    connection.data_received(POST)
    assert [text[:12] for text in transport.written] == [b"HTTP/1.1 202"]
    connection.data_received(NEXT)
    connection.answer(200, b"1")
    assert [text[:12] for text in transport.written[1:]] == [b"HTTP/1.1 200"]
    connection.data_received(POST + NEXT)
    assert len(transport.written) == 2
    connection.answer(200, b"2")
    (last,) = transport.written[2:]
    assert last.startswith(b"HTTP/1.1 202")
    assert b"HTTP/1.1 200" in last


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        ("Root=1-2-3;Sampled=1", True),
        ("a\r\nb", False),
        ("a\r\nContent-Length: 1", False),
        ("日", False),
    ],
)
def test_trace_that_is_no_header_is_left_out(trace: str, told: bool) -> None:
    """Whoever sends an event must not be able to say what else its function hears, or to end it."""
    transport = Transport()
    connection = Connection(Calls())
    connection.connection_made(transport)
    event = Invocation(request_id="r1", payload=b"{}", invoked_arn="arn", trace=trace)
    connection.answer(200, b"{}", event_headers(event, 17))
    lines = transport.written[0].split(b"\r\n")
    assert (f"Lambda-Runtime-Trace-Id: {trace}".encode() in lines) == told
    assert all(b": " in line for line in lines[1:-2])
    assert 1 == sum(line.startswith(b"Content-Length: ") for line in lines)
