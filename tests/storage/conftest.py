"""Every engine that a conformance test runs on."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.storage.primitives import Store
from penstock.storage.sqlite import SqliteStore

Opener = Callable[[], Any]


class Engine:
    """Opens stores of one kind. `reopen` closes a store and opens what it left behind."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        """A store, closed at the end of the block."""
        store = await SqliteStore.open(":memory:" if self.kind == "memory" else self.folder)
        try:
            yield store
        finally:
            await store.close()


@pytest.fixture(params=["memory", "file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """SQLite in memory, and in a folder."""
    return Engine(request.param, tmp_path / "data")


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def test(store)` against a store of the engine."""
    test: Callable[..., Awaitable[None]] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}

    async def run() -> None:
        engine = arguments.get("store")
        if engine is None:
            await test(**arguments)
            return
        async with engine.open() as store:
            await test(**{**arguments, "store": store})
            await store.durable()

    asyncio.run(run())
    return True


@pytest.fixture
def store(engine: Engine) -> Engine:
    """The test is handed an open store; see `pytest_pyfunc_call`."""
    return engine
