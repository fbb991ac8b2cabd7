"""Does an open page miss nothing, and know when it has?"""

from __future__ import annotations

import asyncio

from libs.common.devstack.page import hub as module
from libs.common.devstack.page.hub import Hub, News


async def heard(hub: Hub, position: str | None, count: int) -> list[News | None]:
    listening = hub.listen(position)
    return [await asyncio.wait_for(anext(listening), 5) for _ in range(count)]


def items(news: list[News | None]) -> list[object]:
    return [n and n.item for n in news]


async def test_a_page_hears_what_came_after_its_position() -> None:
    hub = Hub()
    hub.publish("entry", "a")
    position = hub.position()
    hub.publish("entry", "b")
    hub.publish("entry", "c")
    assert items(await heard(hub, position, 2)) == ["b", "c"]


async def test_a_page_that_is_listening_hears_what_is_new() -> None:
    hub = Hub()
    listening = asyncio.create_task(heard(hub, None, 1))
    for _ in range(5):
        await asyncio.sleep(0)
    hub.publish("entry", "a")
    assert items(await listening) == ["a"]


async def test_a_page_of_an_earlier_run_must_load_anew() -> None:
    earlier, hub = Hub(), Hub()
    earlier.publish("entry", "a")
    hub.publish("entry", "x")
    listening = hub.listen(earlier.position())
    assert await anext(listening) is None
    hub.publish("entry", "b")
    news = await anext(listening)
    assert news is not None and news.item == "b"


async def test_a_page_that_was_away_too_long_must_load_anew() -> None:
    hub = Hub()
    hub.publish("entry", 0)
    position = hub.position()
    for n in range(module.REMEMBERED + 1):
        hub.publish("entry", n)
    assert await heard(hub, position, 1) == [None]


async def test_nonsense_for_a_position_makes_the_page_load_anew() -> None:
    hub = Hub()
    hub.publish("entry", 0)
    assert await heard(hub, "nonsense", 1) == [None]
