"""EventBridge's replays of what cannot be replayed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.services.events.archive_log import log_of
from penstock.storage.sqlite import SqliteStore
from tests.aws.events_application import Bus
from tests.conftest import Server


async def damage(data: Path, archive: str, now: int) -> None:
    """Add a record to an archive that is no event."""
    store = await SqliteStore.open(str(data))
    try:
        await store.log.append(log_of(archive), [(now, b"2 4 0 0\n{}")])
    finally:
        await store.close()


def test_a_replay_that_cannot_go_on_fails(
    launch: Callable[..., Server], connect: Any, tmp_path: Path
) -> None:
    """One that is tried for ever never tells anybody, and takes one of ten places."""
    server = launch(tmp_path)
    bus = Bus(server.endpoint, connect, "damaged")
    now = bus.steer("clock", {"freeze": True})["now"]
    archive = bus.events.create_archive(ArchiveName="a", EventSourceArn=bus.arn)["ArchiveArn"]
    bus.put()
    bus.advance(1)
    server.stop()
    asyncio.run(damage(tmp_path, archive, now))
    server.start()
    began = bus.steer("clock", {"freeze": True})["now"]
    bus.events.start_replay(
        ReplayName="r",
        EventSourceArn=archive,
        EventStartTime=now / 1000 - 60,
        EventEndTime=now / 1000 + 60,
        Destination={"Arn": bus.arn},
    )

    bus.advance(60)
    assert "STARTING" == bus.events.describe_replay(ReplayName="r")["State"]
    bus.advance(3600)

    told = bus.events.describe_replay(ReplayName="r")
    assert "FAILED" == told["State"]
    assert "The replay was tried 10 times" in told["StateReason"]
    assert began / 1000 < told["ReplayEndTime"].timestamp() < began / 1000 + 600
    assert server.log.read_text().count("Traceback") == 10
