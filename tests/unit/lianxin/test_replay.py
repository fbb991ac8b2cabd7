"""Which records of a topic may be read again?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from lianxin.output import Failed
from lianxin.replay import MOST, read_spans
from libs.common.kafka.admin import Kafka, Place

TOPIC, GROUP = "hospital.reports", "lianxin.reports"
ONE, TWO = (TOPIC, 0), (TOPIC, 1)
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


class Broker:
    """Two partitions: at BEGIN they stood at 10, at END at 50, and now at 90."""

    def __init__(self, committed: Mapping[Place, int], size: int = 50) -> None:
        self._committed, self._size = committed, size

    async def places(self, _topics: Sequence[str]) -> list[Place]:
        return [ONE, TWO]

    async def ends(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        return dict.fromkeys(places, (0, 90))

    async def offsets_at(self, places: Sequence[Place], time: datetime) -> dict[Place, int]:
        return dict.fromkeys(places, 10 if time == BEGIN else self._size)

    async def committed(self, group: str) -> Mapping[Place, int]:
        assert group == GROUP
        return self._committed


def kafka(committed: Mapping[Place, int], **more: Any) -> Kafka:
    return cast(Kafka, Broker(committed, **more))


async def test_what_the_service_has_read_is_read_again() -> None:
    found = await read_spans(kafka({ONE: 90, TWO: 50}), TOPIC, GROUP, BEGIN, END)
    assert found == ({ONE: (10, 50), TWO: (10, 50)}, 0)


async def test_what_it_has_not_read_yet_comes_by_itself_and_is_not_overtaken() -> None:
    found = await read_spans(kafka({ONE: 30}), TOPIC, GROUP, BEGIN, END)
    assert found == ({ONE: (10, 30), TWO: (10, 10)}, 20 + 40)
    found = await read_spans(kafka({ONE: 90, TWO: 70}), TOPIC, GROUP, BEGIN, None)
    assert found == ({ONE: (10, 90), TWO: (10, 70)}, 20)


async def test_too_many_at_once_are_done_in_stretches() -> None:
    much = kafka({ONE: 10 * MOST, TWO: 10 * MOST}, size=MOST)
    with pytest.raises(Failed, match="give --to, and go on there"):
        await read_spans(much, TOPIC, GROUP, BEGIN, END)
