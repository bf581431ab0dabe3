"""Make a virtual environment with the quickest Python of this machine: `python3 bootstrap.py FOLDER [PYTHON]`.

Builds of one version differ by a third: distributions build Python with profile-guided optimisation, version managers mostly do
not, and few builds say which they are. So every Python that is found runs a short loop; the first on the search path is taken,
or one that is clearly quicker. A `PYTHON` that is named is taken as it is.
"""

from __future__ import annotations

import subprocess
import sys
from os import environ, pathsep
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("python3", *(f"python3.{minor}" for minor in range(11, 15)))
QUICKER = 0.85
"""One that comes later on the search path must do with this share of the first one's time."""
TURNS = 4
PROBE = """
import importlib.util, sys, time
def work():
    start, kept = time.perf_counter(), {}
    for i in range(20000):
        kept[str(i % 100)] = (i, len(kept))
    return time.perf_counter() - start
def has(name):
    return int(importlib.util.find_spec(name) is not None)
if sys.version_info >= (3, 11) and has("venv"):
    print(sys.base_prefix, sys.version_info[1], has("ensurepip"), has("pip"), min(work() for _ in range(15)), sep="\\n")
"""


class Python(NamedTuple):
    """An interpreter that is new enough for Penstock."""

    program: str
    build: tuple[str, str]
    """Where it is installed, and its minor version: the same for all names of one interpreter."""
    ensurepip: bool
    pip: bool
    seconds: float


def programs() -> Iterator[str]:
    """What may be a Python, in the order of the search path."""
    for folder in (*environ.get("PATH", "").split(pathsep), "/usr/local/bin", "/usr/bin"):
        yield from (f"{folder}/{name}" for name in NAMES)


def ask(program: str) -> Python | None:
    """The Python that a program is; None if it is too old, or none at all."""
    try:
        told = subprocess.run(
            [program, "-I", "-c", PROBE], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if told.returncode or not told.stdout:
        return None
    prefix, minor, ensurepip, pip, seconds = told.stdout.split("\n")[:5]
    return Python(program, (prefix, minor), ensurepip == "1", pip == "1", float(seconds))


def again(python: Python) -> Python:
    """The same, with the least time that it has needed so far."""
    asked = ask(python.program)
    return python if asked is None else python._replace(seconds=min(python.seconds, asked.seconds))


def choose(pythons: list[Python], any_pip: bool) -> Python | None:
    """The first into whose environment pip can be brought, or one that is clearly quicker.

    `any_pip`: some Python of the machine has pip, which can install itself for others.
    """
    usable = [python for python in pythons if python.ensurepip or any_pip]
    quickest = min(usable, key=lambda python: python.seconds, default=None)
    if quickest is not None and quickest.seconds > QUICKER * usable[0].seconds:
        return usable[0]
    return quickest


def make(python: Python, folder: str, pythons: list[Python]) -> None:
    """Make the environment. Distributions may part Python from its pip: another's pip then installs one."""
    if python.ensurepip:
        subprocess.run([python.program, "-m", "venv", folder], check=True)
        return
    subprocess.run([python.program, "-m", "venv", "--without-pip", folder], check=True)
    pip = next(other.program for other in pythons if other.pip)
    into = ["--python", f"{folder}/bin/python"]
    install = ["install", "--quiet", "--disable-pip-version-check", "pip"]
    subprocess.run([pip, "-m", "pip", *into, *install], check=True)


def main(folder: str, named: str | None = None) -> None:
    """Find, choose, make."""
    found: dict[tuple[str, str], Python] = {}
    for program in dict.fromkeys(programs()):
        if (python := ask(program)) is not None:
            found.setdefault(python.build, python)
    pythons = list(found.values())
    if named is None and len(pythons) > 1:
        # By turns: a slow moment of the machine must not decide.
        for _ in range(TURNS):
            pythons = [again(python) for python in pythons]
    wished = pythons if named is None else list(filter(None, [ask(named)]))
    chosen = choose(wished, any(python.pip for python in pythons))
    if chosen is None:
        wanted = "Penstock needs Python 3.11 or newer, with venv and pip (on Debian: apt install python3-venv)"
        sys.exit(
            f"{wanted}; {named or 'no Python on the search path'} does not do. Name one: make PYTHON=python3.x"
        )
    make(chosen, folder, pythons)


if __name__ == "__main__":
    main(*sys.argv[1:])
