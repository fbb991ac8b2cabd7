"""Each rule at its edge, on the hospital's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from libs.common.decision import Decision, Refusal
from libs.common.devstack.day.records import WELL
from libs.common.events import NotificationRequested, RefillDoctorApproved, RefillEffective
from services.prescriptions.domain.documents import Refill
from services.prescriptions.domain.facts import Outcome, Verdict
from services.prescriptions.domain.policy import RenewalPolicies
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.rules import ASKING, RULES, evaluate
from services.prescriptions.domain.transitions import Action, Status
from tests.unit.prescriptions.given import (
    DAUGHTER,
    DAY,
    NOW,
    Hospital,
    hospital,
    linked,
    merged,
    policies,
    prescription,
    reason,
    registered,
    stopped,
)
from tests.unit.prescriptions.test_policy import SHANGHAI, eighteen, file


def said(refill: Refill, rule: str, step: int = 0) -> Outcome:
    [outcome] = [o for o in refill.history[step].outcomes if o.rule == rule]
    return outcome


# -- every outcome is kept ----------------------------------------------------------------


def test_a_request_keeps_what_every_rule_said_and_what_they_looked_at() -> None:
    case = hospital()
    refill = case.refill(case.asked())
    assert {o.rule for o in refill.history[0].outcomes} == ASKING
    other = {o.rule: o.verdict for o in refill.history[0].outcomes if o.verdict != "passed"}
    # None was told, which is not that none is.
    unknown = ("allergy", "stable_condition", "restricted_list")
    assert other == dict.fromkeys(unknown, Verdict.NOT_CHECKED)
    assert said(refill, "window").figures == {"days": 30}
    assert said(refill, "restricted_list").figures == {"condition": "hypertension"}
    assert refill.facts is not None
    assert evaluate(refill.facts, policies().at(NOW), NOW, ASKING) == refill.history[0].outcomes


def test_the_rules_that_follow_a_refusal_are_asked_all_the_same() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 200 * DAY, code="N05BA12", authored_here=False))
    answer = case.ask()
    assert isinstance(answer, Refusal) and answer.reason == Reason.OTHER_HOSPITAL
    outcomes = case.refill(answer.extra["refill_id"]).history[0].outcomes
    refused = [o.rule for o in outcomes if o.verdict is Verdict.REFUSED]
    assert refused == ["this_hospital", "never_classes", "restricted_list", "window"]
    assert [o.rule for o in outcomes] == [r for r in policies().at(NOW).order if r in ASKING]


def test_a_refusal_says_by_which_rule_where_it_stands_and_since_when() -> None:
    case = Hospital()
    case.event(prescription(code="N05BA12"))
    answer = case.ask()
    assert isinstance(answer, Refusal)
    assert (answer.extra["rule"], answer.extra["kind"]) == ("never_classes", "law")
    assert answer.extra["in_force_from"] == "2026-01-01"
    assert any("长期处方管理规范" in s for s in answer.extra["source"])


def test_doctor_and_pharmacist_keep_what_the_rules_said_of_their_step() -> None:
    refill = hospital().renewed()
    assert said(refill, "limit", 1).figures == {"used": 0}
    assert said(refill, "validity", 1).figures == {"days": 1}
    assert said(refill, "separation_of_duties", 2).verdict is Verdict.PASSED


def test_every_rule_of_the_policy_is_a_function_save_the_deadlines() -> None:
    assert set(policies().at(NOW).order) - set(RULES) == {"deadlines"}


@pytest.mark.parametrize(
    ("diagnoses", "verdict"),
    [
        ((), Verdict.NOT_CHECKED),
        (("I48",), Verdict.NOT_CHECKED),
        (("E78.5", "I50"), Verdict.NOT_CHECKED),  # of another listed one
        (("i10.x00",), Verdict.PASSED),
        (("I48", "I11.9"), Verdict.PASSED),
    ],
)
def test_a_listed_medicine_that_may_be_for_something_else_is_for_the_doctor_to_know(
    diagnoses: tuple[str, ...], verdict: Verdict
) -> None:
    case = Hospital()
    case.event(prescription(diagnoses=diagnoses))
    id = case.asked()
    assert said(case.refill(id), "restricted_list").verdict is verdict
    case.doctor(id, "approve")
    assert said(case.refill(id), "restricted_list", 1).verdict is verdict


@pytest.mark.parametrize(
    "facts", [{"diagnoses": None}, {"diagnoses": (), "code": "A10BA02"}, {"diagnoses": ()}]
)
def test_what_was_not_kept_or_has_no_codes_to_compare_is_judged_as_before(
    facts: dict[str, Any],
) -> None:
    case = hospital()
    known = case.refill(case.asked()).facts
    assert known is not None
    plain = file()
    if facts["diagnoses"] is not None:
        for listed in plain["rules"]["restricted_list"]["parameters"]["conditions"].values():
            del listed["icd10"]
    policy = RenewalPolicies([plain], SHANGHAI, eighteen).at(NOW)
    ids = frozenset({"restricted_list"})
    [outcome] = evaluate(known.model_copy(update=facts), policy, NOW, ids)
    assert outcome.verdict is Verdict.PASSED


@pytest.mark.parametrize(("at", "figures"), [(None, set()), (NOW + 3 * DAY, {"stops_at"})])
def test_who_decides_sees_a_stop_that_is_told_for_later(
    at: datetime | None, figures: set[str]
) -> None:
    case = hospital()
    if at is not None:
        case.event(stopped(at))
    id = case.asked()
    case.doctor(id, "approve")
    for step in (0, 1):
        outcome = said(case.refill(id), "stable_regimen", step)
        assert outcome.verdict is Verdict.PASSED
        assert outcome.figures.keys() == figures
        assert outcome.figures.get("stops_at") == (at.isoformat() if at else None)


# -- not too early ------------------------------------------------------------------------


@pytest.mark.parametrize(("days_ago", "left"), [(20, 8), (21, 7), (28, 0), (29, 0)])
def test_it_may_be_asked_for_when_a_week_is_left(days_ago: int, left: int) -> None:
    case = Hospital()
    case.event(prescription(at=NOW - days_ago * DAY, days_supply=28))
    answer = case.ask()
    assert reason(answer) == (Reason.TOO_EARLY if left > 7 else None)
    [refill] = case.docs(Refill)
    assert said(refill, "not_too_early").figures == {"days_left": left}


def test_what_is_left_counts_from_the_last_renewal() -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 40 * DAY, days_supply=28, diagnoses=("I10",)))
    case.renewed()
    case.advance(20 * DAY)
    assert reason(case.ask()) == Reason.TOO_EARLY
    case.advance(DAY)
    case.asked()


def test_what_is_left_counts_from_any_prescription_of_the_ingredient() -> None:
    case = hospital()
    case.event(prescription("rx2", at=NOW - DAY, days_supply=28))
    assert reason(case.ask("rx1")) == Reason.TOO_EARLY
    case.event(prescription("rx3", ingredient="other", code="C10AA05"))
    case.asked("rx3")


def test_what_is_left_counts_what_stands_in_a_merged_record() -> None:
    case = hospital()
    case.event(prescription("rx2", at=NOW - DAY, days_supply=28, patient_id="p2"))
    case.event(merged("p2", "p1"))
    assert reason(case.ask("rx1")) == Reason.TOO_EARLY


def test_the_days_that_are_left_are_days_of_the_hospital() -> None:
    issued = datetime(2026, 3, 1, 15, 30, tzinfo=UTC)  # 23:30 in Shanghai
    for zone, expected in [("Asia/Shanghai", None), ("UTC", Reason.TOO_EARLY)]:
        case = Hospital(zone=zone, now=issued)
        case.event(prescription(at=issued, days_supply=28))
        # 21 midnights later in Shanghai, 20 in UTC.
        case.now = issued + 20 * DAY + timedelta(hours=1)
        assert reason(case.ask()) == expected


# -- a supply that nobody told ------------------------------------------------------------


def unknown_supply() -> Hospital:
    case = Hospital()
    case.event(prescription(assumed=("quantity", "days_supply")))
    return case


def test_a_supply_that_nobody_told_is_not_checked_and_no_refusal() -> None:
    case = unknown_supply()
    refill = case.refill(case.asked())
    assert (refill.order.days_supply, refill.order.quantity) == (None, None)
    for rule in ("not_too_early", "supply"):
        assert said(refill, rule).verdict is Verdict.NOT_CHECKED


def test_the_doctor_says_for_how_many_days_where_the_prescription_does_not() -> None:
    case = Hospital()
    case.event(prescription(assumed=("days_supply",)))
    id = case.asked()
    assert reason(case.doctor(id, "approve")) == Reason.DAYS_SUPPLY_MISSING
    assert reason(case.doctor(id, "approve", days_supply=7)) is None
    case.pharmacist(id, "pass")
    assert [e.days_supply for e in case.events(RefillDoctorApproved)] == [7]
    assert [e.days_supply for e in case.events(RefillEffective)] == [7]


def test_a_renewal_is_for_as_long_as_the_prescription() -> None:
    case = hospital()
    id = case.asked()
    assert reason(case.doctor(id, "approve", days_supply=8)) == Reason.DAYS_SUPPLY_FIXED
    assert reason(case.doctor(id, "approve", days_supply=7)) is None


# -- days of supply -----------------------------------------------------------------------


def long(days: int, **more: Any) -> tuple[Hospital, str]:
    case = Hospital()
    case.event(prescription(at=NOW - 100 * DAY, days_supply=days, **more))
    return case, case.asked()


@pytest.mark.parametrize(("days", "expected"), [(84, None), (85, Reason.SUPPLY_TOO_LONG)])
def test_twelve_weeks_are_the_most(days: int, expected: Reason | None) -> None:
    case = Hospital()
    case.event(prescription(at=NOW - 100 * DAY, days_supply=days))
    assert reason(case.ask()) == expected


@pytest.mark.parametrize(
    ("days", "diagnoses", "comment", "expected"),
    [
        (7, (), None, None),
        (8, (), None, Reason.SUPPLY_REASON_MISSING),
        (8, (), "chronic", None),
        (8, ("I10",), None, None),
    ],
)
def test_more_than_a_week_needs_a_reason(
    days: int, diagnoses: tuple[str, ...], comment: str | None, expected: Reason | None
) -> None:
    case, id = long(days, diagnoses=diagnoses)
    assert reason(case.doctor(id, "approve", comment=comment)) == expected


@pytest.mark.parametrize("missing", ["assessed", "comment", "patient_signature"])
def test_more_than_four_weeks_are_assessed_noted_and_signed_for(missing: str) -> None:
    conditions: dict[str, Any] = {
        "assessed": True,
        "comment": "stable for years",
        "patient_signature": "form-1",
    }
    more = {k: v for k, v in conditions.items() if k != missing}
    case, id = long(28, diagnoses=("I10",))
    assert reason(case.doctor(id, "approve")) is None
    case, id = long(29, diagnoses=("I10",))
    answer = case.doctor(id, "approve", **more)
    assert reason(answer) == Reason.LONG_SUPPLY_CONDITIONS
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.doctor(id, "approve", **conditions)
    refill = case.refill(id)
    assert refill.patient_signature == "form-1"
    assert said(refill, "long_supply", 1).figures["assessed"] is True


# -- five medicines -----------------------------------------------------------------------


def with_medicines(count: int) -> Hospital:
    case = Hospital()
    for n in range(count):
        case.event(prescription(f"rx{n}", ingredient=f"i{n}"))
    return case


def test_the_sixth_medicine_of_a_day_waits_for_the_next() -> None:
    case = with_medicines(6)
    for n in range(5):
        case.asked(f"rx{n}")
    assert reason(case.ask("rx5")) == Reason.TOO_MANY_MEDICINES
    case.now = datetime(2026, 3, 2, 15, 59, tzinfo=UTC)
    assert reason(case.ask("rx5")) == Reason.TOO_MANY_MEDICINES
    case.now = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    case.asked("rx5")


def test_a_medicine_that_is_asked_for_again_counts_once_and_a_declined_one_still() -> None:
    case = with_medicines(6)
    for n in range(5):
        case.cancel(case.asked(f"rx{n}"))
    case.asked("rx0")
    assert reason(case.ask("rx5")) == Reason.TOO_MANY_MEDICINES


def test_what_a_rule_refused_does_not_count() -> None:
    case = with_medicines(5)
    case.event(prescription("rx9", code="N05BA12", ingredient="i9"))
    assert reason(case.ask("rx9")) == Reason.NEVER_CLASS
    for n in range(5):
        case.asked(f"rx{n}")


def test_merged_records_share_the_day() -> None:
    case = with_medicines(3)
    for n in range(3, 7):
        case.event(prescription(f"rx{n}", ingredient=f"i{n}", patient_id="p2"))
    for n in range(3):
        case.asked(f"rx{n}")
    two = type(DAUGHTER)("p2", frozenset({"patient"}))
    for n in range(3, 6):
        case.asked(f"rx{n}", "p2", two)
    case.event(merged("p2", "p1"))
    assert reason(case.ask("rx6")) == Reason.TOO_MANY_MEDICINES


# -- children -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "expected"), [(date(2020, 3, 2), None), (date(2020, 3, 3), Reason.CHILD_TOO_YOUNG)]
)
def test_a_child_is_seen_in_person_until_its_sixth_birthday(
    born: date, expected: Reason | None
) -> None:
    case = hospital()
    case.event(registered(born=born))
    case.event(linked())
    assert reason(case.ask(by=DAUGHTER)) == expected


def test_the_sixth_birthday_begins_at_the_hospitals_midnight() -> None:
    case = hospital(now=datetime(2026, 3, 1, 15, 59, tzinfo=UTC))
    case.event(registered(born=date(2020, 3, 2), at=case.now))
    case.event(linked(linked_at=case.now - DAY))
    assert reason(case.ask(by=DAUGHTER)) == Reason.CHILD_TOO_YOUNG
    case.now += timedelta(minutes=1)
    assert reason(case.ask(by=DAUGHTER)) is None


# -- the declaration ----------------------------------------------------------------------


@pytest.mark.parametrize("missing", sorted(WELL))
def test_a_request_without_all_answers_is_sent_back_and_not_kept(missing: str) -> None:
    case = hospital()
    case.take()
    answer = case.ask(declaration={k: v for k, v in WELL.items() if k != missing})
    assert reason(answer) == Reason.DECLARATION_MISSING
    assert (case.docs(Refill), case.emitted) == ([], [])


@pytest.mark.parametrize("changed", sorted(WELL))
def test_something_that_changed_leads_to_a_visit(changed: str) -> None:
    case = hospital()
    answer = case.ask(declaration={**WELL, changed: "no"})
    assert reason(answer) == Reason.SOMETHING_CHANGED
    [refill] = case.docs(Refill)
    assert said(refill, "nothing_changed").figures == {"changed": [changed]}
    assert refill.history[0].action is Action.REFUSE
    assert case.events(NotificationRequested)[-1].template == "refill.refused"


def test_another_reason_is_told_before_the_missing_answers() -> None:
    case = hospital()
    case.event(prescription("rx2", code="N05BA12"))
    assert reason(case.ask("rx2", declaration={})) == Reason.NEVER_CLASS


# -- whatever the figures -----------------------------------------------------------------


@examples(days=st.integers(0, 400), supply=st.integers(1, 366) | st.none())
def test_early_old_and_long_go_by_calendar_days_alone(days: int, supply: int | None) -> None:
    case = Hospital()
    more = {"days_supply": supply} if supply else {"assumed": ("days_supply",)}
    case.event(prescription(at=NOW - days * DAY, **more))
    answer = case.ask()
    expected: Reason | None = None
    if days > 183:
        expected = Reason.TOO_OLD
    elif supply is not None and supply - days > 7:
        expected = Reason.TOO_EARLY
    elif supply is not None and supply > 84:
        expected = Reason.SUPPLY_TOO_LONG
    assert reason(answer) == expected
    assert isinstance(answer, Decision if expected is None else Refusal)
