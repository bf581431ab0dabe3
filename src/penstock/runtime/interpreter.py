"""The interpreters of this machine: where they are, and the AWS SDK for each Python.

A Python's SDK is what is installed for it already, or else is installed once into a cache folder by its own pip.
"""

import asyncio
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.runtime.catalogue import Runtime
from penstock.runtime.model import RuntimeUnavailable

_CLOSURE: Final = Path(__file__).with_name("closure.py")
_PACKAGES: Final = ("boto3", "awslambdaric")
_PYTHON_SAYS: Final = (
    "import sys,os;print(os.path.realpath(sys.executable),sys.base_prefix,"
    "'%d.%d'%sys.version_info[:2],sys.version_info[2],sep='\\n')"
)
_PROBE_S: Final = 10
_INSTALL_S: Final = 300


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A program that runs functions."""

    program: Path
    """Without symbolic links."""
    prefix: Path
    """The folder that it and its library are in."""
    release: str
    """What follows the runtime's version in its own: `7` for Python 3.11.7."""
    given: Path
    """As it was found; in a virtual environment this is the one that sees the environment's packages."""


class Interpreters:
    """Finds interpreters, and remembers them. `search_path` is as in `PATH`; `cache` may be removed at any time."""

    def __init__(self, search_path: str, home: Path, cache: Path) -> None:
        self._folders = [Path(folder) for folder in search_path.split(os.pathsep) if folder]
        self._home = home
        self._cache = cache
        self._found: dict[str, Interpreter] = {}
        self._sdks: dict[str, tuple[Path, ...]] = {}
        self._lock = asyncio.Lock()

    async def find(self, runtime: Runtime) -> Interpreter:
        """The interpreter of a Python or Node.js runtime. Raises RuntimeUnavailable."""
        key = f"{runtime.family}{runtime.version}"
        found = self._found.get(key)
        if found is None:
            found = await self._search(runtime)
            if found is None:
                raise RuntimeUnavailable(_missing(runtime))
            self._found[key] = found
        return found

    async def sdk(self, runtime: Runtime, interpreter: Interpreter) -> Sequence[Path]:
        """The files and folders that are the AWS SDK of a Python. Raises RuntimeUnavailable."""
        async with self._lock:
            entries = self._sdks.get(runtime.version)
            if entries is None:
                entries = await self._installed(interpreter)
                if entries is None:
                    entries = await self._install(runtime, interpreter)
                self._sdks[runtime.version] = entries
            return entries

    async def has_sdk(self, runtime: Runtime, interpreter: Interpreter) -> bool:
        """Whether the SDK is there already."""
        if self._folder(runtime).is_dir():
            return True
        return await self._installed(interpreter) is not None

    async def _search(self, runtime: Runtime) -> Interpreter | None:
        python = runtime.family == "python"
        candidates = self._pythons(runtime.version) if python else self._nodes(runtime.version)
        for candidate in dict.fromkeys(candidates):
            if not os.access(candidate, os.X_OK):
                continue
            found = await (_ask_python if python else _ask_node)(candidate, runtime.version)
            if found is not None:
                return found
        return None

    def _pythons(self, version: str) -> Iterator[Path]:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            yield Path(sys.executable)
        name = f"python{version}"
        for folder in self._folders:
            yield folder / name
        for pattern in (
            f".pyenv/versions/{version}.*/bin",
            f".local/share/uv/python/cpython-{version}.*/bin",
            f".asdf/installs/python/{version}.*/bin",
        ):
            yield from (folder / name for folder in sorted(self._home.glob(pattern), reverse=True))

    def _nodes(self, version: str) -> Iterator[Path]:
        for folder, name in itertools.product(self._folders, ("node", "nodejs", f"node{version}")):
            yield folder / name
        for pattern in (
            f".nvm/versions/node/v{version}.*/bin",
            f".local/share/fnm/node-versions/v{version}.*/installation/bin",
            f".volta/tools/image/node/{version}.*/bin",
            f".asdf/installs/nodejs/{version}.*/bin",
            f"n/n/versions/node/{version}.*/bin",
        ):
            folders = sorted(self._home.glob(pattern), reverse=True)
            yield from (folder / "node" for folder in folders)

    async def _installed(self, interpreter: Interpreter) -> tuple[Path, ...] | None:
        """What the interpreter's own packages have, or None."""
        status, text = await _run([str(interpreter.given), "-I", str(_CLOSURE)], _PROBE_S)
        names = json.loads(text) if status == 0 else None
        return None if names is None else tuple(Path(name) for name in names)

    def _folder(self, runtime: Runtime) -> Path:
        return self._cache / f"python{runtime.version}"

    async def _install(self, runtime: Runtime, interpreter: Interpreter) -> tuple[Path, ...]:
        folder = self._folder(runtime)
        if not folder.is_dir():
            scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
            command = [str(interpreter.given), "-m", "pip", "install", "--quiet"]
            status, text = await _run([*command, "--target", str(scratch), *_PACKAGES], _INSTALL_S)
            try:
                if status != 0:
                    why = (text.strip().splitlines() or ["pip said nothing"])[-1]
                    raise RuntimeUnavailable(
                        f"{runtime.label} is here ({interpreter.given}), but boto3 and awslambdaric could not be "
                        f"installed for it: {why} -- to do it yourself: "
                        f"{interpreter.given} -m pip install {' '.join(_PACKAGES)}"
                    )
                scratch.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was quicker
                    raise
            finally:
                await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
        skip = ("bin", "__pycache__")
        return tuple(path for path in sorted(folder.iterdir()) if path.name not in skip)


async def _ask_python(candidate: Path, version: str) -> Interpreter | None:
    status, text = await _run([str(candidate), "-I", "-c", _PYTHON_SAYS], _PROBE_S)
    lines = text.splitlines()
    if status != 0 or len(lines) != 4 or lines[2] != version:
        return None
    return Interpreter(Path(lines[0]), Path(lines[1]), lines[3], candidate)


async def _ask_node(candidate: Path, version: str) -> Interpreter | None:
    status, text = await _run([str(candidate), "--version"], _PROBE_S)
    match = re.fullmatch(r"v(\d+)\.([\d.]+)", text.strip())
    if status != 0 or match is None or match[1] != version:
        return None
    program = await asyncio.to_thread(candidate.resolve)
    return Interpreter(program, program.parent.parent, match[2], candidate)


async def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Status and output of a program; what it says of an error is the output when it fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return 127, str(error)
    try:
        output, errors = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, f"it took longer than {seconds} seconds"
    status = process.returncode or 0
    return status, (output if status == 0 else errors).decode("utf-8", "replace")


def _missing(runtime: Runtime) -> str:
    if runtime.family == "python":
        name = f"python{runtime.version}"
        advice = f"for example: apt install {name}, uv python install {runtime.version}, or pyenv install {runtime.version}"
        looked = f"no {name} was found on PATH, under ~/.pyenv or among uv's"
    else:
        advice = f"for example: nvm install {runtime.version}, fnm install {runtime.version}, or from nodejs.org"
        looked = f"no node of version {runtime.version} was found on PATH, under ~/.nvm, fnm's or volta's"
    return (
        f"The runtime {runtime.identifier} needs {runtime.label} on this machine: {looked}. "
        f"Install it ({advice}) and try again."
    )
