"""Which answers of a rule engine are believed?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from services.prescriptions.domain.checks import Medicine, NotChecked, Question
from services.prescriptions.ports import CheckFailed, CheckRequest
from services.prescriptions.senders.rule_engine import RuleEngine
from services.prescriptions.settings import Settings
from tests.integration.prescriptions.engine import KINDS, Engine, alert, having, serving

ASKED = CheckRequest(
    id="check-1",
    hospital="h1",
    at=datetime(2026, 3, 2, 2, 0, tzinfo=UTC),
    question=Question(
        patient_id="p1",
        sex="female",
        age=55,
        conditions=("I10",),
        allergies=None,
        order=Medicine(
            code="C09AA02", name="Enalapril", ingredient_code="enalapril", dosage="once a day"
        ),
        current=(),
    ),
)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest_asyncio.fixture
async def caller(engine: Engine) -> AsyncIterator[RuleEngine]:
    async with serving(engine) as url:
        yield RuleEngine(Settings(environment="development", clinical_url=url, clinical_timeout=1))


async def test_it_is_asked_once_with_what_it_needs_and_no_name(
    engine: Engine, caller: RuleEngine
) -> None:
    engine.findings = [alert(), {"check": "dose", "verdict": "not_checked"}]
    found = await caller.check(ASKED)
    assert (found.id, found.engine, found.version) == ("check-1", "test engine", "2026.11")
    first, second, *others = found.checks
    assert (first.id, first.severity, first.text["zh-CN"]) == ("ddi-1", "major", "不宜合用。")
    assert (second.check, second.verdict, second.why) == ("dose", "not_checked", "unknown")
    assert {c.verdict for c in others} == {"passed"}
    [asked] = engine.asked
    assert set(asked) == {"id", "hospital", "at", "checks", "patient", "order", "current"}
    assert asked["patient"] == {
        "id": "p1", "sex": "female", "age": 55, "conditions": ["I10"], "allergies": None,
    }  # fmt: skip
    assert tuple(asked["checks"]) == KINDS
    assert asked["order"]["code"] == "C09AA02"


async def test_what_it_adds_for_others_and_what_it_leaves_out_is_no_fault(
    engine: Engine, caller: RuleEngine
) -> None:
    engine.change = lambda a: {
        **a, "trace": "x", "checks": [{"check": "dose", "verdict": "passed", "note": 1}],
    }  # fmt: skip
    found = await caller.check(ASKED)
    assert [c.check for c in found.checks] == ["dose"]


def one(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer with one alert in which these differ."""
    told = {**alert(), **changes}
    told = {name: value for name, value in told.items() if value is not None}
    return lambda answer: {**answer, "checks": [told]}


FAULTS: dict[str, tuple[dict[str, Any], NotChecked]] = {
    "answers 500": ({"status": 500}, NotChecked.UNAVAILABLE),
    "answers 404": ({"status": 404}, NotChecked.UNAVAILABLE),
    "redirects": ({"status": 302}, NotChecked.UNAVAILABLE),
    "answers 201": ({"status": 201}, NotChecked.UNAVAILABLE),
    "is slow": ({"delay": 1.5}, NotChecked.UNAVAILABLE),
    "trickles": ({"trickle": 0.3}, NotChecked.UNAVAILABLE),
    "says nothing": ({"raw": b""}, NotChecked.UNREADABLE),
    "says garbage": ({"raw": b"\xff\x00<html>"}, NotChecked.UNREADABLE),
    "says too much": ({"change": lambda a: {**a, "x": "x" * 70_000}}, NotChecked.UNREADABLE),
    "says another thing": ({"change": lambda a: {"ok": True}}, NotChecked.UNREADABLE),
    "says a list": ({"change": lambda a: [a]}, NotChecked.UNREADABLE),
    "answers another question": ({"change": lambda a: {**a, "id": "x"}}, NotChecked.UNREADABLE),
    "names no question": ({"change": lambda a: {**a, "id": None}}, NotChecked.UNREADABLE),
    "names no version": (
        {"change": lambda a: {**a, "engine": {"name": "x"}}}, NotChecked.UNREADABLE,
    ),
    "knows another severity": ({"change": one(severity="serious")}, NotChecked.UNREADABLE),
    "names no severity": ({"change": one(severity=None)}, NotChecked.UNREADABLE),
    "knows another verdict": ({"change": one(verdict="warning")}, NotChecked.UNREADABLE),
    "knows another check": ({"change": one(check="cost")}, NotChecked.UNREADABLE),
    "has no words in Chinese": ({"change": one(text={"en": "x"})}, NotChecked.UNREADABLE),
    "names no source": ({"change": one(source=[])}, NotChecked.UNREADABLE),
    "names an alert as no path may": ({"change": one(id="a/b")}, NotChecked.UNREADABLE),
    "names two alerts alike": ({"findings": [alert(), alert("minor")]}, NotChecked.UNREADABLE),
    "passes what it warns of": (
        {"findings": [alert(), {"check": "interaction", "verdict": "passed"}]},
        NotChecked.UNREADABLE,
    ),
    "passes what it did not check": (
        {"findings": [{"check": "dose", "verdict": v} for v in ("not_checked", "passed")]},
        NotChecked.UNREADABLE,
    ),
    "warns of too many things": (
        {"findings": [alert(id=f"a{n}") for n in range(65)]}, NotChecked.UNREADABLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
async def test_when_it_errs_nothing_was_checked_and_it_is_not_asked_again(
    engine: Engine, caller: RuleEngine, what: str
) -> None:
    fault, reason = FAULTS[what]
    begun = time.monotonic()
    with having(engine, **fault), pytest.raises(CheckFailed) as failed:
        await caller.check(ASKED)
    assert failed.value.reason is reason
    assert len(engine.asked) == 1
    assert time.monotonic() - begun < 2
    assert "不宜" not in failed.value.why and "Enalapril" not in failed.value.why


async def test_when_it_is_away_nothing_was_checked() -> None:
    away = RuleEngine(Settings(environment="development", clinical_url="http://127.0.0.1:9/"))
    with pytest.raises(CheckFailed) as failed:
        await away.check(ASKED)
    assert failed.value.reason is NotChecked.UNAVAILABLE
