"""A request's body while it comes in, no faster than it is read."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.core.errors import AwsError

# So many bytes may wait to be read before the client has to.
_MOST: Final = 1024 * 1024


class IncomingBody:
    """The pieces of one body: the connection feeds, whoever answers reads."""

    sha256: str | None = None
    announced: Sequence[str] = ()
    trailers: Mapping[str, str] = {}

    def __init__(self, transport: asyncio.Transport, length: int | None) -> None:
        self.length = length
        self._transport = transport
        self._pieces: list[bytes] = []
        self._size = 0
        self._complete = False
        self._broken = False
        self._dropped = False
        self._paused = False
        self._reader: asyncio.Future[None] | None = None

    def feed(self, piece: bytes) -> None:
        """A piece has come."""
        if self._dropped:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _MOST and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def finish(self) -> None:
        """All has come."""
        self._complete = True
        self._wake()

    def break_off(self) -> None:
        """The rest will not come."""
        self._broken = True
        self._wake()

    def drop(self) -> None:
        """Nobody reads what is left."""
        self._dropped = True
        self._take()

    async def read(self) -> bytes:
        """What has come since, nothing at the end. Raises IncompleteBody when the client has gone."""
        while not self._pieces:
            if self._complete:
                return b""
            if self._broken:
                raise AwsError(
                    "IncompleteBody", "The request body terminated unexpectedly", status=400
                )
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._take()

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._size = 0
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
