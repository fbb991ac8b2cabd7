"""Does a look at the broker end, whatever the broker does?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.common.broker import Broker
from libs.common.kafka import admin
from libs.common.kafka.admin import Kafka
from libs.common.kafka.client import BusError

PLACE = ("hospital.reports", 1)


class Silent:
    """A client of a broker whose partition has lost its leader: nothing comes, and no error."""

    def __init__(self) -> None:
        self.asked = 0

    def assign(self, places: Any) -> None:
        assert places, "its client would never end"

    def seek(self, _place: Any, _offset: int) -> None: ...

    async def getmany(self, *_places: Any, timeout_ms: int) -> dict[Any, Any]:
        self.asked += 1
        assert timeout_ms == 1_000 and self.asked < 100, "it goes on for ever"
        return {}

    async def position(self, _place: Any) -> int:
        return 7

    async def stop(self) -> None:
        await asyncio.Event().wait()


async def test_a_partition_of_which_nothing_comes_is_named_instead_of_waited_for() -> None:
    kafka = Kafka(Broker("away:9092"))
    kafka._consumer = Silent()
    with pytest.raises(BusError, match=r"nothing comes of hospital\.reports/1: has it a leader"):
        [record async for record in kafka.records({PLACE: (7, 9)})]


async def test_where_nothing_is_left_to_read_the_client_is_not_disturbed() -> None:
    kafka = Kafka(Broker("away:9092"))
    kafka._consumer = Silent()
    assert [record async for record in kafka.records({PLACE: (7, 7)})] == []


async def test_a_client_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PATIENCE", 0.01)
    kafka = Kafka(Broker("away:9092"))
    kafka._consumer = Silent()
    await asyncio.wait_for(kafka.close(), 5)
