"""bubblewrap around the parents of environments: they see the system, an interpreter and function code, no more.

What each environment sees of that in turn is the zygote's doing (`zygote.Enclosure`): its own `/var/task`, `/opt` and
`/tmp`, its own process numbers, nothing of its neighbours. The network is the machine's: functions have to reach Penstock.
"""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from penstock.runtime.spawner import ZYGOTE

Mode: TypeAlias = Literal["auto", "none", "bwrap"]

TASK: Final = "/var/task"
OPT: Final = "/opt"
RUNTIME: Final = "/var/runtime"
LANG: Final = "/var/lang"
_PROGRAM: Final = "/run/penstock/zygote.py"
_FUNCTIONS: Final = "/run/functions"
_SYSTEM: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What name resolution, certificates, users and the linker need.
_SETTINGS: Final = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "group",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "pki",
    "protocols",
    "resolv.conf",
    "services",
    "ssl",
)
_TRIAL_S: Final = 20


class Sandbox:
    """`program` is bwrap; `functions` the folder under which everything that is given to functions lies."""

    def __init__(self, program: str, functions: Path) -> None:
        self._program = program
        self._functions = functions.resolve()

    def inside(self, path: Path) -> str:
        """Where a folder of function code is for the zygote. Raises ValueError for one that is elsewhere."""
        return f"{_FUNCTIONS}/{path.resolve().relative_to(self._functions)}"

    def command(
        self, python: Path, lang: Path | None, prefixes: Sequence[Path], files: Mapping[str, Path]
    ) -> list[str]:
        """What runs `zygote.py` by `python` inside.

        `lang` is the runtime's interpreter; it and `prefixes` are seen where they are, `files` under the names given.
        """
        command = [
            self._program,
            *("--unshare-user", "--unshare-ipc", "--unshare-uts", "--die-with-parent"),
            # For the zygote alone, and only over what is in here; its children give them up.
            *("--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP"),
            *("--ro-bind", "/usr", "/usr"),
        ]
        for folder in _SYSTEM:
            path = Path(folder)
            if path.is_symlink():
                command += ["--symlink", str(path.readlink()), folder]
            elif path.is_dir():
                command += ["--ro-bind", folder, folder]
        for name in _SETTINGS:
            command += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        for folder in ("/tmp", TASK, OPT, RUNTIME, "/run/scratch"):
            command += ["--dir", folder]
        command += ["--proc", "/proc", "--dev", "/dev"]
        command += ["--ro-bind", str(self._functions), _FUNCTIONS]
        command += _bash_as_sh()
        if lang is not None:
            command += ["--symlink", str(lang), LANG]
        for prefix in dict.fromkeys([*prefixes, *([lang] if lang is not None else [])]):
            if not prefix.is_relative_to("/usr"):
                command += ["--ro-bind", str(prefix), str(prefix)]
        for target, source in {_PROGRAM: ZYGOTE, **files}.items():
            command += ["--ro-bind", str(source.resolve()), target]
        return [*command, *interpreted(python, _PROGRAM)]


def _bash_as_sh() -> list[str]:
    """AWS: `/bin/sh` of Amazon Linux is bash, and bootstraps are written for it."""
    bash, shell = shutil.which("bash", path="/usr/bin:/bin"), Path("/bin/sh").resolve()
    if bash is None or Path(bash).resolve() == shell or not shell.is_relative_to("/usr"):
        return []
    return ["--ro-bind", str(Path(bash).resolve()), str(shell)]


def interpreted(python: Path, zygote: str = str(ZYGOTE)) -> list[str]:
    """The zygote by an interpreter that sees its standard library only."""
    return [str(python), "-I", "-S", "-X", "utf8", zygote]


async def find_sandbox(
    search_path: str, functions: Path, python: Path, prefix: Path
) -> Sandbox | str:
    """A sandbox that works here, which is found out by trying; or the reason why there is none."""
    program = shutil.which("bwrap", path=search_path)
    if program is None:
        return "bwrap was not found on PATH: install bubblewrap"
    sandbox = Sandbox(program, functions)
    command = [
        *sandbox.command(python, None, [prefix], {}),
        "0",
        '{"enclose": true, "trial": true}',
    ]
    trial = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(trial.communicate(), _TRIAL_S)
    except TimeoutError:
        trial.kill()
        await trial.wait()
        return "bwrap did not answer"
    if trial.returncode == 0:
        return sandbox
    said = errors.decode("utf-8", "replace").strip().splitlines()
    return f"bwrap does not work here: {said[-1] if said else trial.returncode}"
