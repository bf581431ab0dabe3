"""`python -m bench.instructions SCENARIO...`: how many instructions the server executes for one request.

`cycle` sends, receives and deletes ten messages by three requests; its count is that of one of them, on average.

On a machine whose speed varies, clocks cannot tell whether a change saves a tenth; counts can. The server runs under
callgrind (Debian: `apt install valgrind`), fifty times slower, and is counted in user mode between two instants.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from bench import fanout, work
from bench.systems import ROOT, System, running

SCENARIOS: Final[dict[str, Callable[[System], list[work.Request]]]] = {
    "send": work.send,
    "cycle": work.cycle,
    "fifo": work.send_fifo,
    "api": work.api,
    "put": work.put,
    "invoke": work.invoke,
    "object": fanout.small_objects,
    "read": fanout.small_reads,
    "publish": lambda system: fanout.publishing(system, {})[0],
    "publish_raw": lambda system: fanout.publishing(system, fanout.RAW)[0],
    "events": lambda system: fanout.putting_events(system, 1)[0],
}
WARM: Final = 200
COUNTED: Final = 400
CONNECTIONS: Final = 32


def main() -> None:
    """Count, and print a line for each scenario."""
    wanted = sys.argv[1:] or list(SCENARIOS)
    if unknown := set(wanted) - SCENARIOS.keys():
        sys.exit(f"there is no scenario {', '.join(unknown)}: choose from {', '.join(SCENARIOS)}")
    if shutil.which("callgrind_control") is None:
        sys.exit("callgrind is not installed; on Debian: apt install valgrind")
    for name in wanted:
        with running("counted") as system:
            print(f"{name:11} {counted(system, name) / 1000:8.1f} thousand", flush=True)


def counted(system: System, name: str) -> float:
    """Instructions for each request. The profile is kept for `callgrind_annotate`."""
    requests = SCENARIOS[name](system)

    def drive(count: int) -> None:
        cycle = name == "cycle"
        work.load(system, requests, connections=CONNECTIONS, count=count, cycle=cycle)

    drive(WARM)
    _control(system, "--instr=on")
    drive(COUNTED)
    _control(system, "--instr=off")
    _control(system, "--dump")
    (dump,) = system.folder.glob("callgrind.*")
    kept = ROOT / "bench" / "results" / f"callgrind.{name}"
    kept.parent.mkdir(exist_ok=True)
    shutil.copy(dump, kept)
    totals = re.findall(r"^totals: (\d+)$", kept.read_text(), re.MULTILINE)
    return sum(map(int, totals)) / COUNTED


def _control(system: System, what: str) -> None:
    command = ["callgrind_control", what, str(system.process.pid)]
    subprocess.run(command, capture_output=True, check=True, timeout=60)


if __name__ == "__main__":
    main()
