"""The parent of Python execution environments: it has the AWS SDK imported already, and forks.

This file runs as a program of its own (`python -I zygote.py FD`) and imports nothing of Penstock, so that a
function sees the standard library, the SDK and its own code. FD is a Unix socket of whole packets, each a JSON
object: a request to spawn (with the write end of the log pipe as ancillary data) or to kill; answers tell of
processes that began, could not begin, and ended. When the socket closes, every child is killed.
"""

import array
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PACKET = 256 * 1024
WARM_SERVICES = ("sqs", "dynamodb", "s3")


def preload() -> None:
    """Import what functions import, and read the SDK's models into the loader of the default session."""
    for name in (
        "http.client",
        "logging",
        "traceback",
        "urllib.request",
        "concurrent.futures",
        "awslambdaric.lambda_config",
        "awslambdaric.lambda_context",
        "awslambdaric.lambda_literals",
        "awslambdaric.lambda_runtime_exception",
        "awslambdaric.lambda_runtime_log_utils",
        "awslambdaric.lambda_runtime_marshaller",
    ):
        importlib.import_module(name)
    boto3: Any = importlib.import_module("boto3")
    sdk: Any = importlib.import_module("botocore.session")
    throwaway = sdk.get_session()
    for service in WARM_SERVICES:
        throwaway.create_client(
            service,
            region_name="us-east-1",
            aws_access_key_id="warm",
            aws_secret_access_key="warm",
            endpoint_url="http://127.0.0.1:9",
        )
    # The default session of a function is new, since a session keeps the credentials and the files it
    # found; only the loader with its parsed models is shared.
    session = sdk.get_session()
    session.register_component("data_loader", throwaway.get_component("data_loader"))
    boto3.setup_default_session(botocore_session=session)


def hide_penstock() -> None:
    """Take a source checkout of Penstock from the path; an installed one shares its folder with the SDK."""
    sys.path[:] = [
        path
        for path in sys.path
        if (Path(path) / "boto3").is_dir() or not (Path(path) / "penstock").is_dir()
    ]


class Zygote:
    """The loop that forks and reaps."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> dict[str, Any] | None:
        """Answer requests until the socket closes. Returns None then; in a forked child, what it shall run."""
        while True:
            channel = self._channel.fileno()
            ready, _, _ = select.select([channel, self._wake_read], [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if channel not in ready:
                continue
            data, ancillary, _, _ = self._channel.recvmsg(PACKET, socket.CMSG_SPACE(4))
            if not data:
                self._kill_all()
                return None
            request = json.loads(data)
            if "kill" in request:
                self._kill(request["kill"])
                continue
            fds = array.array("i")
            for _, _, payload in ancillary:
                fds.frombytes(payload[:4])
            if not fds:
                self._fail(request, "the log pipe did not arrive")
            elif self._fork(request, fds[0]):
                return dict(request)

    def _fork(self, request: dict[str, Any], output: int) -> bool:
        try:
            pid = os.fork()
        except OSError as error:
            os.close(output)
            self._fail(request, str(error))
            return False
        if pid:
            os.close(output)
            self._children.add(pid)
            self._say({"spawned": request["tag"], "pid": pid})
            return False
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._channel.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(output, False)
        # The runtime client frames its log records, so that one of several lines stays one event.
        request["environ"]["_LAMBDA_TELEMETRY_LOG_FD"] = str(output)
        return True

    def _fail(self, request: dict[str, Any], reason: str) -> None:
        self._say({"failed": request["tag"], "reason": reason})

    def _reap(self) -> None:
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Not waited for yet, so the number is still ours: what the function left behind goes too.
            self._signal(pid)
            _, status = os.waitpid(pid, 0)
            self._children.discard(pid)
            self._say({"exited": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            self._kill_all()
            sys.exit(0)

    def _kill(self, pid: int) -> None:
        if pid in self._children:
            self._signal(pid)

    def _kill_all(self) -> None:
        for pid in self._children:
            self._signal(pid)

    @staticmethod
    def _signal(pid: int) -> None:
        # Until the child has made its own group, only it can be signalled.
        for send in (os.killpg, os.kill):
            try:
                send(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def data_size() -> int:
    """Bytes of private writable memory that this process has."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def limit_resources(memory_mb: int) -> None:
    """Limit open files as Lambda does, and private memory to what is there plus `memory_mb`.

    Thread stacks count as private memory, hence the allowance: a default thread has 8 MB of it, hardly used.
    """
    _, hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1024 if hard_files == resource.RLIM_INFINITY else min(1024, hard_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    allowance = 64
    size = data_size() + (memory_mb + allowance) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def run_function(request: dict[str, Any]) -> None:
    """Become the environment of one function: returns, or raises SystemExit, when it ends."""
    environ: dict[str, str] = request["environ"]
    os.environ.clear()  # noqa: TID251 - this process is the function's
    os.environ.update(environ)  # noqa: TID251
    time.tzset()
    limit_resources(request["memory_mb"])
    os.chdir(request["cwd"])
    sys.path.insert(0, request["cwd"])
    sys.argv = ["bootstrap", request["handler"]]
    # The client's native half starts libcurl when imported: after the fork, never before.
    importlib.import_module("awslambdaric.__main__").main(sys.argv)


def main() -> None:
    """Preload, then fork on request."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    hide_penstock()
    preload()
    gc.collect()
    gc.freeze()
    request = Zygote(channel).serve()
    if request is not None:
        run_function(request)


if __name__ == "__main__":
    main()
