"""What does a renewal's own prescription say, when the hospital tells it as one of its own?

That the renewal was dispensed, and nothing of the patient: nobody has seen them for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Common
from libs.common.events import Medication, Quantity
from services.prescriptions.domain.documents import PatientCare, Refill
from services.prescriptions.domain.facts import Facts, Verdict
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from tests.unit.prescriptions.answering import replace
from tests.unit.prescriptions.given import (
    DAY,
    HOUR,
    NOW,
    Hospital,
    hospital,
    merged,
    prescription,
    reason,
    stopped,
    visit,
)
from tests.unit.prescriptions.happenings import copy
from tests.unit.prescriptions.test_rules import said
from tests.unit.prescriptions.test_stable import admitted, condition

ISSUED = NOW - 30 * DAY
AMLODIPINE = Medication(code="C08CA01", name="Amlodipine 5 mg", ingredient_code="amlodipine")
#: How the hospital may say whose copy it is.
SAYS = ("refill_id", "id", "based_on")


def renewed(at: datetime = ISSUED, **more: Any) -> tuple[Hospital, Refill]:
    """A prescription that was renewed just now; no visit was ever told."""
    case = Hospital()
    case.event(prescription(at=at, **more))
    return case, case.renewed()


def copied(case: Hospital, refill: Refill, says: str = "refill_id", **more: Any) -> str:
    """The hospital's prescription in the name of ``refill``, an hour later; its id."""
    told: dict[str, Any] = {"refill_id": refill.id} if says == "refill_id" else {}
    if says == "based_on":
        told = {"based_on": refill.prescription_id}
    id = str(refill.new_prescription_id) if says == "id" else "copy"
    case.event(prescription(id, at=case.advance(HOUR), **told, **more))
    return id


@pytest.mark.parametrize("says", SAYS)
def test_what_a_doctor_stopped_is_not_renewed_by_its_copy(says: str) -> None:
    case, refill = renewed()
    case.event(stopped(case.advance(HOUR)))
    assert case.refill(refill.id).status is Status.WITHHELD
    answer = case.ask(copied(case, refill, says))
    is_sure = says != "based_on"
    assert reason(answer) == (Reason.PRESCRIPTION_STOPPED if is_sure else Reason.CONDITION_CHANGED)


def test_what_a_doctor_prescribes_instead_of_it_at_a_visit_is_renewed() -> None:
    case, _ = renewed()
    case.event(visit(case.advance(HOUR)))
    case.event(stopped(case.now))
    case.event(prescription("rx5", at=case.now, based_on="rx1"))
    own = case.renewed("rx5")
    case.renewed(copied(case, own))


def test_nor_if_it_was_stopped_on_the_day_on_which_it_was_prescribed() -> None:
    case, refill = renewed(NOW - HOUR, days_supply=1)
    case.event(stopped(case.advance(HOUR)))
    assert reason(case.ask(copied(case, refill))) == Reason.PRESCRIPTION_STOPPED


def test_a_copy_that_is_being_renewed_ends_with_what_it_comes_from() -> None:
    case, refill = renewed()
    id = case.asked(copied(case, refill))
    case.event(stopped(case.now))
    assert (case.refill(id).status, case.refill(id).reason) == ("refused", "prescription_stopped")


def test_a_copy_is_renewed_as_long_as_one_of_what_it_may_come_from_is_not_stopped() -> None:
    case, refill = renewed()
    copy = copied(case, refill)
    case.event(prescription("rx9", at=case.advance(HOUR)))  # instead, at a visit
    case.event(stopped(case.now))
    case.cancel(case.asked(copy))
    case.event(stopped(case.advance(HOUR), "rx9"))
    assert reason(case.ask(copy)) == Reason.PRESCRIPTION_STOPPED


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize(
    "fact",
    [
        condition(ISSUED + DAY),
        condition(NOW - DAY),
        admitted(ISSUED + HOUR),
        stopped(ISSUED + DAY, "rx7"),
    ],
)
def test_what_came_between_the_prescription_and_its_copy_is_new(fact: Any, says: str) -> None:
    case, refill = renewed()
    case.event(prescription("rx7", code="C10AA05", ingredient="atorvastatin", at=ISSUED))
    copy = copied(case, refill, says)
    case.event(fact)
    assert reason(case.ask(copy)) == Reason.CONDITION_CHANGED
    case.event(visit(case.now, department="surgery"))
    assert reason(case.ask(copy)) == Reason.CONDITION_CHANGED
    case.event(visit(case.now, "v2"))
    case.asked(copy)


def test_what_came_before_the_prescription_is_not_new() -> None:
    case, refill = renewed()
    case.event(condition(ISSUED - DAY))
    case.event(admitted(ISSUED - HOUR))
    case.asked(copied(case, refill))


@pytest.mark.parametrize(("days", "expected"), [(183, None), (184, Reason.TOO_OLD)])
def test_copies_do_not_make_the_window_longer(days: int, expected: Reason | None) -> None:
    case, first = renewed(NOW - 180 * DAY)
    copy = copied(case, first)
    case.advance(NOW + (days - 180) * DAY - case.now)
    assert reason(case.ask(copy)) == expected
    if expected is not None:
        case.event(visit(case.now))  # a doctor has seen the patient, and left it as it is
        case.asked(copy)


def test_a_visit_does_not_make_the_copy_younger_than_it_is() -> None:
    case, refill = renewed()
    copy = copied(case, refill)
    case.advance(184 * DAY)
    case.event(visit(case.now))
    assert reason(case.ask(copy)) == Reason.TOO_OLD


def test_a_copy_of_what_nobody_told_is_shown_to_the_doctor_as_not_checked() -> None:
    case = Hospital()
    case.event(condition(NOW - 90 * DAY))
    case.event(prescription("copy", refill_id="unknown"))
    refill = case.refill(case.asked("copy"))
    assert said(refill, "window").verdict is Verdict.NOT_CHECKED
    assert said(refill, "stable_condition").verdict is Verdict.NOT_CHECKED
    case.event(condition(NOW - DAY, "c2", "I48"))  # that one is new in any case
    assert case.refill(refill.id).status is Status.SUSPENDED
    case.event(visit(NOW - HOUR))
    assert reason(case.doctor(refill.id, "approve")) is None
    assert said(case.refill(refill.id), "stable_condition", 2).verdict is Verdict.PASSED


@pytest.mark.parametrize("other", [{"department": "geriatrics"}, {"ingredient": "nifedipine"}])
def test_a_copy_does_not_come_from_another_department_or_ingredient(other: Any) -> None:
    case = Hospital()
    case.event(prescription("rx7", at=ISSUED, **other))
    case.event(prescription("copy", refill_id="unknown"))
    refill = case.refill(case.asked("copy"))
    assert refill.facts is not None and refill.facts.seen_at is None


def test_facts_that_were_kept_before_say_that_the_patient_was_seen_when_it_was_issued() -> None:
    case = Hospital()
    case.event(prescription())
    facts = case.refill(case.asked()).facts
    assert facts is not None
    kept = facts.model_dump(exclude={"seen_at"})
    assert Facts.model_validate(kept) == facts
    unknown = facts.model_copy(update={"seen_at": None})
    assert Facts.model_validate(unknown.model_dump()) == unknown


def test_a_copy_is_renewed_again_and_again_until_the_next_visit() -> None:
    case, refill = renewed()
    for n in (2, 3):
        copy = copied(case, refill)
        case.advance(timedelta(days=28))
        refill = case.renewed(copy)
        assert refill.number == n


# -- another dosing -----------------------------------------------------------------------

DOUBLE: dict[str, Any] = {"dosage": "two tablets in the morning"}
OTHERWISE: list[dict[str, Any]] = [
    DOUBLE,
    {"quantity": Quantity(value=14, unit="tablet")},
    {"medication": AMLODIPINE.model_copy(update={"strength": "10 mg"})},
    {"medication": AMLODIPINE.model_copy(update={"name": "Amlodipine 10mg"})},
]
THE_SAME: list[dict[str, Any]] = [
    {},
    {"days_supply": 28},  # and as much more
    {"quantity": Quantity(value=8, unit="tablet")},  # a pack
    {"quantity": Quantity(value=1, unit="box")},
    {"assumed": ("quantity", "days_supply")},
    {"medication": AMLODIPINE.model_copy(update={"name": "Amlodipine besylate 5mg*7"})},
    {"medication": AMLODIPINE.model_copy(update={"strength": "0.005 g"})},
    {"medication": AMLODIPINE.model_copy(update={"name": "Norvasc"})},
    {"dosage": "one  tablet in the morning"},
]


def prescribed(**more: Any) -> Hospital:
    case = Hospital()
    case.event(prescription(medication=AMLODIPINE, **more))
    return case


@pytest.mark.parametrize("stage", ["ask", "approve", "pass"])
@pytest.mark.parametrize("told", OTHERWISE)
def test_a_doctors_new_dosing_ends_the_renewals_of_the_old_one(
    told: dict[str, Any], stage: str
) -> None:
    case = prescribed()
    id = case.asked()
    if stage != "ask":
        case.doctor(id, "approve")
    if stage == "pass":
        case.pharmacist(id, "pass")
    case.event(prescription("rx9", at=NOW - DAY, **{"medication": AMLODIPINE, **told}))
    refill = case.refill(id)
    ended = Status.WITHHELD if stage == "pass" else Status.REFUSED
    assert (refill.status, refill.reason) == (ended, Reason.PRESCRIPTION_REPLACED)
    assert reason(case.ask()) == Reason.PRESCRIPTION_REPLACED
    case.asked("rx9")


@pytest.mark.parametrize("told", THE_SAME)
def test_the_same_again_ends_nothing(told: dict[str, Any]) -> None:
    case = prescribed()
    id = case.asked()
    case.event(prescription("rx9", at=NOW - DAY, **{"medication": AMLODIPINE, **told}))
    case.event(prescription("rx1", **{"medication": AMLODIPINE, **told}))  # told again
    assert case.refill(id).status is Status.WAITING_DOCTOR


@pytest.mark.parametrize("told", OTHERWISE)
def test_a_correction_of_strength_or_quantity_is_another_dosing(told: dict[str, Any]) -> None:
    case = prescribed()
    id = case.asked()
    case.event(prescription("rx1", **{"medication": AMLODIPINE, **told}))
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


def test_another_quantity_for_days_that_nobody_told_is_a_correction_and_no_new_dosing() -> None:
    case = prescribed(assumed=("days_supply",))
    id = case.asked()
    more: dict[str, Any] = {
        "quantity": Quantity(value=14, unit="tablet"), "assumed": ("days_supply",)
    }  # fmt: skip
    case.event(prescription("rx9", at=NOW - DAY, **more))
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.event(prescription("rx1", **more))
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


@pytest.mark.parametrize(
    ("at", "more", "ends"),
    [
        # Prescribed at 10:00 of the hospital's day; its midnight is 14 hours later.
        (ISSUED + 14 * HOUR - timedelta(milliseconds=1), {}, False),
        (ISSUED + 14 * HOUR, {}, True),
        (ISSUED - DAY, {}, False),
        (NOW - DAY, {"department": "geriatrics"}, False),
        (NOW - DAY, {"code": "C10AA05", "ingredient": "atorvastatin"}, False),
        (NOW - DAY, {"patient_id": "p2"}, False),
    ],
)
def test_what_is_prescribed_on_one_day_or_elsewhere_is_taken_beside_it(
    at: datetime, more: dict[str, Any], ends: bool
) -> None:
    case, refill = renewed()
    case.event(prescription("rx9", at=at, **DOUBLE, **more))
    expected = Status.WITHHELD if ends else Status.EFFECTIVE
    assert case.refill(refill.id).status is expected


def test_a_new_dosing_that_was_stopped_again_leaves_the_old_one_to_a_visit() -> None:
    case, _ = renewed()
    case.event(prescription("rx9", at=NOW - DAY, **DOUBLE))
    case.event(stopped(NOW + DAY, "rx9"))
    case.advance(HOUR)
    assert reason(case.ask()) == Reason.PRESCRIPTION_REPLACED
    case.advance(DAY)
    case.event(visit(case.now))
    case.asked()


def test_a_copy_of_an_earlier_renewal_says_the_dosing_of_its_day() -> None:
    case, refill = renewed()
    case.advance(DAY)
    case.event(visit(case.now))
    case.event(prescription("rx9", at=case.now, **DOUBLE))
    case.advance(DAY)
    assert reason(case.ask(copied(case, refill))) == Reason.PRESCRIPTION_REPLACED
    case.asked("rx9")


def test_a_copy_is_no_new_dosing_of_a_doctors() -> None:
    case = hospital()
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    case.advance(DAY)
    case.event(copy(case.refill(id), case.now, "his-1"))
    assert case.refill(id).withheld_at is None
    case.asked("his-1")


@pytest.mark.parametrize("says", ["refill_id", "id"])
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"quantity": Quantity(value=14, unit="tablet")}, Reason.PRESCRIPTION_REPLACED),
        ({"medication": AMLODIPINE.model_copy(update={"strength": "10 mg"})},
         Reason.PRESCRIPTION_REPLACED),
        ({"medication": AMLODIPINE.model_copy(update={"name": "Metformin", "code": "A10BA02"})},
         Reason.PRESCRIPTION_REPLACED),
        ({"medication": AMLODIPINE.model_copy(update={"name": "Norvasc"})}, None),
        ({"dosage": "1 tablet, once daily"}, None),
    ],
)  # fmt: skip
def test_a_copy_is_renewed_if_it_says_what_was_renewed(
    told: dict[str, Any], expected: Reason | None, says: str
) -> None:
    case = prescribed()
    his = copied(case, case.renewed(), says, **{"medication": AMLODIPINE, **told})
    assert reason(case.ask(his)) == expected


def test_a_renewal_that_changes_the_dosing_is_not_its_own_successor() -> None:
    case = hospital()
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    case.event(prescription("rx7", code="C10AA05", ingredient="atorvastatin"))  # looked at again
    assert case.refill(id).status is Status.EFFECTIVE
    case.event(
        copy(case.refill(id), NOW - DAY, "his-9", refill_id=None)
    )  # whose it is: nobody says
    assert case.refill(id).status is Status.EFFECTIVE
    case.event(prescription("rx9", at=NOW - DAY, dosage="three tablets"))
    assert case.refill(id).status is Status.WITHHELD


# -- another code of the ingredient -------------------------------------------------------


def test_a_code_that_the_hospital_changes_does_not_begin_the_count_again() -> None:
    case = hospital()
    for _ in range(3):
        case.renewed()
    case.event(prescription(ingredient="C08CA01"))
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED
    assert len(case.account("p1", "C08CA01").renewals) == 3
    assert case.account().renewals == ()
    case.event(visit(case.advance(HOUR), "v2"))
    case.renewed()


@pytest.mark.parametrize("says", SAYS)
def test_nor_does_a_copy_under_another_code(says: str) -> None:
    case, first = renewed()
    second = case.renewed()
    copy = copied(case, second, says, ingredient="C08CA01")
    assert case.renewed(copy).number == 3
    for rx in ("rx1", copy):
        assert reason(case.ask(rx)) == Reason.RENEWAL_LIMIT_REACHED
    case.reported(first.id, "dispensed")
    assert case.refill(first.id).status is Status.DISPENSED


def test_nor_if_the_form_with_the_old_code_comes_last() -> None:
    case = Hospital()
    old = case.event_input(prescription(), time=NOW - HOUR)
    case.event(prescription("rx2"))
    for _ in range(3):
        case.renewed("rx2")
    case.event(prescription(ingredient="C08CA01"))
    assert reason(case.send(old)) == Common.STALE
    assert reason(case.ask()) == Reason.RENEWAL_LIMIT_REACHED


@pytest.mark.parametrize("end", ["cancel", "pass"])
def test_what_is_under_way_under_the_old_code_keeps_its_one_place(end: str) -> None:
    case, first = renewed()
    id = case.asked()
    copy = copied(case, first, ingredient="C08CA01")
    assert case.account("p1", "C08CA01").open == (id,)
    assert reason(case.ask(copy)) == Reason.OPEN_REQUEST
    if end == "cancel":
        case.cancel(id)
    else:
        case.doctor(id, "approve")
        case.pharmacist(id, "pass")
    assert case.account("p1", "C08CA01").open == ()
    assert case.renewed(copy).number == (2 if end == "cancel" else 3)


def test_two_codes_of_an_ingredient_are_one_supply() -> None:
    case, first = renewed(days_supply=14, diagnoses=("I10",))
    his = copied(case, first, ingredient="C08CA01", days_supply=14)
    for rx in ("rx1", his):
        assert reason(case.ask(rx)) == Reason.TOO_EARLY
    care = case.doc(PatientCare, "p1")
    assert care is not None and care.alike == (("C08CA01", "amlodipine"),)


def test_codes_that_are_one_stay_one_when_records_are_merged() -> None:
    case, first = renewed()
    copied(case, first, ingredient="C08CA01")
    case.event(prescription("rx7", patient_id="p2"))
    p2 = Actor("p2", frozenset({"patient"}))
    for _ in range(2):
        case.renewed("rx7", "p2", p2)
    case.event(merged("p1", "p2"))
    for rx in ("rx1", "rx7"):
        assert reason(case.ask(rx, "p2", p2)) == Reason.RENEWAL_LIMIT_REACHED


def test_a_prescription_that_turns_out_to_be_of_another_medicine_joins_nothing() -> None:
    case = prescribed()
    case.renewed()
    other = Medication(code="C10AA05", name="Atorvastatin", ingredient_code="atorvastatin")
    case.event(prescription(medication=other))
    care = case.doc(PatientCare, "p1")
    assert care is not None and care.alike == ()
    assert case.renewed().number == 1
