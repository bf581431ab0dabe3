"""From a function to its processes: which parent forks it, with what command, files and variables, in or out of the sandbox."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from penstock.core.errors import PenstockError
from penstock.runtime.catalogue import RUNTIMES, Runtime
from penstock.runtime.interpreter import Interpreter, Interpreters
from penstock.runtime.model import FunctionSpec, RuntimeUnavailable
from penstock.runtime.sandbox import (
    LANG,
    OPT,
    RUNTIME,
    TASK,
    Mode,
    Sandbox,
    find_sandbox,
    interpreted,
)
from penstock.runtime.spawner import Child, Spawner, SpawnError

_NODE_BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.mjs")
# In place of the file of this stem in AWS's Python client, its native half.
_CLIENT: Final = Path(__file__).with_name("runtime_client.py")
_SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin/:/bin"
_SYSTEM_LIBRARIES: Final = "/lib64:/usr/lib64"
_WRAPPER: Final = "AWS_LAMBDA_EXEC_WRAPPER"


class EntrypointError(PenstockError):
    """A function's program cannot be run; the message is AWS's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function finds its folders: Lambda's own names in the sandbox, real ones outside."""

    task: str
    opt: str
    runtime: str
    scratch: str


class Parent:
    """Starts the processes of one runtime."""

    def __init__(
        self,
        runtime: Runtime,
        interpreter: Interpreter | None,
        spawner: Spawner,
        sandbox: Sandbox | None,
        folder: Path,
    ) -> None:
        self.runtime = runtime
        self.enclosed = sandbox is not None
        self.spawner = spawner
        self._interpreter = interpreter
        self._sandbox = sandbox
        self._folder = folder
        self._release = interpreter.release if interpreter is not None else "0"

    def version(self, region: str) -> tuple[str, str]:
        """The version of the runtime, and its ARN."""
        return self.runtime.version_of(self._release, region)

    async def start_runtime(
        self, spec: FunctionSpec, environ: Mapping[str, str], scratch: str, output: int
    ) -> Child:
        """Start a function's runtime. Raises SpawnError or EntrypointError."""
        place = self._place(spec, scratch)
        variables = {**self._variables(spec, place), **environ, "LAMBDA_TASK_ROOT": place.task}
        variables["LAMBDA_RUNTIME_DIR"] = place.runtime
        request: dict[str, Any] = {"command": self._command(spec, place)}
        if self.runtime.family == "python":
            path = self._layer_path(spec, place)
            request |= {"handler": spec.handler, "path": path, "memory_mb": spec.memory_mb}
            if request["command"]:
                own = [spec.environment["PYTHONPATH"]] if "PYTHONPATH" in spec.environment else []
                variables["PYTHONPATH"] = ":".join([*path, *own, place.runtime])
                # The runtime client frames its log records, so that one of several lines stays one event.
                variables["_LAMBDA_TELEMETRY_LOG_FD"] = "1"
        return await self._spawn(spec, request, place, variables, scratch, output)

    async def start_extension(
        self, spec: FunctionSpec, name: str, environ: Mapping[str, str], scratch: str, output: int
    ) -> Child:
        """Start a program of a layer's `extensions` folder."""
        place = self._place(spec, scratch)
        variables = {**self._variables(spec, place), **environ}
        # AWS: extensions do not see which handler is run, nor what is in its package.
        for hidden in (
            "_HANDLER",
            "AWS_EXECUTION_ENV",
            "LAMBDA_TASK_ROOT",
            "AWS_LAMBDA_LOG_GROUP_NAME",
        ):
            variables.pop(hidden, None)
        request: dict[str, Any] = {"command": [f"{place.opt}/extensions/{name}"]}
        return await self._spawn(spec, request, place, variables, scratch, output)

    def forget(self, scratch: str) -> None:
        """Drop an environment's `/tmp`."""
        if self._sandbox is not None:
            self.spawner.forget(scratch)
        else:
            shutil.rmtree(self._folder / "tmp" / scratch, ignore_errors=True)

    async def _spawn(
        self,
        spec: FunctionSpec,
        request: dict[str, Any],
        place: Place,
        variables: Mapping[str, str],
        scratch: str,
        output: int,
    ) -> Child:
        request |= {"environ": variables, "cwd": place.task}
        if self._sandbox is not None:
            mounts = {self._inside(spec.code): TASK}
            if spec.opt is not None:
                mounts[self._inside(spec.opt)] = OPT
            request |= {"mounts": mounts, "scratch": scratch, "ephemeral_mb": spec.ephemeral_mb}
        else:
            os.makedirs(place.scratch, exist_ok=True)  # noqa: PTH103 - an instant, and on the loop
        try:
            return await self.spawner.spawn(request, output)
        except SpawnError as error:
            wrapper = _wrapper(spec) if self.runtime.family != "provided" else f"{TASK}/bootstrap"
            if wrapper:
                why = re.sub(r"\[Errno \d+\] ([^:]+).*", r"\1", str(error)).lower()
                raise EntrypointError(f"fork/exec {wrapper}: {why}") from error
            raise

    def _inside(self, path: Path) -> str:
        assert self._sandbox is not None
        try:
            return self._sandbox.inside(path)
        except ValueError as error:
            raise SpawnError(f"the sandbox does not see {path}") from error

    def _place(self, spec: FunctionSpec, scratch: str) -> Place:
        if self._sandbox is not None:
            return Place(TASK, OPT, RUNTIME, "/tmp")
        opt = str(spec.opt) if spec.opt is not None else OPT
        runtime = str(_sdk_folder(self._folder, self.runtime))
        return Place(str(spec.code), opt, runtime, str(self._folder / "tmp" / scratch))

    def _command(self, spec: FunctionSpec, place: Place) -> list[str] | None:
        """The program to run, in the function's wrapper if it has one; None for a fork of the parent."""
        # AWS: OS-only runtimes have no wrapper scripts (Lambda guide, "Modifying the runtime environment").
        if self.runtime.family == "provided":
            return [_bootstrap(spec, place)]
        assert self._interpreter is not None
        wrapper = _wrapper(spec)
        program = [_located(wrapper, place)] if wrapper else []
        if self.runtime.family == "python":
            client = [str(self._interpreter.program), "-m", "awslambdaric", spec.handler]
            return [*program, *client] if program else None
        script = f"{RUNTIME}/bootstrap.mjs" if self._sandbox is not None else str(_NODE_BOOTSTRAP)
        # Without limits of its own V8 would collect when the memory is long exceeded.
        return [
            *program,
            str(self._interpreter.program),
            f"--max-old-space-size={max(32, spec.memory_mb * 3 // 4)}",
            f"--max-semi-space-size={min(16, max(1, spec.memory_mb // 64))}",
            script,
        ]

    def _variables(self, spec: FunctionSpec, place: Place) -> dict[str, str]:
        """What differs by runtime and place; the function's own variables come over it."""
        folders = [f"{LANG}/bin", _SYSTEM_PATH, f"{place.opt}/bin"]
        libraries = [f"{LANG}/lib", _SYSTEM_LIBRARIES, place.runtime, f"{place.runtime}/lib"]
        variables = {}
        if self._sandbox is None:
            folders[0] = str(self._own_folder())
            libraries.clear()
            # AWS: HOME is not set (recorded by LocalStack). Outside the sandbox that would lead to somebody's own.
            variables = {"HOME": place.scratch, "TMPDIR": place.scratch}
        libraries += [place.task, f"{place.task}/lib", f"{place.opt}/lib"]
        variables |= {"LD_LIBRARY_PATH": ":".join(libraries), "PATH": ":".join(folders)}
        if self.runtime.family != "provided":
            variables |= {"PWD": place.task, "SHLVL": "0"}
        if self.runtime.family == "python":
            variables["PYTHONPATH"] = place.runtime
        elif self.runtime.family == "nodejs":
            modules = f"{place.opt}/nodejs/node{self.runtime.version}/node_modules"
            variables["NODE_PATH"] = (
                f"{modules}:{place.opt}/nodejs/node_modules:{place.runtime}/node_modules:"
                f"{place.runtime}:{place.task}"
            )
        return variables

    def _own_folder(self) -> Path:
        """Where the runtime's own programs are."""
        return Path("/usr/bin") if self._interpreter is None else self._interpreter.program.parent

    def _layer_path(self, spec: FunctionSpec, place: Place) -> list[str]:
        """Where Python finds the modules of layers."""
        if spec.opt is None:
            return []
        version = f"{place.opt}/python/lib/python{self.runtime.version}/site-packages"
        return [version, f"{place.opt}/python"]


class Launcher:
    """Finds interpreters and the sandbox, and keeps a parent for each runtime in use. `folder` holds function code."""

    def __init__(
        self, interpreters: Interpreters, search_path: str, mode: Mode, folder: Path
    ) -> None:
        self.folder = folder
        self._interpreters = interpreters
        self._search_path = search_path
        self._mode: Mode = mode
        self._sandbox: Sandbox | str | None = None
        self._parents: dict[str, Parent] = {}
        self._lock = asyncio.Lock()
        self._own = Interpreter(
            Path(sys.executable).resolve(), Path(sys.base_prefix), "", Path(sys.executable)
        )

    async def start(self) -> None:
        """Be ready. Raises RuntimeUnavailable when a sandbox is demanded and there is none."""
        await asyncio.to_thread(shutil.rmtree, self.folder / "tmp", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._mode == "bwrap":
            await self._find_sandbox()

    async def prepare(self, identifier: str) -> None:
        """See that a runtime can be run. Raises RuntimeUnavailable."""
        runtime = _known(identifier)
        if runtime.family != "provided":
            interpreter = await self._interpreters.find(runtime)
            if runtime.family == "python":
                await self._interpreters.sdk(runtime, interpreter)

    async def parent(self, identifier: str) -> Parent:
        """The parent of a runtime's processes. Raises RuntimeUnavailable."""
        parent = self._parents.get(identifier)
        if parent is None:
            async with self._lock:
                parent = self._parents.get(identifier)
                if parent is None:
                    parent = self._parents[identifier] = await self._new_parent(_known(identifier))
        return parent

    async def close(self) -> None:
        """End every parent, and with it its processes."""
        for parent in self._parents.values():
            await parent.spawner.close()
        await asyncio.to_thread(shutil.rmtree, self.folder / "tmp", ignore_errors=True)

    async def _new_parent(self, runtime: Runtime) -> Parent:
        sandbox = await self._find_sandbox()
        interpreter = None
        if runtime.family != "provided":
            interpreter = await self._interpreters.find(runtime)
        if runtime.family == "python":
            assert interpreter is not None
            sdk = await self._interpreters.sdk(runtime, interpreter)
            entries = [path for path in sdk if not path.name.startswith(_CLIENT.stem)] + [_CLIENT]
            spawner = await self._python_spawner(runtime, interpreter, sandbox, entries)
        else:
            spawner = self._plain_spawner(interpreter, sandbox)
        return Parent(runtime, interpreter, spawner, sandbox, self.folder)

    async def _python_spawner(
        self,
        runtime: Runtime,
        interpreter: Interpreter,
        sandbox: Sandbox | None,
        entries: Sequence[Path],
    ) -> Spawner:
        program = interpreter.program
        if sandbox is not None:
            files = {f"{RUNTIME}/{entry.name}": entry for entry in entries}
            command = sandbox.command(program, interpreter.prefix, [], files)
            return Spawner(command, {"sdk": RUNTIME, "enclose": True})
        folder = _sdk_folder(self.folder, runtime)
        await asyncio.to_thread(_link, folder, entries)
        return Spawner(interpreted(program), {"sdk": str(folder)})

    def _plain_spawner(self, interpreter: Interpreter | None, sandbox: Sandbox | None) -> Spawner:
        """A parent that forks programs: any Python does."""
        own = self._own
        if sandbox is None:
            return Spawner(interpreted(own.program), {})
        files = {f"{RUNTIME}/bootstrap.mjs": _NODE_BOOTSTRAP}
        lang = None if interpreter is None else interpreter.prefix
        command = sandbox.command(own.program, lang, [own.prefix], files)
        return Spawner(command, {"enclose": True})

    async def _find_sandbox(self) -> Sandbox | None:
        if self._mode == "none":
            return None
        if self._sandbox is None:
            own = self._own
            self._sandbox = await find_sandbox(
                self._search_path, self.folder, own.program, own.prefix
            )
        if isinstance(self._sandbox, Sandbox):
            return self._sandbox
        if self._mode == "bwrap":
            raise RuntimeUnavailable(f"--sandbox bwrap: {self._sandbox}")
        return None


def _known(identifier: str) -> Runtime:
    runtime = RUNTIMES.get(identifier)
    if runtime is None:
        raise RuntimeUnavailable(
            f"Penstock does not implement the Lambda runtime {identifier} yet."
        )
    return runtime


def _sdk_folder(folder: Path, runtime: Runtime) -> Path:
    return folder / "runtime" / f"{runtime.family}{runtime.version}"


def _link(folder: Path, entries: Sequence[Path]) -> None:
    """Make a folder of links to `entries` and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in entries:
        (folder / entry.name).symlink_to(entry)


def _wrapper(spec: FunctionSpec) -> str:
    """The script that starts the function's runtime; empty for none."""
    return spec.environment.get(_WRAPPER, "")


def _located(path: str, place: Place) -> str:
    """Where a file of the function's package or layers is."""
    for name, folder in ((TASK, place.task), (OPT, place.opt)):
        if path.startswith(f"{name}/"):
            return folder + path.removeprefix(name)
    return path


def _bootstrap(spec: FunctionSpec, place: Place) -> str:
    """The program of an OS-only runtime, as AWS looks for it."""
    if (spec.code / "bootstrap").is_file():
        return f"{place.task}/bootstrap"
    if spec.opt is not None and (spec.opt / "bootstrap").is_file():
        return f"{place.opt}/bootstrap"
    raise EntrypointError(f"Couldn't find valid bootstrap(s): [{TASK}/bootstrap {OPT}/bootstrap]")
