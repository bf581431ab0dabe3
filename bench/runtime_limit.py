"""The limit of invocations: awslambdaric against a Runtime API that hands out events and forgets the answers."""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import httptools
import uvloop

EVENT = b'{"hello": "world"}'
HANDLER = "def handler(event, context):\n    return event\n"


class Api(asyncio.Protocol):
    """Answers `next` at once with the same event, and every answer with 202."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        if self.url.endswith(b"/next"):
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Lambda-Runtime-Aws-Request-Id: {Api.answered:036d}\r\n"
                f"Lambda-Runtime-Deadline-Ms: {time.time_ns() // 1_000_000 + 30_000}\r\n"
                "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:echo\r\n"
                f"Content-Length: {len(EVENT)}\r\n\r\n"
            )
            self.transport.write(head.encode() + EVENT)
        else:
            Api.answered += 1
            self.transport.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


async def main(environments: int, seconds: float) -> None:
    """Print the events a second that so many environments take."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Api, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bench-runtime-") as folder:
        (Path(folder) / "main.py").write_text(HANDLER)
        environment = os.environ | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "LAMBDA_TASK_ROOT": folder,
            "_HANDLER": "main.handler",
        }
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "awslambdaric",
                "main.handler",
                cwd=folder,
                env=environment,
                stdout=asyncio.subprocess.DEVNULL,
            )
            for _ in range(environments)
        ]
        try:
            while Api.answered < environments * 50:
                await asyncio.sleep(0.01)
            before, started = Api.answered, time.perf_counter()
            await asyncio.sleep(seconds)
            print((Api.answered - before) / (time.perf_counter() - started))
        finally:
            for process in processes:
                process.kill()
                await process.wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
