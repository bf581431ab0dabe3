"""The line for warm environments: short turns are waited for, long ones are worth more environments."""

import asyncio

from penstock.runtime.line import Line


def test_environments_are_handed_on_in_order() -> None:
    """Who came first is first; who has gone is passed over."""

    async def scenario() -> None:
        line: Line[str] = Line(lambda: 4)
        assert not line.hand_on("nobody waits")
        places = [line.wait() for _ in range(3)]
        places[1].cancel()
        assert line.hand_on("a")
        assert line.hand_on("b")
        assert not line.hand_on("c")
        assert [await places[0], await places[2]] == ["a", "b"]

    asyncio.run(scenario())


def test_long_turns_double_the_environments() -> None:
    """Nobody waits for as long as an event takes: four busy environments become eight, and sixteen."""

    async def scenario() -> None:
        there = 4
        line: Line[str] = Line(lambda: there, patience_s=0.001)
        places = [line.wait() for _ in range(14)]
        for doubled in (8, 16):
            await asyncio.wait(places, return_when=asyncio.FIRST_COMPLETED)
            started = [place for place in places if place.done()]
            assert {place.result() for place in started} == {None}
            places = [place for place in places if not place.done()]
            there += len(started)
            assert there == doubled
        await asyncio.gather(*places)

    asyncio.run(scenario())


def test_short_turns_are_waited_for() -> None:
    """As many environments as there are were handed on since the last look: no more are started."""

    async def scenario() -> None:
        line: Line[str] = Line(lambda: 2, patience_s=0.01)
        places = [line.wait() for _ in range(5)]
        for expected in (3, 1):
            line.hand_on("a")
            line.hand_on("b")
            looked = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.0105, looked.set_result, None)
            await looked
            assert sum(not place.done() for place in places) == expected
        line.dissolve()
        assert [await place for place in places] == ["a", "b", "a", "b", None]

    asyncio.run(scenario())
