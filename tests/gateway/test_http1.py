"""The HTTP server as a socket sees it: framing, limits, order, endings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from penstock.api import HttpRequest, HttpResponse
from penstock.clock import VirtualClock
from penstock.gateway.answering import Durability
from penstock.gateway.http1 import MAX_HEADER, HttpServer
from penstock.storage.sqlite import SqliteStore
from tests.conftest import free_port

MAX_BODY = 1000


class Client:
    """A connection, and the requests that have reached the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen: list[HttpRequest] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def ended(self) -> bool:
        return await self.reader.read() == b""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Client, HttpServer, VirtualClock]]:
    clock = VirtualClock(1_700_000_000_000)

    async def answer(request: HttpRequest) -> HttpResponse:
        client.seen.append(request)
        await client.gate.wait()
        if request.path == "/fault":
            raise KeyError("a fault")
        if request.path == "/empty":
            return HttpResponse(204)
        if request.path == "/apart":
            return HttpResponse(200, [("x-path", request.path)], rests_on=0)
        headers = [("x-path", request.path), ("x-break", "a\r\nx-forged: yes")]
        return HttpResponse(200, headers, request.body or b"hello")

    def unavailable(_: HttpRequest, error: Exception) -> HttpResponse:
        return HttpResponse(503, [], str(error).encode())

    store = await SqliteStore.open(":memory:")
    server = HttpServer(answer, Durability(store, unavailable), clock, MAX_BODY)
    port = free_port()
    await server.start("127.0.0.1", port)
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client, server, clock
    finally:
        client.gate.set()
        client.writer.close()
        await server.stop()
        await store.close()


def scenario(
    test: Callable[[Client, HttpServer, VirtualClock], Awaitable[None]],
) -> Callable[[], None]:
    """Run a test with a server and a client of its own."""

    async def run() -> None:
        async with connected() as (client, server, clock):
            await asyncio.wait_for(test(client, server, clock), 10)

    def wrapped() -> None:
        asyncio.run(run())

    wrapped.__doc__ = test.__doc__
    return wrapped


@scenario
async def test_keep_alive(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A connection serves one request after another; the date is the clock's."""
    for body in (b"one", b"two"):
        await c.send(b"POST /a%2Fb?q=%20 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n" + body)
        status, headers, answer = await c.answer()
        assert (200, body) == (status, answer)
    assert ("/a%2Fb", "q=%20") == (c.seen[0].path, c.seen[0].query)
    assert "Tue, 14 Nov 2023 22:13:20 GMT" == headers["date"]


@scenario
async def test_pipelined_requests_are_answered_in_order(
    c: Client, s: HttpServer, clock: VirtualClock
) -> None:
    """Requests that come at once are served one at a time."""
    await c.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n" % n for n in range(40)))

    assert [f"/{n}" for n in range(40)] == [(await c.answer())[1]["x-path"] for _ in range(40)]


@scenario
async def test_chunked_body(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A body of unknown length is put together."""
    await c.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await c.send(b"2\r\nde\r\n0\r\n\r\n")

    assert b"abcde" == (await c.answer())[2]


@scenario
async def test_large_bodies_on_one_connection(
    c: Client, s: HttpServer, clock: VirtualClock
) -> None:
    """The end of a long body is not taken for a long header."""
    s.max_body = 1 << 20
    for _ in range(2):
        body = b"x" * 900_000
        await c.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 900000\r\n\r\n" + body)
        assert body == (await c.answer())[2]


@scenario
async def test_expect_continue(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A client that asks first is told to go on."""
    await c.send(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await c.reader.readuntil(b"\r\n\r\n")
    await c.send(b"ok")

    assert b"ok" == (await c.answer())[2]


@scenario
async def test_announced_body_too_large(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A body that is announced as too large is not waited for."""
    await c.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1001\r\n\r\n")

    assert 413 == (await c.answer())[0]
    assert await c.ended()
    assert [] == c.seen


@scenario
async def test_chunked_body_too_large(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A body that grows too large is not kept."""
    await c.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    await c.send(b"3e9\r\n" + b"x" * 1001 + b"\r\n")

    assert 413 == (await c.answer())[0]
    assert await c.ended()


@scenario
async def test_header_too_large(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A header without end is not kept: the connection ends while the client is still talking."""
    await c.send(b"GET / HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(10_000):
            await c.send(b"x-filler: " + b"x" * (MAX_HEADER // 4) + b"\r\n")
        raise AssertionError("the server took 160 MB of header")

    assert [] == c.seen


@scenario
async def test_not_http(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """Other protocols get a 400 and the end."""
    await c.send(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")

    assert 400 == (await c.answer())[0]
    assert await c.ended()


@scenario
async def test_bad_length(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A length that is none is not taken for one."""
    await c.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n")

    assert 400 == (await c.answer())[0]


@scenario
async def test_fault(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A fault of ours is a 500 that the next request does not notice."""
    await c.send(b"GET /fault HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n")

    assert [500, 200] == [(await c.answer())[0], (await c.answer())[0]]


@scenario
async def test_header_values_cannot_forge_fields(
    c: Client, s: HttpServer, clock: VirtualClock
) -> None:
    """A line break in a value stays in the value's line."""
    await c.send(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    _, headers, _ = await c.answer()

    assert "x-forged" not in headers
    assert "a  x-forged: yes" == headers["x-break"]


@scenario
async def test_head_and_empty(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """An answer without a body leaves nothing of one behind."""
    await c.send(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n")
    head = await c.reader.readuntil(b"\r\n\r\n")
    assert b"content-length: 5" in head
    await c.send(b"GET /empty HTTP/1.1\r\nhost: h\r\n\r\n")
    status, headers, _ = await c.answer()

    assert (204, False) == (status, "content-length" in headers)


@scenario
async def test_connection_close(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A client that asks for the end gets it after its answer."""
    await c.send(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")

    assert "close" == (await c.answer())[1]["connection"]
    assert await c.ended()


@scenario
async def test_upgrade_is_not_offered(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """A request that would like another protocol is answered in this one."""
    await c.send(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")

    assert 200 == (await c.answer())[0]


@scenario
async def test_repeated_fields(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """The first of several fields is found by name, all of them are told."""
    await c.send(b"GET / HTTP/1.1\r\nhost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
    await c.answer()

    headers = c.seen[0].headers
    assert "1" == headers.get("x-a")
    assert ["1", "2"] == [value for name, value in headers.items() if name == "x-a"]


@scenario
async def test_answers_wait_for_what_they_speak_of(
    c: Client, s: HttpServer, clock: VirtualClock
) -> None:
    """An answer that rests on nothing new is there while a group is open; any other waits for it."""
    async with s.durability.store.transaction() as tx:
        await tx.table.put("t", b"p", b"s", b"")
        await c.send(b"GET /apart HTTP/1.1\r\nhost: h\r\n\r\nGET /new HTTP/1.1\r\nhost: h\r\n\r\n")
        assert "/apart" == (await c.answer())[1]["x-path"]
        waiting = asyncio.create_task(c.answer())
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        assert ["/apart", "/new"] == [request.path for request in c.seen]
    assert "/new" == (await waiting)[1]["x-path"]


@scenario
async def test_stop_finishes_what_is_in_flight(
    c: Client, s: HttpServer, clock: VirtualClock
) -> None:
    """The end waits for answers, and idle connections do not keep it waiting."""
    c.gate.clear()
    await c.send(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
    while not c.seen:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(s.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    c.gate.set()

    assert "close" == (await c.answer())[1]["connection"]
    await stopping


@scenario
async def test_silent_connections_are_closed(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """Who says nothing for long does not hold a connection."""
    await c.send(b"GET / HTTP/1.1\r\n")
    while not s.connections:
        await asyncio.sleep(0)

    async def settle() -> None:
        await asyncio.sleep(0)

    await clock.advance(200_000, settle)
    assert await c.ended()


@scenario
async def test_thousands_in_one_packet(c: Client, s: HttpServer, clock: VirtualClock) -> None:
    """However many requests a client sends at once, each is answered, in order, and none on the stack of another."""
    count = 3000
    await c.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % n for n in range(count)))
    paths = [(await c.answer())[1]["x-path"] for _ in range(count)]
    assert paths == [f"/{n}" for n in range(count)]
