"""How much memory an environment uses, and control groups to hold it to its limit where the machine lets us.

Resident memory counts, as it does on AWS; what is shared with the preloaded parent counts too, since on AWS each
function has imported it for itself.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MB: Final = 1_048_576


class MemoryMeter:
    """Measures the tree of processes below `pid`; with `enclosed`, `pid` is a mere attendant of the first of them."""

    def __init__(self, pid: int, *, enclosed: bool) -> None:
        self._root = pid
        self.main = next(iter(_children(pid)), pid) if enclosed else pid
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open(f"/proc/{self.main}/statm", os.O_RDONLY)

    def resident_mb(self) -> int:
        """Of the runtime's own process: cheap."""
        try:
            pages = int(os.pread(self._fd, 96, 0).split()[1])
        except (OSError, IndexError):
            return 0
        return pages * _PAGE // _MB

    def total_mb(self) -> int:
        """Of the runtime's process and of what it started, whose shared pages count once."""
        others = sum(_proportional(pid) for pid in self._others(self._root))
        return self.resident_mb() + others // 1024

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _others(self, pid: int) -> Iterator[int]:
        for child in _children(pid):
            if child != self.main:
                yield child
            yield from self._others(child)


class ControlGroup:
    """A cgroup v2 below which each environment has a group of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def enclose(self, name: str, pid: int, limit_mb: int) -> None:
        """Hold a process, and what it starts, to a limit. The kernel then ends all of it at once."""
        group = self._folder / name
        with contextlib.suppress(OSError):  # the watch holds it to the limit as well
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(str(limit_mb * _MB))
            for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                if (group / file).exists():
                    (group / file).write_text(value)
            for each in (pid, *_children(pid)):
                (group / "cgroup.procs").write_text(str(each))

    def exceeded(self, name: str) -> bool:
        """Whether the kernel has ended a process for its memory."""
        try:
            text = (self._folder / name / "memory.events").read_text()
        except OSError:
            return False
        counts = dict(line.split() for line in text.splitlines())
        return int(counts.get("oom_kill", 0)) > 0

    def forget(self, name: str) -> None:
        """Remove a group whose processes have ended."""
        with contextlib.suppress(OSError):
            (self._folder / name).rmdir()


def delegated_group(mount: Path, own: str) -> ControlGroup | None:
    """A group for environments below `own` (the process's path in cgroup v2), if it is ours to divide.

    That is so under `systemd-run --user -p Delegate=yes --scope` and in most containers. Groups with processes cannot
    give memory to their children, so this process moves into a leaf.
    """
    folder = mount / own.lstrip("/")
    leaf, environments = folder / "penstock", folder / "functions"
    try:
        if "memory" not in (folder / "cgroup.controllers").read_text().split():
            return None
        for group in (leaf, environments):
            group.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text(str(os.getpid()))
        try:
            (folder / "cgroup.subtree_control").write_text("+memory")
            (environments / "cgroup.subtree_control").write_text("+memory")
        except OSError:
            (folder / "cgroup.procs").write_text(str(os.getpid()))
            raise
    except OSError:
        for group in (leaf, environments):
            with contextlib.suppress(OSError):
                group.rmdir()
        return None
    return ControlGroup(environments)


def own_group() -> str:
    """The path of this process in cgroup v2."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line[3:]
    return "/"


def _children(pid: int) -> list[int]:
    """Without `Path`, which takes most of the time where there are many environments."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:  # noqa: PTH123
                found += map(int, file.read().split())
    return found


def _proportional(pid: int) -> int:
    """The proportional set size of a process in KB."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
