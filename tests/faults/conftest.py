"""A storm: clients at work on one Penstock that is killed and started again, at moments drawn from a seed.

`PENSTOCK_SEED` repeats a storm's moments; the threads' own moments are the machine's.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

LONGEST_LIFE_S = 1.0


class Storm:
    """The moments of the crashes, and the threads that work through them. `stop` is set when it is over."""

    def __init__(self, server: Any, seed: int) -> None:
        self.server = server
        self.stop = threading.Event()
        self.left_behind: list[str] = []
        self._random = random.Random(seed)
        self._threads: list[threading.Thread] = []
        self._faults: list[BaseException] = []

    def run(self, work: Callable[[], None]) -> None:
        """Do `work` again and again in a thread of its own until the storm is over.

        A lost connection is weather: whoever asked does not know what became of the request. Any other exception is a fault.
        """

        def loop() -> None:
            while not self.stop.is_set():
                try:
                    work()
                except (BotoCoreError, OSError):
                    self.stop.wait(0.01)
                except BaseException as fault:  # noqa: BLE001 -- handed to the main thread
                    self._faults.append(fault)
                    self.stop.set()

        self._threads.append(threading.Thread(target=loop, daemon=True))

    def rage(self, kills: int) -> None:
        """Crash the server `kills` times under the work, and leave it running. Raises the first fault of the work."""
        for thread in self._threads:
            thread.start()
        for _ in range(kills):
            self.stop.wait(self._random.uniform(0, LONGEST_LIFE_S))
            children = _descendants(self.server.process.pid)
            self.server.kill()
            self.server.start()
            self.left_behind += [_name(pid) for pid in children if not _ends(pid)]
            if self.stop.is_set():
                break
        self.stop.set()
        for thread in self._threads:
            thread.join()
        if self._faults:
            raise self._faults[0]


@pytest.fixture(scope="module")
def seed() -> int:
    """What the moments are drawn from."""
    drawn = int(os.environ.get("PENSTOCK_SEED") or random.SystemRandom().randrange(1_000_000))
    sys.stderr.write(f"\nPENSTOCK_SEED={drawn}\n")
    return drawn


@pytest.fixture(scope="module")
def storm(
    launch: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> Iterator[Storm]:
    """A server on a folder of its own, before its first crash."""
    yield Storm(launch(tmp_path_factory.mktemp("storm") / "data"), seed)


def _descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    rest = [pid]
    while rest:
        rest = [child for one in rest for child in parents.get(one, [])]
        found += rest
    return found


def _ends(pid: int, within_s: float = 5) -> bool:
    """Whether a process ends soon; one that its new parent has not reaped yet has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return "an ended process"
