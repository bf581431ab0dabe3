"""The processes of one environment: the runtime's and those of external extensions, begun, measured and ended together."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.runtime.launcher import Parent
from penstock.runtime.memory import ControlGroup, MemoryMeter
from penstock.runtime.model import FunctionSpec
from penstock.runtime.spawner import Child

RUNTIME: Final = ""
"""The name of the runtime's process among those of extensions."""


@dataclass(slots=True)
class _Member:
    child: Child
    meter: MemoryMeter


class ProcessSet:
    """`scratch` names the `/tmp` that they share. `on_exit` gets the name and the exit code of one that was not ended."""

    def __init__(
        self,
        spec: FunctionSpec,
        parent: Parent,
        scratch: str,
        group: ControlGroup | None,
        on_exit: Callable[[str, int], None],
    ) -> None:
        self._spec = spec
        self._parent = parent
        self._scratch = scratch
        self._group = group
        self._on_exit = on_exit
        self._members: dict[str, _Member] = {}
        self._dying: set[asyncio.Future[int]] = set()
        self.most_mb = 0
        """The most memory that was measured."""

    @property
    def runs(self) -> bool:
        """Whether there is a process of the runtime."""
        return RUNTIME in self._members

    @property
    def empty(self) -> bool:
        """Whether there is no process."""
        return not self._members

    @property
    def over_group_limit(self) -> bool:
        """Whether the kernel has ended one for its memory."""
        return self._group is not None and self._group.exceeded(self._scratch)

    async def start(self, name: str, environ: Mapping[str, str], output: int) -> None:
        """Start the runtime, or an extension of that name. Raises SpawnError or EntrypointError."""
        if name == RUNTIME:
            child = await self._parent.start_runtime(self._spec, environ, self._scratch, output)
        else:
            child = await self._parent.start_extension(
                self._spec, name, environ, self._scratch, output
            )
        meter = MemoryMeter(child.pid, enclosed=self._parent.enclosed)
        self._members[name] = _Member(child, meter)
        if self._group is not None:
            self._group.enclose(self._scratch, child.pid, self._spec.memory_mb)
        child.exited.add_done_callback(lambda exited: self._exited(name, child, exited.result()))

    def exceed_memory(self, *, everything: bool = False) -> bool:
        """Measure the runtime's own process, or all of them with what they have started: whether it is too much."""
        if everything:
            used = sum(member.meter.total_mb() for member in self._members.values())
        else:
            runtime = self._members.get(RUNTIME)
            used = 0 if runtime is None else runtime.meter.resident_mb()
        self.most_mb = max(self.most_mb, used)
        return used > self._spec.memory_mb

    def kill_later(self, seconds: float) -> None:
        """End the runtime if it has not ended by itself."""
        runtime = self._members[RUNTIME].child
        asyncio.get_running_loop().call_later(seconds, self._parent.spawner.kill, runtime)

    def kill(self) -> None:
        """End all."""
        for name in list(self._members):
            self.kill_one(name)

    def kill_one(self, name: str) -> None:
        """End the runtime, or the extension of that name, if there is one."""
        member = self._members.pop(name, None)
        if member is None:
            return
        member.meter.close()
        self._parent.spawner.kill(member.child)
        if not member.child.exited.done():
            self._dying.add(member.child.exited)
            member.child.exited.add_done_callback(self._dying.discard)

    async def shut_down(self, seconds: float) -> None:
        """Ask the runtime to end, wait for all for a while, then end all. What happens meanwhile is not told."""
        members, self._members = self._members, {}
        if RUNTIME in members:
            self._parent.spawner.terminate(members[RUNTIME].child)
        if members:
            await asyncio.wait([one.child.exited for one in members.values()], timeout=seconds)
        self._members = {**members, **self._members}
        for name in members:
            self.kill_one(name)

    async def gone(self) -> None:
        """Return when those that were ended are no more."""
        if self._dying:
            await asyncio.wait(self._dying)

    def forget(self) -> None:
        """Drop what they shared."""
        if self._group is not None:
            self._group.forget(self._scratch)
        self._parent.forget(self._scratch)

    def _exited(self, name: str, child: Child, code: int) -> None:
        member = self._members.get(name)
        if member is not None and member.child is child:
            self._on_exit(name, code)
