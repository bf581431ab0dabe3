"""The server's end of a zygote: ask for a process, hear when it ends."""

import array
import asyncio
import contextlib
import itertools
import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from penstock.core.errors import PenstockError

_PACKET: Final = 256 * 1024
ZYGOTE: Final = Path(__file__).with_name("zygote.py")


class SpawnError(PenstockError):
    """No process could be started."""


@dataclass(slots=True)
class Child:
    """A process of a function. `exited` is the exit code, or minus the signal that ended it."""

    pid: int
    exited: asyncio.Future[int]


class Spawner:
    """Starts a zygote when first needed, and again should it die.

    `command` is what runs `zygote.py`, up to its own arguments; `options` are the zygote's.
    """

    def __init__(self, command: Sequence[str], options: Mapping[str, Any]) -> None:
        self._command = list(command)
        self._options = json.dumps(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._tags = itertools.count()
        self._answers: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[int, Child] = {}

    async def spawn(self, request: Mapping[str, Any], output: int) -> Child:
        """Fork a process that runs `request` and writes its log to the descriptor `output`, which stays open here.

        `request` has `environ`, `cwd` and `command`, which is None for a Python function; that one has `handler`,
        `path` and `memory_mb` too. In the sandbox it has `mounts`, `scratch` and `ephemeral_mb`. Raises SpawnError.
        """
        tag = next(self._tags)
        packet = json.dumps({**request, "tag": tag}).encode()
        async with self._lock:
            channel = self._channel or self._start()
            fds = array.array("i", [output])
            try:
                channel.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            except OSError as error:
                if isinstance(error, ConnectionError):
                    self._lost()
                # Else it is this request alone that is wrong, or the moment.
                raise SpawnError(f"the zygote did not take the request: {error}") from error
            answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
            self._answers[tag] = answer
            try:
                return await answer
            finally:
                self._answers.pop(tag, None)

    def kill(self, child: Child) -> None:
        """End a process and what it started, at once."""
        if not child.exited.done():
            self._order({"kill": child.pid})

    def terminate(self, child: Child) -> None:
        """Ask a process to end, by SIGTERM."""
        if not child.exited.done():
            self._order({"terminate": child.pid})

    def forget(self, scratch: str) -> None:
        """Drop a scratch folder of the sandbox."""
        self._order({"forget": scratch})

    async def close(self) -> None:
        """End the zygote, and with it every process."""
        process = self._process
        self._lost()
        if process is not None:
            await asyncio.get_running_loop().run_in_executor(None, process.wait)

    def _order(self, message: Mapping[str, Any]) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(json.dumps(message).encode())

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PACKET)
        ours.setblocking(False)
        self._process = subprocess.Popen(
            [*self._command, str(theirs.fileno()), self._options],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={"AWS_EC2_METADATA_DISABLED": "true", "PATH": "/usr/local/bin:/usr/bin:/bin"},
            start_new_session=True,
        )
        theirs.close()
        self._channel = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)
        return ours

    def _readable(self) -> None:
        while self._channel is not None:
            try:
                data = self._channel.recv(_PACKET)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            self._heard(json.loads(data))

    def _heard(self, message: Mapping[str, Any]) -> None:
        if "spawned" in message:
            child = Child(message["pid"], asyncio.get_running_loop().create_future())
            self._children[child.pid] = child
            answer = self._answers.get(message["spawned"])
            if answer is not None and not answer.done():
                answer.set_result(child)
            else:
                self.kill(child)  # whoever asked has gone
        elif "failed" in message:
            answer = self._answers.get(message["failed"])
            if answer is not None and not answer.done():
                answer.set_exception(SpawnError(message["reason"]))
        elif (ended := self._children.pop(message["exited"], None)) is not None:
            ended.exited.set_result(message["status"])

    def _lost(self) -> None:
        """The zygote is gone, and its children with it."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
        if self._process is not None:
            asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        self._channel = self._process = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SpawnError("the zygote ended"))
        for child in self._children.values():
            child.exited.set_result(-9)
        self._children.clear()
