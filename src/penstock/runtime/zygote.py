"""The parent of execution environments: it forks them, ends them, and tells how they ended.

This file runs as a program of its own (`python -I -S zygote.py FD OPTIONS`, any Python from 3.9 on) and imports
nothing of Penstock, so that a Python function sees the standard library, the SDK and its own code. FD is a Unix
socket of whole packets, each a JSON object: a request to spawn (with the write end of the log pipe as ancillary data),
to end a process, or to forget a scratch folder; answers tell of processes that began, could not begin, and ended.
When the socket closes, every child is killed.

OPTIONS is a JSON object. `sdk`: the folder of the AWS SDK, imported before forking. `enclose`: give each child its own
mounts and process numbers, which takes the rights that the sandbox leaves to this process and takes away from the child.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

PACKET = 256 * 1024
WARM_SERVICES = ("sqs", "dynamodb", "s3")
CLONE_CALL = {"x86_64": 56, "aarch64": 220}
# Private memory beyond a function's own, before which the watch on its resident memory should have ended it.
SLACK_MB = 1024


def preload(sdk: str) -> None:
    """Import what functions import, and read the SDK's models into the loader of the default session."""
    sys.path.append(sdk)
    site: Any = importlib.import_module("site")
    site.setquit()  # `exit` and `quit`, without the packages that come with them
    for name in (
        "http.client",
        "logging",
        "traceback",
        "urllib.request",
        "concurrent.futures",
        "awslambdaric.lambda_config",
        "awslambdaric.lambda_context",
        "awslambdaric.lambda_runtime_exception",
        "awslambdaric.lambda_runtime_log_utils",
        "awslambdaric.lambda_runtime_marshaller",
        "runtime_client",
    ):
        importlib.import_module(name)
    boto3: Any = importlib.import_module("boto3")
    core: Any = importlib.import_module("botocore.session")
    throwaway = core.get_session()
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
    session = core.get_session()
    session.register_component("data_loader", throwaway.get_component("data_loader"))
    boto3.setup_default_session(botocore_session=session)


def prefer_packaged(folders: list[str], sdk: str) -> None:
    """Forget the imported SDK if the function brings (a part of) its own: what it packaged is what it shall run."""
    names = {entry.name for entry in Path(sdk).iterdir()} - {"__pycache__"}
    if not any((Path(folder) / name).exists() for folder in folders for name in names):
        return
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(sdk + os.sep):
            del sys.modules[name]


class Enclosure:
    """Gives a child its own view of files and processes. Works inside the sandbox only, where nothing else is seen."""

    NEW_MOUNTS, NEW_PROCESSES = 0x20000, 0x20000000
    NO_SUID, NO_DEVICES, READ_ONLY, REMOUNT, BIND = 2, 4, 1, 0x20, 0x1000
    RECURSIVE, PRIVATE = 0x4000, 0x40000
    DETACH = 2

    def __init__(self) -> None:
        ctypes: Any = importlib.import_module("ctypes")
        self._errno = ctypes.get_errno
        # Without giving up the interpreter's lock: the new process has but this one thread.
        self._libc = ctypes.PyDLL(None, use_errno=True)
        self._clone = CLONE_CALL[platform.machine()]
        self._scratch: set[str] = set()

    def fork(self) -> int:
        """As os.fork, but the child is the first of its own processes and may change its mounts."""
        flags = self.NEW_MOUNTS | self.NEW_PROCESSES | signal.SIGCHLD
        pid: int = self._libc.syscall(self._clone, flags, 0, 0, 0, 0)
        if pid < 0:
            raise OSError(self._errno(), os.strerror(self._errno()))
        return pid

    def prepare(self, request: dict[str, Any]) -> None:
        """In the parent: a scratch folder that outlives the process, so that a restarted one finds its files."""
        name = request["scratch"]
        if name not in self._scratch:
            folder = f"/run/scratch/{name}"
            Path(folder).mkdir(parents=True)
            self._mount("tmpfs", folder, "tmpfs", 0, f"size={request['ephemeral_mb']}m,mode=1777")
            self._scratch.add(name)

    def forget(self, name: str) -> None:
        """In the parent: drop a scratch folder and what is in it."""
        if name in self._scratch:
            self._scratch.discard(name)
            self._call("umount2", f"/run/scratch/{name}".encode(), self.DETACH)
            Path(f"/run/scratch/{name}").rmdir()

    def enter(self, request: dict[str, Any]) -> None:
        """In the child: the function's own files under Lambda's names, and no way to those of others."""
        # bwrap has the parent killed together with the server, and this process takes all of its own along.
        self._call("prctl", 1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        self._mount("none", "/", None, self.RECURSIVE | self.PRIVATE)
        for source, target in request["mounts"].items():
            self._mount(source, target, None, self.BIND)
            locked = self.REMOUNT | self.BIND | self.READ_ONLY | self.NO_SUID | self.NO_DEVICES
            self._mount("none", target, None, locked)
        self._mount(f"/run/scratch/{request['scratch']}", "/tmp", None, self.BIND)
        self._mount("proc", "/proc", "proc", self.NO_SUID | self.NO_DEVICES)
        self._mount("tmpfs", "/dev/shm", "tmpfs", self.NO_SUID | self.NO_DEVICES, "size=16m")
        self._mount("tmpfs", "/run", "tmpfs", self.READ_ONLY, "size=4k")

    def resign(self) -> None:
        """Give up every right for good."""
        for capability in range(64):
            self._libc.prctl(
                24, capability, 0, 0, 0
            )  # PR_CAPBSET_DROP; numbers that do not exist fail
        header = struct.pack("Ii", 0x20080522, 0)
        self._call("capset", header, bytes(24))
        self._call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

    def _mount(
        self, source: str, target: str, kind: str | None, flags: int, data: str = ""
    ) -> None:
        self._call(
            "mount",
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            flags,
            data.encode() if data else None,
        )

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._libc, name)(*arguments):
            number = self._errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


class Zygote:
    """The loop that forks and reaps."""

    def __init__(self, channel: socket.socket, enclosure: Enclosure | None) -> None:
        self._channel = channel
        self._enclosure = enclosure
        self._children: dict[int, int] = {}
        self._endings: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._endings_read, self._endings_write = os.pipe()
        for fd in (self._wake_read, self._wake_write, self._endings_read):
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
            try:
                data, ancillary, _, _ = self._channel.recvmsg(PACKET, socket.CMSG_SPACE(4))
            except ConnectionError:
                data, ancillary = b"", []
            if not data:
                self._kill_all()
                return None
            request = json.loads(data)
            if "tag" not in request:
                self._order(request)
                continue
            fds = array.array("i")
            for _, _, payload in ancillary:
                fds.frombytes(payload[:4])
            if not fds:
                self._fail(request, "the log pipe did not arrive")
            elif self._fork(request, fds[0]):
                return dict(request)

    def _order(self, request: dict[str, Any]) -> None:
        if "kill" in request and request["kill"] in self._children:
            self._signal(request["kill"], signal.SIGKILL)
        elif "terminate" in request and request["terminate"] in self._children:
            os.kill(request["terminate"], signal.SIGTERM)
        elif "forget" in request and self._enclosure is not None:
            self._enclosure.forget(request["forget"])

    def _fork(self, request: dict[str, Any], output: int) -> bool:
        """Fork; in the parent, return when the child runs what it shall, or has said why it cannot."""
        notice, notify = os.pipe()
        try:
            if self._enclosure is None:
                pid = os.fork()
            else:
                self._enclosure.prepare(request)
                pid = self._enclosure.fork()
        except OSError as error:
            for fd in (output, notice, notify):
                os.close(fd)
            self._fail(request, str(error))
            return False
        if pid:
            os.close(output)
            os.close(notify)
            reason = b""
            while piece := os.read(notice, 4096):
                reason += piece
            os.close(notice)
            if reason:
                os.waitpid(pid, 0)
                self._read_endings()
                self._endings.pop(request["tag"], None)
                self._fail(request, reason.decode())
                return False
            self._children[pid] = request["tag"]
            self._say({"spawned": request["tag"], "pid": pid})
            return False
        os.close(notice)
        try:
            self._become(request, output, notify)
        except BaseException as error:  # noqa: BLE001 - the parent waits for whatever it is
            os.write(notify, (str(error) or repr(error)).encode()[:4096])
            os._exit(1)
        return True

    def _become(self, request: dict[str, Any], output: int, notify: int) -> None:
        """In the child: leave what is the parent's, and run a program, or return to run a function."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._channel.close()
        os.dup2(output, 1)
        os.dup2(output, 2)
        for fd in (self._wake_read, self._wake_write, self._endings_read):
            os.close(fd)
        if self._enclosure is not None:
            self._enclosure.enter(request)
            child = os.fork()
            if child:
                for fd in (0, 1, 2, output, notify):
                    os.close(fd)
                self._attend(request["tag"], child)
            os.setsid()
            self._enclosure.resign()
        os.close(self._endings_write)
        os.chdir(request["cwd"])
        command = request["command"]
        if command:
            limit_resources(None)
            os.close(output)
            os.execve(command[0], command, request["environ"])  # its end closes `notify`
        os.close(notify)
        os.set_inheritable(output, False)
        # The runtime client frames its log records, so that one of several lines stays one event.
        request["environ"]["_LAMBDA_TELEMETRY_LOG_FD"] = str(output)

    def _attend(self, tag: int, child: int) -> None:
        """As the first process: wait for the function, pass on how it ended, and take all its processes along."""
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        while True:
            pid, status = os.wait()
            if pid == child:
                ending = os.waitstatus_to_exitcode(status)
                os.write(self._endings_write, struct.pack("qq", tag, ending))
                os._exit(0)

    def _fail(self, request: dict[str, Any], reason: str) -> None:
        self._say({"failed": request["tag"], "reason": reason})

    def _reap(self) -> None:
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            # Not waited for yet, so the number is still ours: what the function left behind goes too.
            self._signal(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._read_endings()
            tag = self._children.pop(pid)
            ending = self._endings.pop(tag, os.waitstatus_to_exitcode(status))
            self._say({"exited": pid, "status": ending})

    def _read_endings(self) -> None:
        size = struct.calcsize("qq")
        try:
            data = os.read(self._endings_read, size * 256)
        except BlockingIOError:
            return
        self._endings.update(struct.iter_unpack("qq", data))

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            self._kill_all()
            sys.exit(0)

    def _kill_all(self) -> None:
        for pid in self._children:
            self._signal(pid, signal.SIGKILL)

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        # Until the child has made its own group, only it can be signalled.
        for send in (os.killpg, os.kill):
            try:
                send(pid, number)
            except ProcessLookupError:
                continue


def data_size() -> int:
    """Bytes of private writable memory that this process has."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def limit_resources(memory_mb: int | None) -> None:
    """Limit open files as Lambda does, and private memory so that not even one allocation takes the machine."""
    _, hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1024 if hard_files == resource.RLIM_INFINITY else min(1024, hard_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_mb is not None:
        size = data_size() + (memory_mb + SLACK_MB) * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def run_function(request: dict[str, Any], sdk: str) -> None:
    """Become the environment of one function: returns, or raises SystemExit, when it ends."""
    environ: dict[str, str] = request["environ"]
    os.environ.clear()  # noqa: TID251 - this process is the function's
    os.environ.update(environ)  # noqa: TID251
    time.tzset()
    limit_resources(request["memory_mb"])
    folders = [request["cwd"], *request["path"]]
    sys.path[:0] = folders
    prefer_packaged(folders, sdk)
    sys.argv = ["bootstrap", request["handler"]]
    # After the fork, never before: the client's own modules read the function's variables when they are imported.
    importlib.import_module("awslambdaric.__main__").main(sys.argv)


def try_out(enclosure: Enclosure | None) -> str | None:
    """Do once what each child will do. What went wrong, or None."""
    if enclosure is None:
        return None
    request = {"scratch": "trial", "ephemeral_mb": 1, "mounts": {"/usr": "/opt"}}
    try:
        enclosure.prepare(request)
        pid = enclosure.fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            return None if status == 0 else "the enclosed process failed"
        enclosure.enter(request)
        enclosure.resign()
    except OSError as error:
        return str(error)
    os._exit(0)


def main() -> None:
    """Preload, then fork on request."""
    options = json.loads(sys.argv[2])
    sdk = options.get("sdk")
    enclosure = Enclosure() if options.get("enclose") else None
    if options.get("trial"):
        sys.exit(try_out(enclosure))
    channel = socket.socket(fileno=int(sys.argv[1]))
    if sdk:
        preload(sdk)
    gc.collect()
    gc.freeze()
    request = Zygote(channel, enclosure).serve()
    if request is not None:
        run_function(request, sdk)


if __name__ == "__main__":
    main()
