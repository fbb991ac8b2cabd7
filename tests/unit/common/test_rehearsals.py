"""Do rehearsals that are asked for at the same time share their reading, and nothing else?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from libs.common.decision import Answer, Decision, Input
from libs.common.mongo.errors import Unavailable
from libs.common.planning import Planner
from libs.common.rehearsals import Rehearsals

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


class Reading:
    """In place of the planner: each round waits until it is let go."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.let_go = asyncio.Semaphore(0)
        self.away = False

    async def rehearse(self, inputs: Sequence[Input]) -> list[Answer | Exception]:
        self.rounds.append([input.id for input in inputs])
        await self.let_go.acquire()
        if self.away:
            raise Unavailable("away")
        return [
            ValueError(i.id) if i.id == "wrong" else Decision(note=f"of {i.id}") for i in inputs
        ]


def started(reading: Reading, rehearsals: Rehearsals, *ids: str) -> list[asyncio.Task[Any]]:
    def input(id: str) -> Input:
        return Input(
            id=id, source="/http", type="t", hospital="h1", subject="", time=NOW, data=None
        )

    return [asyncio.create_task(rehearsals.rehearse(input(id))) for id in ids]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def reading() -> Reading:
    return Reading()


@pytest.fixture
async def rehearsals(reading: Reading) -> Rehearsals:
    return Rehearsals(cast(Planner, reading))


async def test_those_asked_for_while_others_are_read_are_read_for_together(
    reading: Reading, rehearsals: Rehearsals
) -> None:
    first = started(reading, rehearsals, "a")
    await turns()
    later = started(reading, rehearsals, "b", "c")
    await turns()
    assert reading.rounds == [["a"]]
    for _ in range(2):
        reading.let_go.release()
    answers = await asyncio.gather(*first, *later)
    assert [answer.note for answer in answers] == ["of a", "of b", "of c"]
    assert reading.rounds == [["a"], ["b", "c"]]


async def test_a_rule_that_raises_is_its_askers_alone_and_who_left_holds_up_nobody(
    reading: Reading, rehearsals: Rehearsals
) -> None:
    wrong, left, other = started(reading, rehearsals, "wrong", "left", "other")
    await turns()
    left.cancel()
    for _ in range(2):  # the first to come is read for alone, or all are at once
        reading.let_go.release()
    with pytest.raises(ValueError, match="wrong"):
        await wrong
    assert (await other).note == "of other"


async def test_a_database_that_is_away_is_told_to_all_and_the_next_is_read_for_again(
    reading: Reading, rehearsals: Rehearsals
) -> None:
    reading.away = True
    asked = started(reading, rehearsals, "a", "b")
    for _ in range(2):
        reading.let_go.release()
    for one in asked:
        with pytest.raises(Unavailable):
            await one
    reading.away = False
    (again,) = started(reading, rehearsals, "c")
    reading.let_go.release()
    assert (await again).note == "of c"
