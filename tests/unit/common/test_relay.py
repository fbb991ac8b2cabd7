"""Does the relay end loudly when a part of it has ended?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from libs.common import relay as module
from libs.common.clock import Ports
from libs.common.mongo.documents import Row
from libs.common.relay import Relay


class Database:
    """Where to measure the outbox, or to listen, meets a bug."""

    def __init__(self, broken: str) -> None:
        self._broken = broken

    def raw(self, name: str) -> str:
        return name

    async def size(self, _raw: str) -> int:
        if self._broken == "measure":
            raise KeyError("a bug of ours")
        return 0

    async def find_rows(self, *_: Any, **__: Any) -> list[Row]:
        return []

    async def changes(self, *_: Any) -> AsyncGenerator[Row | None, None]:
        yield None
        if self._broken == "listen":
            raise KeyError("a bug of ours")
        await asyncio.Event().wait()


class NotOurs:
    owned = False


@pytest.mark.parametrize("part", ["measure", "listen"])
async def test_a_part_that_has_ended_ends_the_whole(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is measured commands are refused and people warned: an old figure is a lie."""
    monkeypatch.setattr(module, "POLL", 0.01)
    database: Any = Database(part)
    lease: Any = NotOurs()
    relay = Relay(
        database=database,
        lease=lease,
        new_producer=lambda: pytest.fail("nothing is to be sent"),
        ports=Ports(),
        tracer=None,  # type: ignore[arg-type]
    )
    with pytest.raises(KeyError, match="a bug of ours"):
        async with asyncio.timeout(3):
            await relay.run()
