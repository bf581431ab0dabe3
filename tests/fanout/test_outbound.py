"""HTTP to the outside."""

import asyncio
from contextlib import suppress

import pytest

from penstock.core.errors import AwsError
from penstock.fanout import Outbound, OutboundAnswer


def answered(*pieces: bytes) -> OutboundAnswer:
    """What comes of an endpoint that writes its answer piece by piece."""

    async def scenario() -> OutboundAnswer:
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                size = sum(map(len, pieces))
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    # Time for the reader to see this piece by itself.
                    for _ in range(20):
                        await asyncio.sleep(0)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        outbound = Outbound()
        try:
            return await outbound.send(
                "GET", f"http://127.0.0.1:{port}/", {}, b"", timeout_ms=10_000
            )
        finally:
            await outbound.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario())


def test_an_answer_is_read_to_its_end() -> None:
    """It may come in several pieces."""
    assert answered(b'{"access_t', b'oken": 1}').body == b'{"access_token": 1}'


def test_an_answer_without_end_is_not_read() -> None:
    """An endpoint must not fill the memory."""
    with pytest.raises(AwsError, match="too long"):
        answered(*[b"x" * 300_000] * 4)
