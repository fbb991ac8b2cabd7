"""Is everybody who waits for a key woken, and nobody else?"""

from __future__ import annotations

import asyncio

import pytest

from libs.common import wakes as module
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
