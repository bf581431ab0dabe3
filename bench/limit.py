"""The machine's limit: a bare granian handler that inserts the same bytes under the same group commit, and nothing else."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import apsw
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from penstock.storage.sqlite.commit import GroupCommit

ANSWER = b'{"MD5OfMessageBody":"0cc175b9c0f1b6a831c399e269772661","MessageId":"00000000-0000-0000-0000-000000000000"}'


async def main(port: int, folder: Path) -> None:
    """Serve until SIGTERM."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "limit.db"
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    group = GroupCommit(connection, path)
    execute = connection.cursor().execute

    async def application(scope: Any, protocol: Any) -> None:
        body = await protocol()
        if body:
            group.begin()
            execute("INSERT INTO message (body) VALUES (?)", (body,))
            await group.durable(group.epoch)
        protocol.response_bytes(200, [("content-type", "application/x-amz-json-1.0")], ANSWER)

    server = Server(
        application, port=port, interface=Interfaces.RSGI, log_enabled=False, backlog=4096
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()
    await group.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2])))
