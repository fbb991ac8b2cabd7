"""Does the day say which step failed?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.devstack.day import hearing, plan, play
from libs.common.devstack.day.cast import Casting
from libs.common.devstack.part import Said
from libs.common.devstack.stack import Stack


class Told:
    """What the terminal and the page are told; ``then`` is done at the first line."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.lines: list[Said] = []
        self._then = then

    def tell(self, part: str, said: Said) -> None:
        self.lines.append(said)
        if len(self.lines) == 1:
            self._then()

    def say(self, text: str) -> None:
        pass


async def test_a_day_that_goes_wrong_ends_with_1_and_names_the_step(
    platform: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[Any] = [("cardio", *rest) for _, *rest in plan.ADULTS]
    monkeypatch.setattr(plan, "ADULTS", tuple(wrong))
    monkeypatch.setattr(hearing, "DEADLINE", 20.0)
    told: Any = Told()

    code = await play.play(platform, told)

    assert code == 1
    *_, failed, last = [s.en for s in told.lines if "✓" not in s.en]
    assert failed.startswith("✗ after 24 of them the right persons are invited")
    assert "leads to cardio, not" in failed
    assert last.startswith("the day failed at: after 24 of them")
    assert "失败于" in told.lines[-1].zh


def test_ctrl_c_ends_the_day_in_good_order(platform: Stack) -> None:
    told: Any = Told(lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            play.play_day(platform, told)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert told.lines and not any("✗" in said.en for said in told.lines)


def test_a_day_is_decided_by_its_name() -> None:
    now = datetime(2026, 11, 18, 2, 0, tzinfo=UTC)

    def planned(name: str) -> plan.Plan:
        return plan.Planning(Casting(name, now.date()), now).plan()

    assert planned("tsdg4") == planned("tsdg4")
    assert planned("tsdg4") != planned("tsdg5")
    names = [p.name for p in planned("tsdg4").patients]
    assert len(set(names)) == len(names) == 31


def test_no_two_days_have_the_same_name() -> None:
    assert [play.named(n) for n in (0, 31, 32, 28_000_000)] == ["0", "z", "10", "tpfr0"]
