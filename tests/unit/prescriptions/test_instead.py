"""Is everybody who hears no told what to do instead, and is a day that is named the right one?"""

from __future__ import annotations

import string
from datetime import date, timedelta
from typing import Any, get_args

import pytest

from libs.common.decision import Refusal
from services.prescriptions.domain.accounts import account
from services.prescriptions.domain.chart import Chart
from services.prescriptions.domain.documents import PatientCare, Prescription, RenewalAccount
from services.prescriptions.domain.health import Allergy, Condition, Stay
from services.prescriptions.domain.instead import STEPS, TEXTS, Instead, NextStep
from services.prescriptions.domain.parameters import Language
from services.prescriptions.domain.renewable import Renewable, renewable
from services.prescriptions.domain.rules import ASKING
from tests.unit.prescriptions.given import (
    DAY,
    NOW,
    Hospital,
    deceased,
    hospital,
    policies,
    prescription,
    registered,
    stopped,
    visit,
)


def listed(case: Hospital, rx: str = "rx1", language: Language = "en") -> Renewable:
    """The line of a prescription as its patient sees it."""
    found, care = case.doc(Prescription, rx), case.doc(PatientCare, "p1")
    assert found is not None and found.order is not None and care is not None
    ingredient = found.order.medication.ingredient_code
    accounts = {a.id: a for a in case.docs(RenewalAccount)}
    chart = Chart(
        case.docs(Prescription), case.docs(Condition), case.docs(Allergy), case.docs(Stay)
    )
    return renewable(
        found,
        care,
        {ingredient: account(care, ingredient, accounts.get)[0]},
        chart,
        case.now,
        policies().at(case.now),
        oneself=True,
        language=language,
    )


def step(case: Hospital, rx: str = "rx1") -> Instead:
    found = listed(case, rx).instead
    assert found is not None
    return found


def test_what_may_be_renewed_needs_nothing_instead() -> None:
    assert listed(hospital()).instead is None


def test_who_asks_too_early_is_told_the_first_day_on_which_it_is_not() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 10 * DAY, days_supply=28, diagnoses=("I10",)))
    found = step(case)
    # Prescribed on 20 February for 28 days: seven of them are left on 13 March.
    assert (found.step, found.on) == (NextStep.WAIT, date(2026, 3, 13))
    assert found.text == "You can ask for it from 2026-03-13 on."
    before = policies().at(NOW).end_of(date(2026, 3, 12)) - timedelta(seconds=1)
    case.now = before
    assert listed(case).reason == "too_early"
    case.now = before + timedelta(seconds=1)
    assert listed(case).instead is None


def test_who_would_wait_until_the_prescription_is_too_old_is_told_to_come_instead() -> None:
    case = Hospital()
    case.event(prescription("old", at=NOW - 180 * DAY))
    case.event(prescription("new", at=NOW - 10 * DAY, days_supply=28))
    found = listed(case, "old")
    assert found.reason == "too_early"
    assert found.instead is not None
    assert found.instead.step is NextStep.VISIT
    assert found.instead.department is not None
    assert found.instead.department.code == "cardiology"


def test_the_sixth_medicine_of_a_day_waits_for_the_next() -> None:
    case = hospital()
    for n in range(5):
        case.event(prescription(f"m{n}", ingredient=f"i{n}", at=NOW - 30 * DAY))
        case.asked(f"m{n}")
    found = step(case)
    assert (found.step, found.on) == (NextStep.WAIT, date(2026, 3, 3))


def test_a_renewal_that_is_under_way_is_to_be_followed() -> None:
    case = hospital()
    id = case.asked()
    found = step(case)
    assert (found.step, found.refill_id) == (NextStep.FOLLOW, id)


@pytest.mark.parametrize(
    ("events", "more", "expected"),
    [
        ([stopped(NOW - DAY)], {}, NextStep.VISIT),
        ([registered(born=date(2015, 1, 1))], {}, NextStep.ASK_GUARDIAN),
        ([registered(born=date(2022, 1, 1))], {}, NextStep.ASK_GUARDIAN),
        ([deceased()], {}, NextStep.NONE),
        ([], {"code": "N05BA12"}, NextStep.VISIT),
        ([], {"authored_here": False}, NextStep.ASK_PRESCRIBER),
        ([], {"days_supply": 90, "at": NOW - 88 * DAY}, NextStep.VISIT),
    ],
)
def test_each_no_has_its_next_step(
    events: list[Any], more: dict[str, Any], expected: NextStep
) -> None:
    case = Hospital()
    case.event(prescription(**{"at": NOW - 30 * DAY, **more}))
    for event in events:
        case.event(event)
    assert step(case).step is expected


def test_after_three_renewals_the_treating_department_is_named() -> None:
    case = hospital()
    for _ in range(3):
        case.renewed()
        case.advance(DAY)
    found = step(case)
    assert (found.step, found.text) == (
        NextStep.VISIT,
        "Please see the department that treats you in person.",
    )
    case.event(visit(case.now, "v2"))
    assert listed(case).instead is None


def test_a_refused_request_says_what_to_do_in_the_readers_language() -> None:
    case = hospital()
    answer = case.ask(declaration={})
    assert isinstance(answer, Refusal)
    assert answer.extra["instead"] == {"step": "answer_declaration"}
    case.asked()
    answer = case.ask()
    assert isinstance(answer, Refusal)
    assert answer.extra["instead"]["step"] == "follow"
    assert "正在办理" in Instead.model_validate(answer.extra["instead"]).words("zh-CN")


def test_every_reason_that_is_told_at_asking_has_a_step_and_every_step_its_words() -> None:
    policy = policies().at(NOW)
    reasons = {policy.rule(id).reason for id in ASKING}
    assert STEPS.keys() <= reasons  # the others lead to a visit
    for one in NextStep:
        for language in get_args(Language):
            text = TEXTS[one][language]
            named = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert named <= {"on", "department"}, one
