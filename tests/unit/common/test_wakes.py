"""Is everybody who waits for a key woken, and nobody else?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from libs.common import wakes as module
from libs.common.clock import Ports, SystemClock
from libs.common.mongo.documents import Row
from libs.common.mongo.errors import Unavailable
from libs.common.wakes import Wakes, woken


async def test_a_wake_reaches_all_who_wait_for_its_key() -> None:
    wakes = Wakes("messages", "group_id")
    with wakes.waiting([("h1", "a"), ("h1", "b")]) as both, wakes.waiting([("h1", "b")]) as one:
        wakes.wake(("h1", "a"))
        assert both.is_set() and not one.is_set()
        wakes.wake(("h1", "b"))
        assert one.is_set()


async def test_another_hospital_wakes_nobody() -> None:
    wakes = Wakes("messages", "group_id")
    with wakes.waiting([("h1", "a")]) as event:
        wakes.wake(("h2", "a"))
        assert not event.is_set()


async def test_who_no_longer_waits_is_forgotten() -> None:
    wakes = Wakes("messages", "group_id")
    with wakes.waiting([("h1", "a")]) as event:
        pass
    wakes.wake(("h1", "a"))
    assert not event.is_set()
    assert not wakes._waiting


async def test_a_stream_looks_by_itself_when_no_wake_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    async with asyncio.timeout(5):
        await woken(asyncio.Event())


class Broken:
    """A database whose change stream ends after each of ``told``."""

    def __init__(self, *told: Row) -> None:
        self._told = iter(told)

    async def changes(self, name: str, operations: object) -> AsyncGenerator[Row | None, None]:
        yield None
        for row in self._told:
            yield row
            raise Unavailable("away")
        await asyncio.Event().wait()


class Impatient(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_who_waits_looks_again_when_the_change_stream_was_away() -> None:
    """What others wrote in between woke nobody."""
    wakes = Wakes("messages", "group_id")
    database: Any = Broken({"hospital": "h1", "group_id": "b"})
    with wakes.waiting([("h1", "a")]) as event:
        listening = asyncio.create_task(wakes.listen(database, Ports(clock=Impatient())))
        for _ in range(2):  # when it began, and when it began again
            async with asyncio.timeout(5):
                await event.wait()
            event.clear()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
