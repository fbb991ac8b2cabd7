"""What becomes of a renewal when what it was asked for by is no longer so?"""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from typing import Any

import pytest

from libs.common.decision import Actor, Common
from libs.common.events import RefillSuspended
from services.prescriptions.domain.checking import ToCheck
from services.prescriptions.domain.checks import Question
from services.prescriptions.domain.doctor import SignedDecision
from services.prescriptions.domain.documents import Prescription
from services.prescriptions.domain.facts import Verdict
from services.prescriptions.domain.reasons import Reason
from services.prescriptions.domain.transitions import Status
from services.prescriptions.handlers import DOCTOR_DECISION
from tests.unit.prescriptions.answering import LONG, MEDICINE, asked, replace
from tests.unit.prescriptions.given import (
    COLLEAGUE,
    DAUGHTER,
    DAY,
    DOCTOR,
    HOUR,
    NOW,
    Hospital,
    hospital,
    linked,
    merged,
    prescription,
    reason,
    registered,
    stopped,
    visit,
)

CORRECTED: dict[str, Any] = {"dosage": "half a tablet in the morning", "at": NOW - 29 * DAY}


# -- another dosing -----------------------------------------------------------------------


def test_when_a_new_dosing_takes_effect_the_old_one_is_no_longer_dispensed() -> None:
    case = hospital()
    before = case.asked()
    case.doctor(before, "approve", valid_days=3)
    case.pharmacist(before, "pass")
    id = case.asked()  # of seven days so few are left that it may follow at once
    replace(case, id, days_supply=7)
    assert case.refill(before).status is Status.EFFECTIVE  # nothing is changed until it passes
    case.take()
    assert reason(case.pharmacist(id, "pass")) is None
    old, new = case.refill(before), case.refill(id)
    assert (old.status, old.reason) == (Status.WITHHELD, Reason.PRESCRIPTION_REPLACED)
    assert new.status is Status.EFFECTIVE
    account = case.account()
    assert account.watched == (id,)
    assert [(r.refill_id, r.supplied) for r in account.renewals] == [(before, False), (id, True)]
    [fact] = case.events(RefillSuspended)
    assert (fact.refill_id, fact.new_prescription_id) == (before, old.new_prescription_id)


@pytest.mark.parametrize(
    ("told", "stands"),
    [
        ({"status": "dispensed"}, Status.WITHHELD),
        ({"status": "collected"}, Status.COLLECTED),  # is at home
        ({"status": "collected", "quantity": {"value": 3, "unit": "tablet"}}, Status.WITHHELD),
    ],
)
def test_a_renewal_as_it_was_leaves_the_one_before_and_a_new_dosing_what_lies_ready(
    told: dict[str, Any], stands: Status
) -> None:
    case = hospital()
    first, second = case.renewed(), case.renewed()
    assert case.refill(first.id).status is Status.EFFECTIVE
    case.reported(first.id, **told)
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    assert case.refill(first.id).status is stands
    assert case.refill(second.id).status is Status.WITHHELD


def test_of_merged_records_the_old_dosing_is_withheld_too() -> None:
    case = hospital()
    case.event(prescription("rx2", patient_id="p2"))
    theirs = case.renewed("rx2", "p2", Actor("p2", frozenset({"patient"})))
    case.event(merged("p2", "p1"))
    id = case.asked()
    replace(case, id, days_supply=7)
    case.pharmacist(id, "pass")
    assert case.refill(theirs.id).status is Status.WITHHELD


@pytest.mark.parametrize("signed", [False, True])
def test_a_dosing_that_the_hospital_corrects_is_not_approved_as_it_was(signed: bool) -> None:
    case = hospital()
    id = case.asked()
    if signed:
        case.doctor(id, "approve")
    case.event(prescription(**CORRECTED))
    refill = case.refill(id)
    assert (refill.status, refill.reason) == (Status.REFUSED, Reason.PRESCRIPTION_REPLACED)
    assert case.account().open == ()
    assert case.told()[-1] == ("p1", "refill.refused")
    again = case.refill(case.asked())
    assert again.order.dosage == CORRECTED["dosage"]


def test_nor_dispensed_if_it_is_in_effect_by_then() -> None:
    case = hospital()
    id = case.renewed().id
    case.event(prescription(**CORRECTED))
    refill = case.refill(id)
    assert (refill.status, refill.reason) == (Status.WITHHELD, Reason.PRESCRIPTION_REPLACED)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"dosage": "half a tablet"}, Reason.PRESCRIPTION_REPLACED),
        ({"patient_id": "p2"}, Reason.PRESCRIPTION_STOPPED),
    ],
)
def test_a_request_that_was_asked_for_while_it_was_corrected_is_seen_when_it_is_decided_on(
    told: dict[str, Any], expected: Reason
) -> None:
    case = hospital()
    before = case.doc(Prescription, "rx1")
    case.event(prescription(at=NOW - 29 * DAY, **told))
    after = case.doc(Prescription, "rx1")
    assert before is not None and after is not None
    case.put(before)  # as the request has read it
    id = case.asked()
    case.put(after)
    assert reason(case.doctor(id, "approve")) == expected
    assert case.refill(id).status is Status.REFUSED


def test_what_is_told_again_with_the_same_dosing_stops_nothing() -> None:
    case = hospital()
    id, words = case.asked(), "one  tablet in the morning"
    case.event(prescription(at=NOW - 29 * DAY, dosage=words, days_supply=8))
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.event(prescription(at=NOW - 40 * DAY, dosage="three tablets"))  # an older form, late
    assert reason(case.doctor(id, "approve")) is None
    assert reason(case.pharmacist(id, "pass")) is None


#: A correction keeps the time at which it was issued, as FHIR's ``authoredOn``.
FORMS: list[dict[str, Any]] = [{}, {"dosage": "half a tablet"}, {"patient_id": "p2"}, {}]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_of_a_prescription_that_was_corrected_the_last_form_holds_whichever_comes_last(
    order: tuple[int, ...],
) -> None:
    case = Hospital()
    answers = {
        n: reason(case.event(prescription(**FORMS[n]), time=NOW - (4 - n) * HOUR)) for n in order
    }
    known = case.doc(Prescription, "rx1")
    assert known is not None and known.order is not None
    assert (known.patient_id, known.order.dosage) == ("p1", "one tablet in the morning")
    late = [n for n in range(4) if any(n < m for m in order[: order.index(n)])]
    assert [n for n in range(4) if answers[n] is not None] == late
    assert {answers[n] for n in late} <= {Common.STALE}


@pytest.mark.parametrize(("late", "expected"), [(-1, Common.STALE), (0, None), (1, None)])
def test_what_is_told_a_millisecond_before_what_is_known_is_older(
    late: int, expected: Common | None
) -> None:
    case = hospital()
    told = case.event_input(prescription(), time=case.now + timedelta(milliseconds=late))
    assert reason(case.send(told)) == expected


def test_an_older_form_that_comes_from_the_dead_letters_stops_no_renewal() -> None:
    case = Hospital()
    first = case.event_input(prescription(dosage="two tablets"), time=NOW - 2 * HOUR)
    case.event(prescription(), time=NOW - HOUR)
    id = case.asked()
    assert reason(case.send(first)) == Common.STALE
    assert case.refill(id).status is Status.WAITING_DOCTOR
    case.event(prescription(dosage="two tablets"), time=NOW)
    assert case.refill(id).reason == Reason.PRESCRIPTION_REPLACED


@pytest.mark.parametrize("passed", [False, True])
def test_a_prescription_that_turns_out_to_be_anothers_is_renewed_for_nobody(passed: bool) -> None:
    case = hospital()
    id = case.renewed().id if passed else case.asked()
    case.event(prescription(patient_id="p2", at=NOW - 29 * DAY))
    refill = case.refill(id)
    assert refill.status is (Status.WITHHELD if passed else Status.REFUSED)
    assert refill.reason == Reason.PRESCRIPTION_STOPPED


def test_another_dosing_that_was_prescribed_later_on_the_day_is_shown_as_a_duplicate() -> None:
    case, id = asked()
    question = questioned(case, id)
    assert question.current == ()
    case.event(prescription("older", at=NOW - 65 * DAY, dosage="two tablets", days_supply=100))
    case.event(prescription("as_it_was", at=NOW - HOUR, medication=MEDICINE))
    assert questioned(case, id).current == ()
    # Beside it, as for the evening; on a later day it would be instead.
    more: dict[str, Any] = {"medication": MEDICINE, "dosage": "two tablets", "days_supply": 100}
    case.event(prescription("newer", at=NOW - 60 * DAY + HOUR, **more))
    [other] = questioned(case, id).current
    assert other.dosage == "two tablets"
    assert questioned(case, id, decision="change", refills_allowed=0).current == (other,)


def questioned(case: Hospital, id: str, decision: str = "approve", **more: Any) -> Question:
    """What is to be checked if the doctor answers so."""
    data = SignedDecision.model_validate({"decision": decision, **more})
    input = case.command_input(DOCTOR_DECISION, data, actor=DOCTOR, subject=id)
    answer = case.send(input)
    assert isinstance(answer, ToCheck) and answer.question is not None, answer
    return answer.question


# -- a stop -------------------------------------------------------------------------------


@pytest.mark.parametrize("lies_ready", [False, True])
@pytest.mark.parametrize("stop_first", [False, True])
def test_a_renewal_is_stopped_under_the_id_that_the_hospital_gave_it(
    stop_first: bool, lies_ready: bool
) -> None:
    case = hospital()
    id = case.asked()
    case.doctor(id, "approve", valid_days=3)
    case.pharmacist(id, "pass")
    case.advance(DAY)
    if lies_ready:
        case.reported(id, "dispensed", prescription_id="his-1", refill_id=None)
        case.advance(HOUR)
    case.event(visit(case.now, "v2"))  # at which the doctor stops it
    facts = [
        prescription("his-1", at=NOW + HOUR, refill_id=id, based_on="rx1"),
        stopped(case.now, "his-1"),
    ]
    for fact in reversed(facts) if stop_first else facts:
        case.event(fact)
    case.fire_due(case.now)
    refill = case.refill(id)
    assert (refill.status, refill.reason) == (Status.WITHHELD, Reason.PRESCRIPTION_STOPPED)
    assert len(case.events(RefillSuspended)) == 1


@pytest.mark.parametrize("merge_first", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("ahead", [timedelta(), HOUR])
def test_a_stop_that_names_the_patients_other_record_stops_it_too(
    ahead: timedelta, own: bool, merge_first: bool
) -> None:
    case = hospital()
    refill = case.renewed()
    if merge_first:
        case.event(merged("p1", "p2"))
    rx = "rx1"
    if own:
        rx = refill.new_prescription_id or ""
        case.event(prescription(rx, at=case.now, refill_id=refill.id, based_on="rx1"))
    case.take()
    case.event(stopped(case.now + ahead, rx, "p2"))
    case.fire_due(case.now + ahead)
    after = case.refill(refill.id)
    assert (after.status, after.reason) == (Status.WITHHELD, Reason.PRESCRIPTION_STOPPED)
    assert len(case.events(RefillSuspended)) == 1


# -- a record that comes late -------------------------------------------------------------


def test_a_child_whose_record_comes_late_is_not_approved_either() -> None:
    case = hospital()
    case.event(prescription("rx7", patient_id="p7"))
    case.event(linked(patient="p7"))
    id = case.asked("rx7", "p7", DAUGHTER)
    outcomes = {o.rule: o.verdict for o in case.refill(id).history[0].outcomes}
    assert outcomes["child"] is Verdict.NOT_CHECKED
    case.event(registered("p7", date(2020, 3, 3)))  # six tomorrow
    assert reason(case.doctor(id, "approve")) == Reason.CHILD_TOO_YOUNG
    assert reason(case.doctor(id, "visit_needed")) is None


# -- one person ---------------------------------------------------------------------------


def test_who_signed_for_the_patient_neither_approves_nor_reviews() -> None:
    case, id = asked(days=56)
    guardian_too = Actor("dr2", frozenset({"guardian"}))
    case.event(linked("dr2"))
    assert reason(case.consent(id, guardian_too)) is None
    no = case.doctor(id, "approve", COLLEAGUE, **LONG)
    assert reason(no) == Reason.SEPARATION_OF_DUTIES
    assert reason(case.doctor(id, "approve", DOCTOR, **LONG)) is None
    reviewer = Actor("dr2", frozenset({"pharmacist"}))
    assert reason(case.pharmacist(id, "pass", reviewer)) == Reason.SEPARATION_OF_DUTIES


# -- the sample list ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("C10AX13", Reason.NEVER_CLASS),  # evolocumab, kept cold
        ("C10AX14", Reason.NEVER_CLASS),  # alirocumab
        ("C02KX01", Reason.NOT_ON_LIST),  # bosentan, for pulmonary hypertension
        ("C03XA01", Reason.NOT_ON_LIST),  # tolvaptan, begun in hospital
        ("C02CA04", None),  # doxazosin
        ("C03AA03", None),  # hydrochlorothiazide
        ("C10AA05", None),  # atorvastatin
    ],
)
def test_what_is_kept_cold_or_for_another_disease_is_not_renewed(
    code: str, expected: Reason | None
) -> None:
    case = hospital()
    case.event(prescription("rx2", code=code, ingredient="other"))
    assert reason(case.ask("rx2")) == expected


# -- a supply that came meanwhile ---------------------------------------------------------


@pytest.mark.parametrize("stage", ["approve", "pass"])
def test_who_was_prescribed_it_anew_meanwhile_has_enough_and_gets_no_second_supply(
    stage: str,
) -> None:
    case = hospital()
    id = case.asked()
    if stage == "pass":
        case.doctor(id, "approve")
    case.event(prescription("rx9", at=NOW - HOUR, days_supply=28))
    answer = case.doctor(id, "approve") if stage == "approve" else case.pharmacist(id, "pass")
    assert reason(answer) == Reason.TOO_EARLY
    assert (case.refill(id).status, case.account().open) == (Status.REFUSED, ())
    assert case.told()[-1] == ("p1", "refill.refused")


def test_of_two_requests_that_a_merge_brings_together_one_is_supplied() -> None:
    case = hospital()
    long: dict[str, Any] = {"days_supply": 28, "diagnoses": ("I10",)}
    case.event(prescription("rx7", **long))
    case.event(prescription("rx8", patient_id="p2", **long))
    case.event(registered("p2"))
    p2 = Actor("p2", frozenset({"patient"}))
    ids = [case.asked("rx7"), case.asked("rx8", "p2", p2)]
    case.event(merged("p1", "p2"))
    for id in ids:
        case.doctor(id, "approve", comment="well controlled")
    assert reason(case.pharmacist(ids[0], "pass")) is None
    assert reason(case.pharmacist(ids[1], "pass")) == Reason.TOO_EARLY
    assert [case.refill(id).status for id in ids] == [Status.EFFECTIVE, Status.REFUSED]
    assert len(case.account("p2").renewals) == 1
